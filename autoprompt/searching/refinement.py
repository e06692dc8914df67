"""Refining the best candidates by trigger search, one step a trial.

A line is one trigger search: a parent prompt and a place for trigger tokens in it. Its state after
each step is stored with the trial, so that an interrupted run goes on where it stopped. Beside the
parent's own words, a line may have words that are fitted anew to every candidate: one forward pass
scores all words, so that triggers and label words are found together.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprompt.models.gradients import open_model
from autoprompt.objective import Scored, tempered_log_likelihoods
from autoprompt.prompts import Frame
from autoprompt.scoring.label_scores import label_scores, log_softmax
from autoprompt.scoring.ledger import Spent
from autoprompt.scoring.metrics import Ints
from autoprompt.searching.candidates import Candidate
from autoprompt.searching.label_words import Evidence, fit_verbalizer
from autoprompt.searching.selection_data import FOLDS
from autoprompt.searching.trials import Outcome, TrialRunner
from autoprompt.searching.trigger_objective import Ids, JointWords, TriggerSettings
from autoprompt.searching.trigger_slots import Slotted, slotted, split_by_slot
from autoprompt.searching.trigger_vocabulary import allowed_tokens
from autoprompt.searching.triggers import Line, TriggerSearch
from autoprompt.seeding import derive_seed
from autoprompt.space_content import TriggerPlan
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

TRIED = 2  # steps of every line before the best goes on alone
LEADING_WORDS = 10  # a label: the gradient follows many fitted words, as the right ones may be new
PARENTS = 2
DECIDED = 8  # of a step's candidates, where the model only screens
# Reads the model's states, which the exact scores of a step do not come with. Words that it chose
# are kept while triggers are searched, as in AutoPrompt (Shin et al. 2020, section 2.3).
NOT_JOINT = "label head"


@dataclass(frozen=True)
class Step:
    """What one step of a line gave.

    Attributes:
        candidate: the line's best prompt now.
        state: of the line, for the trial's record.
        spent: on the step, the scoring of the candidate left out.
    """

    candidate: Candidate
    state: dict[str, Any]
    spent: Spent


class Refiner:
    """Steps through the lines of a search.

    Args:
        runner: scores candidates.
        plan: where triggers may stand, and how many.
        settings: how to step.
        parents: how many prompts are refined.
    """

    def __init__(
        self,
        runner: TrialRunner,
        plan: TriggerPlan,
        settings: TriggerSettings,
        parents: int = PARENTS,
    ) -> None:
        self.runner = runner
        self.plan = plan
        # Fitted words are judged on the folds that they were not fitted on: a batch must hold
        # every label outside each fold, so two examples of each at least.
        fewest = FOLDS * len(runner.task.labels)
        batch = min(len(runner.data.fit), max(settings.batch, fewest))
        screens = runner.exact is not runner
        self.settings = replace(settings, batch=batch, decided=DECIDED if screens else 0)
        self.parents = parents
        self.model = open_model(runner.scorer.model)
        self._exact = open_model(runner.exact.scorer.model)
        space = runner.table.space
        # Beside a parent's own words, words that are fitted to its triggers get a line.
        methods = [method for method in space.word_methods if method != NOT_JOINT]
        self._words_by = (
            (methods[0], space.words_per_label[0]) if space.fit_words and methods else None
        )
        self._allowed = allowed_tokens(self.model)
        self._slots: dict[str, list[Slotted]] = {}
        for seed in space.seeds:  # positions that this model cannot have are refused at once
            self._slotted(seed.template.text)

    def most_forwards(self) -> int:
        """The most that one step takes, the scoring of its prompt included."""
        variants = self.runner.costs.variants
        tokens = max(self.plan.max_tokens, self.runner.table.trigger_tokens)
        step = self.settings.most_forwards(variants, tokens)
        # The words that lead the gradient are fitted to where the step begins.
        leading = len(self.runner.data.fit) * variants if self.runner.table.space.fit_words else 0
        return step + leading + self.runner.costs.most_forwards()

    def most_in_steps(self) -> int:
        """The most that a step takes beside its exact rescoring."""
        return self.most_forwards() - self.settings.most_forwards(self.runner.costs.variants, 0)

    def next_line(
        self,
        outcomes: Sequence[tuple[int, Outcome]],
        states: Sequence[Mapping[str, Any]],
        values: Mapping[int, float] | None = None,
        busy: Collection[int] = (),
    ) -> dict[str, Any] | None:
        """The state of the line whose turn it is; None where all are at their end.

        Every line goes `TRIED` steps; then the one whose prompts did best goes on until its
        patience ends, and after it the next best.

        Args:
            outcomes: proposals and outcomes of the trials before the first step.
            states: of the lines after each step so far, in the order of the trials.
            values: the best value on dev that each line's prompts had.
            busy: lines that other workers are at.
        """
        lines = self._beginnings(outcomes)
        for state in states:
            lines[state["line"]] = dict(state)
        going = [line for line in lines if line["line"] not in busy and not self._is_over(line)]
        known = values or {}

        def turn(line: Mapping[str, Any]) -> tuple[int, float, int]:
            return min(line["step"], TRIED), -known.get(line["line"], -math.inf), line["line"]

        return min(going, key=turn, default=None)

    def step(self, state: Mapping[str, Any], before: Outcome) -> Step:
        """Go one step.

        Args:
            state: of the line.
            before: the outcome that the line's last prompt, or its parent, had.

        Raises:
            InputError: no token is left that a trigger may be, or words cannot be fitted.
            ScoringError: scores or gradients are not finite. Whatever is raised, the runner's
                scorer knows what the step has spent.
        """
        runner = self.runner
        runner.scorer.begin()
        slots = self._slotted(state["parent template"])[state["place"]]
        beam = tuple(tuple(ids) for ids in state["beam"])
        start = self._candidate(state, slots, beam[0])
        joint, leading = None, replace(start, calibration="none")  # only its words are asked for
        if start.verbalizer is None:
            joint = self._joint_words(start)
            leading = replace(leading, per_label=LEADING_WORDS, aggregation="mean")
        search = TriggerSearch(
            self.model,
            Frame(slots.template),
            runner.fitter.prompt_of(leading).verbalizer,
            runner.data.fit,
            runner.data.fit_gold,
            self.settings,
            derive_seed(runner.seed, "line", state["line"]),
            # Those of the prompt as it is now: what is searched is what is scored.
            before.prompt.calibration.offsets if state["calibration"] != "none" else (),
            self._allowed,
            joint,
            self._exact,
        )
        try:
            line = search.step(Line(beam, state["step"], state["stale"]))
        finally:
            runner.scorer.spent += search.spent
        candidate = replace(
            self._candidate(state, slots, line.best),
            how=f"{slots.how}, step {line.step}",
            lineage=before.prompt.lineage,
        )
        after = {"beam": [list(ids) for ids in line.beam], "step": line.step, "stale": line.stale}
        # Who asks again for what a step looked at pays again, resumed run or not.
        runner.scorer.abandon()
        return Step(candidate, {**state, **after}, runner.scorer.spent)

    def _candidate(self, state: Mapping[str, Any], slots: Slotted, ids: Ids) -> Candidate:
        """The candidate of some trigger tokens: with the line's words, or with fitted ones."""
        candidate = Candidate(
            slots.template,
            None,
            aggregation=state["aggregation"],
            calibration=state["calibration"],
            triggers=split_by_slot(slots.template, ids),
            label_fitted=True,
        )
        if state["words by"]:
            method, per_label = state["words by"]
            return replace(candidate, method=method, per_label=per_label)
        words = Verbalizer.of(state["words"], aggregation=state["aggregation"])
        return replace(candidate, verbalizer=words)

    def _joint_words(self, start: Candidate) -> JointWords:
        """Words that are fitted to each candidate, on the folds that do not judge it."""
        runner = self.runner
        scorer, data = runner.scorer, runner.data
        all_folds = data.folds if data.fit_count else np.zeros(len(data.fit), dtype=np.int64)
        single = scorer.single_tokens(runner.fitter.bare_frame(start))
        column = {word: place for place, word in enumerate(single)}
        candidates = {
            label: [word for word in words if word in column]
            for label, words in runner.fitter.label_candidates.items()
        }

        def loss(word_scores: NDArray[np.float32], rows: Ints) -> float:
            gold = data.fit_gold[rows]
            folds = all_folds[rows]
            found = np.empty((len(rows), len(candidates)))
            evidence = Evidence(word_scores, gold, column)
            for fold in np.unique(folds):
                held = folds == fold
                rest = np.flatnonzero(~held) if data.fit_count else np.arange(len(rows))
                words = fit_verbalizer(
                    start.method,
                    evidence.rows(rest),
                    candidates,
                    start.per_label,
                    start.aggregation,
                )
                groups = [[column[word] for word in group] for group in words.words]
                found[held] = label_scores(word_scores[held], groups, start.aggregation)
            return -float(tempered_log_likelihoods(Scored(log_softmax(found), gold)).mean())

        ids = np.array([[token] for token in single.values()])
        return JointWords(ids, loss, all_folds)

    def _beginnings(self, outcomes: Sequence[tuple[int, Outcome]]) -> list[dict[str, Any]]:
        """The lines at their start: the likeliest prompts of different templates."""
        best = sorted(
            (item for item in outcomes if item[1].value is not None and item[1].repeats is None),
            key=lambda item: (-(item[1].value or 0.0), item[0]),
        )
        parents: dict[str, tuple[int, Outcome]] = {}
        for proposal, outcome in best:
            if not outcome.prompt.demonstrations and len(parents) < self.parents:
                parents.setdefault(outcome.prompt.template.text, (proposal, outcome))
        lines: list[dict[str, Any]] = []
        for text, (proposal, outcome) in parents.items():
            prompt = outcome.prompt
            words_by = outcome.words_by
            if words_by is not None and words_by[0] == NOT_JOINT:
                words_by = None
            for place, slots in enumerate(self._slotted(text)):
                known = [list(ids) for ids in prompt.frame.triggers]
                state = {
                    "parent": proposal,
                    "parent template": text,
                    "place": place,
                    "beam": [[i for ids in (known or slots.initial) for i in ids]],
                    "step": 0,
                    "stale": 0,
                    "words": prompt.verbalizer.as_dict(),
                    "words by": words_by,
                    "aggregation": prompt.verbalizer.aggregation,
                    "calibration": prompt.calibration.method,
                }
                lines.append({**state, "line": len(lines)})
                if words_by is None and self._words_by is not None:
                    own = {"words by": self._words_by, "calibration": "none"}
                    lines.append({**state, **own, "line": len(lines)})
        return lines

    def _slotted(self, text: str) -> list[Slotted]:
        if text not in self._slots:
            self._slots[text] = slotted(
                self.model.encoder, Template.parse(text), self.plan.positions, self.plan.max_tokens
            )
        return self._slots[text]

    def _is_over(self, state: Mapping[str, Any]) -> bool:
        return bool(state.get("failed")) or self.settings.is_over(state["stale"])
