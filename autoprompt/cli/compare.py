"""`autoprompt compare`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoprompt.cli.options import ModelOptions, json_option, model_options

if TYPE_CHECKING:
    from autoprompt.scoring.metrics import Measure
    from autoprompt.tuning.comparison import Row


@click.command()
@click.argument("places", metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--general-text",
    default="",
    metavar="FILE",
    help="Sentences, one a line, to measure what the models still know; by default 200 of ours.",
)
@click.option("--no-retention", is_flag=True, help="Do not measure that (it loads the models).")
@model_options
@json_option
def compare(
    places: tuple[str, ...],
    general_text: str,
    no_retention: bool,
    model_options: ModelOptions,
    as_json: bool,
) -> None:
    """Compare prompting and tuning: directories of `search` and `tune`, side by side."""
    from autoprompt.tuning.comparison import (
        notes_on,
        of_one_task,
        on_one_split,
        recommendation,
        rows_of,
    )

    paths = [Path(place) for place in places]
    found = [row for path in paths for row in rows_of(path)]
    tuned = [path for path in paths if (path / "tuning.json").is_file()]
    rows = on_one_split(of_one_task(found), tuned)
    if not no_retention:
        from autoprompt.cli.console import quiet_libraries

        quiet_libraries()
        rows = _with_retention(rows, general_text, model_options)
    chosen, reason = recommendation(rows)
    notes = notes_on(rows)
    if as_json:
        document = {
            "rows": [row.to_dict() for row in rows],
            "notes": notes,
            "recommended": {"name": chosen.name, "place": str(chosen.place), "reason": reason},
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
        return
    click.echo("\n".join(_table(rows)))
    for note in notes:
        click.echo(f"Note: {note}")
    click.echo(f"\nUse the {chosen.name} ({chosen.place}): {reason}.")


def _with_retention(rows: list[Row], general_text: str, model_options: ModelOptions) -> list[Row]:
    """The rows with what each model still knows; a prompt leaves its model as it is."""
    from autoprompt.cli.console import say
    from autoprompt.models.loading import load_model
    from autoprompt.tuning.comparison import base_of
    from autoprompt.tuning.retention import Retention, pseudo_perplexity
    from autoprompt.tuning.retention import general_text as read

    texts = read(Path(general_text) if general_text else None)
    known: dict[str, float] = {}

    def measured(name: str, revision: str = "") -> float:
        key = f"{name} {revision}"
        if key not in known:
            say(f"Measuring what {name} knows of ordinary text")
            model = load_model(
                name, device=model_options.device, dtype="float32", revision=revision
            )
            known[key] = pseudo_perplexity(model, texts)
        return known[key]

    tuned = dict.fromkeys(row.needs for row in rows if row.needs is not None)
    pairs = {path: (measured(*base_of(path)), measured(str(path))) for path in tuned}
    bases = {before for before, _ in pairs.values()}
    result = []
    for row in rows:
        if row.needs is not None:
            row = replace(row, retention=Retention(*pairs[row.needs]))
        elif len(bases) == 1:
            (before,) = bases
            row = replace(row, retention=Retention(before, before))
        result.append(row)
    return result


def _table(rows: list[Row]) -> list[str]:
    from autoprompt.tuning.comparison import size

    metric = rows[0].metric
    names = Counter(row.name for row in rows)
    cells = [
        (
            "way",
            f"{metric} (selection)",
            f"{metric} (test)",
            "trained",
            "seconds",
            "peak memory",
            "to ship",
            "perplexity",
            "examples",
        )
    ]
    for row in rows:
        kept = row.retention
        cells.append(
            (
                row.name if names[row.name] == 1 else f"{row.name} ({row.place})",
                _measure(row.selection),
                _measure(row.test),
                f"{row.parameters:,}",
                f"{row.seconds:.0f}",
                "-" if row.peak_memory is None else size(row.peak_memory),
                size(row.bytes_to_ship),
                "-" if kept is None else f"{kept.before:.1f} -> {kept.after:.1f}",
                f"{row.examples:,}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def _measure(measure: Measure | None) -> str:
    return "-" if measure is None else str(measure)
