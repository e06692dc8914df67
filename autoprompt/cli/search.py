"""`autoprompt search`."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autoprompt.cli.options import (
    DataOptions,
    ModelOptions,
    data_options,
    json_option,
    model_options,
    storage_option,
)
from autoprompt.models.embedded import EMBEDDED

if TYPE_CHECKING:
    from autoprompt.spaces import SearchSpace
    from autoprompt.tasks.task import Task


@click.command()
@click.option("--task", "task_path", required=True, metavar="PATH", help="Directory or data file.")
@click.option("--space", required=True, metavar="NAME", help="A shipped space, or a YAML file.")
@click.option(
    "--model",
    default=EMBEDDED,
    show_default=True,
    help="embedded, embedded-causal, a directory or a Hugging Face name.",
)
@click.option("--out", required=True, metavar="RUN", help="The run directory to write.")
@click.option(
    "--budget",
    default=None,
    help="quick, standard (the default) or thorough: 4,000, 20,000 or 100,000 forwards.",
)
@click.option("--trials", type=int, default=None, help="At most this many different prompts.")
@click.option(
    "--forwards", type=int, default=None, help="At most this many model inputs, the test left out."
)
@click.option(
    "--seconds", type=float, default=None, help="Stop after this time; seeds are always scored."
)
@click.option("--k-shot", type=int, default=None, help="Draw k train and k dev examples a label.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of all that is drawn.")
@click.option("--metric", default="", help="accuracy, macro_f1 or matthews; else the task's.")
@click.option(
    "--recipe",
    default="default",
    show_default=True,
    help="A way to search: default, or a neighbour's: manual, petal, lm-bff, autoprompt.",
)
@click.option(
    "--generator",
    default="",
    metavar="T5",
    help="A T5-like model that writes templates, where space or recipe ask for some.",
)
@click.option(
    "--robustness",
    default="none",
    show_default=True,
    help="none, gate or objective: must the winner hold under other wordings of itself?",
)
@click.option(
    "--dtype",
    default="auto",
    show_default=True,
    envvar="AUTOPROMPT_DTYPE",
    help="The precision that screens candidates: auto, float32 or bfloat16. float32 decides.",
)
@storage_option
@click.option(
    "--grace",
    type=float,
    default=60.0,
    show_default=True,
    help="Seconds of silence after which a worker counts as dead and its trial is run again.",
)
@click.option(
    "--feedback",
    default=None,
    metavar="FILE",
    help="What `autoprompt review` wrote: seed prompts, bans, corrected labels.",
)
@click.option(
    "--track",
    multiple=True,
    metavar="NAME",
    help="Tell a tracker too: tensorboard, mlflow, wandb (offline unless its environment says).",
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--strict", is_flag=True, help="Refuse texts that stand in two splits.")
@click.option("--allow-fewer", is_flag=True, help="Let --k-shot take less of a small label.")
@data_options
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
    seed: int,
    metric: str,
    recipe: str,
    generator: str,
    robustness: str,
    dtype: str,
    storage: str,
    grace: float,
    feedback: str | None,
    track: tuple[str, ...],
    resume: bool,
    model_options: ModelOptions,
    as_json: bool,
    **drawing: Any,
) -> None:
    """Search the best prompt for a task, and compare it with the expert's.

    The same command with --resume goes on where an interrupted one stopped.
    """
    from autoprompt.errors import UnknownNameError
    from autoprompt.runs import RunDirectory
    from autoprompt.searching.addresses import Address, without_password
    from autoprompt.searching.budget import Budget
    from autoprompt.sharing import check_grace
    from autoprompt.space_content import RECIPES, ROBUSTNESS
    from autoprompt.spaces import SearchSpace
    from autoprompt.tracking import check_trackers

    for kind, name, valid in (("recipe", recipe, RECIPES), ("robustness", robustness, ROBUSTNESS)):
        if name not in valid:
            raise UnknownNameError(kind, name, valid)

    # The cheap checks first: nothing is written and no model loaded for a misspelt name.
    check_trackers(track)
    run = RunDirectory(out)
    run.check(resume)
    check_grace(grace)
    storage = _storage(storage, run.database if resume else None)
    if storage:
        Address.parse(storage)
    limits = Budget.of(budget, trials, forwards, seconds)
    search_space = SearchSpace.load(space)
    task = _task(task_path, seed, metric, **drawing)
    search_space = search_space.restricted(task.fields, task.labels)
    said = ""
    if feedback:
        task, search_space, said = _with_feedback(feedback, task, search_space)

    from autoprompt.cli import console
    from autoprompt.pipeline import search as run_search

    console.quiet_libraries()
    console.say(console.task_line(task))
    if said:
        console.say(said)
    if resume and dtype == "auto":
        # A probe's word changes with what else the machine does; the run's does not.
        dtype = run.read_config().get("screening", dtype)
    language_model = model_options.load(model, dtype)
    infiller = None
    if generator:
        from autoprompt.models.infilling import SentinelInfiller

        infiller = SentinelInfiller.load(generator, model_options.device)
    with console.Console(task.metric) as observer:
        result = run_search(
            task,
            search_space,
            language_model,
            out=out,
            budget=limits,
            seed=seed,
            recipe=recipe,
            generator=infiller,
            robustness=robustness,
            resume=resume,
            observer=observer,
            track=track,
            command=shlex.join(["autoprompt", *map(without_password, sys.argv[1:])]),
            storage=storage,
            grace=grace,
            origin={
                "task": _placed(task_path),
                "space": _placed(space),
                "model": _placed(model),
                "generator": _placed(generator),
                "feedback": _placed(feedback or ""),
                "data": _described(metric, **drawing),
            },
        )
    if as_json:
        document = console.result_document(result, out)
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        console.print_result(result, task.metric, out)


def _storage(storage: str, database: Path | None) -> str:
    """The storage that is meant: the environment's is not for a run that has its own database."""
    source = click.get_current_context().get_parameter_source("storage")
    from_environment = source == click.core.ParameterSource.ENVIRONMENT
    own = database is not None and database.exists()
    return "" if from_environment and own else storage


def _placed(name: str) -> str:
    """A name as a worker in another directory finds it."""
    return str(Path(name).absolute()) if name and Path(name).exists() else name


def _described(
    metric: str,
    *,
    k_shot: int | None,
    strict: bool,
    allow_fewer: bool,
    data_options: DataOptions,
) -> dict[str, Any]:
    """How a worker reads the same task."""
    del strict  # what it refuses was refused
    columns = data_options.columns
    return {
        "k_shot": k_shot,
        "allow_fewer": allow_fewer,
        "fields": dict(columns.fields),
        "label": columns.label,
        "encoding": data_options.encoding,
        "metric": metric,
    }


def _with_feedback(path: str, task: Task, space: SearchSpace) -> tuple[Task, SearchSpace, str]:
    """Task and space as a person wants them, and what that changed, in words."""
    from autoprompt.feedback import Feedback

    feedback = Feedback.load(path)
    space = feedback.of_space(space)
    task, corrected = feedback.of_task(task)
    said = (
        f"Feedback: {len(feedback.seeds)} seed prompts, {len(feedback.banned_templates)} banned "
        f"templates, {len(feedback.banned_words)} banned words, {corrected} of "
        f"{len(feedback.labels)} corrected labels in train and dev"
    )
    return task, space, said


def _task(path: str, seed: int, metric: str, *, data_options: DataOptions, **drawing: Any) -> Task:
    return data_options.task(path, seed=seed, metric=metric, **drawing)
