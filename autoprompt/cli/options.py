"""Options that several verbs share, each group handed to the verb as one value."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pathlib import Path

    from autoprompt.models.protocol import LanguageModel
    from autoprompt.prompts import Prompt
    from autoprompt.searching.budget import Budget
    from autoprompt.tasks.columns import Columns
    from autoprompt.tasks.examples import Example
    from autoprompt.tasks.task import Task

TASK_HELP = "Directory or data file, or the name of a sample task."


@dataclass(frozen=True)
class DataOptions:
    """How a data file is read.

    Attributes:
        text_columns: one name, two for a pair, or none: then columns are described or guessed.
        label_column: the label's, or "".
        encoding: of text files.
    """

    text_columns: tuple[str, ...]
    label_column: str
    encoding: str

    @property
    def columns(self) -> Columns:
        """The columns that the options name."""
        from autoprompt.errors import TaskError
        from autoprompt.tasks.columns import Columns

        if len(self.text_columns) > 2:
            raise TaskError(
                "--text-column may be given twice at most; more fields want a task.yaml"
            )
        names = ("text",) if len(self.text_columns) == 1 else ("text_a", "text_b")
        fields = dict(zip(names, self.text_columns, strict=False))
        return Columns(fields=fields, label=self.label_column)

    def task(
        self,
        path: str,
        *,
        k_shot: int | None,
        seed: int,
        metric: str,
        strict: bool = False,
        allow_fewer: bool = False,
    ) -> Task:
        """The task, with the metric that the user asked for; see `Task.load`."""
        from autoprompt.errors import UnknownNameError
        from autoprompt.tasks.columns import METRICS
        from autoprompt.tasks.task import Task

        if metric and metric not in METRICS:
            raise UnknownNameError("metric", metric, METRICS)
        task = Task.load(
            path,
            k_shot=k_shot,
            seed=seed,
            columns=self.columns,
            encoding=self.encoding,
            strict=strict,
            allow_fewer=allow_fewer,
        )
        return task.with_metric(metric) if metric else task

    def examples(self, path: Path, prompt: Prompt, labelled: bool) -> list[Example]:
        """The examples of a file, for a prompt, which knows the columns that it was found on."""
        from autoprompt.tasks.task import load_examples

        wanted = prompt.template.fields
        return load_examples(path, self.columns, labelled, self.encoding, wanted, prompt.columns)


@dataclass(frozen=True)
class BudgetOptions:
    """When a search ends; None where a user did not say.

    Attributes:
        preset: a budget's name.
        trials, forwards, seconds: see `Budget`.
    """

    preset: str | None
    trials: int | None
    forwards: int | None
    seconds: float | None

    def budget(self) -> Budget:
        """The limits together; see `Budget.of`, also for what it refuses."""
        from autoprompt.searching.budget import Budget

        return Budget.of(self.preset, self.trials, self.forwards, self.seconds)


@dataclass(frozen=True)
class ModelOptions:
    """How a model is loaded and run.

    Attributes:
        device: cpu, cuda or mps.
        threads: of a CPU; 0 leaves the number to torch.
        revision: of a Hugging Face model.
        trust_remote_code: whether its own Python code may run.
    """

    device: str
    threads: int
    revision: str
    trust_remote_code: bool

    def load(self, name: str, dtype: str) -> LanguageModel:
        """The model of a name.

        Args:
            name: as `load_model` takes it.
            dtype: the precision that screens candidates.
        """
        from autoprompt.models.loading import load_model

        return load_model(name, dtype=dtype, **self._options())

    def model_of(self, prompt: Prompt, name: str | None) -> LanguageModel:
        """The model that a prompt names, or another copy of it by `name`."""
        from autoprompt.prediction import model_of

        return model_of(prompt, name, **self._options())

    def _options(self) -> dict[str, Any]:
        """What loading takes; the number of threads is set here, once for the process."""
        if self.threads:
            import torch

            torch.set_num_threads(self.threads)
        return {
            "device": self.device,
            "revision": self.revision,
            "trust_remote_code": self.trust_remote_code,
        }


Command = Callable[..., None]


def data_options(command: Command) -> Command:
    """`--text-column`, `--label-column`, `--encoding`, given to the verb as `data_options`."""

    @click.option(
        "--text-column",
        "text_columns",
        multiple=True,
        metavar="NAME",
        help="The text's column; twice for a pair of texts.",
    )
    @click.option("--label-column", default="", metavar="NAME", help="The label's column.")
    @click.option("--encoding", default="utf-8", show_default=True, help="Of text files.")
    @functools.wraps(command)
    def gathered(
        *, text_columns: tuple[str, ...], label_column: str, encoding: str, **rest: Any
    ) -> None:
        command(data_options=DataOptions(text_columns, label_column, encoding), **rest)

    return gathered


def budget_options(command: Command) -> Command:
    """`--budget` and single limits, given to the verb as `budget_options`."""

    @click.option(
        "--budget",
        default=None,
        help="quick, standard (the default) or thorough: 4,000, 20,000 or 100,000 forwards.",
    )
    @click.option("--trials", type=int, default=None, help="At most this many different prompts.")
    @click.option(
        "--forwards",
        type=int,
        default=None,
        help="At most this many model inputs, the test left out.",
    )
    @click.option(
        "--seconds", type=float, default=None, help="Stop after this time; seeds are always scored."
    )
    @functools.wraps(command)
    def gathered(
        *,
        budget: str | None,
        trials: int | None,
        forwards: int | None,
        seconds: float | None,
        **rest: Any,
    ) -> None:
        options = BudgetOptions(budget, trials, forwards, seconds)
        command(budget_options=options, **rest)

    return gathered


def model_options(command: Command) -> Command:
    """`--device`, `--threads` and how to get the model, given to the verb as `model_options`."""

    @click.option("--device", default="cpu", show_default=True, help="cpu, cuda or mps.")
    @click.option("--threads", type=click.IntRange(0), default=0, help="Of a CPU; 0: all cores.")
    @click.option("--revision", default="", help="Of a Hugging Face model.")
    @click.option(
        "--trust-remote-code", is_flag=True, help="Let the model run its own Python code."
    )
    @functools.wraps(command)
    def gathered(
        *, device: str, threads: int, revision: str, trust_remote_code: bool, **rest: Any
    ) -> None:
        options = ModelOptions(device, threads, revision, trust_remote_code)
        command(model_options=options, **rest)

    return gathered


seed_option = click.option(
    "--seed", type=int, default=0, show_default=True, help="Of all that is drawn."
)
metric_option = click.option(
    "--metric", default="", help="accuracy, macro_f1 or matthews; else the task's."
)
prompts_model_option = click.option(
    "--model", default=None, help="By default the one that the prompt names."
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
)
storage_option = click.option(
    "--storage",
    default="",
    envvar="AUTOPROMPT_STORAGE",
    metavar="URL",
    help="A PostgreSQL or MySQL database, where workers run on several hosts.",
)
