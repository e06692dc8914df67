"""`autoprompt init`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from autoprompt.cli.options import column_options, columns_of


@click.command()
@click.option("--task", "task_path", required=True, metavar="PATH", help="Directory or data file.")
@click.option("--out", default="space.yaml", show_default=True, metavar="FILE", help="To write.")
@click.option("--force", is_flag=True, help="Replace --out where it exists.")
@column_options
def init(
    task_path: str,
    out: str,
    force: bool,
    text_columns: tuple[str, ...],
    label_column: str,
    encoding: str,
) -> None:
    """Write a first search space from a task's fields and label names, for you to edit."""
    from autoprompt.drafts import draft_space
    from autoprompt.errors import InputError
    from autoprompt.files import write_atomically
    from autoprompt.tasks.task import Task

    target = Path(out)
    if target.exists() and not force:
        raise InputError(f"{out} exists; pass --force to replace it, or choose another --out")
    task = Task.load(task_path, columns=columns_of(text_columns, label_column), encoding=encoding)
    text = draft_space(task.name, task.fields, task.labels)
    write_atomically(target, text)
    given = ["--task", task_path]
    given += [part for name in text_columns for part in ("--text-column", name)]
    given += ["--label-column", label_column] if label_column else []
    given += ["--encoding", encoding] if encoding != "utf-8" else []
    given += ["--space", out, "--out", "run"]
    click.echo(
        f"Wrote {out}: look at its label words and seed prompts, which are guesses from the label "
        f"names.\n\nNext:\n  autoprompt search {shlex.join(given)}"
    )
