"""How a model is tuned: the method and its numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from autoprompt.errors import InputError, UnknownNameError

METHODS = ("full", "head", "bitfit", "lora", "soft")
PRECISIONS = ("float32", "bfloat16", "float16")
# The fewer parameters a method has, the farther each has to go.
LEARNING_RATES = {"full": 5e-5, "head": 5e-3, "bitfit": 1e-3, "lora": 1e-3, "soft": 5e-3}


@dataclass(frozen=True)
class TuningSettings:
    """The method and its numbers.

    Attributes:
        method: one of `METHODS`: all weights, the label words' rows of the output embeddings, the
            biases (BitFit, Zaken et al. 2022), low-rank matrices (LoRA, Hu et al. 2022), or a soft
            prompt (Lester et al. 2021).
        learning_rate: the highest; 0 stands for the method's own.
        steps: at most.
        batch: examples of a step, over all processes.
        warmup: the share of the steps in which the learning rate rises; after that it falls to 0.
        weight_decay: of AdamW.
        dropout: of all layers; None leaves what the model's configuration says.
        evaluate_every: steps between two looks at dev, which checkpoints go with.
        patience: looks at dev after which it stops, if none is lower by 0.001 nats (tempered).
        max_gradient: the largest norm of a step's gradient.
        precision: of the forward and backward passes; weights are float32, and so is every number
            that decides.
        rank: of LoRA's matrices.
        mlm_weight: of the auxiliary language-model loss on unlabelled text.
        seed: of order, dropout and what begins at random.
    """

    method: str = "full"
    learning_rate: float = 0.0
    steps: int = 200
    batch: int = 8
    warmup: float = 0.1
    weight_decay: float = 0.01
    dropout: float | None = None
    evaluate_every: int = 10
    patience: int = 6
    max_gradient: float = 1.0
    precision: str = "float32"
    rank: int = 8
    mlm_weight: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UnknownNameError("tuning method", self.method, METHODS)
        if self.precision not in PRECISIONS:
            raise UnknownNameError("precision", self.precision, PRECISIONS)
        for name, (holds, rule) in _RULES.items():
            value = getattr(self, name)
            if value is not None and not holds(value):
                raise InputError(f"{name.replace('_', ' ')} must be {rule}, not {value}")

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        return self.learning_rate or LEARNING_RATES[self.method]

    def with_(self, **changes: Any) -> TuningSettings:
        """These settings with others in some places."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {**asdict(self), "learning_rate": self.rate}


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "learning_rate": (lambda value: 0 <= value <= 10, "between 0 and 10"),
    "steps": (lambda value: value >= 1, "at least 1"),
    "batch": (lambda value: value >= 1, "at least 1"),
    "warmup": (lambda value: 0 <= value < 1, "at least 0 and below 1"),
    "weight_decay": (lambda value: value >= 0, "at least 0"),
    "dropout": (lambda value: 0 <= value < 1, "at least 0 and below 1"),
    "evaluate_every": (lambda value: value >= 1, "at least 1"),
    "patience": (lambda value: value >= 1, "at least 1"),
    "max_gradient": (lambda value: value > 0, "above 0"),
    "rank": (lambda value: value >= 1, "at least 1"),
    "mlm_weight": (lambda value: value >= 0, "at least 0"),
}
