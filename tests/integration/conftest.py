"""A tiny task and space for the tiny model, and a search on them."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
import transformers
from command_line import Ended, autoprompt

SIZES = {"train": 32, "dev": 64, "test": 40}  # with 64 dev examples the race has two rungs
WORDS = {
    "neg": ["terrible", "bad", "awful", "dull", "boring", "slow", "poor"],
    "pos": ["great", "good", "fine", "excellent", "funny", "warm", "nice"],
}
FILLERS = ["film", "movie", "book", "story", "plot", "acting", "was", "is", "a", "very", "all"]
SEED = 1  # with it a search on the tiny model has trials of every kind
LONG = " ".join(["very"] * 20)  # demonstrations are left out
TOO_LONG = " ".join(["very"] * 60)
SPACE = f"""
name: tiny
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{{text}} it was {{mask}} ."
    verbalizer: {{neg: [terrible], pos: [great]}}
  - template: "{{mask}} film : {{text}}"
    verbalizer: {{neg: [bad, awful], pos: [good, fine]}}
templates:
  patterns: ["{{text}} {{stem}} {{mask}}{{end}}", "{{stem}} {{mask}} {{text}}"]
  slots:
    stem: ["it was", "this is", "{LONG}", "{TOO_LONG}"]
    end: [" .", " !", ""]
label_words:
  per_label: [1, 2]
  candidates: {{neg: [boring, dull, slow], pos: [funny, warm, nice]}}
  search: true
demonstrations: {{per_label: [0, 1]}}
calibration: [none, contextual, batch]
"""


def sentences(count: int, seed: int) -> list[dict[str, str]]:
    """Labelled examples, every other one positive; no two texts are equal."""
    draw = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        label = ("neg", "pos")[len(found) % 2]
        words = [draw.choice(FILLERS) for _ in range(draw.randint(4, 9))]
        words.insert(draw.randrange(len(words)), draw.choice(WORDS[label]))
        found.setdefault(" ".join(words), label)
    return [{"text": text, "label": label} for text, label in found.items()]


WEAK_SPACE = """
name: weak
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask} ."
    verbalizer: {neg: [market], pos: [science]}
label_words:
  candidates: {neg: [terrible, team], pos: [great, world]}
  search: true
calibration: [none, batch]
"""


def teach(model: Path) -> None:
    """Train a saved model to say `great` or `terrible` where a text is one or the other."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    module = transformers.AutoModelForMaskedLM.from_pretrained(model)
    rows = sentences(160, seed=1)
    batch = tokenizer(
        [f"{row['text']} it was [MASK] ." for row in rows], padding=True, return_tensors="pt"
    )
    words = {"neg": "terrible", "pos": "great"}
    wanted = tokenizer.convert_tokens_to_ids([words[row["label"]] for row in rows])
    labels = torch.full_like(batch["input_ids"], -100)
    labels[batch["input_ids"] == tokenizer.mask_token_id] = torch.tensor(wanted)
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    for _ in range(60):
        module(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    module.save_pretrained(model)


def as_jsonl(rows: Sequence[dict[str, str]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture(scope="session")
def rows() -> list[dict[str, str]]:
    """All labelled examples of the tiny task."""
    return sentences(sum(SIZES.values()), seed=0)


@pytest.fixture(scope="session")
def write_task(rows: list[dict[str, str]]) -> Callable[[Path], Path]:
    """Writes the tiny task to a directory."""

    def write(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        start = 0
        for name, size in SIZES.items():
            text = as_jsonl(rows[start : start + size])
            (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
            start += size
        return folder

    return write


@pytest.fixture(scope="session")
def task(write_task: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny task's directory; do not write there."""
    return write_task(tmp_path_factory.mktemp("task") / "tiny")


@pytest.fixture(scope="session")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny space: two of its stems can be longer than the tiny model takes."""
    path = tmp_path_factory.mktemp("space") / "space.yaml"
    path.write_text(SPACE, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def model(model_directory: Callable[[str], Path]) -> Path:
    """The directory of the tiny BERT."""
    return model_directory("bert")


@pytest.fixture(scope="session")
def taught(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a tiny BERT that knows the tiny task."""
    copy = shutil.copytree(model, tmp_path_factory.mktemp("taught") / "model")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        teach(copy)
    return copy


@pytest.fixture(scope="session")
def weak_space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A space with a useless seed, and the right words among the candidates."""
    path = tmp_path_factory.mktemp("weak") / "space.yaml"
    path.write_text(WEAK_SPACE, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def arguments(task: Path, space: Path, model: Path) -> Callable[..., list[str]]:
    """The arguments of a search; what is given later wins."""

    def build(out: Path, *more: object, trials: int | None = 8) -> list[str]:
        given: list[object] = ["search", "--task", task, "--space", space, "--model", model]
        given += ["--out", out, "--seed", SEED]
        given += [*(["--trials", trials] if trials else []), *more]
        return [str(part) for part in given]

    return build


@pytest.fixture(scope="session")
def search(arguments: Callable[..., list[str]]) -> Callable[..., Ended]:
    """Runs a search in this process."""
    return lambda out, *more, trials=8: autoprompt(*arguments(out, *more, trials=trials))
