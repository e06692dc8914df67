"""One trial: from a candidate to a scored prompt, block by block.

What is fitted is fitted on train. A trial's value is that one prompt on the selection data: on dev
as it is, on train with what is fitted refitted without the fold that is scored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprompt.demonstrations import draw, with_demonstrations
from autoprompt.errors import VerbalizerError
from autoprompt.objective import (
    Scored,
    calibrate,
    predict,
    raw_label_scores,
    tempered_log_likelihoods,
)
from autoprompt.prompts import Calibration, Frame, Prompt
from autoprompt.scoring.calibration import CONTENT_FREE, calibrated, content_free
from autoprompt.scoring.label_scores import Floats
from autoprompt.scoring.ledger import Spent
from autoprompt.scoring.metrics import measure
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.candidates import Candidate, CandidateTable
from autoprompt.searching.label_words import fit_verbalizer
from autoprompt.searching.racing import Race, rungs
from autoprompt.searching.selection_data import SelectionData
from autoprompt.tasks.examples import Example, normalised_texts, split_digest
from autoprompt.tasks.task import Task
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

NOTHING = Spent()
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Outcome:
    """A finished trial.

    Attributes:
        prompt: the frozen prompt.
        value: mean tempered log-likelihood of all selection examples, what the search maximises;
            None where the race dropped the candidate.
        metric: the task's metric on them; None as above.
        seen: selection examples seen.
        reports: rung to mean tempered log-likelihood.
        scored: on the selection examples seen; None for a repetition.
        spent: by this trial.
        paid: what it ran, for `TrialRunner.restore_paid` after an interruption.
        repeats: proposal that scored the same prompt before, or None.
    """

    prompt: Prompt
    value: float | None
    metric: float | None
    seen: int
    reports: Mapping[int, float]
    scored: Scored | None = None
    spent: Spent = NOTHING
    paid: Mapping[str, Any] = field(default_factory=dict)
    repeats: int | None = None


class TrialRunner:
    """Scores candidates of one search.

    Args:
        task: fields, labels, metric, and the train split that demonstrations are drawn from.
        data: what is fitted on and selected on.
        table: the space's choices.
        scorer: knows every word of the space.
        seed: the run's seed.
    """

    def __init__(
        self,
        task: Task,
        data: SelectionData,
        table: CandidateTable,
        scorer: WordScorer,
        seed: int,
    ) -> None:
        self.task = task
        self.data = data
        self.table = table
        self.scorer = scorer
        self.seed = seed
        # A demonstration must not give away an example that is scored on dev.
        on_dev = {normalised_texts(example) for example in data.dev}
        self.showable = [e for e in task.train if normalised_texts(e) not in on_dev]
        self.candidates = {
            label: tuple(word for word in words if word in scorer.column)
            for label, words in table.space.label_candidates().items()
        }

    def variants(self) -> int:
        """The most forward passes that a sequence takes, over the kinds of templates."""
        return max(self.scorer.variants(frame) for frame in self.table.frames())

    def most_forwards(self) -> int:
        """The most forwards that one trial can take."""
        sequences = len(self.data.dev) + len(self.data.fit) + len(CONTENT_FREE)
        return sequences * self.variants()

    # -- from candidate to prompt -------------------------------------------------------------

    def prompt_of(self, candidate: Candidate) -> Prompt:
        """The frozen prompt of a candidate: words and calibration fitted, demonstrations drawn."""
        everything = np.arange(len(self.data.fit))
        verbalizer = self._verbalizer(candidate, everything)
        shown: tuple[Example, ...] = ()
        if candidate.demonstrations:
            shown = draw(
                self.showable,
                self.task.labels,
                candidate.demonstrations,
                self.seed,
                candidate.draw,
            )
        template = with_demonstrations(candidate.template) if shown else candidate.template
        prompt = Prompt(template, verbalizer, demonstrations=shown, lineage=(candidate.origin,))
        calibration = self._calibration(candidate, prompt, verbalizer, everything)
        return replace(prompt, calibration=calibration)

    def _verbalizer(self, candidate: Candidate, rows: Rows) -> Verbalizer:
        """The candidate's verbalizer, fitted on some rows of `data.fit` where it is fitted."""
        if candidate.words is not None:
            known = self.table.verbalizers[candidate.words]
            return replace(known, aggregation=candidate.aggregation)
        word_scores = self.scorer.scores(Frame(candidate.template), self.data.fit)
        return fit_verbalizer(
            word_scores[rows],
            self.data.fit_gold[rows],
            self.scorer.column,
            self.candidates,
            candidate.per_label,
            candidate.aggregation,
        )

    def _calibration(
        self, candidate: Candidate, prompt: Prompt, verbalizer: Verbalizer, rows: Rows
    ) -> Calibration:
        """The calibration, a batch prior taken from some rows of `data.fit`."""
        texts = [self.data.fit[row] for row in rows]
        texts = [example for example in texts if example not in prompt.demonstrations]
        fields = self.task.fields
        method = candidate.calibration
        return calibrate(method, self.scorer, prompt.frame, verbalizer, fields, texts)

    # -- scores on the selection data ---------------------------------------------------------

    def selection_scores(self, candidate: Candidate, prompt: Prompt, count: int) -> Scored:
        """Scores of the first `count` selection examples."""
        examples = self.data.examples[:count]
        if _is_fitted(candidate) and self.data.fit_count:
            on_train = self._cross_fitted(candidate, prompt)[:count]
            on_dev = predict(prompt, self.scorer, examples[self.data.fit_count :])
            found = np.concatenate([on_train, on_dev])
        else:
            found = predict(prompt, self.scorer, examples)
        for row, example in enumerate(examples[: self.data.fit_count]):
            if example in prompt.demonstrations:
                # The prompt shows this one's answer: it counts as a guess, and as a miss.
                found[row] = -np.log(len(self.task.labels))
                found[row, self.data.gold[row]] -= 1e-6
        return Scored(found, self.data.gold[:count])

    def _cross_fitted(self, candidate: Candidate, prompt: Prompt) -> Floats:
        """Scores on `data.fit`, each fold by words and prior of the others: `(fit, labels)`."""
        found = np.empty((len(self.data.fit), len(self.task.labels)))
        for fold in np.unique(self.data.folds):
            held = np.flatnonzero(self.data.folds == fold)
            rest = np.flatnonzero(self.data.folds != fold)
            verbalizer = self._verbalizer(candidate, rest)
            calibration = self._calibration(candidate, prompt, verbalizer, rest)
            examples = [self.data.fit[row] for row in held]
            raw = raw_label_scores(self.scorer, prompt.frame, verbalizer, examples)
            found[held] = calibrated(raw, calibration.offsets)
        return found

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
        if before is None:
            outcome = self._raced(candidate, prompt, race, droppable)
        else:
            outcome = replace(before, prompt=prompt, scored=None, reports={})
        seen = 0 if before else outcome.seen
        return replace(
            outcome,
            spent=replace(self.scorer.spent, seconds=time.perf_counter() - started),
            paid=self._paid(candidate, prompt, seen),
        )

    def _raced(self, candidate: Candidate, prompt: Prompt, race: Race, droppable: bool) -> Outcome:
        reports: dict[int, float] = {}
        sizes = rungs(len(self.data.examples))
        for rung in sizes:
            # Earlier blocks come out of the cache.
            scored = self.selection_scores(candidate, prompt, rung)
            reports[rung] = float(tempered_log_likelihoods(scored).mean())
            if rung == sizes[-1]:
                break
            if droppable and (
                race.hopeless(reports[rung], rung, sizes[-1]) or race.drops(rung, reports[rung])
            ):
                return Outcome(prompt, None, None, rung, reports, scored)
        value = reports[sizes[-1]]
        metric = scored.metric(self.task.metric)
        return Outcome(self._measured(prompt, scored), value, metric, sizes[-1], reports, scored)

    def _measured(self, prompt: Prompt, scored: Scored) -> Prompt:
        """The prompt with its scores on the selection data, and on dev alone."""
        parts = {
            "selection": (self.data.examples, scored),
            "dev": (self.data.dev, scored.last(len(self.data.dev))),
        }
        for name, (examples, part) in parts.items():
            found = {
                metric: measure(metric, part.log_probabilities, part.gold).to_dict()
                for metric in (self.task.metric, "cross_entropy")
            }
            prompt = prompt.with_scores(name, found, split_digest(examples))
        return prompt

    # -- paid rows: what an interrupted run need not count again -------------------------------

    def _paid(self, candidate: Candidate, prompt: Prompt, seen: int) -> dict[str, Any]:
        """What a trial looked at, small enough for a trial attribute."""
        fit_rows = "none"
        if _is_fitted(candidate) and self.data.fit_count and seen:
            fit_rows = "all"  # cross-fitting scores every fold
        elif candidate.calibration == "batch":
            fit_rows = "not shown"
        return {
            "bare": candidate.template.text if candidate.words is None else None,
            "template": prompt.template.text,
            "demonstrations": prompt.frame.demonstrations,
            "shown": [self.task.train.index(example) for example in prompt.demonstrations],
            "content_free": candidate.calibration == "contextual",
            "fit_rows": fit_rows,
            "seen": seen,
        }

    def restore_paid(self, paid: Mapping[str, Any]) -> None:
        """Tell the scorer what an earlier process of this run has paid for."""
        frame = Frame(Template.parse(paid["template"]), (), paid["demonstrations"])
        if paid["bare"] is not None:
            self.scorer.mark_paid(Frame(Template.parse(paid["bare"])), self.data.fit)
        if paid["content_free"]:
            self.scorer.mark_paid(frame, content_free(self.task.fields))
        if paid["fit_rows"] == "all":
            self.scorer.mark_paid(frame, self.data.fit)
        elif paid["fit_rows"] == "not shown":
            shown = [self.task.train[index] for index in paid["shown"]]
            self.scorer.mark_paid(frame, [e for e in self.data.fit if e not in shown])
        self.scorer.mark_paid(frame, self.data.examples[: paid["seen"]])


def _is_fitted(candidate: Candidate) -> bool:
    """Whether a candidate's scores on train depend on train."""
    return candidate.words is None or candidate.calibration == "batch"


def words_to_score(
    table: CandidateTable, word_ids: Callable[[Frame, str], tuple[int, ...]]
) -> tuple[list[str], list[str], list[str]]:
    """Every word that a trial may ask for.

    Args:
        table: the space's choices.
        word_ids: gives a word's ids in a frame, or raises VerbalizerError.

    Returns:
        The seeds' words, which are scored whatever their length; candidates that are one token in
        some template, and are scored there; and candidates that are left out.
    """
    seeds = [word for verbalizer in table.verbalizers for word in verbalizer.all_words]
    seeds = list(dict.fromkeys(seeds))
    kept: list[str] = []
    dropped: list[str] = []
    if table.space.fit_words:
        for words in table.space.label_candidates().values():
            for word in words:
                if word not in seeds:
                    fits = any(_is_one_token(word_ids, f, word) for f in table.frames())
                    (kept if fits else dropped).append(word)
    return seeds, kept, dropped


def _is_one_token(
    word_ids: Callable[[Frame, str], tuple[int, ...]], frame: Frame, word: str
) -> bool:
    try:
        return len(word_ids(frame, word)) == 1
    except VerbalizerError:
        return False
