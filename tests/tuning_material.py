"""A task that a tiny model learns in seconds: a word of a text decides its label."""

from __future__ import annotations

import json
import random
from pathlib import Path

from autoprompt.prompts import Prompt
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.tuning.lessons import Assignment
from autoprompt.verbalizers import Verbalizer

WORDS = {
    "neg": ["terrible", "bad", "awful", "dull", "boring", "slow", "poor"],
    "pos": ["great", "good", "fine", "excellent", "funny", "warm", "nice"],
}
FILLERS = ["film", "movie", "book", "story", "plot", "acting", "was", "is", "a", "very", "all"]
TEMPLATE = "{text} it was {mask}"


def examples(count: int, seed: int = 0) -> tuple[Example, ...]:
    """Labelled examples, every other one positive; no two texts are equal."""
    draw = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        label = ("neg", "pos")[len(found) % 2]
        words = [draw.choice(FILLERS) for _ in range(draw.randint(3, 7))]
        words.insert(draw.randrange(len(words)), draw.choice(WORDS[label]))
        found.setdefault(" ".join(words), label)
    return tuple(Example({"text": text}, label) for text, label in found.items())


def prompt(template: str = TEMPLATE, **words: list[str]) -> Prompt:
    given = words or {"neg": ["terrible"], "pos": ["great"]}
    return Prompt(Template.parse(template), Verbalizer.of(given))


def assignment(train: int = 96, dev: int = 32, seed: int = 0, **more: object) -> Assignment:
    rows = examples(train + dev, seed)
    given = {"prompt": prompt(), "name": "tiny", **more}
    return Assignment(train=rows[:train], dev=rows[train:], **given)  # type: ignore[arg-type]


def write_task(folder: Path, train: int = 64, dev: int = 32, test: int = 32) -> Path:
    """The task as a directory."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(examples(train + dev + test))
    for name, size in {"train": train, "dev": dev, "test": test}.items():
        part, rows = rows[:size], rows[size:]
        lines = [json.dumps({**one.fields, "label": one.label}) + "\n" for one in part]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder
