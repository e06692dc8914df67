"""`autoprompt spaces`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import autoprompt

from autoprompt.spaces import SearchSpace, shipped_spaces

SHIPPED = ["nli", "paraphrase", "question_type", "sentiment", "topic"]
SPACE = """
name: own
fields: [text]
labels: [a, b]
seeds:
  - template: "{text} It was {mask}."
    verbalizer: {a: [great], b: [unspeakable, "\\U0001F3AC"]}
"""
OTHERS = """\
instructions:
  seeds:
    - template: "{user:}Good?\\n{text}{assistant:}{mask}"
      verbalizer: {a: [good], b: [bad]}
seeds:
  - template: "{mask} news: {text}"
    verbalizer: {a: [great], b: [bad]}"""


def test_list_names_every_space() -> None:
    done = autoprompt("spaces", "list")
    assert (done.code, done.err) == (0, "")
    assert [line.split()[0] for line in done.out.splitlines()] == SHIPPED
    assert "labels: entailment, not_entailment; or entailment, neutral" in done.out


def test_list_as_json() -> None:
    found = json.loads(autoprompt("spaces", "list", "--json").out)
    assert [space["name"] for space in found] == SHIPPED
    (sentiment,) = [space for space in found if space["name"] == "sentiment"]
    assert sentiment["fields"] == ["text"]
    assert sentiment["labels"] == [["negative", "positive"]]
    assert "reviews" in sentiment["description"]


@pytest.mark.parametrize("name", SHIPPED)
def test_show_prints_a_space_that_loads(name: str) -> None:
    done = autoprompt("spaces", "show", name)
    assert done.out == shipped_spaces()[name].read_text(encoding="utf-8")
    assert SearchSpace.parse(done.out) == SearchSpace.load(name)


@pytest.mark.parametrize("verb", ["show", "validate"])
def test_an_unknown_space_lists_the_valid_ones(verb: str) -> None:
    done = autoprompt("spaces", verb, "sentimant")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "autoprompt: unknown search space 'sentimant'; did you mean 'sentiment'? valid: "
        f"{', '.join(SHIPPED)}\n"
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_spaces_are_valid(name: str) -> None:
    done = autoprompt("spaces", "validate", name)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{name}: valid. ")


def test_validate_counts_what_instructions_add() -> None:
    done = autoprompt("spaces", "validate", "sentiment")
    assert "6 seeds, 10 patterns giving 530 templates, calibration none, contextual" in done.out
    assert "for models that are not masked ones: 9 seeds, 13 patterns giving " in done.out


def test_validate_shows_which_seeds_a_causal_model_reads(
    tmp_path: Path, model_directory: Callable[[str], Path]
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(
        SPACE.replace('[unspeakable, "\\U0001F3AC"]', "[bad]").replace("seeds:", OTHERS),
        encoding="utf-8",
    )
    done = autoprompt("spaces", "validate", space, "--model", model_directory("llama"))
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()[1:]
    assert lines[0] == "  {mask} news: {text}"
    assert lines[1].startswith("    left out by a search on this model: template '{mask} news")
    assert lines[2:5] == ["  {text} It was {mask}.", "    a: great = Ġgreat", "    b: bad = Ġbad"]
    assert lines[5] == "  {user:}Good?\\n{text}{assistant:}{mask}"
    assert lines[6:] == ["    a: good = good", "    b: bad = bad"]


def test_validate_names_the_line_of_a_mistake(tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(SPACE.replace("great", "unspeakable"), encoding="utf-8")
    done = autoprompt("spaces", "validate", space)
    assert done.code == 2
    assert done.err.startswith(f"autoprompt: {space}, line 7: the word 'unspeakable' of label 'b'")


def test_validate_shows_how_a_model_spells_the_words(
    tmp_path: Path, model_directory: Callable[[str], Path]
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(SPACE, encoding="utf-8")
    done = autoprompt("spaces", "validate", space, "--model", model_directory("bert"))
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[1:3] == ["  {text} It was {mask}.", "    a: great = great"]
    assert "unspeakable = u ##n ##s" in done.out
    assert "\U0001f3ac: the word" in done.out  # unknown to this model, and said so
