"""`autoprompt audit`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import autoprompt
from listening_models import listening_prompt

from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.prompts import Prompt
from autoprompt.tasks.columns import Columns
from autoprompt.tasks.examples import split_digest
from autoprompt.tasks.task import load_examples

ROWS = [
    ("he made a good film", "positive"),
    ("she made a dull film", "negative"),
    ("an american story , fine", "positive"),
    ("very boring", "negative"),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def saved(tiny_model: MaskedLanguageModel, tmp_path: Path) -> Callable[..., Path]:
    """Writes a prompt file for the tiny model."""

    def save(**more: object) -> Path:
        bare = listening_prompt(**more)
        tokens = tiny_model.encoder.record(bare.frame, bare.verbalizer.all_words)
        prompt = replace(bare, model=tiny_model.identity, tokens=tokens)
        prompt.save(tmp_path / "prompt.json")
        return tmp_path / "prompt.json"

    return save


def test_the_tables(saved: Callable[..., Path], data: Path) -> None:
    done = autoprompt("audit", saved(), "--data", data)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith("Unchanged: accuracy 0.")
    for head in (
        "The prompt in other words:",
        "Changed inputs (30% of the words where some are lost):",
        "Only the group of people exchanged:",
    ):
        assert head in lines
    (gender,) = [line for line in lines if line.startswith("  male, female")]
    assert " of 2 " in gender
    assert "nationality: from, to" in done.out
    assert "  7 changed texts compared; the prediction flips in" in done.out
    assert "Note: the wording 'lower case'" in done.out
    assert lines[-1].startswith("Over 5 wordings of the prompt the accuracy lies between 0.")


def test_the_columns_are_aligned(saved: Callable[..., Path], data: Path) -> None:
    lines = autoprompt("audit", saved(), "--data", data).out.splitlines()
    start = lines.index("The prompt in other words:") + 1
    table = lines[start : lines.index("", start)]
    assert len(table) == 5
    places = [line.index("[") for line in table[1:]]
    assert places == [table[0].index("95 %")] * 4


def test_groups_without_a_direction_have_no_shift(saved: Callable[..., Path], data: Path) -> None:
    more = {"text": "a german in france", "label": "positive"}
    data.write_text(f"{data.read_text(encoding='utf-8')}{json.dumps(more)}\n", encoding="utf-8")
    lines = autoprompt("audit", saved(), "--data", data).out.splitlines()
    (both,) = [line for line in lines if line.startswith("  French, German")]
    assert both.split("]")[1].split() == ["-", "-"]


def test_the_same_as_json(saved: Callable[..., Path], data: Path) -> None:
    path = saved()
    options = ["--json", "--metric", "macro_f1", "--share", "0.5", "--seed", "3"]
    done = autoprompt("audit", path, "--data", data, *options)
    found = json.loads(done.out)
    assert found["prompt"] == Prompt.load(path).digest
    assert (found["metric"], found["share"], found["seed"]) == ("macro_f1", 0.5, 3)
    assert found["spread"]["wordings"] == 5
    assert [family["name"] for family in found["families"]] == ["gender", "nationality"]
    assert found["summary"]


def test_another_seed_discards_other_words(saved: Callable[..., Path], data: Path) -> None:
    path = saved()
    runs = [autoprompt("audit", path, "--data", data, "--json", "--seed", n).out for n in (1, 1, 2)]
    first, again, other = (json.loads(run) for run in runs)
    assert first == again
    assert first["wordings"] == other["wordings"]
    assert first["inputs"] != other["inputs"]


def test_nothing_to_change_is_said_in_words(
    saved: Callable[..., Path], tmp_path: Path, tiny_model: MaskedLanguageModel
) -> None:
    data = tmp_path / "bare.csv"
    data.write_text("text,label\n+,negative\n", encoding="utf-8")
    done = autoprompt("audit", saved(template="{mask} {text}"), "--data", data)
    assert done.code == 0
    assert "  no other wording applies" in done.out
    assert "  no change applies" in done.out
    assert "  no example names a group" in done.out
    assert "says nothing about bias" in done.out


def test_the_test_split_is_refused(saved: Callable[..., Path], data: Path) -> None:
    examples = load_examples(data, Columns(), labelled=True)
    done = autoprompt("audit", saved(splits={"test": split_digest(examples)}), "--data", data)
    assert (done.code, done.out) == (2, "")
    assert "test split of the run that found the prompt" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--share", "0"], "above 0 and at most 1, not 0"),
        (["--metric", "acuracy"], "did you mean 'accuracy'"),
        (["--label-column", "stars"], "no column 'stars'"),
    ],
)
def test_bad_options(
    saved: Callable[..., Path], data: Path, options: list[str], message: str
) -> None:
    done = autoprompt("audit", saved(), "--data", data, *options)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_unlabelled_data_is_refused(saved: Callable[..., Path], tmp_path: Path) -> None:
    data = tmp_path / "texts.csv"
    data.write_text("text\ngood\ndull\n", encoding="utf-8")
    done = autoprompt("audit", saved(), "--data", data)
    assert done.code == 2
    assert "no label column" in done.err
