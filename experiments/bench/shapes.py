"""The shapes of the models that are measured: random weights, the sizes that people run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A transformer's sizes, which alone decide its cost.

    Attributes:
        name: as the results call it.
        family: "masked" (BERT) or "causal" (GPT-2).
        layers, width, heads: of the body; its inner width is four times its width.
        vocabulary: rows of the embeddings and of the head.
        transform: whether the head has a square layer before its output (BERT's has).
    """

    name: str
    family: str
    layers: int
    width: int
    heads: int
    vocabulary: int
    transform: bool

    @property
    def label(self) -> str:
        """For people: the name with layers and width."""
        return f"{self.name} {self.layers}x{self.width}"


SHAPES = {
    "mini": Shape("mini", "masked", 4, 256, 4, 30522, True),
    "base": Shape("base", "masked", 12, 768, 12, 30522, True),
    "gpt2": Shape("gpt2", "causal", 12, 768, 12, 50257, False),
}
