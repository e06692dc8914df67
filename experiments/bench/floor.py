"""The least work that a job needs, and how long that takes at the rate of a bare product.

Counted are multiplications and additions of matrix products on true tokens, no padding: two for
each weight of a linear layer and token, four for each pair of query and key and unit of width.
Work whose result nobody reads is not counted: the last layer's queries, output and inner layers
run at the positions that are read, and so does the head, on the words that are compared where
nothing is normalised over the vocabulary. Everything else (softmax, norms,
activations, look-ups, tokenization) is taken to cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments.bench.shapes import Shape


@dataclass(frozen=True)
class Flops:
    """Floating-point operations, by what kind of product they are.

    Attributes:
        body: of the layers, attention included.
        head: of the head, whose shape is another one.
    """

    body: float = 0.0
    head: float = 0.0

    def __add__(self, other: Flops) -> Flops:
        return Flops(self.body + other.body, self.head + other.head)

    def seconds(self, rates: dict[str, float]) -> float:
        """How long they take.

        Args:
            rates: "body" and "head", operations a second.
        """
        return self.body / rates["body"] + self.head / rates["head"]


@dataclass(frozen=True)
class Pass:
    """A sequence on its way through a model.

    Attributes:
        length: its tokens.
        read: positions whose prediction is asked for.
        known: tokens at its beginning whose keys and values are at hand (causal models).
        words: the tokens whose logits are asked for; all of the vocabulary's where it is None.
    """

    length: int
    read: int = 1
    known: int = 0
    words: int | None = None


def forward(shape: Shape, one: Pass) -> Flops:
    """Of one sequence.

    >>> from experiments.bench.shapes import SHAPES
    >>> f"{forward(SHAPES['mini'], Pass(length=26)).body:,.0f}"
    '132,913,152'
    """
    linear, attention = _layers(shape, one)
    return Flops(linear + attention, one.read * _head(shape, one.words))


def gradient(shape: Shape, one: Pass) -> Flops:
    """Forward and back to the embeddings, with the weights frozen.

    The way back through a linear layer is one product as large as the way there, through
    attention two for each.
    """
    linear, attention = _layers(shape, one)
    return Flops(2 * linear + 3 * attention, 2 * one.read * _head(shape, one.words))


def total(parts: Iterable[Flops]) -> Flops:
    """The sum."""
    return sum(parts, Flops())


def scoring(shape: Shape, lengths: Sequence[int], words: int | None = None) -> Flops:
    """Each sequence once, with one mask; for `words` see `Pass`."""
    return total(forward(shape, Pass(length, words=words)) for length in lengths)


def trigger_step(shape: Shape, lengths: Sequence[int], candidates: int) -> Flops:
    """A gradient on some sequences, and some candidates on the same ones."""
    found = total(gradient(shape, Pass(length)) for length in lengths)
    each = scoring(shape, lengths)
    return found + Flops(candidates * each.body, candidates * each.head)


def training(shape: Shape, lengths: Sequence[int]) -> Flops:
    """Forward and back through all weights: back is two products as large as each there."""
    there = scoring(shape, lengths)
    return Flops(3 * there.body, 3 * there.head)


def causal_step(shape: Shape, length: int, first: int, flipped: Sequence[int]) -> Flops:
    """A gradient, and candidates that each read on from their first changed token.

    Args:
        shape: a causal model's.
        length: tokens of the sequence.
        first: where the triggers begin; what is before them is the same in every step.
        flipped: for each candidate the first trigger token that is changed.
    """
    steps = [forward(shape, Pass(length, known=first + at)) for at in flipped]
    return gradient(shape, Pass(length, known=first)) + total(steps)


def _layers(shape: Shape, one: Pass) -> tuple[float, float]:
    """Of linear layers and of attention.

    Of a layer's twelve squares of weights, two make keys and values, the others only what is read.
    """
    square = shape.width**2
    fresh = one.length - one.known
    if shape.family == "causal":  # token i looks at i + 1 tokens
        pairs = sum(range(one.known + 1, one.length + 1))
    else:
        pairs = fresh * one.length
    linear = (shape.layers - 1) * 24 * square * fresh + 4 * square * fresh + 20 * square * one.read
    attention = 4 * shape.width * ((shape.layers - 1) * pairs + one.read * one.length)
    return float(linear), float(attention)


def _head(shape: Shape, words: int | None) -> float:
    """Of one position."""
    transform = shape.width**2 if shape.transform else 0
    return float(2 * (transform + shape.width * (shape.vocabulary if words is None else words)))
