"""Where a model's head works: at some positions, and on some tokens of the vocabulary.

All of a head is a product with the whole vocabulary at every position, which costs more than a
small encoder itself. What is asked for is far less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional


@contextmanager
def narrowed(
    body: Any, positions: Sequence[Sequence[int]], rows: Sequence[int] | None
) -> Iterator[None]:
    """While open, the head sees some of the body's last hidden states.

    Args:
        body: the part of a model whose output the head gets.
        positions, rows: as for `at`.
    """

    def narrow(_module: Any, _arguments: Any, output: Any) -> Any:
        output["last_hidden_state"] = at(output["last_hidden_state"], positions, rows)
        return output

    handle = body.register_forward_hook(narrow)
    try:
        yield
    finally:
        handle.remove()


def at(
    states: torch.Tensor, positions: Sequence[Sequence[int]], rows: Sequence[int] | None = None
) -> torch.Tensor:
    """States of `(rows, length, width)` at `(batch, masks)` positions.

    Args:
        states: of all tokens.
        positions: for each sequence of a batch.
        rows: for each sequence its row; by default each has its own.

    Raises:
        IndexError: a position lies behind the end. A GPU would say so later, and then refuse all.
    """
    if max(map(max, positions)) >= states.shape[1]:
        raise IndexError(f"no such position among {states.shape[1]}")
    of = torch.tensor(rows or range(states.shape[0]), device=states.device)[:, None]
    return states[of, torch.tensor(positions, device=states.device)]


def has_plain_head(module: Any) -> bool:
    """Whether a model's output layer is linear: not quantised, adapted, hooked or ours."""
    try:
        layer = module.get_output_embeddings()
    except (AttributeError, NotImplementedError):  # transformers raises either, by model
        return False
    return type(layer) is torch.nn.Linear and "forward" not in vars(layer)


@contextmanager
def head_of(layer: torch.nn.Linear, token_ids: NDArray[np.int64]) -> Iterator[None]:
    """While open, an output layer gives the logits of some tokens alone.

    Args:
        layer: over the vocabulary, as `get_output_embeddings` gives it.
        token_ids: shape `(tokens,)`.
    """
    wanted = torch.as_tensor(token_ids, device=layer.weight.device)
    weight, bias = layer.weight[wanted], None if layer.bias is None else layer.bias[wanted]
    changed: Any = layer
    try:
        changed.forward = lambda states: functional.linear(states, weight, bias)
        yield
    finally:
        vars(layer).pop("forward", None)
