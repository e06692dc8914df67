"""`autoprompt worker`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from autoprompt.cli.options import ModelOptions, json_option, model_options, storage_option

if TYPE_CHECKING:
    from autoprompt.joining import Joined
    from autoprompt.tasks.task import Task


@click.command()
@click.argument("run", metavar="RUN")
@storage_option
@click.option("--task", "task_path", default="", metavar="PATH", help="Where the task is here.")
@click.option("--space", default="", metavar="NAME", help="Where the space is here.")
@click.option("--model", default="", help="Where the model is here.")
@click.option("--generator", default="", metavar="T5", help="Where the generator is here.")
@click.option("--feedback", "feedback_path", default="", metavar="FILE", help="Where it is here.")
@model_options
@json_option
def worker(
    run: str,
    storage: str,
    task_path: str,
    space: str,
    model: str,
    generator: str,
    feedback_path: str,
    model_options: ModelOptions,
    as_json: bool,
) -> None:
    """Join a search that has begun, from any host that reaches its storage.

    RUN is its run directory; where this host does not see that, the study's name that the search
    printed, with --storage. Task, space and model must be the search's own; name those that lie
    elsewhere on this host. The search itself writes the result.
    """
    from autoprompt.cli import console
    from autoprompt.joining import join
    from autoprompt.spaces import SearchSpace

    console.quiet_libraries()
    with console.logging_to_screen(), join(run, storage) as joined:
        origin = joined.plan.origin
        task = _task(joined, task_path)
        named = space or _named(origin, "space")
        search_space = SearchSpace.load(named)
        if said := feedback_path or origin.get("feedback", ""):
            from autoprompt.feedback import Feedback

            feedback = Feedback.load(said)
            task, _ = feedback.of_task(task)
            restricted = search_space.restricted(task.fields, task.labels)
            search_space = feedback.of_space(restricted)
        console.say(console.task_line(task))
        language_model = model_options.load(model or _named(origin, "model"), joined.screening)
        infiller = None
        if t5 := generator or origin.get("generator", ""):
            from autoprompt.models.infilling import SentinelInfiller

            infiller = SentinelInfiller.load(t5, model_options.device)
        console.say(f"Joined {joined.place.shown}")
        done = joined.work(
            task,
            search_space,
            language_model,
            generator=infiller,
            progress=console.trial_line,
        )
    if as_json:
        document = {
            "trials": done.trials,
            "spent": done.spent.to_dict(),
            "finish_reason": done.finish_reason,
        }
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(
            f"This worker finished {done.trials} trials with {done.spent.forwards:,} forwards; the "
            f"search ended by: {done.finish_reason}. The process that began it writes the result."
        )


def _task(joined: Joined, path: str) -> Task:
    """The search's task, from where it is on this host."""
    from autoprompt.tasks.columns import Columns
    from autoprompt.tasks.task import Task

    origin = joined.plan.origin
    known = origin.get("data", {})
    task = Task.load(
        path or _named(origin, "task"),
        k_shot=known.get("k_shot"),
        seed=joined.seed,
        columns=Columns(fields=known.get("fields", {}), label=known.get("label", "")),
        encoding=known.get("encoding", "utf-8"),
        allow_fewer=known.get("allow_fewer", False),
    )
    metric = known.get("metric", "")
    return task.with_metric(metric) if metric else task


def _named(origin: Any, what: str) -> str:
    """What the search was given, as its command line named it."""
    from autoprompt.errors import InputError

    if what not in origin:
        raise InputError(
            f"the search was begun in Python and does not say where its {what} is; name it with "
            f"--{what}"
        )
    return str(origin[what])
