"""`autoprompt tune`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autoprompt.cli.options import (
    DataOptions,
    ModelOptions,
    data_options,
    json_option,
    metric_option,
    model_options,
    prompts_model_option,
    seed_option,
    storage_option,
)

if TYPE_CHECKING:
    from autoprompt.tasks.examples import Example
    from autoprompt.tasks.task import Task
    from autoprompt.tuning.output import TunedDirectory
    from autoprompt.tuning.sources import Source


@click.command()
@click.argument("prompt_paths", metavar="RUN|PROMPT...", nargs=-1, required=True)
@click.option(
    "--task", "task_paths", required=True, multiple=True, metavar="PATH", help="One for a prompt."
)
@click.option(
    "--method", default="full", show_default=True, help="full, head, bitfit, lora or soft."
)
@click.option("--out", required=True, metavar="DIR", help="The tuned model's directory.")
@prompts_model_option
@click.option(
    "--strategy",
    default="p>w",
    show_default=True,
    help="p>w: tune through a run's winner; w: through its best seed; w>p: that, then search "
    "on the tuned model; p: do not tune (for --ensemble).",
)
@click.option("--space", default="", metavar="NAME", help="Search space of strategy w>p.")
@click.option("--budget", default="quick", show_default=True, help="Of the search of w>p.")
@click.option("--folds", type=int, default=0, metavar="K", help="Average over K folds.")
@click.option("--seeds", type=int, default=0, metavar="N", help="Average over N seeds.")
@click.option(
    "--tune-trials", type=int, default=0, metavar="N", help="Search the numbers in N trials first."
)
@click.option(
    "--trial-method", "trial_methods", multiple=True, help="Methods that trials choose from."
)
@click.option(
    "--ensemble",
    type=int,
    default=0,
    metavar="N",
    help="Distil N of a run's prompts on the unlabelled texts.",
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
@click.option(
    "--unlabelled",
    metavar="FILE",
    default="",
    help="Texts of the domain: a data file, its labels not read.",
)
@click.option(
    "--mlm-weight",
    type=float,
    default=0.0,
    show_default=True,
    help="Of a language-model loss on the unlabelled texts beside.",
)
@click.option("--k-shot", type=int, default=None, help="As for the search: k examples a label.")
@seed_option
@click.option(
    "--feedback", default="", metavar="FILE", help="Corrected labels, as `review` wrote them."
)
@metric_option
@storage_option
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
    unlabelled: str,
    k_shot: int | None,
    metric: str,
    feedback: str,
    storage: str,
    report_to: tuple[str, ...],
    resume: bool,
    data_options: DataOptions,
    model_options: ModelOptions,
    as_json: bool,
    **rest: Any,
) -> None:
    """Fine-tune a model through a prompt: a run's winner, or a prompt file.

    Several prompts, with a --task for each, are tuned into one model. The same command with
    --resume goes on where an interrupted one stopped; `accelerate launch -m autoprompt.cli.main
    tune ...` uses several processes.
    """
    from autoprompt.strategies import check_strategy, texts_of
    from autoprompt.tuning.settings import TuningSettings

    way = _Way(**{name: rest.pop(name) for name in _Way.__dataclass_fields__})
    settings = TuningSettings(**rest)
    check_strategy(way.strategy, way.ensemble, way.space, way.folds)
    way.check(bool(unlabelled), settings.mlm_weight > 0, len(task_paths))
    tasks = [
        data_options.task(path, k_shot=k_shot, seed=settings.seed, metric=metric)
        for path in task_paths
    ]
    if feedback:
        tasks = _corrected(tasks, feedback)
    texts = _unlabelled(Path(unlabelled), data_options) if unlabelled else []

    from autoprompt.cli.console import quiet_libraries, say
    from autoprompt.cli.tuned_console import print_tuning
    from autoprompt.tuning.output import TunedDirectory
    from autoprompt.tuning.processes import is_main
    from autoprompt.tuning.sources import Source, paired
    from autoprompt.tuning.training import silent
    from autoprompt.tuning.tuning import Request
    from autoprompt.tuning.tuning import tune as run_tune

    sources = [Source.of(path, seed=way.strategy.startswith("w")) for path in prompt_paths]
    assignments = paired(sources, tasks)
    directory = TunedDirectory(out)
    if is_main():
        directory.check(resume)
        for source, task in zip(sources, tasks, strict=True):
            if source.saw_others(task):
                say(
                    f"Note: the prompt was found with other examples than the {len(task.train)} "
                    f"train and {len(task.dev)} dev ones here; give the --k-shot and --seed of its "
                    f"search to compare the two"
                )
    quiet_libraries()
    request = Request(
        assignments=tuple(assignments),
        settings=settings,
        texts=texts_of(texts) if settings.mlm_weight else (),
        tests=tuple(task.test for task in tasks),
        origins=tuple(source.origin for source in sources),
        report_to=report_to,
        **way.planned(sources[0], settings.method, texts, directory, storage),
    )
    result = run_tune(
        request,
        lambda: model_options.model_of(sources[0].prompt, model),  # type: ignore[arg-type, return-value]
        out,
        resume=resume,
        more=way.strategy == "w>p",
        say=say if is_main() else silent,
    )
    if is_main():
        searched = way.search(directory, tasks[0], settings.seed, model_options.device)
        print_tuning(result, searched, out, as_json)


@dataclass(frozen=True)
class _Way:
    """How trainings are combined with each other and with searches."""

    strategy: str
    space: str
    budget: str
    folds: int
    seeds: int
    tune_trials: int
    trial_methods: tuple[str, ...]
    ensemble: int

    def check(self, has_texts: bool, uses_texts: bool, tasks: int) -> None:
        """Refuse options that do not go together."""
        from autoprompt.errors import InputError, UnknownNameError
        from autoprompt.strategies import check_plan
        from autoprompt.tuning.settings import METHODS

        check_plan(self.folds, self.seeds, self.ensemble, has_texts)
        if has_texts and not (self.ensemble or uses_texts):
            raise InputError("--unlabelled wants a use: give --mlm-weight or --ensemble")
        if tasks > 1 and (self.ensemble or self.strategy == "w>p"):
            raise InputError("an ensemble, and strategy 'w>p', are of one task; give one --task")
        if self.trial_methods and not self.tune_trials:
            raise InputError("--trial-method wants --tune-trials")
        for name in self.trial_methods:
            if name not in METHODS:
                raise UnknownNameError("tuning method", name, METHODS)

    def planned(
        self,
        source: Source,
        method: str,
        texts: list[Example],
        directory: TunedDirectory,
        storage: str,
    ) -> dict[str, Any]:
        """The plan, its name and the trials, as `Request` takes them."""
        from autoprompt.strategies import plan_of
        from autoprompt.tuning.sources import GIVEN
        from autoprompt.tuning.trials import Trials, trials_place

        found: dict[str, Any] = plan_of(
            source, self.folds, self.seeds, self.ensemble, texts, self.strategy
        )
        if self.tune_trials:
            run = source.run if source.origin != GIVEN else None
            found["trials"] = Trials(
                self.tune_trials,
                self.trial_methods or (method,),
                trials_place(directory, run, storage),
            )
        return found

    def search(
        self, directory: TunedDirectory, task: Task, seed: int, device: str
    ) -> dict[str, Any] | None:
        """The search of `w>p`; None with other strategies."""
        if self.strategy != "w>p":
            return None
        from autoprompt.cli.console import Console
        from autoprompt.spaces import SearchSpace
        from autoprompt.strategies import search_on_tuned

        space = SearchSpace.load(self.space)
        with Console(task.metric) as observer:
            result = search_on_tuned(
                directory.path, task, space, self.budget, seed, observer, device
            )
        directory.finish()
        return {"verdict": str(result.verdict), "best": result.best.to_dict()}


def _corrected(tasks: list[Task], path: str) -> list[Task]:
    """Tasks with the labels that a person corrected."""
    from autoprompt.feedback import Feedback

    said = Feedback.load(path)
    return [said.of_task(task)[0] for task in tasks]


def _unlabelled(path: Path, data_options: DataOptions) -> list[Example]:
    """The texts of a file without labels."""
    from autoprompt.tasks.task import load_examples

    return load_examples(path, data_options.columns, False, data_options.encoding)
