"""Label words: each goes to one label, and how labels, examples and words are listed is no matter.

Evidence is drawn without ties, so that there is one answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from autoprompt.errors import VerbalizerError
from autoprompt.searching.label_words import Evidence, fit_verbalizer
from autoprompt.space_content import WORD_METHODS as METHODS
from autoprompt.verbalizers import AGGREGATIONS

every_method = pytest.mark.parametrize("method", METHODS)
NAMES = ["Ann", "ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"]  # two spellings of one


@dataclass(frozen=True)
class Case:
    """What `fit_verbalizer` takes, and how labels and examples are to be shuffled."""

    evidence: Evidence
    candidates: dict[str, list[str]]
    per_label: int
    aggregation: str
    labels: list[int]
    rows: list[int]

    def fitted(self, method: str) -> dict[str, list[str]] | None:
        """Label to words, or None where there is no verbalizer."""
        return fitted(method, self, self.evidence, self.candidates)


def fitted(
    method: str, case: Case, evidence: Evidence, candidates: dict[str, list[str]]
) -> dict[str, list[str]] | None:
    try:
        found = fit_verbalizer(method, evidence, candidates, case.per_label, case.aggregation)
    except VerbalizerError:
        return None
    return found.as_dict()


@st.composite
def cases(draw, spellings=True):
    names = NAMES if spellings else NAMES[1:]
    labels = draw(st.integers(2, 4))
    gold = np.array(
        [row for row in range(labels) for _ in range(draw(st.integers(1, 4)))], dtype=np.int64
    )
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = chance.normal(size=(len(gold), len(names))) * 1.5 - 5
    scores[:, draw(st.lists(st.integers(0, len(names) - 1), max_size=2))] = np.nan
    states = chance.normal(size=(len(gold), 5)) + chance.normal(size=(labels, 5))[gold]
    embeddings = chance.normal(size=(len(names), 5))
    embeddings[draw(st.lists(st.integers(0, len(names) - 1), max_size=2))] = np.nan
    column = {name: index for index, name in enumerate(names)}
    some = st.lists(st.sampled_from(names), min_size=1, unique=True)
    listed = some | st.permutations(names)
    return Case(
        Evidence(scores.astype(np.float32), gold, column, states, embeddings),
        {f"label {row}": draw(listed) for row in range(labels)},
        draw(st.integers(1, 3)),
        draw(st.sampled_from(AGGREGATIONS)),
        draw(st.permutations(range(labels))),
        draw(st.permutations(range(len(gold)))),
    )


def usable(method: str, evidence: Evidence) -> set[str]:
    known = ~np.isnan(evidence.word_scores).any(axis=0)
    if method == "label head":
        assert evidence.embeddings is not None
        known &= ~np.isnan(evidence.embeddings).any(axis=1)
    return {word for word, index in evidence.column.items() if known[index]}


@every_method
@given(case=cases())
def test_words_are_the_labels_own_usable_and_of_one_label(method, case):
    found = case.fitted(method)
    if found is not None:
        for label, words in found.items():
            assert 1 <= len(words) <= case.per_label
            assert set(words) <= set(case.candidates[label]) & usable(method, case.evidence)
        forms = [word.casefold() for words in found.values() for word in words]
        assert len(set(forms)) == len(forms)


@every_method
@given(case=cases())
def test_there_is_a_verbalizer_if_distinct_words_are_to_be_had(method, case):
    usable_forms = {word.casefold() for word in usable(method, case.evidence)}
    forms = sorted({name.casefold() for name in NAMES})
    claims = [
        [form in usable_forms & {w.casefold() for w in words} for form in forms]
        for words in (
            [word for word in listed if word in usable(method, case.evidence)]
            for listed in case.candidates.values()
        )
    ]
    matching = maximum_bipartite_matching(csr_array(np.array(claims, dtype=int)), "column")
    assert (case.fitted(method) is not None) == bool((matching >= 0).all())


@every_method
@given(case=cases(spellings=False))
def test_how_labels_and_examples_are_numbered_is_no_matter(method, case):
    evidence = case.evidence.rows(np.array(case.rows))
    place = np.argsort(case.labels)  # old label to new one
    shuffled = Evidence(
        evidence.word_scores,
        place[evidence.gold],
        evidence.column,
        evidence.states,
        evidence.embeddings,
    )
    listed = {f"label {row}": case.candidates[f"label {row}"] for row in case.labels}
    assert fitted(method, case, shuffled, listed) == case.fitted(method)


@every_method
@given(case=cases(spellings=False), data=st.data())
def test_the_order_of_the_columns_is_no_matter(method, case, data):
    evidence = case.evidence
    names = list(evidence.column)
    order = data.draw(st.permutations(range(len(names))))
    assert evidence.embeddings is not None
    shuffled = Evidence(
        evidence.word_scores[:, order],
        evidence.gold,
        {names[old]: new for new, old in enumerate(order)},
        evidence.states,
        evidence.embeddings[order],
    )
    assert fitted(method, case, shuffled, case.candidates) == case.fitted(method)
