"""`autoprompt init`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from autoprompt.cli.options import TASK_HELP, DataOptions, data_options


@click.command()
@click.option("--task", "task_path", required=True, metavar="PATH", help=TASK_HELP)
@click.option("--out", default="space.yaml", show_default=True, metavar="FILE", help="To write.")
@click.option("--force", is_flag=True, help="Replace --out where it exists.")
@data_options
def init(task_path: str, out: str, force: bool, data_options: DataOptions) -> None:
    """Write a first search space from a task's fields and label names, for you to edit."""
    from autoprompt.drafts import draft_space
    from autoprompt.errors import InputError
    from autoprompt.files import write_atomically
    from autoprompt.tasks.task import Task

    target = Path(out)
    if target.exists() and not force:
        raise InputError(f"{out} exists; pass --force to replace it, or choose another --out")
    task = Task.load(task_path, columns=data_options.columns, encoding=data_options.encoding)
    text = draft_space(task.name, task.fields, task.labels)
    write_atomically(target, text)
    given = ["--task", task_path, *_as_options(data_options), "--space", out, "--out", "run"]
    click.echo(
        f"Wrote {out}: look at its label words and seed prompts, which are guesses from the label "
        f"names.\n\nNext:\n  autoprompt search {shlex.join(given)}"
    )


def _as_options(data: DataOptions) -> list[str]:
    """The options again, for the next command."""
    options = [part for name in data.text_columns for part in ("--text-column", name)]
    options += ["--label-column", data.label_column] if data.label_column else []
    return options + (["--encoding", data.encoding] if data.encoding != "utf-8" else [])
