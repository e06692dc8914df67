"""What is measured: the jobs with their data, their sides and their least work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprompt.seeding import generator
from autoprompt.spaces import SearchSpace
from experiments.bench import floor, texts
from experiments.bench.shapes import SHAPES, Shape
from experiments.bench.sides import GEMM, NAIVE, OURS, PRODUCTS, Environment, Side

SEED = 0
TEMPLATE = "{text} It was {mask}."
TRIGGERED = "{text} {triggers} {mask}."
WORDS = {"negative": "terrible", "positive": "great"}
START = ("all", "in", "the", "film", "was")  # trigger tokens that a step begins with
SWAPS = ("good", "very", "place")  # tokens whose promised gain is compared
CAUSAL_START = " All in all the food was good and the film was bad so that it was not very good or"
CAUSAL_TRIGGERS = 20
CAUSAL_PREFIX = 64  # tokens before the triggers, about
STEPS = (1, 4, 16)  # of the table of linearity


@dataclass(frozen=True)
class Sizes:
    """How much of a job one turn does.

    Attributes:
        examples: of J1, by shape.
        candidates: of J3, by shape.
        sampled: candidates of J3 that loops with one pass a candidate are timed on, by shape.
        pairs: of J2 that the naive loop is timed on.
    """

    examples: dict[str, int]
    candidates: dict[str, int]
    sampled: dict[str, int]
    pairs: int


BRIEF = Sizes({"mini": 872, "base": 96}, {"mini": 100, "base": 12}, {"mini": 10, "base": 3}, 2)
FULL = Sizes({"mini": 872, "base": 872}, {"mini": 100, "base": 100}, {"mini": 25, "base": 12}, 4)


@dataclass(frozen=True)
class Job:
    """Something to measure.

    Attributes:
        name: "J1" and so on.
        title: what it is, for people.
        unit: of the rate.
        work: units in one turn.
        payload: what the sides read.
        sides: who does it; the first one is what the others are compared with.
        left_out: names of peers that cannot be had, and why.
        shape: the model's.
        flops: the least work of a turn, from what our side says was `flipped` (see
            `floor.causal_step`); where it says nothing, places are taken in turn.
    """

    name: str
    title: str
    unit: str
    work: float
    payload: dict[str, Any]
    sides: tuple[Side, ...]
    left_out: dict[str, str]
    shape: Shape
    flops: Callable[[Sequence[int]], floor.Flops]

    @property
    def gemm(self) -> list[Side]:
        """The sides that measure this machine, one for each dtype."""
        kinds = dict.fromkeys(PRODUCTS[side.dtype] for side in self.sides)
        return [Side("GEMM", GEMM, kind) for kind in kinds]

    @property
    def gemm_payload(self) -> dict[str, Any]:
        """What those sides read."""
        return {"width": self.shape.width, "vocabulary": self.shape.vocabulary}


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


def jobs_of(material: Material, names: Sequence[str]) -> list[Job]:
    """The jobs with these names, in their order."""
    makers: dict[str, list[Callable[[], Job]]] = {
        "J1": [lambda: scoring(material, "mini"), lambda: scoring(material, "base")],
        "J2": [lambda: factorised(material, "mini")],
        "J3": [lambda: trigger_step(material, "mini"), lambda: trigger_step(material, "base")],
        "J4": [lambda width=width: causal_step(material, width) for width in material.widths],
    }
    return [make() for name in names if name in makers for make in makers[name]]


def scoring(material: Material, name: str) -> Job:
    """J1: one template with one verbalizer."""
    shape, tokenizer = SHAPES[name], material.tokenizer(name)
    rows = texts.distinct(material.texts, material.sizes.examples[name])
    lengths = lengths_of(tokenizer, TEMPLATE, rows)
    payload = {
        "kind": "score",
        "model": str(material.models[name]),
        "texts": rows,
        "template": TEMPLATE,
        "words": WORDS,
        "longest": max(lengths),
    }
    sides, left_out = _sides(material.peers, "OpenPrompt", "LM-BFF")
    return Job(
        name="J1",
        title=f"one template, one verbalizer, {len(rows)} examples ({_spread(lengths)}), "
        f"{shape.label}",
        unit="examples/s",
        work=len(rows),
        payload=payload,
        sides=(*sides, Side("ours", OURS), Side("ours", OURS, "bfloat16")),
        left_out=left_out,
        shape=shape,
        flops=lambda _flipped: floor.scoring(shape, lengths),
    )


def factorised(material: Material, name: str) -> Job:
    """J2: many templates with many verbalizers."""
    shape, tokenizer = SHAPES[name], material.tokenizer(name)
    rows = texts.distinct(material.texts, 256)
    templates, verbalizers = drawn(tokenizer, templates=20, verbalizers=50)
    every = len(templates) * len(verbalizers)
    lengths = [length for one in templates for length in lengths_of(tokenizer, one, rows)]
    chance = generator(SEED, "pairs").permutation(every)[: material.sizes.pairs]
    payload = {
        "kind": "factorised",
        "model": str(material.models[name]),
        "texts": rows,
        "templates": templates,
        "verbalizers": verbalizers,
        "pairs": [divmod(int(pair), len(verbalizers)) for pair in chance],
    }
    return Job(
        name="J2",
        title=f"{len(templates)} templates x {len(verbalizers)} verbalizers x {len(rows)} "
        f"examples, {shape.label}",
        unit="prompts/s",
        work=every,
        payload=payload,
        sides=(Side("naive", NAIVE), Side("ours", OURS), Side("ours", OURS, "bfloat16")),
        left_out={},
        shape=shape,
        flops=lambda _flipped: floor.scoring(shape, lengths),
    )


def trigger_step(material: Material, name: str) -> Job:
    """J3: one step of a trigger search on a masked model."""
    shape, tokenizer = SHAPES[name], material.tokenizer(name)
    rows = texts.distinct(material.texts, 24)
    start, swaps = (_single(tokenizer, words) for words in (START, SWAPS))
    lengths = lengths_of(tokenizer, TRIGGERED.replace("{triggers}", " ".join(START)), rows)
    candidates = material.sizes.candidates[name]
    payload = {
        "kind": "trigger",
        "model": str(material.models[name]),
        "texts": rows,
        "labels": [list(WORDS)[at % 2] for at in range(len(rows))],
        "template": TRIGGERED,
        "words": WORDS,
        "start": start,
        "candidates": candidates,
        "sampled": material.sizes.sampled[name],
        "checked": [start, *_changed(start, swaps)],
        "tokens": swaps,
    }
    sides, left_out = _sides(material.peers, "ucinlp/autoprompt")
    return Job(
        name="J3",
        title=f"one trigger step, {candidates} candidates on {len(rows)} examples "
        f"({_spread(lengths)}), {shape.label}",
        unit="candidate-examples/s",
        work=candidates * len(rows),
        payload=payload,
        sides=(*sides, Side("ours", OURS), Side("ours", OURS, "screened")),
        left_out=left_out,
        shape=shape,
        flops=lambda _flipped: floor.trigger_step(shape, lengths, candidates),
    )


def causal_step(material: Material, width: int) -> Job:
    """J4: one step of a trigger search on a causal model, for one prompt."""
    shape, tokenizer = SHAPES["gpt2"], material.tokenizer("gpt2")
    start = tokenizer(CAUSAL_START)["input_ids"][:CAUSAL_TRIGGERS]
    before = _about(tokenizer, material.texts, CAUSAL_PREFIX)
    after, target, other = " It was", " great", " terrible"
    first = len(tokenizer(before)["input_ids"])
    length = first + len(start) + len(tokenizer(after)["input_ids"])
    evenly = [at % len(start) for at in range(width)]
    swaps = [tokenizer(f" {word}")["input_ids"][0] for word in ("place", "service", "room")]
    payload = {
        "kind": "causal",
        "model": str(material.models["gpt2"]),
        "before": before,
        "start": start,
        "start text": tokenizer.decode(start),
        "after": after,
        "target": target,
        "other": other,
        "candidates": width,
        "checked": [start, *_changed(start, swaps)],
        "tokens": swaps,
    }
    sides, left_out = _sides(material.peers, "nanoGCG")
    low, low_out = _sides(material.peers, "nanoGCG", dtype="bfloat16")
    return Job(
        name="J4",
        title=f"one trigger step on a causal model, width {width}, {len(start)} triggers after "
        f"{first} tokens, {shape.label}",
        unit="candidates/s",
        work=width,
        payload=payload,
        sides=(*sides, Side("ours", OURS), *low[1:], Side("ours", OURS, "bfloat16")),
        left_out={**left_out, **low_out},
        shape=shape,
        flops=lambda flipped: floor.causal_step(shape, length, first, flipped or evenly),
    )


def linearity(material: Material) -> tuple[dict[str, Any], list[dict[str, int]]]:
    """What a side is asked for to see how its cost grows: the payload, and what turns send."""
    base = {"templates": 1, "verbalizers": 50, "examples": 64}
    tokenizer = material.tokenizer("mini")
    most = max(STEPS)
    templates, verbalizers = drawn(tokenizer, most * base["templates"], most * base["verbalizers"])
    payload = {
        "kind": "linearity",
        "model": str(material.models["mini"]),
        "texts": texts.distinct(material.texts, most * base["examples"]),
        "templates": templates,
        "verbalizers": verbalizers,
    }
    turns = [{**base, grown: times * base[grown]} for grown in base for times in STEPS]
    return payload, turns


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


def _sides(
    peers: Environment, *names: str, dtype: str = "float32"
) -> tuple[list[Side], dict[str, str]]:
    """The naive loop and the peers that can be had, and why others cannot."""
    found, left_out = [Side("naive", NAIVE)], {}
    for name in names:
        side = peers.side(name, dtype)
        if isinstance(side, Side):
            found.append(side)
        else:
            left_out[name] = side
    return found, left_out


def _single(tokenizer: Any, words: Sequence[str]) -> list[int]:
    ids = tokenizer.convert_tokens_to_ids(list(words))
    if tokenizer.unk_token_id in ids:
        raise ValueError(f"the tokenizer does not have all of {', '.join(words)} as single tokens")
    return [int(one) for one in ids]


def _changed(start: Sequence[int], swaps: Sequence[int]) -> list[list[int]]:
    """Candidates with one other token each, at different places."""
    found = []
    for at, token in enumerate(swaps):
        tokens = list(start)
        tokens[(2 * at + 1) % len(tokens)] = token
        found.append(tokens)
    return found


def _about(tokenizer: Any, given: Sequence[str], tokens: int) -> str:
    """Some texts, one after the other, of about so many tokens together."""
    found = ""
    for text in given:
        longer = f"{found} {text}".strip()
        if len(tokenizer(longer)["input_ids"]) > tokens and found:
            break
        found = longer
    return found


def _spread(lengths: Sequence[int]) -> str:
    return f"{sum(lengths) / len(lengths):.0f} tokens, at most {max(lengths)}"
