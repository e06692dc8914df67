"""`autoprompt run`: the whole way, from a task to what leaves the house."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from autoprompt.cli.export import FORMATS, check_format
from autoprompt.cli.options import DataOptions, ModelOptions
from autoprompt.cli.search import search
from autoprompt.cli.tune import tune

NO_TUNING = "none"


@click.command()
@click.option(
    "--export",
    "formats",
    multiple=True,
    default=("transformers",),
    show_default=True,
    metavar="F",
    help=f"Formats to export the winner in, to RUN/exports: {', '.join(FORMATS)}.",
)
@click.option(
    "--tune",
    "method",
    default="full",
    show_default=True,
    metavar="METHOD",
    help="How the model is tuned through the winner, to RUN/tuned: full, head, bitfit, lora, soft; "
    "or none.",
)
@click.pass_context
def run(context: click.Context, /, formats: tuple[str, ...], method: str, **given: Any) -> None:
    """Search, tune, export and report in one go; the options are those of search.

    With --resume, what is finished is not done again, but for exports and report.
    """
    from autoprompt.errors import UnknownNameError
    from autoprompt.tuning.settings import METHODS

    for name in formats:
        check_format(name)
    if method not in (*METHODS, NO_TUNING):
        raise UnknownNameError("tuning method", method, (*METHODS, NO_TUNING))
    context.invoke(search, **given)
    if method != NO_TUNING:
        _tune(context, method, given)
    options = ModelOptions(
        given["device"], given["threads"], given["revision"], given["trust_remote_code"]
    )
    refused = _export(given["out"], formats, options)
    _report(given["out"], options)
    if refused is not None:  # the rest is done: what cannot be carried is still an error
        raise refused


def _tune(context: click.Context, method: str, given: Mapping[str, Any]) -> None:
    """Tune the model through the winner; an interrupted tuning goes on, a finished one stays."""
    from autoprompt.cli import console
    from autoprompt.prompts import Prompt
    from autoprompt.runs import TUNED_PROMPT, RunDirectory
    from autoprompt.tuning.output import TunedDirectory

    place = RunDirectory(given["out"]).tuned
    directory = TunedDirectory(place)
    if directory.record.is_file():
        tuned, best = (
            Prompt.load(path) for path in (place / TUNED_PROMPT, place.parent / "best.json")
        )
        if tuned.digest != best.digest:
            console.say(f"{place} is of an earlier winner; remove it, and give the command again")
        return
    shared = {option.name for option in tune.params} & {option.name for option in search.params}
    options = {name: given[name] for name in shared if name in given}
    options |= {"prompt_paths": (given["out"],), "task_paths": (given["task_path"],)}
    options |= {"out": str(place), "method": method, "resume": directory.settings.is_file()}
    options |= {"budget": "quick", "space": ""}  # of another search, which this way has not
    options |= {"as_json": False, "feedback": given["feedback"] or ""}
    # What a search prints stays alone on stdout.
    with contextlib.redirect_stdout(sys.stderr):
        context.invoke(tune, **options)


# All that a search can be told, a run can be told.
run.params += search.params


def _export(out: str, formats: Sequence[str], model_options: ModelOptions) -> Exception | None:
    """Write the winner in some formats; returns the first refusal."""
    from autoprompt.cli.console import say
    from autoprompt.cli.export import written
    from autoprompt.errors import InputError
    from autoprompt.export.formats import format_of
    from autoprompt.runs import RunDirectory

    folder = RunDirectory(out).exports
    folder.mkdir(exist_ok=True)
    first: Exception | None = None
    for name in dict.fromkeys(formats):
        suffix = format_of(name).suffix
        place = folder / (f"prompt_{name}{suffix}" if suffix else name)
        try:
            paths = written(
                out, name, place, None, (), None, True, DataOptions((), "", "utf-8"), model_options
            )
        except InputError as error:
            say(f"Not exported: {error}")
            first = first or error
        else:
            say(f"Exported {', '.join(map(str, paths))}")
    return first


def _report(out: str, model_options: ModelOptions) -> Path:
    """Write the report, with all that the model says."""
    from autoprompt.cli.console import say
    from autoprompt.cli.report import written

    path = written(out, None, False, model_options)
    say(f"Report: {path}")
    return path
