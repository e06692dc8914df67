"""What each trial of a search is: a seed, a recipe's own prompt, a composed one, a refined one.

The order is fixed by what is stored: a resumed run goes through the same stages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.study import Study

from autoprompt.errors import ModelError, SearchError
from autoprompt.models.infilling import SentinelInfiller
from autoprompt.scoring.ledger import Spent
from autoprompt.searching.budget import NO_NEW, Budget
from autoprompt.searching.candidates import Candidate
from autoprompt.searching.recipes import Recipe
from autoprompt.searching.records import Record, Running
from autoprompt.searching.refinement import Refiner, Step
from autoprompt.searching.selection_data import FOLDS
from autoprompt.searching.template_writing import TemplateWriter
from autoprompt.searching.trials import Outcome, TrialRunner
from autoprompt.searching.trigger_objective import TriggerSettings
from autoprompt.space_content import TriggerPlan

SEED, OPENING, FIRST, COMPOSED, REFINED = "seed", "opening", "recipe's own", "composed", "refined"
FEWEST_STEPS = 8  # of trigger search, that a budget of forwards should allow
FEWEST_CANDIDATES = 8
EXHAUSTED = 20  # repetitions in a row after which a space has little new to compose


@dataclass(frozen=True)
class Done:
    """How far a search is.

    Attributes:
        records: of its trials.
        prompts: different ones scored.
        forwards: spent, as a budget counts.
        seconds: since it began.
        repeats: trials in a row that gave nothing new.
        index: the proposal that is next; by default as many as there are records.
        running: what other workers are at. All that they may spend counts as spent.
    """

    records: tuple[Record, ...]
    prompts: int
    forwards: int
    seconds: float
    repeats: int
    index: int | None = None
    running: tuple[Running, ...] = ()


class Stages:
    """Decides on the next trial.

    Args:
        runner: scores candidates.
        recipe: the way to search.
        infiller: a T5 that writes templates, or None: the model itself does.
        budget: what steps of a trigger search are sized by.

    Raises:
        InputError: what is asked for, this model cannot do, or no part of the search would use it.

    Attributes:
        refiner: steps through trigger searches; None where there are none.
        writer: has the model's templates written.
        openings: parameters of the trials right after the seeds.
    """

    def __init__(
        self,
        runner: TrialRunner,
        recipe: Recipe,
        infiller: SentinelInfiller | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.runner = runner
        self.table = runner.table
        self.recipe = recipe
        self.infiller = infiller
        self.refiner: Refiner | None = None
        plan = self.table.space.triggers
        if plan is None and recipe.composes and self.table.trigger_tokens:
            plan = TriggerPlan()
        if plan is not None:
            settings = replace(
                recipe.triggers, fluency=plan.fluency, anti_collapse=plan.anti_collapse
            )
            self.refiner = Refiner(runner, plan, settings, recipe.parents)
            if recipe.sized and budget is not None and budget.forwards is not None:
                sized = _sized(self.refiner, budget.forwards, recipe.share_before_triggers)
                self.refiner = Refiner(runner, plan, sized, recipe.parents)
        self.writer = TemplateWriter(runner, recipe.conditioned, infiller)
        self._check_model()
        self._first: list[Candidate] = []
        self.openings = self.table.opening_parameters() if recipe.composes else []

    def _check_model(self) -> None:
        """Refuse now what would fail in the middle of a run."""
        space, model = self.table.space, self.runner.scorer.model
        family = model.identity.family
        if self.recipe.name == "autoprompt" and len(space.fields) > 1 and family == "causal":
            raise ModelError(
                f"the recipe 'autoprompt' puts a pair's second text behind the mask, and "
                f"{model.identity.name!r} reads left to right; choose a masked model"
            )

    # -- which kind ---------------------------------------------------------------------------

    def next_kind(self, done: Done, budget: Budget) -> tuple[str | None, str]:
        """The next trial's kind, or None and why there is none.

        While other workers are at something, that is no end: what they find may change it.
        """
        index = len(done.records) if done.index is None else done.index
        if index < self.table.seeds:
            return SEED, ""
        kinds: list[str] = []
        if index < self.table.seeds + len(self.openings):
            kinds = [OPENING]
        elif index < self.table.seeds + len(self._first):
            kinds = [FIRST]
        else:
            if self.refiner is not None and self._is_time_to_refine(done, budget):
                if done.running and self._lines_from(done.records, done.running) is None:
                    # What is refined depends on all trials before: they are waited for.
                    return None, NO_NEW
                if self._line(done.records, done.running) is not None:
                    kinds.append(REFINED)
            if self.recipe.composes:
                kinds.append(COMPOSED)
        prompts = done.prompts + len(done.running)
        forwards = done.forwards + sum(self.bound(running.kind) for running in done.running)
        reason = NO_NEW
        for kind in kinds:
            stop = budget.finish_reason(
                prompts, forwards, done.seconds, self.bound(kind), done.repeats
            )
            if stop is None:
                return kind, ""
            reason = stop
        return None, reason

    def bound(self, kind: str) -> int:
        """The most forwards that a trial takes."""
        if kind == REFINED and self.refiner is not None:
            return self.refiner.most_forwards()
        return self.runner.costs.most_forwards()

    def _is_time_to_refine(self, done: Done, budget: Budget) -> bool:
        begun = self._lines_from(done.records, done.running) is not None
        used = budget.share_used(done.prompts, done.forwards, done.seconds)
        early = used < self.recipe.share_before_triggers and done.repeats < EXHAUSTED
        return begun or not early or not self.recipe.composes

    def most_forwards(self) -> int:
        """The most that one trial of any kind takes."""
        refined = self.refiner.most_forwards() if self.refiner else 0
        return max(self.runner.costs.most_forwards(), refined)

    def most_trials(self) -> int | None:
        """How many trials there can be; None where only the budget ends them."""
        goes_on = self.recipe.composes or self.refiner is not None or self.table.space.generated
        return None if goes_on else self.table.seeds + len(self.recipe.first(self.table))

    # -- a recipe's own prompts, and the model's templates -----------------------------------------

    def first(self, index: int) -> Candidate:
        """The recipe's own prompt of a proposal."""
        return self._first[index - self.table.seeds]

    def write_templates(
        self, study: Study, records: Sequence[Record], left: int | None = None
    ) -> Spent:
        """Let the model write templates from the best seed, and fix the recipe's own prompts.

        What was written is kept in the study; a resumed run finds it there.

        Args:
            study: keeps it.
            records: of the seeds.
            left: forwards that it may take; None stands for no limit.

        Returns:
            What it cost; the same for a resumed run.
        """
        spent = self.writer.write(study, records, left)
        self._first = self.recipe.first(self.table)
        return spent

    # -- refinement -------------------------------------------------------------------------------

    def line_of(
        self, records: Sequence[Record], running: Sequence[Running] = ()
    ) -> Mapping[str, Any]:
        """The state of the trigger search whose turn it is, and that no other worker is at."""
        found = self._line(records, running)
        if found is None:
            raise SearchError("no trigger search is left to go on with")
        return found

    def lines_from(self, index: int, records: Sequence[Record], running: Sequence[Running]) -> int:
        """The first step of any trigger search: the trials before are what is refined.

        Args:
            index: the proposal that is that first step, where there is none yet.
            records, running: see `Done`.
        """
        known = self._lines_from(records, running)
        return index if known is None else known

    def step(self, line: Mapping[str, Any], records: Sequence[Record]) -> Step:
        """One step of a trigger search."""
        assert self.refiner is not None
        before = next(r for r in records if r.proposal == line["parent"]).outcome
        for record in _by_step(records):
            mine = record.line and record.line["line"] == line["line"]
            if mine and record.outcome and record.outcome.repeats is None:
                before = record.outcome
        assert before is not None
        return self.refiner.step(line, before)

    def _lines_from(self, records: Sequence[Record], running: Sequence[Running]) -> int | None:
        """The first step of any trigger search, as far as it is known; None before there is one."""
        found = [record.lines_from for record in records] + [item.lines_from for item in running]
        # Runs of earlier versions did not keep it.
        found += [record.proposal for record in records if record.line]
        return min((first for first in found if first is not None), default=None)

    def _line(
        self, records: Sequence[Record], running: Sequence[Running] = ()
    ) -> dict[str, Any] | None:
        """`line_of`, or None where all trigger searches are over or taken."""
        assert self.refiner is not None
        states = [record.line for record in _by_step(records) if record.line]
        values: dict[int, float] = {}
        for record in records:
            if record.line and record.outcome and record.outcome.value is not None:
                line = record.line["line"]
                values[line] = max(values.get(line, record.outcome.value), record.outcome.value)
        begun = self._lines_from(records, running)
        outcomes: list[tuple[int, Outcome]] = [
            (record.proposal, record.outcome)
            for record in records
            if (begun is None or record.proposal < begun)
            and record.outcome is not None
            and self._may_be_parent(record)
        ]
        busy = {item.line for item in running if item.line is not None}
        return self.refiner.next_line(outcomes, states, values, busy)

    def _may_be_parent(self, record: Record) -> bool:
        """A recipe's own prompts, where it has some, are what it refines."""
        return not self._first or record.proposal >= self.table.seeds


def _by_step(records: Sequence[Record]) -> list[Record]:
    """Steps of trigger searches in their order, also where one was run again later."""

    def order(record: Record) -> tuple[int, bool]:
        line = record.line or {}
        return line["step"], bool(line.get("failed"))

    return sorted((record for record in records if record.line), key=order)


def _sized(refiner: Refiner, forwards: int, share: float) -> TriggerSettings:
    """Steps that are small enough for a budget to allow `FEWEST_STEPS` of them."""
    settings, variants = refiner.settings, refiner.runner.costs.variants
    room = int(forwards * (1 - share)) // FEWEST_STEPS - refiner.most_in_steps()
    small = max(settings.batch // 2, FOLDS * len(refiner.runner.task.labels))
    sizes = ((settings.batch, settings.beam), (settings.batch, 1), (small, 1))
    for batch, beam in sizes:
        again = settings.decided + beam if settings.decided else 0
        # Each member of the beam takes three forwards for its gradient, and one to be scored.
        candidates = room // (batch * variants) - 4 * beam - again
        if candidates >= FEWEST_CANDIDATES:
            break
    most = max(FEWEST_CANDIDATES, min(candidates, settings.candidates))
    return replace(settings, batch=batch, beam=beam, candidates=most)
