"""Prompt search and tuning, one after the other.

A strategy is written as its steps: `p` is a search for a prompt, `w` a tuning of weights, `p>w` a
tuning through the prompt that was found, `w>p` a search on the model that was tuned through the
expert's prompt (after BetterTogether, Soylu et al. 2024, which alternates the two).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from autoprompt.errors import InputError, UnknownNameError
from autoprompt.models.loading import load_model
from autoprompt.pipeline import search
from autoprompt.progress import Observer
from autoprompt.prompts import BESIDE
from autoprompt.results import SearchResult
from autoprompt.runs import TUNED_PROMPT
from autoprompt.searching.budget import Budget
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.task import Task

STRATEGIES = ("p", "w", "p>w", "w>p")
SEARCH = "search"  # the run directory inside a tuned model's


def check_strategy(strategy: str, ensemble: int, space: str) -> None:
    """Refuse a strategy that the rest of a request does not fit.

    Args:
        strategy: one of `STRATEGIES`.
        ensemble: how many members are distilled; 0 for none.
        space: the search space that was named, or "".

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

    Args:
        out: a tuned model's directory; the run is written into it, and its prompt is replaced.
        task: as it was tuned on.
        space, budget, seed, observer: as for `pipeline.search`.
        device: as for `load_model`.
    """
    model = load_model(str(out), device=device, dtype="float32")
    result = search(
        task, space, model, out=out / SEARCH, budget=budget, seed=seed, observer=observer
    )
    assert result.best.model is not None
    beside = replace(result.best.model, name=BESIDE)
    replace(result.best, model=beside).save(out / TUNED_PROMPT)
    return result
