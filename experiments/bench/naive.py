"""The loop that a careful person writes first, with plain transformers.

Batches of 32 in the order of the data, padded to the longest, all logits at all positions,
`no_grad`; one pass over the examples for each pair of template and verbalizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

BATCH = 32


def predictions(
    module: Any,
    tokenizer: Any,
    template: Template,
    verbalizer: Verbalizer,
    examples: Sequence[Example],
) -> list[int]:
    """Label indices by the probability of each label's words (single-token words only)."""
    columns = [
        [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in words]
        for words in verbalizer.words
    ]
    found: list[int] = []
    for start in range(0, len(examples), BATCH):
        texts = [
            template.render(example.fields, tokenizer.mask_token)
            for example in examples[start : start + BATCH]
        ]
        inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            logits = module(**inputs).logits
        at_mask = logits[inputs["input_ids"] == tokenizer.mask_token_id]
        probabilities = at_mask.softmax(dim=-1)
        scores = torch.stack([probabilities[:, ids].sum(dim=-1) for ids in columns], dim=1)
        found += scores.argmax(dim=1).tolist()
    return found
