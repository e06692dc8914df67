"""Trigger and label words are found together, from a seed prompt that knows neither."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import planted
import pytest

import autoprompt as ap
from autoprompt.models.protocol import LanguageModel
from autoprompt.prompts import Prompt
from autoprompt.searching.verdict import IMPROVED
from autoprompt.space_content import TriggerPlan

# The hardest of the five tasks (seed 4) takes 75,000 to 99,000 of them.
FORWARDS = 100_000
WORDS = {label: [word] for label, word in planted.WORDS.items()}


@pytest.fixture(scope="module")
def space() -> ap.SearchSpace:
    """The useless seed; three trigger tokens and 200 words of the vocabulary may be tried."""
    plain = ap.SearchSpace.parse(planted.space_text())
    return replace(plain, triggers=TriggerPlan(3), vocabulary=200, fit_words=True)


def check_lineage(best: Prompt) -> None:
    """From the seed on, each step known in full, down to what was found."""
    first, *steps = best.lineage
    assert first.how == "seed prompt 1"
    assert first.text == planted.USELESS_TEMPLATE
    assert first.words == {label: (word,) for label, word in planted.USELESS.items()}
    assert steps
    # The parent may be a composed prompt; what was refined stays so to the end.
    kinds = ["trigger tokens" in edit.how for edit in steps]
    assert kinds[-1]
    assert kinds == sorted(kinds)
    assert all(edit.text for edit in steps)
    refined = [edit.how for edit in steps if "trigger tokens" in edit.how]
    numbers = [int(how.partition(", step ")[2].split()[0]) for how in refined]
    assert all(one < other for one, other in itertools.pairwise(numbers))
    assert best.lineage[-1].text == best.shown
    assert best.lineage[-1].words == {label: (word,) for label, word in planted.WORDS.items()}


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))]
)
def test_the_planted_prompt_is_found(
    planted_model: LanguageModel, space: ap.SearchSpace, seed: int, tmp_path: Path
) -> None:
    budget = ap.Budget(forwards=FORWARDS)
    task = planted.task(seed)
    found = ap.search(task, space, planted_model, seed=seed, budget=budget, out=tmp_path / "run")
    tokens = [text.strip() for slot in found.best.triggers for text in slot.strings]
    assert planted.TRIGGER in tokens
    assert found.best.verbalizer.as_dict() == WORDS
    assert found.verdict.status == IMPROVED
    assert found.verdict.winner.value >= 0.95
    assert found.best.scores["test"]["accuracy"]["value"] == found.verdict.winner.value
    check_lineage(found.best)
    assert found.ledger.backwards > 0
    assert Prompt.load(tmp_path / "run" / "best.json") == found.best
