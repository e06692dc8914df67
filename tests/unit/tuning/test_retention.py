"""What a model still knows, held to a slow computation of the definition."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from autoprompt.errors import InputError
from autoprompt.models.transformer import TransformerModel
from autoprompt.tuning.retention import GENERAL_TEXT, general_text, pseudo_perplexity

TEXTS = ["the film was good", "money and business", "who is a good person ?"]


def log_likelihoods(model: TransformerModel, text: str) -> list[float]:
    """One pass a token, as the definition has it."""
    tokenizer, module = model.encoder.tokenizer, model.module
    family = model.identity.family
    ids = list(tokenizer(text)["input_ids"])
    bare = model.encoder.text_ids(text)
    start = next(at for at in range(len(ids)) if ids[at : at + len(bare)] == bare)
    found = []
    for at in range(start, start + len(bare)):
        given: dict[str, Any] = {}
        if family == "causal":
            if at == 0:
                continue
            given["input_ids"] = torch.tensor([ids[:at]])
            place = at - 1
        else:
            hidden = list(ids)
            hidden[at] = model.encoder.mask_id
            given["input_ids"] = torch.tensor([hidden])
            place = at
            if (
                family == "seq2seq"
            ):  # a T5's decoder begins with padding, then asks for the sentinel
                given["decoder_input_ids"] = torch.tensor([[0, model.encoder.mask_id]])
                place = 1
        with torch.no_grad():
            logits = module(**given).logits[0, place]
        found.append(float(logits.log_softmax(-1)[ids[at]]))
    return found


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2", "llama", "t5"])
def test_it_is_the_definition(
    family_models: Callable[[str], TransformerModel], family: str
) -> None:
    model = family_models(family)
    logs = [one for text in TEXTS for one in log_likelihoods(model, text)]
    wanted = math.exp(-sum(logs) / len(logs))
    assert pseudo_perplexity(model, TEXTS) == pytest.approx(wanted, rel=1e-4)


def test_long_texts_are_cut(family_models: Callable[[str], TransformerModel]) -> None:
    for family in ("bert", "gpt2", "t5", "bart"):
        assert pseudo_perplexity(family_models(family), ["the film was good " * 40]) > 1


def test_the_shipped_text_has_200_different_sentences() -> None:
    lines = general_text()
    assert len(set(lines)) == 200
    assert all(line.endswith((".", "?")) and 4 <= len(line.split()) <= 16 for line in lines)
    assert GENERAL_TEXT.read_text(encoding="utf-8").isascii()


def test_a_file_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("One sentence.\n\nAnother one.\n")
    assert general_text(tmp_path / "text") == ["One sentence.", "Another one."]
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        general_text(tmp_path / "empty")
