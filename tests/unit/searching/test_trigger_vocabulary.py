"""What may be a trigger token."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models
import transformers

from autoprompt.models.transformer import TransformerModel
from autoprompt.searching.trigger_vocabulary import allowed_tokens, without_words
from autoprompt.verbalizers import Verbalizer

FAMILIES = [*tiny_models.FAMILIES, *tiny_models.CAUSAL, *tiny_models.SEQ2SEQ]


def test_special_and_unused_tokens_are_banned() -> None:
    pieces = [*tiny_models.BERT_SPECIALS, "[unused1]", "film", "##ing", "\u200b", "\ufffd", "x"]
    tokenizer = transformers.BertTokenizer({piece: index for index, piece in enumerate(pieces)})
    tokenizer.add_tokens(["<extra>"])
    model = SimpleNamespace(
        encoder=SimpleNamespace(tokenizer=tokenizer),
        input_embeddings=lambda: np.zeros((len(tokenizer) + 3, 2)),  # padded, as some are
    )
    allowed = allowed_tokens(model)
    assert allowed.shape == (len(tokenizer) + 3,)
    names = tokenizer.convert_ids_to_tokens(np.flatnonzero(allowed).tolist())
    assert names == ["film", "##ing", "x"]


@pytest.mark.parametrize("family", FAMILIES)
def test_allowed_tokens_are_text(
    family_models: Callable[[str], TransformerModel], family: str
) -> None:
    model = family_models(family)
    tokenizer = model.encoder.tokenizer
    allowed = allowed_tokens(model)
    assert not allowed[tokenizer.all_special_ids].any()
    assert allowed[model.encoder.text_ids(" film")[-1]]
    for token in np.flatnonzero(allowed):
        text = tokenizer.decode([int(token)])
        assert text.strip()
        assert "\ufffd" not in text
        assert text.isprintable()


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
def test_label_words_of_one_token_are_taken_out(
    family_models: Callable[[str], TransformerModel], family: str
) -> None:
    model = family_models(family)
    allowed = allowed_tokens(model)
    before = allowed.copy()
    left = without_words(allowed, model, Verbalizer.of({"neg": ["bad"], "pos": ["great", "fine"]}))
    np.testing.assert_array_equal(allowed, before)
    forms = [form for word in ("bad", "great", "fine") for form in (word, f" {word}")]
    named = {ids[0] for form in forms if len(ids := model.encoder.text_ids(form)) == 1}
    assert named
    assert {*np.flatnonzero(before != left)} == named
