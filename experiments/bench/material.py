"""What jobs are made of: models, texts, templates, verbalizers, tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprompt.seeding import generator
from autoprompt.spaces import SearchSpace
from experiments.bench.sides import Environment

SEED = 0


@dataclass(frozen=True)
class Sizes:
    """How much of a job one turn does.

    Attributes:
        examples: of J1, by shape.
        candidates: of J3, by shape.
        sampled: candidates of J3 that loops with one pass a candidate are timed on, by shape.
        pairs: of J2 that the naive loop is timed on.
        steps: of J5, by shape.
    """

    examples: dict[str, int]
    candidates: dict[str, int]
    sampled: dict[str, int]
    pairs: int
    steps: dict[str, int]


BRIEF = Sizes(
    {"mini": 872, "base": 96},
    {"mini": 100, "base": 100},
    {"mini": 5, "base": 3},
    2,
    {"mini": 24, "base": 6},
)
FULL = Sizes(
    {"mini": 872, "base": 872},
    {"mini": 100, "base": 100},
    {"mini": 25, "base": 12},
    4,
    {"mini": 96, "base": 24},
)


@dataclass(frozen=True)
class Material:
    """What jobs are made of.

    Attributes:
        texts: to draw from.
        models: shape name to model directory.
        peers: where they are.
        sizes: of a turn.
        widths: search widths of J4.
    """

    texts: Sequence[str]
    models: dict[str, Path]
    peers: Environment
    sizes: Sizes
    widths: Sequence[int]

    def tokenizer(self, shape: str) -> Any:
        """The tokenizer of a shape's checkpoint."""
        import transformers

        return transformers.AutoTokenizer.from_pretrained(self.models[shape])


def drawn(
    tokenizer: Any, templates: int, verbalizers: int
) -> tuple[list[str], list[dict[str, list[str]]]]:
    """Different templates and verbalizers of the shipped space, with words of one token."""
    space = SearchSpace.load("sentiment")
    chance = generator(SEED, "bench")
    texts_: dict[str, None] = {}
    while len(texts_) < templates:
        pattern = space.patterns[chance.integers(len(space.patterns))]
        options = {name: int(chance.integers(len(space.slots[name]))) for name in pattern.slots}
        texts_[space.compose(pattern, options).text] = None
    words = {
        label: [word for word in known if len(tokenizer.tokenize(word)) == 1]
        for label, known in space.label_candidates().items()
    }
    made: dict[tuple[tuple[str, ...], ...], None] = {}
    while len(made) < verbalizers:
        count = int(chance.integers(1, 4))
        picks = [sorted(chance.permutation(known)[:count].tolist()) for known in words.values()]
        made[tuple(map(tuple, picks))] = None
    return list(texts_), [
        {label: list(own) for label, own in zip(words, picks, strict=True)} for picks in made
    ]


def lengths_of(tokenizer: Any, template: str, rows: Sequence[str]) -> list[int]:
    """True tokens of each example in a template, special tokens included."""
    filled = [template.replace("{mask}", tokenizer.mask_token).replace("{text}", r) for r in rows]
    return [len(ids) for ids in tokenizer(filled)["input_ids"]]


def single(tokenizer: Any, words: Sequence[str]) -> list[int]:
    """The ids of words that are one token each.

    Raises:
        ValueError: the tokenizer does not know one of them.
    """
    ids = tokenizer.convert_tokens_to_ids(list(words))
    if tokenizer.unk_token_id in ids:
        raise ValueError(f"the tokenizer does not have all of {', '.join(words)} as single tokens")
    return [int(one) for one in ids]


def changed(start: Sequence[int], swaps: Sequence[int]) -> list[list[int]]:
    """Candidates with one other token each, at different places."""
    found = []
    for at, token in enumerate(swaps):
        tokens = list(start)
        tokens[(2 * at + 1) % len(tokens)] = token
        found.append(tokens)
    return found


def about(tokenizer: Any, given: Sequence[str], tokens: int) -> str:
    """Some texts, one after the other, of about so many tokens together."""
    found = ""
    for text in given:
        longer = f"{found} {text}".strip()
        if len(tokenizer(longer)["input_ids"]) > tokens and found:
            break
        found = longer
    return found


def near(lengths: Sequence[int], wanted: int, count: int) -> list[int]:
    """The indices of the lengths that are nearest to one, in their order; as many as asked for.

    >>> near([3, 40, 38, 90], 40, 2)
    [1, 2]
    """
    by_distance = sorted(range(len(lengths)), key=lambda at: (abs(lengths[at] - wanted), at))
    return sorted(by_distance[:count])


def spread(lengths: Sequence[int]) -> str:
    """Lengths in words."""
    return f"{sum(lengths) / len(lengths):.0f} tokens, at most {max(lengths)}"
