"""`autoprompt init`."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import autoprompt

from autoprompt.spaces import SearchSpace

ROWS = 12


def write_csv(path: Path, columns: list[str], labels: list[str]) -> Path:
    lines = [",".join([*columns, "label"])]
    for row in range(ROWS):
        texts = [f"{column} of row {row}" for column in columns]
        lines.append(",".join([*texts, labels[row % len(labels)]]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_text_and_a_label(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "data.csv", ["text"], ["SPAM", "ham"])
    out = tmp_path / "space.yaml"
    done = autoprompt("init", "--task", data, "--out", out)
    assert (done.code, done.err) == (0, "")
    space = SearchSpace.load(out)
    assert (space.fields, space.labels) == (("text",), ("SPAM", "ham"))
    assert space.seeds[0].words == {"SPAM": ("spam",), "ham": ("ham",)}
    assert done.out.endswith(f"autoprompt search --task {data} --space {out} --out run\n")


def test_a_pair_of_texts(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "data.csv", ["premise", "hypothesis"], ["yes", "no", "1"])
    out = tmp_path / "space.yaml"
    assert autoprompt("init", "--task", data, "--out", out).code == 0
    space = SearchSpace.load(out)
    assert space.fields == ("text_a", "text_b")
    assert space.labels == ("1", "no", "yes")
    assert all(seed.template.fields == ("text_a", "text_b") for seed in space.seeds)


def test_the_next_command_repeats_the_columns(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "my data.csv", ["the body"], ["a", "b"])
    options = ["--text-column", "the body", "--label-column", "label", "--encoding", "latin-1"]
    done = autoprompt("init", "--task", data, *options, "--out", tmp_path / "space.yaml")
    assert done.code == 0
    assert f"--task '{data}' --text-column 'the body' --label-column label" in done.out
    assert "--encoding latin-1" in done.out


def test_a_file_is_replaced_only_with_force(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "data.csv", ["text"], ["a", "b"])
    out = tmp_path / "space.yaml"
    out.write_text("mine", encoding="utf-8")
    done = autoprompt("init", "--task", data, "--out", out)
    assert done.code == 2
    assert "exists; pass --force to replace it" in done.err
    assert out.read_text(encoding="utf-8") == "mine"
    assert autoprompt("init", "--task", data, "--out", out, "--force").code == 0
    assert SearchSpace.load(out).labels == ("a", "b")


@pytest.mark.parametrize("labels", [["a", "A"], ["only"]])
def test_labels_that_cannot_do_are_refused(tmp_path: Path, labels: list[str]) -> None:
    data = write_csv(tmp_path / "data.csv", ["text"], labels)
    done = autoprompt("init", "--task", data, "--out", tmp_path / "space.yaml")
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "space.yaml").exists()
