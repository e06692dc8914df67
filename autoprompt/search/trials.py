"""One trial: from a candidate to a scored prompt, block by block.

What is fitted is fitted on train; the trial's value is that one prompt on dev.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from autoprompt.demonstrations import draw, with_demonstrations
from autoprompt.errors import VerbalizerError
from autoprompt.objective import (
    Scored,
    calibrate,
    evaluate,
    gold_indices,
    selection_value,
)
from autoprompt.prompts import Frame, Prompt
from autoprompt.scoring.calibration import CONTENT_FREE, content_free
from autoprompt.scoring.ledger import Spent
from autoprompt.scoring.metrics import Ints, measure
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.search.candidates import Candidate, CandidateTable
from autoprompt.search.label_words import fit_verbalizer
from autoprompt.search.racing import Race, rungs
from autoprompt.tasks.examples import Example
from autoprompt.tasks.splits import shuffled_by_label
from autoprompt.tasks.task import Task
from autoprompt.templates import Template

NOTHING = Spent()
FIT_EXAMPLES = 256  # of train, that label words and calibration are fitted on


@dataclass(frozen=True)
class Outcome:
    """A finished trial.

    Attributes:
        prompt: the frozen prompt.
        value: `selection_value` on all of dev; None where the race dropped it.
        metric: the bare metric on dev; None as above.
        log_likelihood: mean clipped log-likelihood of the dev examples seen.
        seen: dev examples seen.
        reports: rung to mean log-likelihood.
        scored: on the dev examples seen; None for a repetition.
        spent: by this trial.
        paid: what it ran, for `WordScorer.mark_paid` after an interruption.
        repeats: proposal that scored the same prompt before, or None.
    """

    prompt: Prompt
    value: float | None
    metric: float | None
    log_likelihood: float
    seen: int
    reports: Mapping[int, float]
    scored: Scored | None = None
    spent: Spent = NOTHING
    paid: Mapping[str, Any] = field(default_factory=dict)
    repeats: int | None = None


class TrialRunner:
    """Scores candidates of one search.

    Args:
        task: its train part fits, its dev part scores.
        table: the space's choices.
        scorer: knows every word of the space.
        seed: the run's seed.
    """

    def __init__(self, task: Task, table: CandidateTable, scorer: WordScorer, seed: int) -> None:
        self.task = task
        self.table = table
        self.scorer = scorer
        self.seed = seed
        self.dev = list(task.dev)
        self.fit_examples = _fit_part(task, seed)
        self.fit_gold: Ints = gold_indices(self.fit_examples, task.labels)
        self.candidates = {
            label: tuple(word for word in words if word in scorer.column)
            for label, words in table.space.label_candidates().items()
        }

    def most_forwards(self) -> int:
        """The most forwards that one trial can take, word lengths of the first seed assumed."""
        sequences = len(self.dev) + len(CONTENT_FREE)
        sequences += 2 * len(self.fit_examples)  # to fit words, and again with demonstrations
        return sequences * self.variants()

    def variants(self) -> int:
        """Forward passes a sequence: one for each token count among the words."""
        frame = Frame(self.table.space.seeds[0].template)
        encoder = self.scorer.model.encoder
        return len({len(encoder.word_ids(frame, word)) for word in self.scorer.words})

    def prompt_of(self, candidate: Candidate) -> Prompt:
        """The frozen prompt of a candidate: words and calibration fitted, demonstrations drawn."""
        bare = Template.parse(candidate.template.text)
        if candidate.words is None:
            word_scores = self.scorer.scores(Frame(bare), self.fit_examples)
            verbalizer = fit_verbalizer(
                word_scores,
                self.fit_gold,
                self.scorer.column,
                self.candidates,
                candidate.per_label,
                candidate.aggregation,
            )
        else:
            verbalizer = replace(
                self.table.verbalizers[candidate.words], aggregation=candidate.aggregation
            )
        shown: tuple[Example, ...] = ()
        if candidate.demonstrations:
            shown = draw(
                self.task.train,
                self.task.labels,
                candidate.demonstrations,
                self.seed,
                candidate.draw,
            )
        template = with_demonstrations(bare) if shown else bare
        prompt = Prompt(template, verbalizer, demonstrations=shown, lineage=(candidate.origin,))
        calibration = calibrate(
            candidate.calibration,
            self.scorer,
            prompt.frame,
            verbalizer,
            self.task.fields,
            self.unlabelled(shown),
        )
        return replace(prompt, calibration=calibration)

    def unlabelled(self, shown: tuple[Example, ...]) -> list[Example]:
        """The texts that batch calibration looks at: train without what the prompt shows."""
        return [example for example in self.fit_examples if example not in shown]

    def run(
        self,
        candidate: Candidate,
        race: Race,
        seen_before: Callable[[str], Outcome | None],
        droppable: bool,
    ) -> Outcome:
        """Score a candidate.

        Args:
            candidate: what to score.
            race: what earlier candidates reached.
            seen_before: finds the outcome of an equal prompt by digest.
            droppable: whether the race may drop it (seeds are always scored in full).
        """
        started = time.perf_counter()
        self.scorer.begin()
        prompt = self.prompt_of(candidate)
        before = seen_before(prompt.digest)
        scored: Scored | None = None
        reports: dict[int, float] = {}
        if before is None:
            scored, reports = self._through_the_rungs(prompt, race, droppable)
        spent = replace(self.scorer.spent, seconds=time.perf_counter() - started)
        paid = self._paid(candidate, prompt, len(scored.gold) if scored else 0)
        if before is not None:
            return replace(before, prompt=prompt, scored=None, spent=spent, paid=paid, reports={})
        assert scored is not None
        whole = len(scored.gold) == len(self.dev)
        if whole:
            measured = measure(self.task.metric, scored.log_probabilities, scored.gold)
            entropy = measure("cross_entropy", scored.log_probabilities, scored.gold)
            prompt = prompt.with_scores(
                "dev",
                {self.task.metric: measured.to_dict(), "cross_entropy": entropy.to_dict()},
                self.task.digests()["dev"],
            )
        return Outcome(
            prompt=prompt,
            value=selection_value(scored, self.task.metric) if whole else None,
            metric=scored.metric(self.task.metric) if whole else None,
            log_likelihood=float(scored.log_likelihoods.mean()),
            seen=len(scored.gold),
            reports=reports,
            scored=scored,
            spent=spent,
            paid=paid,
        )

    def _through_the_rungs(
        self, prompt: Prompt, race: Race, droppable: bool
    ) -> tuple[Scored, dict[int, float]]:
        reports: dict[int, float] = {}
        sizes = rungs(len(self.dev))
        for rung in sizes:
            # Earlier blocks come out of the cache.
            scored = evaluate(prompt, self.scorer, self.dev[:rung])
            reports[rung] = float(scored.log_likelihoods.mean())
            if not droppable or rung == sizes[-1]:
                continue
            hits = int((scored.predictions == scored.gold).sum())
            hopeless = self.task.metric == "accuracy" and race.hopeless(hits, rung, len(self.dev))
            if hopeless or race.drops(rung, reports[rung]):
                break
        return scored, reports

    # -- paid rows: what an interrupted run need not count again -------------------------------

    def _paid(self, candidate: Candidate, prompt: Prompt, dev_seen: int) -> dict[str, Any]:
        """What a trial looked at, small enough for a trial attribute."""
        return {
            "fitted": candidate.words is None,
            "calibration": candidate.calibration,
            "dev": dev_seen,
            "bare": candidate.template.text,
            "template": prompt.template.text,
            "demonstrations": prompt.frame.demonstrations,
            "shown": [self.task.train.index(example) for example in prompt.demonstrations],
        }

    def restore_paid(self, paid: Mapping[str, Any]) -> None:
        """Tell the scorer what an earlier process of this run has paid for."""
        bare = Frame(Template.parse(paid["bare"]))
        frame = Frame(Template.parse(paid["template"]), (), paid["demonstrations"])
        if paid["fitted"]:
            self.scorer.mark_paid(bare, self.fit_examples)
        if paid["calibration"] == "contextual":
            self.scorer.mark_paid(frame, content_free(self.task.fields))
        elif paid["calibration"] == "batch":
            shown = tuple(self.task.train[index] for index in paid["shown"])
            self.scorer.mark_paid(frame, self.unlabelled(shown))
        self.scorer.mark_paid(frame, self.dev[: paid["dev"]])


def _fit_part(task: Task, seed: int) -> list[Example]:
    if len(task.train) <= FIT_EXAMPLES:
        return list(task.train)
    return shuffled_by_label(task.train, seed)[:FIT_EXAMPLES]


def words_to_score(
    table: CandidateTable, word_ids: Callable[[Frame, str], tuple[int, ...]]
) -> tuple[list[str], list[str]]:
    """Every word that a trial may ask for, and the candidates that are left out.

    Seeds' words are scored whatever their length. A candidate of several tokens is left out: it
    would cost a forward pass of its own for every sequence.

    Args:
        table: the space's choices.
        word_ids: gives a word's ids in a frame, or raises VerbalizerError.
    """
    frame = Frame(table.space.seeds[0].template)
    seeds = [word for verbalizer in table.verbalizers for word in verbalizer.all_words]
    kept = list(dict.fromkeys(seeds))
    dropped: list[str] = []
    if table.space.fit_words:
        for words in table.space.label_candidates().values():
            for word in words:
                if word in kept:
                    continue
                try:
                    fits = len(word_ids(frame, word)) == 1
                except VerbalizerError:
                    fits = False
                (kept if fits else dropped).append(word)
    return kept, dropped
