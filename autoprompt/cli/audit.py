"""`autoprompt audit`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoprompt.cli.options import (
    DataOptions,
    ModelOptions,
    data_options,
    json_option,
    model_options,
    prompts_model_option,
    seed_option,
)

if TYPE_CHECKING:
    from autoprompt.audit_results import Audit, Change, FamilyAudit
    from autoprompt.scoring.metrics import Measure

Row = tuple[str, ...]


@click.command()
@click.argument("prompt_path", metavar="PROMPT")
@click.option("--data", required=True, metavar="FILE", help="Labelled examples, not the test's.")
@prompts_model_option
@click.option(
    "--metric", default="accuracy", show_default=True, help="accuracy, macro_f1 or matthews."
)
@click.option(
    "--share", type=float, default=0.3, show_default=True, help="Of the words to discard."
)
@seed_option
@data_options
@model_options
@json_option
def audit(
    prompt_path: str,
    data: str,
    model: str | None,
    metric: str,
    share: float,
    seed: int,
    data_options: DataOptions,
    model_options: ModelOptions,
    as_json: bool,
) -> None:
    """Try a prompt in other words, on changed inputs, and on other groups of people."""
    from autoprompt.prompts import Prompt
    from autoprompt.runs import held_out_of, prompt_file

    prompt = Prompt.load(prompt_file(prompt_path))
    held_out = held_out_of(prompt_path, prompt)
    examples = data_options.examples(Path(data), prompt, labelled=True)

    from autoprompt.audit import audit as run_audit
    from autoprompt.audit import check_request
    from autoprompt.cli.console import quiet_libraries
    from autoprompt.prediction import Predictor

    check_request(prompt, examples, metric, share, held_out)
    quiet_libraries()
    predictor = Predictor(prompt, model_options.model_of(prompt, model))
    found = run_audit(predictor, examples, metric, seed, share, held_out)
    if as_json:
        document = {"prompt": prompt.digest, "data": data, **found.to_dict()}
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        click.echo("\n".join(_report(found)))


def _report(found: Audit) -> list[str]:
    """The audit as lines of plain text."""
    lines = [f"Unchanged: {found.metric} {found.unchanged}"]
    lines += ["", "The prompt in other words:"]
    lines += _changes(found.wordings, found.metric) or ["  no other wording applies"]
    lines += ["", f"Changed inputs ({found.share:.0%} of the words where some are lost):"]
    lines += _changes(found.inputs, found.metric) or ["  no change applies"]
    lines += ["", "Only the group of people exchanged:"]
    for family in found.families:
        lines += _family(family)
    if not found.families:
        lines.append("  no example names a group")
    lines += ["", *(f"Note: {note}" for note in found.notes), found.summary]
    return lines


def _changes(changes: Sequence[Change], metric: str) -> list[str]:
    rows: list[Row] = [("change", metric, "95 % interval", "differs", "flips", "", "gold p moves")]
    for change in changes:
        share = change.flips.measure
        rows.append(
            (
                change.name,
                f"{change.metric.value:.3f}",
                f"[{change.metric.low:.3f}, {change.metric.high:.3f}]",
                f"{change.difference:+.3f}",
                f"{change.flips.count} of {change.flips.n}",
                f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}]",
                f"{change.shift:.3f}",
            )
        )
    return _table(rows) if changes else []


def _family(family: FamilyAudit) -> list[str]:
    """A family's rows: for each two groups the flips, and how each label's probability moves."""
    labels = list(dict.fromkeys(label for pair in family.pairs for label in pair.shifts))
    heads = [f"p({label}) moves" for label in labels]
    rows: list[Row] = [(f"{family.name}: from, to", "flips", "", *heads)]
    for pair in family.pairs:
        share = pair.flips.measure
        rows.append(
            (
                ", ".join(pair.groups),
                f"{pair.flips.count} of {pair.flips.n}",
                f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}]",
                *(_moves(pair.shifts.get(label)) for label in labels),
            )
        )
    compared = f"{family.compared} changed texts compared; the prediction flips in {family.flips}"
    return [*_table(rows), f"  {compared}"]


def _moves(shift: Measure | None) -> str:
    if shift is None:
        return "-"
    return f"{shift.value:+.3f} [{shift.low:+.3f}, {shift.high:+.3f}]"


def _table(rows: Sequence[Row]) -> list[str]:
    """Rows with their columns aligned, the first row being the heads."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
