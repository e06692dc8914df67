"""What a person sees of a search: progress on stderr, results on stdout."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

import click
from tqdm import tqdm

from autoprompt.lineage import told
from autoprompt.progress import Forecast, Observer
from autoprompt.prompts import Prompt
from autoprompt.results import SearchResult
from autoprompt.scoring.ledger import Spent
from autoprompt.searching.budget import Budget
from autoprompt.searching.records import Record
from autoprompt.tasks.task import Task


class Console(Observer):
    """Draws the forecast, a bar with the incumbent's score and the time left, and notes."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.bar: tqdm[Any] | None = None
        self.by_forwards = False

    def forecast(self, forecast: Forecast, budget: Budget) -> None:
        """Say what is coming, and open the bar."""
        say(
            f"Forecast: {forecast.templates:,} templates in the space, about "
            f"{forecast.trials:,} trials in the budget; at most {forecast.forwards:,} forwards "
            f"(test included), {_until(budget, forecast)} at "
            f"{forecast.forwards_per_second:,.0f} forwards a second"
        )
        self.by_forwards = budget.trials is None
        self.bar = tqdm(
            total=budget.forwards if self.by_forwards else budget.trials,
            unit=" forwards" if self.by_forwards else " trials",
            file=sys.stderr,
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else 15.0,  # a log file wants few lines
        )

    def trial(self, record: Record, spent: Spent, best: float | None) -> None:
        """Move the bar."""
        if self.bar is not None:
            outcome = record.outcome
            is_new = outcome is not None and outcome.repeats is None
            self.bar.update(spent.budgeted - self.bar.n if self.by_forwards else int(is_new))
            if best is not None:
                self.bar.set_description(f"best {self.metric} {best:.3f}", refresh=False)

    def note(self, text: str) -> None:
        """Print above the bar."""
        tqdm.write(f"Note: {text}", file=sys.stderr)

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


def task_line(task: Task) -> str:
    """A task in one line."""
    sizes = ", ".join(f"{len(split)} {name}" for name, split in task.splits.items())
    return f"Task {task.name}: {sizes}; labels {', '.join(task.labels)}"


def on_one_line(text: str) -> str:
    r"""A template as it fits into a line: its line breaks as YAML writes them, \n."""
    return text.replace("\n", "\\n")


def say(text: str) -> None:
    """Tell the user something that is not a result."""
    click.echo(text, err=True)


def quiet_libraries() -> None:
    """Keep progress bars and reports of the libraries off the screen."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    logging.getLogger("autoprompt").propagate = False


def _shown(best: Prompt) -> str:
    if best.retrieval is None:
        return f"{len(best.demonstrations)} demonstrations"
    return (
        f"the {best.retrieval.per_label} examples of each label that are most like the input, of "
        f"{len(best.demonstrations)}"
    )


@contextlib.contextmanager
def logging_to_screen() -> Iterator[None]:
    """Show warnings on stderr: a worker has no log of its own."""
    logger, handler = logging.getLogger("autoprompt"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    handler.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def trial_line(record: Record, spent: Spent) -> None:
    """Say on one line that a trial of any worker is finished."""
    outcome = record.outcome
    metric = outcome.metric if outcome else None
    found = record.failure or ("dropped" if metric is None else f"{metric:.3f}")
    say(f"trial {record.proposal} by {record.worker}: {found} ({spent.forwards:,} forwards)")


def print_result(result: SearchResult, metric: str, out: str) -> None:
    """The result for people: seeds, winner, verdict, cost, and what to do next."""
    click.echo(f"\nSeed prompts, {metric} on the selection data (train and dev):")
    for prompt in result.seeds:
        template = on_one_line(prompt.template.text)
        click.echo(f"  {_score(prompt, metric)}  {template}   [{prompt.verbalizer}]")
    best = result.best
    click.echo(f"\nWinner: {_score(best, metric)}")
    click.echo(f"  template     {on_one_line(best.shown)}")
    click.echo(f"  label words  {best.verbalizer}")
    click.echo(f"  calibration  {best.calibration.method}")
    if best.demonstrations:
        click.echo(f"  shows        {_shown(best)}")
    came_from = [on_one_line(line) for line in told(best.lineage)]
    if len(came_from) > 1:
        click.echo("  came from    " + "\n               ".join(came_from))
    click.echo(f"\nVerdict: {result.verdict}")
    if result.baseline_is_drafted:
        click.echo(
            "The best seed prompt is a guess of `autoprompt init` from the labels' names, which is "
            "weak to be compared with: put what an expert would write into the space, and search "
            "again."
        )
    spread = result.verdict.winner_spread
    if spread is not None and spread.wordings > 1:
        click.echo(f"Under other wordings of itself, on dev: {metric} {spread}.")
    if result.own_test_reads > 1:
        click.echo(
            f"This run has read test {result.own_test_reads} times, so this is no first look: take "
            f"the p-value with that in mind."
        )
    if result.test_reads > 1:
        click.echo(f"The runs in this folder have read this test split {result.test_reads} times.")
    click.echo(
        f"\nSpent: {result.trials} trials of {result.prompts} different prompts, "
        f"{result.ledger.forwards:,} forwards, "
        f"{_backwards(result)}{result.ledger.saved:,} forwards saved by racing, "
        f"{_duration(result.ledger.seconds)}; ended by: {result.finish_reason}"
    )
    click.echo(
        f"Files: {out}/best.json (the prompt), report.html (to read), verdict.json, ledger.json, "
        f"trials.jsonl, prompts/\n"
        f"\nNext:\n"
        f"  autoprompt predict {out}/best.json --data FILE   label new texts\n"
        f"  autoprompt score {out}/best.json --data FILE     measure it on other labelled texts\n"
        f"  autoprompt report {out}                          what each token is worth, and more\n"
        f"  autoprompt export {out} --format F --out PATH    for another program"
    )


def result_document(result: SearchResult, out: str) -> dict[str, Any]:
    """The result for programs."""
    return {
        "out": out,
        "best": result.best.to_dict(),
        "baseline": result.baseline.to_dict(),
        "seeds": [prompt.to_dict() for prompt in result.seeds],
        "verdict": result.verdict.to_dict(),
        "baseline_is_drafted": result.baseline_is_drafted,
        "ledger": result.ledger.to_dict(),
        "trials": result.trials,
        "prompts": result.prompts,
        "finish_reason": result.finish_reason,
        "test_reads": result.test_reads,
    }


def _backwards(result: SearchResult) -> str:
    count = result.ledger.backwards
    return f"{count:,} backward passes, " if count else ""


def _until(budget: Budget, forecast: Forecast) -> str:
    seconds = forecast.seconds if budget.seconds is None else min(forecast.seconds, budget.seconds)
    return _duration(seconds)


def _score(prompt: Prompt, metric: str) -> str:
    found = prompt.scores["selection"][metric]
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}] (n={found['n']})"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
