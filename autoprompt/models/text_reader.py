"""Reading a user's text: special tokens that stand in it are characters."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

HIDDEN = "\0"  # what the name of a hidden token begins with: no text contains it


def reader_of_text(tokenizer: Any, known: Collection[str] = ()) -> Any:
    """A copy of a tokenizer's backend that reads "[MASK]" as any other characters.

    Not to look for special tokens before the tokenization (`encode_special_tokens`) is not enough:
    the vocabulary of XLM-RoBERTa and its like has them as pieces, which its model then finds. In
    the copy they have names that no text contains, and their ids.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
        known: all tokens that the reader is to find under their hidden names (`HIDDEN` and the
            name), every special token among them; by default it finds none.
    """
    backend = tokenizer.backend_tokenizer
    record = json.loads(backend.to_str())
    hidden = {token: f"{HIDDEN}{token}" for token in {*tokenizer.all_special_tokens, *known}}
    for added in record["added_tokens"]:
        if known and added["content"] in hidden:
            added["normalized"] = False  # a normalizer could take the hidden name's first character
        added["content"] = hidden.get(added["content"], added["content"])
    model = record["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {hidden.get(piece, piece): at for piece, at in model["vocab"].items()}
    else:
        model["vocab"] = [[hidden.get(piece, piece), score] for piece, score in model["vocab"]]
    if model.get("unk_token"):
        model["unk_token"] = hidden.get(model["unk_token"], model["unk_token"])
    record.update(post_processor=None, truncation=None, padding=None)
    reader = type(backend).from_str(json.dumps(record))
    reader.encode_special_tokens = not known
    return reader
