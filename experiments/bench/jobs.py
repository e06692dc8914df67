"""What is measured: the jobs with their data, their sides and their least work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from autoprompt.seeding import generator
from experiments.bench import floor, texts
from experiments.bench.material import (
    SEED,
    Material,
    about,
    changed,
    drawn,
    lengths_of,
    near,
    single,
    spread,
)
from experiments.bench.shapes import SHAPES, Shape
from experiments.bench.sides import GEMM, NAIVE, OURS, PRODUCTS, Environment, Side

TEMPLATE = "{text} It was {mask}."
TRIGGERED = "{text} {triggers} {mask}."
WORDS = {"negative": "terrible", "positive": "great"}
START = ("all", "in", "the", "film", "was")  # trigger tokens that a step begins with
SWAPS = ("good", "very", "place")  # tokens whose promised gain is compared
CAUSAL_START = " All in all the food was good and the film was bad so that it was not very good or"
CAUSAL_TRIGGERS = 20
CAUSAL_PREFIX = 64  # tokens before the triggers, about
TRAINED, BATCH = 40, 8  # tokens of J5's examples, about, and examples of a step
STEPS = (1, 4, 16)  # of the table of linearity


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


def jobs_of(material: Material, names: Sequence[str]) -> list[Job]:
    """The jobs with these names, in their order."""
    makers: dict[str, list[Callable[[], Job]]] = {
        "J1": [lambda: scoring(material, "mini"), lambda: scoring(material, "base")],
        "J2": [lambda: factorised(material, "mini")],
        "J3": [lambda: trigger_step(material, "mini"), lambda: trigger_step(material, "base")],
        "J4": [lambda width=width: causal_step(material, width) for width in material.widths],
        "J5": [lambda: training(material, "mini"), lambda: training(material, "base")],
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
        title=f"one template, one verbalizer, {len(rows)} examples ({spread(lengths)}), "
        f"{shape.label}",
        unit="examples/s",
        work=len(rows),
        payload=payload,
        sides=(*sides, Side("ours", OURS), Side("ours", OURS, "bfloat16")),
        left_out=left_out,
        shape=shape,
        flops=lambda _flipped: floor.scoring(shape, lengths, len(WORDS)),
    )


def factorised(material: Material, name: str) -> Job:
    """J2: many templates with many verbalizers."""
    shape, tokenizer = SHAPES[name], material.tokenizer(name)
    rows = texts.distinct(material.texts, 256)
    templates, verbalizers = drawn(tokenizer, templates=20, verbalizers=50)
    every = len(templates) * len(verbalizers)
    lengths = [length for one in templates for length in lengths_of(tokenizer, one, rows)]
    words = len({word for one in verbalizers for group in one.values() for word in group})
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
        flops=lambda _flipped: floor.scoring(shape, lengths, words),
    )


def trigger_step(material: Material, name: str) -> Job:
    """J3: one step of a trigger search on a masked model."""
    shape, tokenizer = SHAPES[name], material.tokenizer(name)
    rows = texts.distinct(material.texts, 24)
    start, swaps = (single(tokenizer, words) for words in (START, SWAPS))
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
        "checked": [start, *changed(start, swaps)],
        "tokens": swaps,
    }
    sides, left_out = _sides(material.peers, "ucinlp/autoprompt")
    return Job(
        name="J3",
        title=f"one trigger step, {candidates} candidates on {len(rows)} examples "
        f"({spread(lengths)}), {shape.label}",
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
    before = about(tokenizer, material.texts, CAUSAL_PREFIX)
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
        "checked": [start, *changed(start, swaps)],
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


def training(material: Material, name: str) -> Job:
    """J5: steps of fine-tuning through a prompt, all weights trained."""
    shape, tokenizer = SHAPES[name], material.tokenizer(name)
    steps = material.sizes.steps[name]
    rows = texts.distinct(material.texts, 872)
    chosen = near(lengths_of(tokenizer, TEMPLATE, rows), TRAINED, steps * BATCH)
    rows = [rows[at] for at in generator(SEED, "training").permutation(chosen)]
    lengths = lengths_of(tokenizer, TEMPLATE, rows)
    payload = {
        "kind": "training",
        "model": str(material.models[name]),
        "texts": rows,
        "labels": [list(WORDS)[at % 2] for at in range(len(rows))],
        "template": TEMPLATE,
        "words": WORDS,
        "batch": BATCH,
        "longest": max(lengths),
    }
    sides, left_out = _sides(material.peers, "OpenPrompt", "LM-BFF")
    return Job(
        name="J5",
        title=f"{steps} steps of training all weights, batches of {BATCH} ({spread(lengths)}), "
        f"{shape.label}",
        unit="examples/s",
        work=len(rows),
        payload=payload,
        sides=(*sides, Side("ours", OURS), Side("ours", OURS, "bfloat16")),
        left_out=left_out,
        shape=shape,
        flops=lambda _flipped: floor.training(shape, lengths),
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
