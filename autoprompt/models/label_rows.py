"""A label head: rows of the output embeddings that are trained while all else is frozen.

The rows of the label words become a linear classifier over what the output embeddings multiply at
the mask, as AutoPrompt's label head (Shin et al. 2020, section 2.2), begun from the words' rows.
Label scores normalised over labels are then the classifier's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from autoprompt.errors import ModelError
from autoprompt.models.transformer import TransformerModel


class LabelRows(torch.nn.Linear):
    """An output layer with some rows of its own.

    Args:
        layer: the model's own; its weight is shared, and frozen.
        tokens: whose rows are trained.
    """

    def __init__(self, layer: torch.nn.Linear, tokens: Sequence[int]) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=False, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        at = torch.tensor(list(tokens), device=layer.weight.device)
        self.rows = torch.nn.Parameter(layer.weight.detach()[at].clone())
        self.rows_bias: torch.nn.Parameter | None = None
        if layer.bias is not None:
            self.rows_bias = torch.nn.Parameter(layer.bias.detach()[at].clone())
        self.register_buffer("at", at, persistent=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """See `torch.nn.Linear`."""
        own = torch.nn.functional.linear(input, self.rows, self.rows_bias)
        return super().forward(input).index_copy(-1, self._tokens, own)

    @property
    def _tokens(self) -> torch.Tensor:
        found = self.at
        assert isinstance(found, torch.Tensor)
        return found

    def plain(self) -> torch.nn.Linear:
        """An ordinary layer that does the same."""
        made = torch.nn.Linear(self.in_features, self.out_features, self.bias is not None)
        made.to(self.weight.device)
        with torch.no_grad():
            made.weight.copy_(self.weight.index_copy(0, self._tokens, self.rows))
            if self.rows_bias is not None:
                made.bias.copy_(self.bias.index_copy(0, self._tokens, self.rows_bias))
        return made


def attach_label_rows(model: TransformerModel, tokens: Sequence[int]) -> LabelRows:
    """Give a model's output layer trainable rows.

    Args:
        model: its module is changed in place.
        tokens: whose rows; no two are equal.

    Raises:
        ModelError: the model has no linear layer over its vocabulary, or one that cannot be saved
            apart from the input embeddings.
    """
    layer = model.module.get_output_embeddings()
    # The input embeddings of an encoder and a decoder are tied by the option that ties them to the
    # output layer (a T5's whatever it says): without it they would be missing at load.
    if not isinstance(layer, torch.nn.Linear) or model.identity.family == "seq2seq":
        raise ModelError(
            f"method 'head' wants an output layer of its own over the vocabulary, which "
            f"{model.identity.name!r} does not have; choose another method"
        )
    rows = LabelRows(layer, tokens)
    model.module.set_output_embeddings(rows)
    return rows
