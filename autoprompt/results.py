"""The end of a search: the one reading of the test split, and the files of the run."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.study import Study

from autoprompt.drafts import is_drafted
from autoprompt.files import write_json
from autoprompt.finished_runs import judged_rows
from autoprompt.objective import Scored, evaluate
from autoprompt.prompts import Prompt
from autoprompt.robustness import Spread, wording_scores
from autoprompt.runs import RunDirectory
from autoprompt.scoring.ledger import Spent
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.records import Record
from autoprompt.searching.selection import Item, Selection
from autoprompt.searching.trials import TrialRunner
from autoprompt.searching.verdict import Verdict, judge
from autoprompt.tasks.held_out import HeldOut
from autoprompt.tracking import Trackers

VERSIONED = ("autoprompt", "torch", "transformers", "tokenizers", "optuna", "numpy")
READINGS = "readings of test"
SPREAD_EXAMPLES = 32  # of dev; a handful of wordings is scored on each


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        best: the prompt that selection chose.
        baseline: the seed prompt that was best on the selection data.
        seeds: every seed prompt with its scores there.
        verdict: winner against baseline on test.
        ledger: what was spent, the test included.
        trials: how many were run, seeds and repetitions included.
        prompts: how many different prompts they scored.
        finish_reason: why the search ended.
        own_test_reads: how often this run read test: once, and once more for each other winner
            that a resumed search with a larger budget ended with.
        test_reads: the same for this run and those beside it that have the same test split.
    """

    best: Prompt
    baseline: Prompt
    seeds: tuple[Prompt, ...]
    verdict: Verdict
    ledger: Spent
    trials: int
    prompts: int
    finish_reason: str
    own_test_reads: int
    test_reads: int

    @property
    def baseline_is_drafted(self) -> bool:
        """Whether the best seed is a guess of `autoprompt init`, and so a weak one to beat."""
        return is_drafted(self.baseline.template, self.baseline.verbalizer)

    def tell(self, trackers: Trackers) -> None:
        """Tell trackers of the result: aggregates and the prompt, no example."""
        verdict = self.verdict
        trackers.end(
            {
                f"test {verdict.metric}": verdict.winner.value,
                f"test {verdict.metric} of the best seed": verdict.baseline.value,
                "lift": verdict.lift,
                "p value": verdict.p_value,
                "forwards": self.ledger.forwards,
            },
            {
                "verdict": verdict.status,
                "template": self.best.shown,
                "label words": str(self.best.verbalizer),
                "prompt": self.best.digest,
            },
        )


@dataclass(frozen=True)
class Reading:
    """One reading of the test split, as the study keeps it.

    Attributes:
        verdict: winner against baseline.
        winner, baseline: their measures by name.
        spent: by the reading.
        shortened: sequences that were too long (see `WordScorer.truncated`).
    """

    verdict: Verdict
    winner: Mapping[str, Any]
    baseline: Mapping[str, Any]
    spent: Spent
    shortened: int

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "verdict": self.verdict.to_dict(),
            "winner": dict(self.winner),
            "baseline": dict(self.baseline),
            "spent": self.spent.to_dict(),
            "shortened": self.shortened,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Reading:
        """From the JSON form."""
        return cls(
            Verdict.from_dict(record["verdict"]),
            record["winner"],
            record["baseline"],
            Spent.from_dict(record["spent"]),
            record["shortened"],
        )


def read_test(study: Study, runner: TrialRunner, selection: Selection) -> Reading:
    """Score the winner and the baseline on test, or recall that it was done.

    The test split is read once for a winner: a resumed run that ends with the same one takes the
    numbers from the study.
    """
    readings = dict(study.user_attrs.get(READINGS, {}))
    winner, baseline = selection.winner[1].prompt, selection.baseline[1].prompt
    key = f"{winner.digest} {baseline.digest}"
    if key in readings:
        return Reading.from_dict(readings[key])
    started = time.perf_counter()
    scorers = [_test_scorer(runner, prompt) for prompt in (winner, baseline)]
    scored = evaluate(winner, scorers[0], runner.task.test)
    against = scored
    if not selection.kept_seed:
        against = evaluate(baseline, scorers[1], runner.task.test)
    spent = scorers[0].spent + scorers[1].spent
    verdict = judge(scored, against, runner.task.metric, selection.kept_seed, runner.seed)
    spread, reworded_spent = _spread(runner, winner)
    spent += reworded_spent
    beside = spread
    if not selection.kept_seed:
        beside, reworded_spent = _spread(runner, baseline)
        spent += reworded_spent
    reading = Reading(
        replace(verdict, winner_spread=spread, baseline_spread=beside),
        _measures(scored),
        _measures(against),
        replace(spent, seconds=time.perf_counter() - started),
        scorers[0].truncated + scorers[1].truncated,
    )
    study.set_user_attr(READINGS, {**readings, key: reading.to_dict()})
    return reading


def reworded(runner: TrialRunner, prompt: Prompt) -> tuple[list[Scored], Spent]:
    """A prompt's scores under its wordings, its own first, on dev; and what they cost."""
    scorer = _test_scorer(runner, prompt)
    examples = runner.data.dev[:SPREAD_EXAMPLES]
    own = evaluate(prompt, scorer, examples)
    return [own, *wording_scores(prompt, scorer, examples).values()], scorer.spent


def _spread(runner: TrialRunner, prompt: Prompt) -> tuple[Spread, Spent]:
    scores, spent = reworded(runner, prompt)
    return Spread.of([scored.metric(runner.task.metric) for scored in scores]), spent


def _test_scorer(runner: TrialRunner, prompt: Prompt) -> WordScorer:
    return WordScorer(runner.exact.scorer.model, prompt.verbalizer.all_words, relative=True)


def _measures(scored: Scored) -> dict[str, Any]:
    return {name: value.to_dict() for name, value in scored.measures().items()}


def completed(runner: TrialRunner, item: Item, test: Mapping[str, Any] | None = None) -> Prompt:
    """A prompt with all that its file holds.

    Args:
        runner: of the search.
        item: proposal and outcome.
        test: its measures on test, where it was scored there.
    """
    proposal, outcome = item
    prompt, model = outcome.prompt, runner.scorer.model
    *before, last = prompt.lineage
    if proposal >= runner.table.seeds:
        last = replace(last, how=f"{last.how} (trial {proposal})")
    digests = runner.task.digests()
    prompt = replace(
        prompt,
        model=model.identity,
        tokens=model.encoder.record(prompt.frame, prompt.verbalizer.all_words),
        lineage=(*before, last),
        splits={**digests, **prompt.splits},
        versions=versions(),
        seed=runner.seed,
        columns=runner.task.columns,
    )
    return prompt if test is None else prompt.with_scores("test", test, digests["test"])


def versions() -> dict[str, str]:
    """Of the packages that a result depends on."""
    return {name: importlib.metadata.version(name) for name in VERSIONED}


def own_readings(study: Study) -> list[Reading]:
    """Every reading of test that this run made."""
    return [Reading.from_dict(record) for record in study.user_attrs.get(READINGS, {}).values()]


def write_run(
    run: RunDirectory,
    runner: TrialRunner,
    records: Sequence[Record],
    selection: Selection,
    judged: tuple[Scored, Scored],
    result: SearchResult,
) -> None:
    """Write the files of a finished run: `best.json` last, so that it means all is there.

    Args:
        run: the directory.
        runner: of the trials.
        records: of all trials, in the precision that they were scored in.
        selection: the choice, in float32.
        judged: what winner and baseline said of the selection examples that judge them.
        result: what the files say.
    """
    finalists = {outcome.prompt.digest: (n, outcome) for n, outcome in selection.finalists}
    finalists |= {outcome.prompt.digest: (n, outcome) for n, outcome in selection.seeds}
    task = runner.task
    run.write_held_out(HeldOut.of(task.test, [*task.train, *task.dev]))
    run.write_finalists(completed(runner, item) for item in finalists.values())
    for name in task.drawn:
        run.write_split(name, runner.data.dev if name == "dev" else task.splits[name])
    run.write_trials(_row(record) for record in records)
    data = runner.data
    run.write_selection(judged_rows(data.examples, data.fit_count, data.labels, *judged))
    write_json(
        run.ledger,
        {
            **result.ledger.to_dict(),
            "trials": result.trials,
            "prompts": result.prompts,
            "finish_reason": result.finish_reason,
        },
    )
    write_json(
        run.verdict,
        {
            **result.verdict.to_dict(),
            "winner_prompt": result.best.digest,
            "baseline_prompt": result.baseline.digest,
            "baseline_is_drafted": result.baseline_is_drafted,
            "test_digest": task.digests()["test"],
            "own_test_reads": result.own_test_reads,
            "test_reads": result.test_reads,
            "seed": runner.seed,
        },
    )
    result.best.save(run.best)


def _row(record: Record) -> dict[str, Any]:
    outcome = record.outcome
    row: dict[str, Any] = {"trial": record.proposal, "parameters": record.parameters}
    if outcome is None:
        spent = record.spent.to_dict()
        return {**row, "state": "failed", "reason": record.failure, "spent": spent}
    state = "scored" if outcome.value is not None else "dropped"
    if outcome.repeats is not None:
        state = "repeated"
    return {
        **row,
        "state": state,
        "repeats": outcome.repeats,
        "metric": outcome.metric,
        "value": outcome.value,
        "examples": outcome.seen,
        "template": outcome.prompt.template.text,
        "verbalizer": outcome.prompt.verbalizer.as_dict(),
        "calibration": outcome.prompt.calibration.method,
        "precision": outcome.precision,
        "prompt": outcome.prompt.digest,
        "spent": outcome.spent.to_dict(),
    }
