"""What to use, and why, from rows made by hand; and what a careful reader is told of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoprompt.errors import InputError, RunDirectoryError
from autoprompt.files import write_json
from autoprompt.scoring.metrics import Measure, wilson
from autoprompt.tuning.comparison import (
    EXPERT,
    SEARCHED,
    Row,
    notes_on,
    of_one_task,
    on_one_split,
    recommendation,
    rows_of,
    size,
)
from autoprompt.tuning.retention import Retention


def row(name: str, hits: int, n: int = 100, **more: object) -> Row:
    given = {"parameters": 0, "bytes_to_ship": 2000, "retention": None, "test_digest": "t", **more}
    return Row(
        name=name,
        place=Path(name),
        metric="accuracy",
        selection=Measure(hits / n, n, *wilson(hits, n)),
        test=None,
        seconds=1.0,
        peak_memory=None,
        examples=64,
        **given,  # type: ignore[arg-type]
    )


def test_the_simplest_within_one_standard_error_is_recommended() -> None:
    prompt, tuned = row("prompt", 80), row("tuned", 83, parameters=9, bytes_to_ship=90_000_000)
    chosen, reason = recommendation([prompt, tuned])
    assert chosen is prompt
    assert "within one standard error" in reason
    assert "ships 2000 B a task where that ships 90 MB" in reason


def test_clearly_better_tuning_is_recommended() -> None:
    given = {"parameters": 9, "bytes_to_ship": 90_000_000, "bright": "dev chose its weights"}
    prompt, tuned = row("prompt", 70), row("tuned", 90, **given)
    chosen, reason = recommendation([prompt, tuned])
    assert chosen is tuned
    assert "the best accuracy 0.900 on the selection data, the next one 0.700" in reason
    assert "dev chose its weights, so the value is on the bright side" in reason
    assert "surprised" not in reason


def test_a_model_that_forgets_is_named() -> None:
    tuned = row("tuned", 90, parameters=9, retention=Retention(10.0, 34.0))
    _, reason = recommendation([row("prompt", 70), tuned])
    assert "3.4 times as surprised by ordinary text" in reason


def test_a_value_is_taken_from_a_tuning_of_the_same_model_alone(tmp_path: Path) -> None:
    """Expert prompts are the same for all models, and so are draws of the same seed."""
    for name in ("first", "second"):
        verdict = {"baseline_prompt": "seed", "winner_prompt": "winner"}
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "verdict.json", verdict)
    task = {
        "prompt": "seed",
        "metric": "accuracy",
        "judged_on": "dev",
        "splits": {"dev": "d"},
        "before": {"accuracy": {"value": 0.9, "n": 50, "low": 0.8, "high": 1.0}},
    }
    record = {"base": {"weights": "second"}, "tasks": [task]}
    (tmp_path / "tuned").mkdir()
    write_json(tmp_path / "tuned" / "tuning.json", record)
    rows = [
        replace(row(EXPERT, 60), place=tmp_path / name, weights=name, dev_digest="d")
        for name in ("first", "second")
    ]
    found = on_one_split(rows, [tmp_path / "tuned"])
    assert [one.selection.value for one in found] == [0.6, 0.9]


def test_test_values_do_not_recommend() -> None:
    better = replace(row("first", 70), test=Measure(0.1, 100, 0.0, 0.2))
    worse = replace(row("second", 50), test=Measure(0.9, 100, 0.8, 1.0))
    assert recommendation([better, worse])[0] is better


def test_nothing_to_compare_and_foreign_directories(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to compare"):
        recommendation([])
    with pytest.raises(RunDirectoryError, match="neither a finished search nor a tuned model"):
        rows_of(tmp_path)


def test_rows_of_one_task_are_compared() -> None:
    first, second = row("a", 70, labels=("neg", "pos")), row("b", 90, labels=("neg", "pos"))
    also = replace(first, labels=("left", "right"))
    assert of_one_task([first, also, second]) == [first, second]
    assert of_one_task([]) == []
    with pytest.raises(InputError, match="different tasks, with the labels left, right; neg, pos"):
        of_one_task([replace(also, place=Path("c")), second])


def test_a_searched_prompt_is_recommended_with_its_verdict() -> None:
    bright = "it is the best of many there"
    searched = row(
        SEARCHED, 90, bright=bright, doubt="on test it was worse than the best seed prompt"
    )
    chosen, reason = recommendation([row(EXPERT, 70), searched])
    assert chosen is searched
    assert reason.endswith("on the bright side; but on test it was worse than the best seed prompt")


def test_other_dev_splits_are_told() -> None:
    rows = [row("a", 5, dev_digest="d"), row("b", 5, n=50, dev_digest="e"), row("c", 5)]
    (note,) = notes_on(rows)
    assert "different dev splits" in note
    assert "do not rely on this" in recommendation(rows)[1]
    assert "rely" not in recommendation([rows[0], rows[2]])[1]
    assert notes_on([rows[0], rows[2]]) == []
    of_folds = row("folds", 9, n=200)  # on train and dev, where the others are on dev
    assert "rest on different examples, so do not" in recommendation([rows[2], of_folds])[1]


def test_notes_tell_what_does_not_compare() -> None:
    assert notes_on([row("a", 5), row("b", 6)]) == []
    other = replace(row("b", 6, n=50, test_digest="u"), metric="macro_f1")
    assert "best of its search's seeds" in notes_on([row(EXPERT, 5)])[0]
    notes = notes_on([row("a", 5), other])
    assert "different metrics, so do not rely on this" in recommendation([row("a", 5), other])[1]
    assert len(notes) == 3
    assert "different test splits" in notes[1]


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (9_999, "9999 B"), (12_300, "12 kB"), (2.5e7, "25 MB")]
)
def test_sizes(count: int, text: str) -> None:
    assert size(int(count)) == text
