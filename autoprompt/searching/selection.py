"""Which prompt a search returns. The test split has no say here.

With few examples the best of many candidates is mostly lucky. So a candidate must clearly beat the
best seed prompt before it may replace it, and among those that accuracy cannot tell apart the
likelihood decides, which is the finer measure. Every comparison with the seed is paired, on the
examples that may judge the candidate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from autoprompt.errors import SearchError, UnknownNameError
from autoprompt.objective import Scored, tempered_log_likelihoods
from autoprompt.scoring.label_scores import Floats
from autoprompt.searching.recipes import BEST_ON_DEV, CLEAR_GAIN
from autoprompt.searching.records import Record
from autoprompt.searching.trials import Outcome
from autoprompt.space_content import ROBUSTNESS

FINALISTS = 10
ALPHA = 0.05  # nominal chance that any candidate passes that is no better than the seed
Item = tuple[int, Outcome]  # a proposal and its outcome


@dataclass(frozen=True)
class Selection:
    """The choice made on the selection data.

    Attributes:
        winner: what is returned.
        baseline: the best seed prompt.
        seeds: all seeds, in their order.
        finalists: the best fully scored prompts by the rule's measure, the best first.
        contenders: how many candidates clearly beat the baseline.
    """

    winner: Item
    baseline: Item
    seeds: tuple[Item, ...]
    finalists: tuple[Item, ...]
    contenders: int

    @property
    def kept_seed(self) -> bool:
        """Whether the winner is the baseline."""
        return self.winner[1].prompt.digest == self.baseline[1].prompt.digest


@dataclass(frozen=True)
class Compared:
    """A candidate beside the baseline, on the examples that may judge it.

    Attributes:
        item: the candidate.
        lift: its metric less the baseline's.
        gains: by how much each example's tempered log-likelihood is higher.
        hits: what each example adds to the metric.
        start: the first of those examples among all selection examples.
    """

    item: Item
    lift: float
    gains: Floats
    hits: Floats
    start: int

    @property
    def gain(self) -> float:
        """The mean gain."""
        return float(self.gains.mean())


def select(
    records: Sequence[Record],
    seeds: int,
    metric: str,
    scored_of: Callable[[Outcome], Scored],
    rule: str = CLEAR_GAIN,
    robustness: str = "none",
    reworded: Callable[[Outcome], Sequence[Scored]] | None = None,
) -> Selection:
    """Choose a prompt.

    1. The baseline is the seed with the best metric; likelihood, then age, break ties.
    2. A contender's metric is not below the baseline's, and its mean tempered log-likelihood is
       clearly higher: by a paired one-sided z-test at `ALPHA` divided by the number of candidates,
       dropped ones included (Bonferroni). The level is nominal: candidates are proposed with an
       eye on the same examples. Without contenders the seed is kept.
    3. Of the contenders that lie within one paired standard error of the most accurate one, the
       most likely wins (the one-standard-error rule of Breiman et al. 1984, with likelihood in the
       place of simplicity).

    Args:
        records: finished trials; those that were dropped or failed do not count.
        seeds: how many of the first are seeds.
        metric: the task's.
        scored_of: an outcome's per-example scores on the selection data.
        rule: `CLEAR_GAIN` for the above. `BEST_ON_DEV` is what the neighbours' recipes do: the
            best metric on dev among what the recipe tried (among the seeds, if it tried nothing
            else); likelihood, then age, break ties.
        robustness: one of `ROBUSTNESS`. "gate": a contender's mean metric over its wordings must
            not be below the baseline's over its own. "objective": of the finalists among the
            contenders the one with the highest mean likelihood over its wordings wins.
        reworded: an outcome's scores under its wordings, its own among them; for robustness.

    Raises:
        UnknownNameError: there is no such way to take robustness in.
        SearchError: no seed was scored in full.
    """
    if robustness not in ROBUSTNESS:
        raise UnknownNameError("robustness", robustness, ROBUSTNESS)
    full = [
        (record.proposal, record.outcome)
        for record in records
        if record.outcome is not None
        and record.outcome.value is not None
        and record.outcome.repeats is None
    ]
    own = [item for item in full if item[0] < seeds]
    if not own:
        raise SearchError("no seed prompt was scored in full; run the search again")
    baseline = max(own, key=_by_metric)
    known = scored_of(baseline[1])
    compared = [_beside(item, known, metric, scored_of) for item in full if item != baseline]
    # A candidate that the race dropped had its chance too.
    chances = sum(r.outcome is not None and r.outcome.repeats is None for r in records) - 1
    contenders = [one for one in compared if _is_clear(one, chances)]
    if robustness != "none" and reworded is not None:
        winner = _robust(contenders, baseline, metric, robustness, reworded)
    else:
        winner = _most_likely_of_the_best(contenders) if contenders else baseline
    if rule == BEST_ON_DEV:
        # A recipe's prompt may be one that an expert wrote as well.
        again = {r.outcome.repeats for r in records if r.outcome and r.proposal >= seeds}
        tried = [item for item in full if item[0] >= seeds or item[0] in again]
        winner = max(tried or own, key=_on_dev)
    gains = {one.item[0]: one.gain for one in compared} | {baseline[0]: 0.0}
    # The winner, then those it was chosen among: float32 is to have its word on these.
    places = {one.item[0]: 1 for one in contenders} | {winner[0]: 0}
    ranked = sorted(full, key=lambda item: (places.get(item[0], 2), -gains[item[0]], item[0]))
    if rule == BEST_ON_DEV:
        ranked = sorted(full, key=_on_dev, reverse=True)
    return Selection(
        winner=winner,
        baseline=baseline,
        seeds=tuple(own),
        finalists=tuple(ranked[:FINALISTS]),
        contenders=len(contenders),
    )


def _beside(
    item: Item, baseline: Scored, metric: str, scored_of: Callable[[Outcome], Scored]
) -> Compared:
    """A candidate and the baseline on the rows that judge the candidate."""
    scored = scored_of(item[1])
    same = baseline.last(len(scored.gold))
    return Compared(
        item,
        scored.metric(metric) - same.metric(metric),
        tempered_log_likelihoods(scored) - tempered_log_likelihoods(same),
        _hits(scored, metric),
        item[1].start,
    )


def _is_clear(one: Compared, chances: int) -> bool:
    """Whether a candidate clearly beats the baseline."""
    clearly = NormalDist().inv_cdf(1 - ALPHA / max(chances, 1))
    return one.lift >= 0 and one.gain > max(0.0, clearly * standard_error(one.gains))


def _most_likely_of_the_best(contenders: Sequence[Compared]) -> Item:
    """The choice by the one-standard-error rule; see `select`."""
    # On the rows that may judge them all: a mean over fewer is higher by luck more often.
    rows = min(len(one.hits) for one in contenders)

    def accuracy(one: Compared) -> tuple[float, float, int]:
        return float(one.hits[-rows:].mean()), float(one.gains[-rows:].mean()), -one.item[0]

    leader = max(contenders, key=accuracy)
    close = []
    for one in contenders:
        behind = leader.hits[-rows:] - one.hits[-rows:]
        if behind.mean() <= standard_error(behind):
            close.append(one)
    return max(close, key=lambda one: accuracy(one)[1:]).item


def _robust(
    contenders: Sequence[Compared],
    baseline: Item,
    metric: str,
    robustness: str,
    reworded: Callable[[Outcome], Sequence[Scored]],
) -> Item:
    """The choice among the likeliest contenders with their wordings in view."""
    finalists = sorted(contenders, key=lambda one: (-one.gain, one.item[0]))[:FINALISTS]
    if robustness == "gate":
        bar = float(np.mean([scored.metric(metric) for scored in reworded(baseline[1])]))
        finalists = [
            one
            for one in finalists
            if np.mean([scored.metric(metric) for scored in reworded(one.item[1])]) >= bar
        ]
        return _most_likely_of_the_best(finalists) if finalists else baseline

    def likelihood(one: Compared) -> float:
        found = [tempered_log_likelihoods(scored).mean() for scored in reworded(one.item[1])]
        return float(np.mean(found))

    return max(finalists, key=likelihood).item if finalists else baseline


def _on_dev(item: Item) -> tuple[float, float, int]:
    """Metric, likelihood and age on dev alone, higher for the better one."""
    scores = item[1].prompt.scores["dev"]
    metric = next(name for name in scores if name != "cross_entropy")
    return scores[metric]["value"], -scores["cross_entropy"]["value"], -item[0]


def standard_error(differences: Floats) -> float:
    """Of the mean of paired differences."""
    if len(differences) < 2:
        return math.inf
    return float(differences.std(ddof=1)) / math.sqrt(len(differences))


def _hits(scored: Scored, metric: str) -> Floats:
    """What each example adds to the metric: 1 for a hit, and more for one of a rare label where
    the metric weighs labels alike."""
    hits = np.asarray(scored.predictions == scored.gold, dtype=np.float64)
    if metric == "accuracy":
        return hits
    labels, counts = np.unique(scored.gold, return_counts=True)
    weights = len(hits) / (len(labels) * counts)
    return np.asarray(hits * weights[np.searchsorted(labels, scored.gold)])


def _by_metric(item: Item) -> tuple[float, float, int]:
    """Metric, likelihood and age on all selection data, higher for the better one."""
    proposal, outcome = item
    assert outcome.metric is not None
    return outcome.metric, _value(outcome), -proposal


def _value(outcome: Outcome) -> float:
    assert outcome.value is not None
    return outcome.value
