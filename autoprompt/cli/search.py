"""`autoprompt search`."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autoprompt.cli.options import (
    TASK_HELP,
    BudgetOptions,
    DataOptions,
    ModelOptions,
    budget_options,
    data_options,
    json_option,
    metric_option,
    model_options,
    seed_option,
    storage_option,
)
from autoprompt.models.embedded import EMBEDDED

if TYPE_CHECKING:
    from autoprompt.models.infilling import SentinelInfiller
    from autoprompt.runs import RunDirectory
    from autoprompt.spaces import SearchSpace
    from autoprompt.tasks.task import Task


@click.command()
@click.option("--task", "task_path", required=True, metavar="PATH", help=TASK_HELP)
@click.option("--space", required=True, metavar="NAME", help="A shipped space, or a YAML file.")
@click.option(
    "--model",
    default=EMBEDDED,
    show_default=True,
    help="embedded, embedded-causal, a directory or a Hugging Face name.",
)
@click.option("--out", required=True, metavar="RUN", help="The run directory to write.")
@budget_options
@click.option("--k-shot", type=int, default=None, help="Draw k train and k dev examples a label.")
@seed_option
@metric_option
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
    budget_options: BudgetOptions,
    seed: int,
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
    **reading: Any,
) -> None:
    """Search the best prompt for a task, and compare it with the expert's.

    The same command with --resume goes on where an interrupted one stopped.
    """
    from autoprompt.runs import RunDirectory

    # The cheap checks first: nothing is written and no model loaded for a misspelt name.
    run = RunDirectory(out)
    _check_names(recipe, robustness, track)
    run.check(resume)
    storage = _checked_storage(storage, grace, run.database if resume else None)
    budget = budget_options.budget()
    how = _Reading(**reading)
    task, search_space, said = _material(task_path, space, feedback, seed, how)

    from autoprompt.cli import console
    from autoprompt.pipeline import search as run_search

    console.quiet_libraries()
    console.say(console.task_line(task))
    if said:
        console.say(said)
    language_model = model_options.load(model, _resumed_dtype(dtype, run) if resume else dtype)
    infiller = _infiller(generator, model_options.device)
    with console.Console(task.metric) as observer:
        result = run_search(
            task,
            search_space,
            language_model,
            out=out,
            budget=budget,
            seed=seed,
            recipe=recipe,
            generator=infiller,
            robustness=robustness,
            resume=resume,
            observer=observer,
            track=track,
            command=_command_line(),
            storage=storage,
            grace=grace,
            origin={
                "task": _placed(task_path),
                "space": _placed(space),
                "model": _placed(model),
                "generator": _placed(generator),
                "feedback": _placed(feedback or ""),
                "data": how.described(),
            },
        )
    if as_json:
        document = console.result_document(result, out)
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        console.print_result(result, task.metric, out)


@dataclass(frozen=True)
class _Reading:
    """How the task is read, which a worker must repeat.

    Attributes:
        k_shot: examples a label that are drawn; None for all.
        metric: what the user asked for, or "".
        strict: whether texts that stand in two splits are refused.
        allow_fewer: whether a small label may have less than `k_shot`.
        data_options: how its files are read.
    """

    k_shot: int | None
    metric: str
    strict: bool
    allow_fewer: bool
    data_options: DataOptions

    def task(self, path: str, seed: int) -> Task:
        """The task; see `Task.load` for what is refused."""
        return self.data_options.task(
            path,
            k_shot=self.k_shot,
            seed=seed,
            metric=self.metric,
            strict=self.strict,
            allow_fewer=self.allow_fewer,
        )

    def described(self) -> dict[str, Any]:
        """For a worker's reading; what `strict` refuses, the search has refused by then."""
        columns = self.data_options.columns
        return {
            "k_shot": self.k_shot,
            "allow_fewer": self.allow_fewer,
            "fields": dict(columns.fields),
            "label": columns.label,
            "encoding": self.data_options.encoding,
            "metric": self.metric,
        }


def _check_names(recipe: str, robustness: str, track: tuple[str, ...]) -> None:
    """Refuse names that nothing has."""
    from autoprompt.errors import UnknownNameError
    from autoprompt.space_content import RECIPES, ROBUSTNESS
    from autoprompt.tracking import check_trackers

    for kind, name, valid in (("recipe", recipe, RECIPES), ("robustness", robustness, ROBUSTNESS)):
        if name not in valid:
            raise UnknownNameError(kind, name, valid)
    check_trackers(track)


def _checked_storage(storage: str, grace: float, database: Path | None) -> str:
    """The storage that is meant, once it and the grace of its workers can be used."""
    from autoprompt.searching.addresses import Address
    from autoprompt.sharing import check_grace

    check_grace(grace)
    storage = _storage(storage, database)
    if storage:
        Address.parse(storage)
    return storage


def _material(
    path: str, space: str, feedback: str | None, seed: int, how: _Reading
) -> tuple[Task, SearchSpace, str]:
    """Task and space, as feedback wants them, and what that changed, in words."""
    from autoprompt.spaces import SearchSpace

    search_space = SearchSpace.load(space)
    task = how.task(path, seed)
    search_space = search_space.restricted(task.fields, task.labels)
    if feedback:
        return _with_feedback(feedback, task, search_space)
    return task, search_space, ""


def _resumed_dtype(dtype: str, run: RunDirectory) -> str:
    """The run's own precision: a probe's word changes with what else the machine does."""
    return str(run.read_config().get("screening", dtype)) if dtype == "auto" else dtype


def _infiller(generator: str, device: str) -> SentinelInfiller | None:
    """The model that writes templates, where one is named."""
    if not generator:
        return None
    from autoprompt.models.infilling import SentinelInfiller

    return SentinelInfiller.load(generator, device)


def _command_line() -> str:
    """As it was typed, for the run's record; without passwords."""
    from autoprompt.searching.addresses import without_password

    return shlex.join(["autoprompt", *map(without_password, sys.argv[1:])])


def _storage(storage: str, database: Path | None) -> str:
    """The storage that is meant: the environment's is not for a run that has its own database."""
    source = click.get_current_context().get_parameter_source("storage")
    from_environment = source == click.core.ParameterSource.ENVIRONMENT
    own = database is not None and database.exists()
    return "" if from_environment and own else storage


def _placed(name: str) -> str:
    """A name as a worker in another directory finds it."""
    return str(Path(name).absolute()) if name and Path(name).exists() else name


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
