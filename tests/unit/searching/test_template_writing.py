"""Templates by the model: written once, from the best seed, within what is left."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from tiny_search import runner_of, scored

from autoprompt.errors import InputError, ModelError
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.models.transformer import TransformerModel
from autoprompt.scoring.ledger import Spent
from autoprompt.searching import template_writing
from autoprompt.searching.candidates import Candidate
from autoprompt.searching.generation import Generated
from autoprompt.searching.records import Record
from autoprompt.searching.template_writing import FILL_EXAMPLES, TemplateWriter
from autoprompt.searching.trials import TrialRunner
from autoprompt.templates import Template

SPACE = """
name: tiny
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask} ."
    verbalizer: {neg: [terrible], pos: [great]}
  - template: "{mask} film : {text}"
    verbalizer: {neg: [bad], pos: [good]}
"""
READ_TO_THE_RIGHT = SPACE.replace("{mask} film : {text}", "{text} film : {mask}")


def seeds_of(runner: TrialRunner) -> list[Record]:
    """The seeds' records."""
    table = runner.table
    found = []
    for n, seed in enumerate(table.space.seeds):
        outcome = scored(runner, Candidate(seed.template, table.seed_words(n)))
        found.append(Record(n, outcome, None, outcome.spent, {}))
    return found


def test_templates_are_written_once_from_the_best_seed(
    tiny_model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = runner_of(tiny_model, SPACE + "templates: {generated: 3}\n")
    records = seeds_of(runner)
    best = max(range(2), key=lambda n: records[n].outcome.value)  # type: ignore[union-attr]
    study, asked = optuna.create_study(), []
    original = template_writing.fill

    def fill(model: Any, template: Template, examples: Any, words: Any, **rest: Any) -> Any:
        asked.append((template, len(examples), words))
        return original(model, template, examples, words, **rest)

    monkeypatch.setattr(template_writing, "fill", fill)
    spent = TemplateWriter(runner, False, None).write(study, records, None)
    assert asked == [(runner.table.space.seeds[best].template, min(8, FILL_EXAMPLES), None)]
    assert len(runner.table.written) == 3
    assert spent.forwards > 0
    assert not runner.table.written_with_labels
    known = list(runner.table.written)
    runner.table.written = []
    assert TemplateWriter(runner, False, None).write(study, records, None) == spent
    assert (runner.table.written, len(asked)) == (known, 1)


def test_templates_around_gold_words_are_known_to_be_fitted(
    tiny_model: MaskedLanguageModel,
) -> None:
    runner = runner_of(tiny_model, SPACE + "templates: {generated: 2}\n")
    writer = TemplateWriter(runner, True, None)
    writer.write(optuna.create_study(), seeds_of(runner), None)
    assert runner.table.written_with_labels
    assert runner.table.model_written(0).label_fitted


@pytest.mark.parametrize("left", [0, 40, 90, 200])
def test_templates_take_no_more_than_what_is_left(
    tiny_model: MaskedLanguageModel, left: int
) -> None:
    runner = runner_of(tiny_model, SPACE + "templates: {generated: 5}\n")
    writer = TemplateWriter(runner, False, None)
    spent = writer.write(optuna.create_study(), seeds_of(runner), left)
    assert spent.forwards <= left
    assert bool(runner.table.written) == (left >= 90)


@pytest.mark.parametrize(("left", "beam"), [(None, 100), (10_000, 100), (47, 2), (15, None)])
def test_a_t5_takes_no_more_than_what_is_left(
    tiny_model: MaskedLanguageModel,
    monkeypatch: pytest.MonkeyPatch,
    left: int | None,
    beam: int | None,
) -> None:
    """A beam's row is a sequence for each of the 8 examples and of the 2 placements."""
    runner = runner_of(tiny_model, SPACE + "templates: {generated: 5}\n")
    asked: list[int] = []

    def generate(*_: Any, beam: int, **__: Any) -> tuple[list[Generated], Spent]:
        asked.append(beam)
        return [], Spent()

    monkeypatch.setattr(template_writing, "generate_with_t5", generate)
    infiller: Any = SimpleNamespace(name="t5")
    writer = TemplateWriter(runner, False, infiller)
    writer.write(optuna.create_study(), seeds_of(runner), left)
    assert asked == ([] if beam is None else [beam])


def test_a_generator_that_nothing_asks_for_is_refused(tiny_model: MaskedLanguageModel) -> None:
    runner = runner_of(tiny_model, SPACE)
    infiller: Any = SimpleNamespace(name="t5")
    with pytest.raises(InputError, match=r"neither the space .* nor the recipe asks for templates"):
        TemplateWriter(runner, False, infiller)


def test_a_model_that_fills_no_masks_needs_a_generator(
    family_models: Callable[[str], TransformerModel],
) -> None:
    runner = runner_of(family_models("gpt2"), READ_TO_THE_RIGHT + "templates: {generated: 2}\n")
    with pytest.raises(ModelError, match="a causal model, cannot fill masks in a template"):
        TemplateWriter(runner, False, None)


def test_templates_are_awaited_until_the_study_has_them(tiny_model: MaskedLanguageModel) -> None:
    study = optuna.create_study()
    assert not TemplateWriter(runner_of(tiny_model, SPACE), False, None).is_awaited(study)
    runner = runner_of(tiny_model, SPACE + "templates: {generated: 2}\n")
    writer = TemplateWriter(runner, False, None)
    assert writer.is_awaited(study)
    writer.write(study, seeds_of(runner), 0)  # none can be afforded: that is settled as well
    assert not writer.is_awaited(study)
