"""Refining the best candidates by trigger search, one step a trial.

A line is one trigger search: a parent prompt and a place for trigger tokens in it. Its state after
each step is stored with the trial, so that an interrupted run goes on where it stopped. Label words
that were fitted are fitted again once the triggers have changed: the two are learnt in turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autoprompt.models.gradients import open_model
from autoprompt.objective import Scored, predict, tempered_log_likelihoods
from autoprompt.prompts import Frame
from autoprompt.scoring.ledger import Spent
from autoprompt.searching.candidates import Candidate
from autoprompt.searching.trials import Outcome, TrialRunner
from autoprompt.searching.trigger_slots import Slotted, slotted, split_by_slot
from autoprompt.searching.triggers import Line, TriggerSearch, TriggerSettings, allowed_tokens
from autoprompt.seeding import derive_seed
from autoprompt.space_content import TriggerPlan
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

PARENTS = 2


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
        self.settings = settings
        self.parents = parents
        self.model = open_model(runner.scorer.model)
        space = runner.table.space
        # Beside a parent's human words, words that are fitted to its triggers get a line.
        self._words_by = (
            (space.word_methods[0], space.words_per_label[0]) if space.fit_words else None
        )
        self._allowed = allowed_tokens(self.model)
        self._slots: dict[str, list[Slotted]] = {}

    def most_forwards(self) -> int:
        """The most that one step takes, the scoring of its prompt included."""
        step = self.settings.most_forwards(self.runner.variants(), self.plan.max_tokens)
        return step + self.runner.most_forwards()

    def next_line(
        self, outcomes: Sequence[tuple[int, Outcome]], states: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any] | None:
        """The state of the line whose turn it is; None where all are at their end.

        Args:
            outcomes: proposals and outcomes of the trials before the first step.
            states: of the lines after each step so far, in the order of the trials.
        """
        lines = self._beginnings(outcomes)
        for state in states:
            lines[state["line"]] = dict(state)
        going = [line for line in lines if not self._is_over(line)]
        return min(going, key=lambda line: (line["step"], line["line"]), default=None)

    def step(self, state: Mapping[str, Any], before: Outcome) -> Step:
        """Go one step.

        Args:
            state: of the line.
            before: the outcome that the line's last prompt, or its parent, had.
        """
        runner = self.runner
        runner.scorer.begin()
        slots = self._slotted(state["parent template"])[state["place"]]
        beam = tuple(tuple(ids) for ids in state["beam"])
        start = Candidate(
            slots.template,
            None,
            aggregation=state["aggregation"],
            calibration=state["calibration"],
            triggers=split_by_slot(slots.template, beam[0]),
            label_fitted=True,
        )
        if state["words"] is None:
            method, per_label = state["words by"]
            fitted = replace(start, method=method, per_label=per_label)
            verbalizer = runner.prompt_of(fitted).verbalizer
        else:
            verbalizer = Verbalizer.of(state["words"], aggregation=state["aggregation"])
        search = TriggerSearch(
            self.model,
            Frame(slots.template),
            verbalizer,
            runner.data.fit,
            runner.data.fit_gold,
            self.settings,
            derive_seed(runner.seed, "line", state["line"]),
            tuple(state["offsets"]),
            self._allowed,
        )
        line = search.step(Line(beam, state["step"], state["stale"]))
        candidate = replace(
            start,
            verbalizer=verbalizer,
            triggers=split_by_slot(slots.template, line.best),
            how=f"{slots.how}, step {line.step}",
            lineage=before.prompt.lineage,
        )
        improved = line.stale == 0
        if improved and state["words by"]:
            candidate = self._with_better_words(candidate, state)
        chosen = candidate.verbalizer
        assert chosen is not None
        return Step(
            candidate,
            {
                **state,
                "beam": [list(ids) for ids in line.beam],
                "step": line.step,
                "stale": line.stale,
                "words": chosen.as_dict(),
            },
            search.spent + runner.scorer.spent,
        )

    def _with_better_words(self, candidate: Candidate, state: Mapping[str, Any]) -> Candidate:
        """The candidate with words fitted to its new triggers, if they are likelier on train."""
        method, per_label = state["words by"]
        again = replace(candidate, verbalizer=None, method=method, per_label=per_label)
        fitted = self.runner.prompt_of(again)
        old = self.runner.prompt_of(candidate)
        likelihoods = [
            tempered_log_likelihoods(
                Scored(
                    predict(prompt, self.runner.scorer, self.runner.data.fit),
                    self.runner.data.fit_gold,
                )
            ).mean()
            for prompt in (fitted, old)
        ]
        better = likelihoods[0] > likelihoods[1]
        return replace(candidate, verbalizer=fitted.verbalizer) if better else candidate

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
                    "words by": outcome.words_by,
                    "aggregation": prompt.verbalizer.aggregation,
                    "calibration": prompt.calibration.method,
                    "offsets": list(prompt.calibration.offsets),
                }
                lines.append({**state, "line": len(lines)})
                if outcome.words_by is None and self._words_by is not None:
                    own = {"words": None, "words by": self._words_by, "calibration": "none"}
                    lines.append({**state, **own, "offsets": [], "line": len(lines)})
        return lines

    def _slotted(self, text: str) -> list[Slotted]:
        if text not in self._slots:
            self._slots[text] = slotted(
                self.model.encoder, Template.parse(text), self.plan.positions, self.plan.max_tokens
            )
        return self._slots[text]

    def _is_over(self, state: Mapping[str, Any]) -> bool:
        return bool(state.get("failed")) or state["stale"] >= self.settings.patience
