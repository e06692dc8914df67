"""One trial: from a candidate to a scored prompt, block by block.

What is fitted is fitted on train. A trial's value is that one prompt on the selection data: on dev
as it is, on train with what is fitted refitted without the fold that is scored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprompt.demonstrations import DemonstrationPool, not_shown, with_demonstrations
from autoprompt.errors import TemplateError
from autoprompt.lineage import Edit
from autoprompt.objective import (
    Scored,
    calibrate,
    predict,
    raw_label_scores,
    tempered_log_likelihoods,
)
from autoprompt.prompts import Calibration, Frame, Prompt
from autoprompt.retrieval import POOL, Retrieval
from autoprompt.scoring.calibration import CONTENT_FREE, calibrated
from autoprompt.scoring.label_scores import Floats
from autoprompt.scoring.ledger import Spent
from autoprompt.scoring.metrics import measure
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.candidates import Candidate, CandidateTable
from autoprompt.searching.label_words import Evidence, fit_verbalizer
from autoprompt.searching.paid import is_fitted, paid_rows
from autoprompt.searching.racing import Race, rungs
from autoprompt.searching.selection_data import SelectionData
from autoprompt.searching.trigger_slots import blank, trigger_tokens
from autoprompt.space_content import SIMILAR
from autoprompt.tasks.examples import Example, normalised_texts, split_digest
from autoprompt.tasks.task import Task
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
        task: fields, labels, metric, and the train split that demonstrations are drawn from.
        data: what is fitted on and selected on.
        table: the space's choices.
        scorer: knows every word of the space.
        seed: the run's seed.
        candidates: label to the words that may be fitted for it.
        exact: the runner whose model decides, where this one's only screens; by default itself.
    """

    def __init__(
        self,
        task: Task,
        data: SelectionData,
        table: CandidateTable,
        scorer: WordScorer,
        seed: int,
        candidates: Mapping[str, Sequence[str]],
        exact: TrialRunner | None = None,
    ) -> None:
        self.exact = exact or self
        self.task = task
        self.data = data
        self.table = table
        self.scorer = scorer
        self.seed = seed
        # A demonstration must not give away an example that is scored on dev.
        on_dev = {normalised_texts(example) for example in data.dev}
        showable = [e for e in task.train if normalised_texts(e) not in on_dev]
        self.showable = DemonstrationPool(showable, task.labels)
        self.candidates = candidates
        self._variants: int | None = None

    def variants(self) -> int:
        """The most forward passes that a sequence takes, over the kinds of templates."""
        if self._variants is None:  # asked for in every trial, and always the same
            self._variants = max(self.scorer.variants(frame) for frame in self.table.frames())
        return self._variants

    def most_forwards(self) -> int:
        """The most forwards that one composed prompt can take."""
        sequences = self._sequences()
        space = self.table.space
        states = space.fit_words and "label head" in space.word_methods
        return sequences * self.variants() + (len(self.data.fit) if states else 0)

    def most_for_seeds(self) -> int:
        """The most forwards that all seed prompts can take, as the expert wrote them."""
        frames = [self.bare_frame(Candidate(one.template, 0)) for one in self.table.space.seeds]
        return self._sequences() * sum(self.scorer.variants(frame) for frame in frames)

    def _sequences(self) -> int:
        """Sequences of one prompt, in one way."""
        return len(self.data.dev) + len(self.data.fit) + len(CONTENT_FREE)

    # -- from candidate to prompt -------------------------------------------------------------

    def prompt_of(self, candidate: Candidate) -> Prompt:
        """The frozen prompt of a candidate: words and calibration fitted, demonstrations drawn."""
        everything = np.arange(len(self.data.fit))
        verbalizer = self._verbalizer(candidate, everything)
        shown, retrieval = self._demonstrations(candidate)
        template = with_demonstrations(candidate.template) if shown else candidate.template
        triggers = trigger_tokens(self.scorer.model.encoder, self.bare_frame(candidate).triggers)
        prompt = Prompt(template, verbalizer, triggers, shown, retrieval=retrieval)
        words = dict(zip(verbalizer.labels, verbalizer.words, strict=True))
        lineage = (*candidate.lineage, Edit(candidate.how, prompt.shown, words))
        calibration = self._calibration(candidate, prompt, verbalizer, everything)
        return replace(prompt, calibration=calibration, lineage=lineage)

    def _demonstrations(self, candidate: Candidate) -> tuple[tuple[Example, ...], Retrieval | None]:
        """What a candidate shows, or chooses from for each input."""
        if not candidate.demonstrations:
            return (), None
        if candidate.select == SIMILAR:
            pool = self.showable.draw(POOL, self.seed, 0, order="grouped")
            return pool, Retrieval(candidate.demonstrations, candidate.order)
        drawn = self.showable.draw(
            candidate.demonstrations, self.seed, candidate.draw, candidate.select, candidate.order
        )
        return drawn, None

    def bare_frame(self, candidate: Candidate) -> Frame:
        """What the model sees of a candidate without demonstrations."""
        counts = candidate.template.trigger_counts
        fresh = tuple((blank(self.scorer.model.encoder),) * count for count in counts)
        return Frame(candidate.template, candidate.triggers or fresh)

    def _verbalizer(self, candidate: Candidate, rows: Rows) -> Verbalizer:
        """The candidate's verbalizer, fitted on some rows of `data.fit` where it is fitted."""
        if candidate.verbalizer is not None:
            return candidate.verbalizer
        if candidate.words is not None:
            known = self.table.verbalizers[candidate.words]
            return replace(known, aggregation=candidate.aggregation)
        frame = self.bare_frame(candidate)
        evidence = Evidence(
            self.scorer.scores(frame, self.data.fit), self.data.fit_gold, self.scorer.column
        )
        if candidate.method == "label head":
            evidence = replace(
                evidence,
                states=self.scorer.states(frame, self.data.fit),
                embeddings=self.scorer.output_embeddings(frame),
            )
        return fit_verbalizer(
            candidate.method,
            evidence.rows(rows),
            self.candidates,
            candidate.per_label,
            candidate.aggregation,
        )

    def _calibration(
        self, candidate: Candidate, prompt: Prompt, verbalizer: Verbalizer, rows: Rows
    ) -> Calibration:
        """The calibration, a batch prior taken from some rows of `data.fit`."""
        texts = not_shown([self.data.fit[row] for row in rows], prompt.shown_to_all)
        fields = self.task.fields
        method = candidate.calibration
        if method == "batch":
            # All at once: in bfloat16 a score hangs a little on what else is in its batch.
            self.scorer.scores(prompt.frame, self.data.fit)
        return calibrate(method, self.scorer, prompt.frame, verbalizer, fields, texts)

    # -- scores on the selection data ---------------------------------------------------------

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
        if is_fitted(candidate) and self.data.fit_count:
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

    def cross_fitted(self, candidate: Candidate, prompt: Prompt) -> Floats:
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

        Raises:
            TemplateError: a person has banned its template.
        """
        started = time.perf_counter()
        self.scorer.begin()
        if candidate.template.text in self.table.space.banned_templates:
            raise TemplateError(f"a person has banned the template {candidate.template.text!r}")
        prompt = self.prompt_of(candidate)
        before = seen_before(prompt.digest)
        if before is None:
            outcome = self._raced(candidate, prompt, race, droppable)
        else:
            outcome = replace(before, prompt=prompt, scored=None, reports={})
        seen = 0 if before else outcome.seen
        fits = candidate.words is None and candidate.verbalizer is None
        return replace(
            outcome,
            spent=replace(self.scorer.spent, seconds=time.perf_counter() - started),
            paid=paid_rows(self.data, candidate, self.bare_frame(candidate), prompt, seen),
            words_by=(candidate.method, candidate.per_label) if fits else None,
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
        everything = np.arange(len(self.data.fit))
        calibration = self._calibration(candidate, prompt, prompt.verbalizer, everything)
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
        reports: dict[int, float] = {}
        start = self.data.judges_from(candidate.label_fitted)
        sizes = rungs(len(self.data.examples) - start)
        on_train = None
        if is_fitted(candidate) and self.data.fit_count and not start:
            on_train = self.cross_fitted(candidate, prompt)  # once, for all rungs
        for rung in sizes:
            # Earlier blocks come out of the cache.
            scored = self.selection_scores(candidate, prompt, rung, on_train)
            reports[rung] = float(tempered_log_likelihoods(scored).mean())
            if rung == sizes[-1]:
                break
            if droppable and race.verdict_on(scored, start) is not None:
                run = max(rung, self.data.fit_count) if is_fitted(candidate) and not start else rung
                left = self.data.examples[start + run : start + sizes[-1]]
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
