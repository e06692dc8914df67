"""`autoprompt search`."""

from __future__ import annotations

import json

import click

from autoprompt.cli.options import column_options, columns_of, json_option, model_options


@click.command()
@click.option("--task", "task_path", required=True, metavar="PATH", help="Directory or data file.")
@click.option("--space", required=True, metavar="NAME", help="A shipped space, or a YAML file.")
@click.option(
    "--model", default="embedded", show_default=True, help="Directory or Hugging Face name."
)
@click.option("--out", required=True, metavar="RUN", help="The run directory to write.")
@click.option("--budget", default=None, help="quick, standard (the default) or thorough.")
@click.option("--trials", type=int, default=None, help="At most this many prompts.")
@click.option("--forwards", type=int, default=None, help="At most this many model inputs.")
@click.option("--seconds", type=float, default=None, help="Stop after this time.")
@click.option("--k-shot", type=int, default=None, help="Draw k train and k dev examples a label.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of all that is drawn.")
@click.option("--metric", default="", help="accuracy, macro_f1 or matthews; else the task's.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--strict", is_flag=True, help="Refuse texts that stand in two splits.")
@click.option("--allow-fewer", is_flag=True, help="Let --k-shot take less of a small label.")
@column_options
@model_options
@json_option
def search(
    task_path: str,
    space: str,
    model: str,
    out: str,
    budget: str | None,
    trials: int | None,
    forwards: int | None,
    seconds: float | None,
    k_shot: int | None,
    seed: int,
    metric: str,
    resume: bool,
    strict: bool,
    allow_fewer: bool,
    text_columns: tuple[str, ...],
    label_column: str,
    encoding: str,
    device: str,
    revision: str,
    trust_remote_code: bool,
    as_json: bool,
) -> None:
    """Search the best prompt for a task, and compare it with the expert's.

    The same command with --resume goes on where an interrupted one stopped.
    """
    from autoprompt.errors import UnknownNameError
    from autoprompt.runs import RunDirectory
    from autoprompt.searching.budget import Budget
    from autoprompt.spaces import SearchSpace
    from autoprompt.tasks.columns import METRICS
    from autoprompt.tasks.task import Task

    # The cheap checks first: nothing is written and no model loaded for a misspelt name.
    RunDirectory(out).check(resume)
    limits = Budget.of(budget, trials, forwards, seconds)
    if metric and metric not in METRICS:
        raise UnknownNameError("metric", metric, METRICS)
    search_space = SearchSpace.load(space)
    task = Task.load(
        task_path,
        k_shot=k_shot,
        seed=seed,
        columns=columns_of(text_columns, label_column),
        encoding=encoding,
        strict=strict,
        allow_fewer=allow_fewer,
    )
    task = task.with_metric(metric) if metric else task
    search_space.restricted(task.fields, task.labels)

    from autoprompt.cli.console import (
        Console,
        print_result,
        quiet_libraries,
        result_document,
        say,
    )
    from autoprompt.models.loading import load_model
    from autoprompt.pipeline import search as run_search

    quiet_libraries()
    sizes = ", ".join(f"{len(split)} {name}" for name, split in task.splits.items())
    say(f"Task {task.name}: {sizes}; labels {', '.join(task.labels)}")
    language_model = load_model(
        model, device=device, revision=revision, trust_remote_code=trust_remote_code
    )
    console = Console(task.metric)
    try:
        result = run_search(
            task,
            search_space,
            language_model,
            out=out,
            budget=limits,
            seed=seed,
            resume=resume,
            observer=console,
        )
    finally:
        console.close()
    if as_json:
        click.echo(json.dumps(result_document(result, out), ensure_ascii=False, indent=2))
    else:
        print_result(result, task.metric, out)
