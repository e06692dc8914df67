"""A recipe: a typed view of ``recipe.yaml`` or ``recipe-causal.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

OBJECTIVES = ("masked", "causal")


@dataclass(frozen=True)
class Vocabulary:
    """Size of the vocabulary and of the text it is learned from."""

    size: int
    characters: int
    megabytes: float


@dataclass(frozen=True)
class Source:
    """How one corpus file enters the mixture."""

    passes: float
    share: float
    kept_in_decay: float = 1.0
    lines_are_documents: bool = False


@dataclass(frozen=True)
class Packing:
    """How documents become rows, and which lines and documents are left out.

    ``lengths`` is for masked models, whose rows hold several short sequences; a row of a causal
    model is a piece of running text.
    """

    row_length: int
    overlap_words: int
    held_out_words: int
    lengths: list[tuple[float, int, int]]


@dataclass(frozen=True)
class Shape:
    """Width and depth of the transformer."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int


@dataclass(frozen=True)
class Masking:
    """Which words are hidden from the model, and what stands in their place."""

    rate: float
    frequent_rate: float
    frequent: int
    mask_token: float
    random_token: float


@dataclass(frozen=True)
class Training:
    """Optimiser, schedule and book-keeping of the training run."""

    rows: int
    steps: int
    warmup_steps: int
    decay_share: float
    peak_lr: float
    final_lr: float
    betas: tuple[float, float]
    weight_decay: float
    clip: float
    checkpoint_seconds: float
    log_steps: int
    compile: bool


@dataclass(frozen=True)
class Recipe:
    """The whole recipe; ``masking`` is None for a causal model."""

    seed: int
    objective: str
    vocabulary: Vocabulary
    sources: dict[str, Source]
    packing: Packing
    model: Shape
    masking: Masking | None
    training: Training


def read_recipe(path: Path) -> Recipe:
    """Read a recipe file; an unknown or missing key is an error."""
    raw: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    objective = str(raw["objective"])
    if objective not in OBJECTIVES:
        raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}, not {objective!r}")
    wanted = {entry.name for entry in fields(Recipe)} - (
        {"masking"} if objective == "causal" else set()
    )
    if set(raw) != wanted:
        raise ValueError(
            f"{path.name}: wrong or missing keys: {', '.join(sorted(set(raw) ^ wanted))}"
        )
    return Recipe(
        seed=int(raw["seed"]),
        objective=objective,
        vocabulary=Vocabulary(**raw["vocabulary"]),
        sources={name: Source(**entry) for name, entry in raw["sources"].items()},
        packing=Packing(**raw["packing"]),
        model=Shape(**raw["model"]),
        masking=Masking(**raw["masking"]) if objective == "masked" else None,
        training=Training(**raw["training"]),
    )
