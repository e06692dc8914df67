"""What only the model can tell, held to the obvious way to find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from export_prompts import CHAT, EXAMPLES, MANY, prompt_for
from finished_run import finished_run

from autoprompt.finished_runs import FinishedRun
from autoprompt.models.transformer import TransformerModel
from autoprompt.objective import tempered_log_likelihoods
from autoprompt.prediction import Predictor
from autoprompt.report.model_facts import EXAMPLES as MOST
from autoprompt.report.model_facts import model_facts, saliency, word_rows
from autoprompt.templates import Template

Models = Callable[[str], TransformerModel]


def worth_by_hand(predictor: Predictor, template: str) -> float:
    """The fall of the mean log-likelihood with another template in the prompt's place."""
    changed = replace(predictor.prompt, template=Template.parse(template), tokens=None)
    values = [
        float(tempered_log_likelihoods(Predictor(p, predictor.model).score(EXAMPLES)).mean())
        for p in (predictor.prompt, changed)
    ]
    return values[0] - values[1]


def test_each_token_is_left_out(family_models: Models) -> None:
    predictor = Predictor(prompt_for(family_models("bert")), family_models("bert"))
    found = list(saliency(predictor, EXAMPLES))
    assert [(token.text, token.kind) for token in found] == [
        ("{text}", "slot"),
        ("It", "word"),
        ("was", "word"),
        ("{mask}", "slot"),
        (".", "word"),
    ]
    wanted = ["{text} was {mask}.", "{text} It {mask}.", "{text} It was {mask}"]
    worths = [token.worth for token in found if token.kind == "word"]
    for worth, template in zip(worths, wanted, strict=True):
        assert worth == pytest.approx(worth_by_hand(predictor, template), abs=1e-5)
    assert all(token.worth is None for token in found if token.kind == "slot")


def test_triggers_and_demonstrations(family_models: Models) -> None:
    model = family_models("bert")
    ids = model.encoder.text_ids("story movie")
    template = "{demonstrations}{trigger:2} {text} It was {mask}."
    prompt = prompt_for(model, template, triggers=[ids], demonstrations=EXAMPLES[:1])
    found = list(saliency(Predictor(prompt, model), EXAMPLES))
    kinds = [token.kind for token in found]
    assert kinds[:4] == ["demonstrations", "trigger", "trigger", "slot"]
    assert [token.text for token in found[1:3]] == ["story", "movie"]
    assert all(token.worth is not None for token in found if token.kind != "slot")


def test_what_cannot_be_left_out_has_no_worth(family_models: Models) -> None:
    """A chat whose part would be empty without its only word."""
    model = family_models("qwen2")
    prompt = prompt_for(model, CHAT.replace("You judge.", "Judge"))
    found = {token.text: token for token in saliency(Predictor(prompt, model), EXAMPLES[:1])}
    assert found["Judge"].worth is None
    assert found["good"].worth is not None


def test_the_words_probabilities(family_models: Models) -> None:
    model = family_models("gpt2")
    prompt = prompt_for(model, words=MANY)
    predictor = Predictor(prompt, model)
    rows = list(word_rows(predictor, EXAMPLES))
    assert [(row.word, row.label) for row in rows][1] == ("not very good", "negative")
    scores = predictor.scorer.scores(prompt.frame, EXAMPLES)
    column = predictor.scorer.column["great"]
    (row,) = [row for row in rows if row.word == "great"]
    assert row.probabilities["positive"] == pytest.approx(np.exp(scores[0, column]), rel=1e-4)
    assert row.probabilities["negative"] == pytest.approx(
        np.exp(scores[1:, column]).mean(), rel=1e-4
    )


def test_the_facts_of_a_run(family_models: Models, tmp_path: Path) -> None:
    model = family_models("bert")
    run = FinishedRun.load(finished_run(tmp_path / "run", model))
    facts = model_facts(run, Predictor(run.best, model))
    assert facts is not None
    assert facts.n == min(MOST, 40)
    assert facts.audit.unchanged.n == facts.n
    assert facts.forwards > facts.n
    older = replace(run, selection=())
    assert model_facts(older, Predictor(run.best, model)) is None
