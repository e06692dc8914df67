"""Tuning a model through a prompt, from the request to a directory that loads and predicts."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autoprompt.errors import DivergedError, InputError, ScoringError
from autoprompt.files import digest, write_atomically, write_json
from autoprompt.lineage import Edit
from autoprompt.models.loading import load_model
from autoprompt.models.transformer import TransformerModel
from autoprompt.objective import Scored, evaluate
from autoprompt.prompts import ABOVE, BESIDE, ModelIdentity, Prompt
from autoprompt.scoring.metrics import Measure
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.tasks.examples import Example, split_digest
from autoprompt.tuning.card import card_of
from autoprompt.tuning.lessons import Assignment
from autoprompt.tuning.memory import peak_memory
from autoprompt.tuning.methods import METHODS, Method, set_dropout
from autoprompt.tuning.output import TunedDirectory
from autoprompt.tuning.settings import TuningSettings
from autoprompt.tuning.trainer import DECIDES
from autoprompt.tuning.training import Course, Say, Trained, is_main, processes, silent

VERSIONED = ("autoprompt", "torch", "transformers", "accelerate", "peft", "tokenizers", "numpy")
SAME = 1e-3  # nats by which the shipped model's cross-entropy may differ from the trained one's
Plan = Callable[[Course, TuningSettings, Path], Trained]


@dataclass(frozen=True)
class TunedTask:
    """One task of a tuned model.

    Attributes:
        name: of it.
        prompt: through which it is asked, as it is shipped.
        metric: the task's.
        before, after: measures on dev, untuned and as shipped, by name.
        test: measures on test as shipped; empty where there is none.
        examples: labelled examples that tuning has seen, train and dev.
    """

    name: str
    prompt: Prompt
    metric: str
    before: dict[str, Measure]
    after: dict[str, Measure]
    test: dict[str, Measure]
    examples: int

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "name": self.name,
            "metric": self.metric,
            "prompt": self.prompt.digest,
            "template": self.prompt.shown,
            "words": self.prompt.verbalizer.as_dict(),
            "examples": self.examples,
            "splits": dict(self.prompt.splits),
            **{
                split: {name: one.to_dict() for name, one in getattr(self, split).items()}
                for split in ("before", "after", "test")
            },
        }


@dataclass(frozen=True)
class TuningResult:
    """What a tuning came to.

    Attributes:
        out: the directory that holds the model.
        tasks: one at least.
        trained: how the training went.
        settings: that it was done with.
        base: the model that was tuned.
        parameters: how many were trained.
        all_parameters: how many the model has.
        seconds: of training.
        peak_memory: the most bytes that the process, or the accelerator, held.
        bytes_to_ship: of what a user needs beside the base model, if an adapter, or of all.
    """

    out: Path
    tasks: tuple[TunedTask, ...]
    trained: Trained
    settings: TuningSettings
    base: ModelIdentity
    parameters: int
    all_parameters: int
    seconds: float
    peak_memory: int
    bytes_to_ship: int

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "tasks": [task.to_dict() for task in self.tasks],
            "settings": self.settings.to_dict(),
            "training": self.trained.to_dict(),
            "base": dict(vars(self.base)),
            "parameters": self.parameters,
            "all_parameters": self.all_parameters,
            "seconds": round(self.seconds, 3),
            "peak_memory": self.peak_memory,
            "bytes_to_ship": self.bytes_to_ship,
            "processes": processes(),
            "versions": versions(),
        }


@dataclass(frozen=True)
class Request:
    """What is to be tuned.

    Attributes:
        assignments: what is learnt, one at least.
        settings: how.
        texts: unlabelled, for the auxiliary loss.
        tests: for each assignment the test examples, read once, at the end; or none.
        origins: for each assignment what its prompt is, for people: "seed", "searched".
        plan: from a course to its outcome; by default one training.
        plan_name: names the plan and its numbers: a run is not resumed with another one.
        report_to: trackers.
    """

    assignments: tuple[Assignment, ...]
    settings: TuningSettings
    texts: tuple[str, ...] = ()
    tests: tuple[tuple[Example, ...], ...] = ()
    origins: tuple[str, ...] = ()
    plan: Plan | None = None
    plan_name: str = "single"
    report_to: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    def identity(self, model: TransformerModel) -> dict[str, Any]:
        """What the result depends on."""
        return {
            "tasks": [
                [
                    one.name,
                    one.prompt.digest,
                    list(one.prompt.calibration.offsets),
                    split_digest(one.train),
                    split_digest(one.dev),
                ]
                for one in self.assignments
            ],
            "model": model.identity.weights,
            "texts": digest(list(self.texts)),
            "plan": self.plan_name,
            "processes": processes(),
            **self.settings.to_dict(),
        }


def tune(
    request: Request,
    model: TransformerModel,
    out: str | Path,
    *,
    resume: bool = False,
    say: Say = silent,
) -> TuningResult:
    """Tune a model through its prompts, and write it as a directory.

    Args:
        request: what and how.
        model: the language model; it is changed, and is of no other use afterwards.
        out: the directory to write.
        resume: go on with an interrupted tuning there.
        say: takes lines about the progress.

    Raises:
        RunDirectoryError: `out` is in use, or holds something else.
        InputError: a task has no train or dev examples.
        ModelError: the model lacks what the method trains.
        DivergedError: the loss became NaN or infinite. Where a checkpoint was better than the
            untuned model, `out` holds it.
    """
    directory = TunedDirectory(out)
    if is_main():
        directory.check(resume)
    for one in request.assignments:
        one.check()
    if request.settings.mlm_weight and not request.texts:
        raise InputError("an auxiliary loss wants unlabelled texts; give some, or leave it out")
    settings = request.settings
    method = METHODS[settings.method]()
    untuned = [_measures(model, one.prompt, one.dev) for one in request.assignments]
    method.attach(model, [one.prompt for one in request.assignments], settings)
    if settings.dropout is not None:
        set_dropout(model.module, settings.dropout)
    with directory.locked() if is_main() else contextlib.nullcontext():
        if is_main():
            directory.begin(request.identity(model))
        course = Course(model, request.assignments, request.texts, request.report_to, say)
        plan = request.plan or single
        with _tracking_in(directory, request.report_to):
            trained = plan(course, settings, directory.checkpoints)
        if not is_main():
            return _elsewhere(request, model, trained, directory)
        result = _shipped(request, model, method, trained, untuned, directory)
        directory.finish()
    if trained.diverged:
        raise DivergedError(
            f"{trained.diverged}; {directory.path} holds the model of step {trained.step}, the "
            f"last good one; for more steps lower the learning rate ({settings.rate:g})"
        )
    return result


def single(course: Course, settings: TuningSettings, folder: Path) -> Trained:
    """The plan of one training."""
    return course.train(settings, folder / "only")


def _shipped(
    request: Request,
    model: TransformerModel,
    method: Method,
    trained: Trained,
    untuned: Sequence[dict[str, Measure]],
    directory: TunedDirectory,
) -> TuningResult:
    """Write the model, load it again, measure what was loaded, and write the rest."""
    directory.prompt.unlink(missing_ok=True)
    method.save(model, directory.path)
    again = load_model(
        str(directory.path),
        device=str(model.module.device),
        dtype="float32",
        max_length=model.encoder.max_length,
    )
    tasks = []
    for number, one in enumerate(request.assignments):
        trained_entropy = _measures(model, one.prompt, one.dev)[DECIDES].value
        after = _measures(again, one.prompt, one.dev)
        if abs(after[DECIDES].value - trained_entropy) > SAME:
            raise ScoringError(
                f"the model in {directory.path} scores otherwise when it is loaded again "
                f"(cross-entropy {after[DECIDES].value:.4f} on dev, {trained_entropy:.4f} before); "
                f"this method does not suit this model: choose another one"
            )
        test = request.tests[number] if number < len(request.tests) else ()
        measured = _measures(again, one.prompt, test) if test else {}
        prompt = _prompt_of(one, request, again, after, measured, test)
        tasks.append(
            TunedTask(
                one.name,
                prompt,
                one.metric,
                untuned[number],
                after,
                measured,
                len(one.train) + len(one.dev),
            )
        )
    _write_prompts(directory, tasks)
    counts = [p.numel() for p in model.module.parameters() if p.requires_grad]
    result = TuningResult(
        directory.path,
        tuple(tasks),
        trained,
        request.settings,
        model.identity,
        sum(counts),
        sum(p.numel() for p in model.module.parameters()),
        trained.seconds,
        peak_memory(model.module.device.type),
        directory.bytes_to_ship(),
    )
    origins = {"origins": list(request.origins), "plan": request.plan_name}
    write_json(directory.record, {**result.to_dict(), **origins, **request.extra})
    write_atomically(directory.card, card_of(result.to_dict()))
    _write_main_prompt(directory, tasks)
    return result


def _prompt_of(
    one: Assignment,
    request: Request,
    model: Any,
    after: dict[str, Measure],
    test: dict[str, Measure],
    examples: Sequence[Example],
) -> Prompt:
    """The prompt as it is shipped: on the tuned model, with its scores there."""
    prompt = one.prompt
    how = f"tuned ({request.settings.method})"
    words = {label: tuple(group) for label, group in prompt.verbalizer.as_dict().items()}
    found = replace(
        prompt,
        model=replace(model.identity, name=BESIDE),
        tokens=model.encoder.record(prompt.frame, prompt.verbalizer.all_words),
        lineage=(*prompt.lineage, Edit(how, prompt.shown, words)),
        scores={},
        splits={"train": split_digest(one.train)},
        versions=versions(),
        seed=request.settings.seed,
    )
    found = found.with_scores("dev", _records(after), split_digest(one.dev))
    return found.with_scores("test", _records(test), split_digest(examples)) if test else found


def _write_prompts(directory: TunedDirectory, tasks: Sequence[TunedTask]) -> None:
    if len(tasks) > 1:
        directory.prompts.mkdir(exist_ok=True)
        for task in tasks:
            name = replace(task.prompt.model, name=ABOVE) if task.prompt.model else None
            replace(task.prompt, model=name).save(directory.prompts / f"{task.name}.json")


def _write_main_prompt(directory: TunedDirectory, tasks: Sequence[TunedTask]) -> None:
    """Last: it means that all is there. Of several tasks it is the first one's."""
    tasks[0].prompt.save(directory.prompt)


def _elsewhere(
    request: Request, model: TransformerModel, trained: Trained, directory: TunedDirectory
) -> TuningResult:
    """What a process knows that does not write."""
    return TuningResult(
        directory.path, (), trained, request.settings, model.identity, 0, 0, trained.seconds, 0, 0
    )


def _measures(model: Any, prompt: Prompt, examples: Sequence[Example]) -> dict[str, Measure]:
    scored: Scored = evaluate(prompt, WordScorer(model, prompt.verbalizer.all_words), examples)
    return scored.measures()


def _records(measures: dict[str, Measure]) -> dict[str, Any]:
    return {name: one.to_dict() for name, one in measures.items()}


def versions() -> dict[str, str]:
    """Of the packages that a tuned model depends on."""
    return {name: importlib.metadata.version(name) for name in VERSIONED}


@contextlib.contextmanager
def _tracking_in(directory: TunedDirectory, report_to: Sequence[str]) -> Iterator[None]:
    """Trackers write beside the model, and nowhere else, unless the environment says otherwise."""
    place = directory.path / "tracking"
    defaults = {
        "TENSORBOARD_LOGGING_DIR": str(place / "tensorboard"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{place / 'mlflow.db'}",
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(place),
    }
    added = {}
    if report_to:
        place.mkdir(parents=True, exist_ok=True)
        added = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    except (RuntimeError, ImportError) as error:
        if report_to and "install" in str(error):
            raise InputError(
                f"a tracker of {', '.join(report_to)} is not installed: "
                f"{str(error).splitlines()[0]}"
            ) from error
        raise
    finally:
        for name in added:
            os.environ.pop(name, None)
