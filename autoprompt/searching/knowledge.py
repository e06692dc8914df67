"""What a worker knows of a search: its finished trials, by whomever, and what follows from them."""

from __future__ import annotations

import bisect
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from optuna.trial import FrozenTrial

from autoprompt.errors import AutopromptError, SearchError
from autoprompt.objective import Scored
from autoprompt.runs import RunDirectory
from autoprompt.scoring.ledger import Spent
from autoprompt.searching.kept_scores import KeptScores
from autoprompt.searching.paid import restore_paid
from autoprompt.searching.racing import Race
from autoprompt.searching.records import CREATOR, Record, candidate_of, record_of
from autoprompt.searching.stages import Stages
from autoprompt.searching.trials import Outcome, TrialRunner
from autoprompt.tasks.examples import split_digest

log = logging.getLogger(__name__)


class Knowledge:
    """The records of a search, as far as a process has seen them.

    Args:
        runner: scores a candidate.
        stages: says what each trial is.
        run: where per-example scores are; None for a worker that does not see it.
        prepared: what was spent before the first trial.
        shared: whether scores are kept in the study too.

    Attributes:
        records: in the order of proposals; there may be gaps while others are at work.
        by_digest: of each prompt, the first proposal that scored it.
        race: what candidates reached.
        best: the most likely prompt of those that were scored on all selection examples.
        spent: by all workers.
        own_seconds: of the process that began the search.
    """

    def __init__(
        self,
        runner: TrialRunner,
        stages: Stages,
        run: RunDirectory | None,
        prepared: Spent,
        shared: bool,
    ) -> None:
        self.runner = runner
        self.table = runner.table
        self.stages = stages
        self.seed = runner.seed
        self.race = Race(len(runner.data.examples))
        self.best: Outcome | None = None
        self.records: list[Record] = []
        self.by_proposal: dict[int, Record] = {}
        self.by_digest: dict[str, int] = {}
        self.spent = prepared
        self.own_seconds = prepared.seconds
        self._scores = KeptScores(run, split_digest(runner.data.examples), shared)

    def _runner_of(self, index: int) -> TrialRunner:
        """Who scores a proposal: seeds, and what shares their forward passes, are not screened."""
        exact = self.table.seeds + len(self.stages.openings)
        return self.runner.exact if index < exact else self.runner

    def _take_in(
        self,
        finished: Mapping[int, FrozenTrial],
        progress: Callable[[Record, Spent], None] | None = None,
    ) -> None:
        """Remember trials that were finished since the last look, by proposal."""
        for proposal, trial in sorted(finished.items()):
            if proposal in self.by_proposal:
                continue  # this process's own
            record = self._record_of(trial)
            if record.outcome is not None:
                scorer = self._runner_of(proposal).scorer
                restore_paid(scorer, self.runner.task, self.runner.data, record.outcome.paid)
                if record.outcome.repeats is None:
                    self._scores.heard(record.outcome.prompt.digest, trial.user_attrs)
            self._remember(record)
            if progress is not None:
                progress(self.by_proposal[proposal], self.spent)

    def _record_of(self, trial: FrozenTrial) -> Record:
        try:
            record = record_of(trial)
        except (AutopromptError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise SearchError(
                f"trial {trial.number} of the study cannot be read ({error}); the database was "
                f"changed by another program: restore it from a backup"
            ) from error
        assert record is not None
        return record

    def _remember(self, record: Record) -> None:
        """Take a finished trial into account: its costs, its prompt, the race."""
        bisect.insort(self.records, record, key=lambda known: known.proposal)
        self.by_proposal[record.proposal] = record
        self.spent += record.spent
        if record.worker == CREATOR:
            self.own_seconds += record.spent.seconds
        outcome = record.outcome
        if outcome is None:
            return
        if outcome.repeats is None:
            first = self.by_digest.setdefault(outcome.prompt.digest, record.proposal)
            if first != record.proposal:
                # Two workers scored one prompt at the same time: it counts once.
                self._repeats_another(max(first, record.proposal), min(first, record.proposal))
                self.by_digest[outcome.prompt.digest] = min(first, record.proposal)
                return
            self.race.finish(outcome.value, lambda: self.scored_of(outcome), outcome.start)
            if not outcome.start and outcome.value == self.race.incumbent:
                self.best = outcome

    def _repeats_another(self, later: int, first: int) -> None:
        """Let one of two proposals with the same prompt count as a repetition of the other."""
        known = self.by_proposal[later]
        assert known.outcome is not None
        repeated = replace(known, outcome=replace(known.outcome, scored=None, repeats=first))
        self.by_proposal[later] = repeated
        place = bisect.bisect_left(self.records, later, key=lambda record: record.proposal)
        self.records[place] = repeated

    def scored_of(self, outcome: Outcome) -> Scored:
        """A finished trial's per-example scores on the selection data that judges it.

        Those whose file is lost or damaged are computed again.
        """
        if outcome.scored is not None:
            return outcome.scored
        prompt, start = outcome.prompt, outcome.start
        found = self._scores.read(prompt.digest)
        if found is not None and len(found) == outcome.seen:
            return Scored(found, self.runner.data.gold[start : start + len(found)])
        log.warning("the scores of prompt %s are lost; they are computed again", prompt.digest)
        exact = self.runner.exact
        runner = exact if outcome.precision == exact.scorer.model.precision else self.runner
        scored = runner.selection_scores(candidate_of(outcome), prompt, outcome.seen)
        self._scores.keep(prompt.digest, scored)
        return scored

    def _seen_before(self, digest: str) -> Outcome | None:
        """The outcome of a prompt that was scored before, as one that is repeated now."""
        proposal = self.by_digest.get(digest)
        if proposal is None:
            return None
        outcome = self.by_proposal[proposal].outcome
        assert outcome is not None
        return replace(outcome, repeats=proposal)

    def _repeats(self) -> int:
        """Trials in a row, up to now, that gave nothing new; seeds do not count."""
        count = 0
        for record in reversed(self.records):
            new = record.outcome is not None and record.outcome.repeats is None
            if new or record.proposal < self.table.seeds:
                break
            count += 1
        return count
