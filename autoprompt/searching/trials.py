"""One trial: a candidate's prompt is scored on the selection data, block by block.

A trial's value is that one prompt, fitted on train: on dev as it is, on train with what is fitted
refitted without the fold that is scored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autoprompt.errors import TemplateError
from autoprompt.objective import Scored, predict, raw_label_scores, tempered_log_likelihoods
from autoprompt.prompts import Prompt
from autoprompt.scoring.calibration import calibrated
from autoprompt.scoring.label_scores import Floats
from autoprompt.scoring.ledger import Spent
from autoprompt.scoring.metrics import measure
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.candidates import Candidate, CandidateTable
from autoprompt.searching.paid import paid_rows
from autoprompt.searching.prompt_fitting import PromptFitter
from autoprompt.searching.racing import Race, rungs
from autoprompt.searching.selection_data import SelectionData
from autoprompt.searching.trial_costs import TrialCosts
from autoprompt.tasks.examples import normalised_texts, split_digest
from autoprompt.tasks.task import Task

NOTHING = Spent()


@dataclass(frozen=True)
class Outcome:
    """A finished trial.

    Attributes:
        prompt: the frozen prompt.
        value: mean tempered log-likelihood of all selection examples, what the search maximises;
            None where the race dropped the candidate.
        metric: the task's metric on them; None as above.
        seen: selection examples seen, from `start` on.
        reports: rung to mean tempered log-likelihood.
        scored: on the selection examples seen; None for a repetition.
        spent: by this trial.
        paid: what it ran, for `paid.restore_paid` after an interruption.
        repeats: proposal that scored the same prompt before, or None.
        start: the first selection example that judges it; see `SelectionData.judges_from`.
        words_by: method and number a label where words were fitted, or None.
        line: state of the trigger search that it is a step of, or None.
        precision: in which the model scored it.
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
    start: int = 0
    words_by: tuple[str, int] | None = None
    line: Mapping[str, Any] | None = None
    precision: str = "float32"


class TrialRunner:
    """Scores candidates of one search.

    Args:
        task: labels, metric, and the train split that demonstrations are drawn from.
        data: what is fitted on and selected on.
        table: the space's choices.
        scorer: knows every word of the space.
        seed: the run's seed.
        label_candidates: label to the words that may be fitted for it.
        exact: the runner whose model decides, where this one's only screens; by default itself.

    Attributes:
        fitter: makes a candidate's prompt.
        costs: the most that a trial can take.
    """

    def __init__(
        self,
        task: Task,
        data: SelectionData,
        table: CandidateTable,
        scorer: WordScorer,
        seed: int,
        label_candidates: Mapping[str, Sequence[str]],
        exact: TrialRunner | None = None,
    ) -> None:
        self.exact = exact or self
        self.task = task
        self.data = data
        self.table = table
        self.scorer = scorer
        self.seed = seed
        self.fitter = PromptFitter(task, data, table, scorer, seed, label_candidates)
        self.costs = TrialCosts(data, table, scorer)

    def selection_scores(
        self,
        candidate: Candidate,
        prompt: Prompt,
        count: int,
        on_train: Floats | None = None,
    ) -> Scored:
        """Scores of the first `count` selection examples that may judge the candidate.

        Args:
            candidate, prompt: what is scored.
            count: how many.
            on_train: `cross_fitted`, where it is known.
        """
        start = self.data.judges_from(candidate.label_fitted)
        examples = self.data.examples[start : start + count]
        gold = self.data.gold[start : start + count]
        if start:
            return Scored(predict(prompt, self.scorer, examples), gold)
        if self._cross_fits(candidate):
            if on_train is None:
                on_train = self.cross_fitted(candidate, prompt)
            on_dev = predict(prompt, self.scorer, examples[self.data.fit_count :])
            found = np.concatenate([on_train[:count], on_dev])
        else:
            found = predict(prompt, self.scorer, examples)
        told = {normalised_texts(example) for example in prompt.shown_to_all}
        for row, example in enumerate(examples[: self.data.fit_count]):
            if normalised_texts(example) in told:
                # The prompt shows this one's answer: it counts as a guess, and as a miss.
                found[row] = -np.log(len(self.task.labels))
                found[row, gold[row]] -= 1e-6
        return Scored(found, gold)

    def _cross_fits(self, candidate: Candidate) -> bool:
        """Whether train judges a candidate, and a fold only what was fitted without it."""
        return candidate.is_fitted and self.data.fit_count > 0 and not candidate.label_fitted

    def cross_fitted(self, candidate: Candidate, prompt: Prompt) -> Floats:
        """Scores on `data.fit`, each fold by words and prior of the others: `(fit, labels)`."""
        found = np.empty((len(self.data.fit), len(self.task.labels)))
        for fold in np.unique(self.data.folds):
            held = np.flatnonzero(self.data.folds == fold)
            rest = np.flatnonzero(self.data.folds != fold)
            verbalizer = self.fitter.verbalizer(candidate, rest)
            calibration = self.fitter.calibration(candidate, prompt, verbalizer, rest)
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

        Raises:
            TemplateError: a person has banned its template.
        """
        started = time.perf_counter()
        self.scorer.begin()
        if candidate.template.text in self.table.space.banned_templates:
            raise TemplateError(f"a person has banned the template {candidate.template.text!r}")
        prompt = self.fitter.prompt_of(candidate)
        before = seen_before(prompt.digest)
        if before is None:
            outcome = self._raced(candidate, prompt, race, droppable)
        else:
            outcome = replace(before, prompt=prompt, scored=None, reports={})
        seen = 0 if before else outcome.seen
        bare = self.fitter.bare_frame(candidate)
        return replace(
            outcome,
            spent=replace(self.scorer.spent, seconds=time.perf_counter() - started),
            paid=paid_rows(self.data, candidate, bare, prompt, seen),
            words_by=(candidate.method, candidate.per_label) if candidate.fits_words else None,
            line=None,
            precision=before.precision if before else self.scorer.model.precision,
        )

    def rescored(self, candidate: Candidate, outcome: Outcome) -> Outcome:
        """A finished trial's prompt, with its words as they are, scored in full by this runner.

        Its calibration is estimated anew, and what is cross-fitted is fitted anew without each
        fold.

        Args:
            candidate: what the trial scored.
            outcome: what came of it.
        """
        prompt = outcome.prompt
        started = time.perf_counter()
        self.scorer.begin()
        calibration = self.fitter.calibration(
            candidate, prompt, prompt.verbalizer, self.fitter.all_rows
        )
        prompt = replace(prompt, calibration=calibration)
        found = self._raced(candidate, prompt, Race(len(self.data.examples)), droppable=False)
        spent = replace(self.scorer.spent, seconds=time.perf_counter() - started)
        return replace(
            found,
            spent=spent,
            words_by=outcome.words_by,
            precision=self.scorer.model.precision,
        )

    def _raced(self, candidate: Candidate, prompt: Prompt, race: Race, droppable: bool) -> Outcome:
        """The prompt's outcome, scored rung by rung until the race drops it or no rung is left."""
        reports: dict[int, float] = {}
        start = self.data.judges_from(candidate.label_fitted)
        sizes = rungs(len(self.data.examples) - start)
        cross_fits = self._cross_fits(candidate)
        on_train = self.cross_fitted(candidate, prompt) if cross_fits else None  # for all rungs
        for rung in sizes:
            # Earlier blocks come out of the cache.
            scored = self.selection_scores(candidate, prompt, rung, on_train)
            reports[rung] = float(tempered_log_likelihoods(scored).mean())
            if rung == sizes[-1]:
                break
            if droppable and race.verdict_on(scored, start) is not None:
                done = max(rung, self.data.fit_count) if cross_fits else rung
                left = self.data.examples[start + done : start + sizes[-1]]
                self.scorer.spent += Spent(saved=self.scorer.unpaid(prompt.frame, left))
                return Outcome(prompt, None, None, rung, reports, scored, start=start)
        value = reports[sizes[-1]]
        metric = scored.metric(self.task.metric)
        measured = self._measured(prompt, scored, start)
        return Outcome(measured, value, metric, sizes[-1], reports, scored, start=start)

    def _measured(self, prompt: Prompt, scored: Scored, start: int) -> Prompt:
        """The prompt with its scores on the selection data that may judge it, and on dev alone."""
        parts = {
            "selection": (self.data.examples[start:], scored),
            "dev": (self.data.dev, scored.last(len(self.data.dev))),
        }
        for name, (examples, part) in parts.items():
            found = {
                metric: measure(metric, part.log_probabilities, part.gold).to_dict()
                for metric in (self.task.metric, "cross_entropy")
            }
            prompt = prompt.with_scores(name, found, split_digest(examples))
        return prompt
