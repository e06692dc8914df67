"""Prompt search and tuning, one after the other.

A strategy is written as its steps: `p` is a search for a prompt, `w` a tuning of weights, `p>w` a
tuning through the prompt that was found, `w>p` a search on the model that was tuned through the
expert's prompt (after BetterTogether, Soylu et al. 2024, which alternates the two).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from autoprompt.errors import InputError, UnknownNameError
from autoprompt.models.loading import load_model
from autoprompt.models.transformer import TransformerModel
from autoprompt.pipeline import search
from autoprompt.prediction import model_of
from autoprompt.progress import Observer
from autoprompt.prompts import Prompt
from autoprompt.results import SearchResult
from autoprompt.searching.budget import Budget
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.examples import Example
from autoprompt.tasks.task import Task
from autoprompt.tuning.ensemble import Ensemble
from autoprompt.tuning.output import TunedDirectory
from autoprompt.tuning.plans import over_folds, over_seeds
from autoprompt.tuning.results import TuningResult
from autoprompt.tuning.settings import TuningSettings
from autoprompt.tuning.sources import GIVEN, Source, members_of
from autoprompt.tuning.training import Say, silent
from autoprompt.tuning.tuning import Request
from autoprompt.tuning.tuning import tune as run_tuning

STRATEGIES = ("p", "w", "p>w", "w>p")


def tune(
    prompt: Prompt | str | Path,
    task: Task,
    out: str | Path,
    *,
    method: str = "full",
    folds: int = 0,
    seeds: int = 0,
    ensemble: int = 0,
    unlabelled: Sequence[Example] = (),
    model: str | None = None,
    device: str = "cpu",
    resume: bool = False,
    say: Say = silent,
    **numbers: Any,
) -> TuningResult:
    """Fine-tune a model through a prompt, and write it as a directory that `Predictor` loads.

    Args:
        prompt: a `Prompt`, the path of a prompt file, or a run directory, whose winner is taken.
        task: train is fitted, dev stops and selects, test is read once, at the end.
        out: the directory to write.
        method: "full", "head", "bitfit", "lora" or "soft".
        folds: average the weights of so many trainings, each stopped by another part of the data.
        seeds: average the weights of so many trainings with different seeds.
        ensemble: tune so many of a run's prompts, and distil their mixture on `unlabelled` (PET).
        unlabelled: examples of the domain, for an ensemble, or with `mlm_weight` for a
            language-model loss beside; labels are not read.
        model: by default the one that the prompt names.
        device: as for `load_model`.
        resume: go on with an interrupted tuning in `out`.
        say: takes lines about the progress.
        numbers: of `TuningSettings`: `learning_rate`, `steps`, `batch`, `seed` and so on.

    Raises:
        InputError: the request is unfit, or `out` is in use (`RunDirectoryError`).
        DivergedError: the loss became NaN or infinite.
    """
    known = [field.name for field in fields(TuningSettings)]
    if strange := [name for name in numbers if name not in known]:
        raise UnknownNameError("setting of a tuning", strange[0], known)
    settings = TuningSettings(method=method, **numbers)
    check_plan(folds, seeds, ensemble, bool(unlabelled))
    if unlabelled and not (ensemble or settings.mlm_weight):
        raise InputError("unlabelled examples want a use: give ensemble or mlm_weight")
    if isinstance(prompt, Prompt):
        source = Source(prompt, GIVEN, Path("prompt"), None)
    else:
        source = Source.of(prompt)
    request = Request(
        (source.assignment(task),),
        settings,
        texts=texts_of(unlabelled) if settings.mlm_weight else (),
        tests=(task.test,),
        **plan_of(source, folds, seeds, ensemble, unlabelled),
    )

    def fresh() -> TransformerModel:
        found = model_of(source.prompt, model, device=device)
        assert isinstance(found, TransformerModel)
        return found

    return run_tuning(request, fresh, out, resume=resume, say=say)


def texts_of(examples: Sequence[Example]) -> tuple[str, ...]:
    """Each example's fields as one text, for the language-model loss."""
    return tuple(" ".join(one.fields.values()) for one in examples)


def check_plan(folds: int, seeds: int, ensemble: int, has_texts: bool) -> None:
    """Refuse ways to combine trainings that do not go together.

    Raises:
        InputError: see the message.
    """
    if sum(map(bool, (folds, seeds, ensemble))) > 1:
        raise InputError("folds, seeds and ensemble exclude each other; give one")
    if ensemble and ensemble < 2:
        raise InputError(f"an ensemble is of two prompts at least, not {ensemble}")
    if ensemble and not has_texts:
        raise InputError("an ensemble is distilled on texts; give some (--unlabelled FILE)")


def plan_of(
    source: Source,
    folds: int,
    seeds: int,
    ensemble: int,
    unlabelled: Sequence[Example],
    strategy: str = "p>w",
) -> dict[str, Any]:
    """How trainings are combined, as `Request` takes it: the plan and its name, or nothing.

    Args:
        source: whose run has the prompts of an ensemble.
        folds, seeds, ensemble, unlabelled: as for `tune`.
        strategy: one of `STRATEGIES`: "p" leaves members untuned, "w" takes the expert's alone.

    Raises:
        InputError: there are fewer than two prompts.
    """
    if folds:
        return {"plan": over_folds(folds), "plan_name": f"{folds} folds"}
    if seeds:
        return {"plan": over_seeds(seeds), "plan_name": f"{seeds} seeds"}
    if not ensemble:
        return {}
    prompts = members_of(source.needs_run(), ensemble, strategy == "w")
    made = Ensemble(tuple(prompts), strategy != "p", tuple(unlabelled))
    return {"plan": made.plan(), "plan_name": made.name}


def check_strategy(strategy: str, ensemble: int, space: str, folds: int = 0) -> None:
    """Refuse a strategy that the rest of a request does not fit.

    Args:
        strategy: one of `STRATEGIES`.
        ensemble: how many members are distilled; 0 for none.
        space: the search space that was named, or "".
        folds: how many are averaged; 0 for none.

    Raises:
        InputError: see the message.
    """
    if strategy not in STRATEGIES:
        raise UnknownNameError("strategy", strategy, STRATEGIES)
    if strategy == "p" and not ensemble:
        raise InputError(
            "strategy 'p' is a search alone, which the run holds already; give --ensemble to "
            "distil its prompts, or take another strategy"
        )
    if strategy == "w>p" and (ensemble or not space):
        raise InputError(
            "strategy 'w>p' searches a prompt for the tuned model: name the search space with "
            "--space, and leave --ensemble out"
        )
    if strategy == "w>p" and folds:
        raise InputError(
            "strategy 'w>p' selects its prompt on dev, which folds would have learnt: leave "
            "--folds out, or average over --seeds"
        )
    if strategy != "w>p" and space:
        raise InputError(f"strategy {strategy!r} does not search: leave --space out")


def search_on_tuned(
    out: Path,
    task: Task,
    space: SearchSpace,
    budget: str | Budget | None,
    seed: int,
    observer: Observer,
    device: str = "cpu",
) -> SearchResult:
    """The second step of `w>p`: the tuned model gets the prompt that suits it best.

    It selects on dev alone, for the model has learnt train. A search that was interrupted there
    goes on.

    Args:
        out: a tuned model's directory; the run is written into it, and its prompt is replaced.
        task: as it was tuned on.
        space, budget, seed, observer: as for `pipeline.search`.
        device: as for `load_model`.
    """
    model = load_model(str(out), device=device, dtype="float32")
    directory = TunedDirectory(out)
    run = directory.search
    result = search(
        task,
        space,
        model,
        out=run,
        budget=budget,
        seed=seed,
        observer=observer,
        resume=run.exists(),
    )
    directory.replace_prompt(result.best)
    return result
