"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from autoprompt.tasks.columns import Columns

Command = TypeVar("Command", bound=Callable[..., Any])


def column_options(command: Command) -> Command:
    """`--text-column`, `--label-column`, `--encoding`."""
    for option in (
        click.option("--encoding", default="utf-8", show_default=True, help="Of text files."),
        click.option("--label-column", default="", metavar="NAME", help="The label's column."),
        click.option(
            "--text-column",
            "text_columns",
            multiple=True,
            metavar="NAME",
            help="The text's column; twice for a pair of texts.",
        ),
    ):
        command = option(command)
    return command


def model_options(command: Command) -> Command:
    """`--device`, `--revision`, `--trust-remote-code`."""
    for option in (
        click.option(
            "--trust-remote-code", is_flag=True, help="Let the model run its own Python code."
        ),
        click.option("--revision", default="", help="Of a Hugging Face model."),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda or mps."),
    ):
        command = option(command)
    return command


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
)


def columns_of(text_columns: tuple[str, ...], label_column: str) -> Columns:
    """The columns that the options name; what they leave open is described or guessed."""
    from autoprompt.errors import TaskError
    from autoprompt.tasks.columns import Columns

    if len(text_columns) > 2:
        raise TaskError("--text-column may be given twice at most; more fields need a task.yaml")
    names = ("text",) if len(text_columns) == 1 else ("text_a", "text_b")
    fields = dict(zip(names, text_columns, strict=False))
    return Columns(fields=fields, label=label_column)
