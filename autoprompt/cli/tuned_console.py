"""What a tuning came to, on the screen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from autoprompt.tuning.results import TuningResult


def print_tuning(
    result: TuningResult, searched: dict[str, Any] | None, out: str, as_json: bool
) -> None:
    """Print what came out, and what the search of `w>p` found."""
    if as_json:
        document = {"out": out, **result.to_dict(), "search": searched}
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
        return
    click.echo("\n".join(_lines(result, out)))
    if searched:
        click.echo(f"\nSearched on the tuned model: {searched['verdict']}")


def _lines(result: TuningResult, out: str) -> list[str]:
    """What came out, for people."""
    from autoprompt.tuning.card import NO_HELP, TOO_SURE, brightness_of, paths_of
    from autoprompt.tuning.measuring import CROSS_ENTROPY, DECIDES

    lines = []
    for task in result.tasks:
        lines.append(f"{task.name}: {task.prompt.shown}   [{task.prompt.verbalizer}]")
        for name in dict.fromkeys((task.metric, DECIDES, CROSS_ENTROPY)):
            measures = [
                (f"{task.judged_on}, untuned", task.before),
                (f"{task.judged_on}, tuned", task.after),
                ("test, tuned", task.test),
            ]
            width = len(measures[0][0])
            lines += [
                f"  {name} on {on:<{width}}  {found[name]}"
                for on, found in measures
                if name in found
            ]
        if task.is_worse:
            lines.append("  The prompt alone is better: use it as it is, or another method.")
        if task.is_too_sure:
            lines.append(f"  {TOO_SURE}.")
    trained = result.trained
    lines += [
        f"{brightness_of(result.tasks[0].judged_on)}.",
        f"Trained {result.parameters:,} of {result.all_parameters:,} parameters, "
        f"{trained.steps} steps in {result.seconds:.0f} s; weights: {trained.weights}; "
        f"ended by: {trained.reason}",
        f"Peak memory {result.peak_memory / 2**20:,.0f} MiB; "
        f"{result.bytes_to_ship / 2**20:,.2f} MiB to ship",
        *([f"{NO_HELP}: {trained.reason}."] if not trained.step else []),
        "",
        "Next:",
        *(
            f"  autoprompt predict {path} --data FILE   label new texts"
            for path in paths_of(result.to_dict(), out)
        ),
        f"  autoprompt compare RUN {out} ...       which way to use?",
    ]
    return lines
