"""`autoprompt tune`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autoprompt.cli.options import (
    DataOptions,
    ModelOptions,
    data_options,
    json_option,
    model_options,
)

if TYPE_CHECKING:
    from autoprompt.tasks.task import Task
    from autoprompt.tuning.tuning import TuningResult


@click.command()
@click.argument("prompt_paths", metavar="RUN|PROMPT...", nargs=-1, required=True)
@click.option(
    "--task", "task_paths", required=True, multiple=True, metavar="PATH", help="One for a prompt."
)
@click.option(
    "--method", default="full", show_default=True, help="full, head, bitfit, lora or soft."
)
@click.option("--out", required=True, metavar="DIR", help="The tuned model's directory.")
@click.option("--model", default=None, help="By default the one that the prompt names.")
@click.option(
    "--strategy",
    default="p>w",
    show_default=True,
    help="What is tuned through: p>w (a run's winner) or w (its best seed prompt).",
)
@click.option("--learning-rate", type=float, default=0.0, help="The method's own by default.")
@click.option("--steps", type=int, default=200, show_default=True, help="At most.")
@click.option("--batch", type=int, default=8, show_default=True, help="Examples of a step.")
@click.option("--warmup", type=float, default=0.1, show_default=True, help="Share of the steps.")
@click.option("--weight-decay", type=float, default=0.01, show_default=True, help="Of AdamW.")
@click.option("--dropout", type=float, default=None, help="The model's own by default.")
@click.option(
    "--evaluate-every", type=int, default=10, show_default=True, help="Steps between looks at dev."
)
@click.option(
    "--patience", type=int, default=6, show_default=True, help="Looks at dev that are no better."
)
@click.option(
    "--precision", default="float32", show_default=True, help="float32, bfloat16 or float16."
)
@click.option("--rank", type=int, default=8, show_default=True, help="Of LoRA's matrices.")
@click.option("--unlabelled", metavar="FILE", default="", help="Texts of the domain.")
@click.option(
    "--mlm-weight",
    type=float,
    default=0.0,
    show_default=True,
    help="Of a language-model loss on the unlabelled texts beside.",
)
@click.option("--k-shot", type=int, default=None, help="As for the search: k examples a label.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of all that is drawn.")
@click.option("--metric", default="", help="accuracy, macro_f1 or matthews; else the task's.")
@click.option("--report-to", multiple=True, help="tensorboard, mlflow or wandb (offline).")
@click.option("--resume", is_flag=True, help="Go on with the interrupted tuning in --out.")
@data_options
@model_options
@json_option
def tune(
    prompt_paths: tuple[str, ...],
    task_paths: tuple[str, ...],
    out: str,
    model: str | None,
    strategy: str,
    unlabelled: str,
    k_shot: int | None,
    metric: str,
    report_to: tuple[str, ...],
    resume: bool,
    data_options: DataOptions,
    model_options: ModelOptions,
    as_json: bool,
    **numbers: Any,
) -> None:
    """Fine-tune a model through a prompt: a run's winner, or a prompt file.

    Several prompts, with a --task for each, are tuned into one model. The same command with
    --resume goes on where an interrupted one stopped; `accelerate launch -m autoprompt.cli.main
    tune ...` uses several processes.
    """
    from autoprompt.errors import InputError, UnknownNameError
    from autoprompt.tuning.settings import TuningSettings

    settings = TuningSettings(**numbers)
    if strategy not in ("p>w", "w"):
        raise UnknownNameError("strategy", strategy, ("p>w", "w"))
    if unlabelled and not settings.mlm_weight:
        raise InputError("--unlabelled wants a use: give --mlm-weight")
    tasks = [_task(path, k_shot, settings.seed, metric, data_options) for path in task_paths]

    from autoprompt.cli.console import quiet_libraries, say
    from autoprompt.tuning.output import TunedDirectory
    from autoprompt.tuning.sources import Source, paired
    from autoprompt.tuning.training import is_main, silent
    from autoprompt.tuning.tuning import Request
    from autoprompt.tuning.tuning import tune as run_tune

    sources = [Source.of(path, seed=strategy == "w") for path in prompt_paths]
    assignments = paired(sources, tasks)
    if is_main():
        TunedDirectory(out).check(resume)
    quiet_libraries()
    language_model: Any = model_options.model_of(sources[0].prompt, model)
    request = Request(
        assignments=tuple(assignments),
        settings=settings,
        texts=tuple(_texts(Path(unlabelled), data_options)) if unlabelled else (),
        tests=tuple(task.test for task in tasks),
        origins=tuple(source.origin for source in sources),
        report_to=report_to,
    )
    result = run_tune(request, language_model, out, resume=resume, say=say if is_main() else silent)
    if not is_main():
        return
    if as_json:
        document = {"out": out, **result.to_dict()}
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        click.echo("\n".join(_report(result, out)))


def _task(path: str, k_shot: int | None, seed: int, metric: str, data_options: DataOptions) -> Task:
    from autoprompt.errors import UnknownNameError
    from autoprompt.tasks.columns import METRICS
    from autoprompt.tasks.task import Task

    if metric and metric not in METRICS:
        raise UnknownNameError("metric", metric, METRICS)
    task = Task.load(
        path,
        k_shot=k_shot,
        seed=seed,
        columns=data_options.columns,
        encoding=data_options.encoding,
    )
    return task.with_metric(metric) if metric else task


def _texts(path: Path, data_options: DataOptions) -> list[str]:
    """The texts of a file without labels: of each example all fields, joined."""
    from autoprompt.tasks.task import load_examples

    examples = load_examples(path, data_options.columns, False, data_options.encoding)
    return [" ".join(example.fields.values()) for example in examples]


def _report(result: TuningResult, out: str) -> list[str]:
    lines = []
    for task in result.tasks:
        lines.append(f"{task.name}: {task.prompt.shown}   [{task.prompt.verbalizer}]")
        for name in dict.fromkeys((task.metric, "cross_entropy")):
            lines.append(f"  {name} on dev, untuned  {task.before[name]}")
            lines.append(f"  {name} on dev, tuned    {task.after[name]}")
            if task.test:
                lines.append(f"  {name} on test, tuned   {task.test[name]}")
    trained = result.trained
    lines += [
        "Dev chose the weights, so its values are on the bright side.",
        f"Trained {result.parameters:,} of {result.all_parameters:,} parameters, "
        f"{trained.steps} steps in {result.seconds:.0f} s; best at step {trained.step}; "
        f"ended by: {trained.reason}",
        f"Peak memory {result.peak_memory / 2**20:,.0f} MiB; "
        f"{result.bytes_to_ship / 2**20:,.2f} MiB to ship",
        "",
        "Next:",
        f"  autoprompt predict {out} --data FILE   label new texts",
        f"  autoprompt compare RUN {out} ...       which way to use?",
    ]
    return lines
