"""A trial that fails alone: it has a reason, costs what it cost, and is never the best."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from run_files import document, trials

import autoprompt as ap
from autoprompt.models.loading import load_model
from autoprompt.models.masked import MaskedLanguageModel

STEM = "science"  # what some of the space's templates say, and no text or wording
SPACE = f"""
name: some fail
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{{text}} it was {{mask}} ."
    verbalizer: {{neg: [terrible], pos: [great]}}
templates:
  patterns: ["{{text}} {{stem}} {{mask}}{{end}}"]
  slots: {{stem: [it was, {STEM}, very], end: [" .", " !", ""]}}
"""


@pytest.fixture
def own_model(model: Path) -> MaskedLanguageModel:
    found = load_model(str(model))
    assert isinstance(found, MaskedLanguageModel)
    return found


@pytest.fixture
def hooked(own_model: MaskedLanguageModel) -> Iterator[Callable[[Callable[[Any], Any]], None]]:
    """Does something to the output of the model wherever its input says `STEM`."""
    token = own_model.encoder.tokenizer.convert_tokens_to_ids(STEM)
    handles = []

    def install(change: Callable[[Any], Any]) -> None:
        embeddings = own_model.module.get_input_embeddings()

        def changed(_: Any, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> Any:
            return change(output) if (given[0] == token).any() else output

        handles.append(embeddings.register_forward_hook(changed))

    yield install
    for handle in handles:
        handle.remove()


def check(run: Path, reason: str) -> None:
    rows = trials(run)
    failed = [row for row in rows if reason in row.get("reason", "")]
    assert failed
    assert any(row["state"] == "scored" for row in rows[failed[0]["trial"] + 1 :])
    assert not any(STEM in row.get("template", "").split() for row in rows)
    assert STEM not in document(run / "best.json")["template"].split()


def searched(task: Path, model: MaskedLanguageModel, run: Path) -> ap.SearchResult:
    space, budget = ap.SearchSpace.parse(SPACE), ap.Budget(trials=6)
    return ap.search(ap.Task.load(task), space, model, out=run, budget=budget, seed=1)


def test_a_trial_that_does_not_fit_the_memory_fails_alone(
    task: Path,
    own_model: MaskedLanguageModel,
    hooked: Callable[[Callable[[Any], Any]], None],
    tmp_path: Path,
) -> None:
    def full(_: Any) -> Any:
        raise torch.OutOfMemoryError("out of memory")

    hooked(full)
    searched(task, own_model, tmp_path / "run")
    check(tmp_path / "run", "memory")


def test_a_trial_without_finite_scores_fails_alone(
    task: Path,
    own_model: MaskedLanguageModel,
    hooked: Callable[[Callable[[Any], Any]], None],
    tmp_path: Path,
) -> None:
    hooked(lambda output: output * float("nan"))
    searched(task, own_model, tmp_path / "run")
    check(tmp_path / "run", "not finite")
