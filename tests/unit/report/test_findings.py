"""What a report says of a run, held to scikit-learn and to arithmetic by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from finished_run import SEED, WINNER, finished_run
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from autoprompt.errors import RunDirectoryError
from autoprompt.finished_runs import FinishedRun
from autoprompt.models.transformer import TransformerModel
from autoprompt.objective import Scored
from autoprompt.report.charts import ticks
from autoprompt.report.findings import (
    CHARACTERS,
    by_label,
    cut,
    disagreements,
    history,
    importance,
    leaderboard,
    misses,
    reliability,
)


@pytest.fixture(scope="module")
def place(
    family_models: Callable[[str], TransformerModel], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return finished_run(tmp_path_factory.mktemp("finished") / "run", family_models("bert"))


@pytest.fixture(scope="module")
def run(place: Path) -> FinishedRun:
    return FinishedRun.load(place)


def scored(rows: int = 60, labels: int = 3) -> Scored:
    draw = np.random.default_rng(3)
    raw = draw.normal(size=(rows, labels)) * 2
    logs = raw - np.logaddexp.reduce(raw, axis=1, keepdims=True)
    return Scored(logs, draw.integers(labels, size=rows))


def test_the_winner_leads(run: FinishedRun) -> None:
    rows = leaderboard(run)
    assert [row.role for row in rows] == ["winner", "best seed"]
    assert [row.prompt.template.text for row in rows] == [WINNER, SEED]


def test_the_history(run: FinishedRun) -> None:
    points = history(run)
    assert len(points) == 40
    assert [point.is_seed for point in points].count(True) == 1
    best = [point.best for point in points]
    assert best == sorted(best)
    values = [point.value for point in points if point.value is not None]
    assert best[-1] == max(values)
    assert all(point.value is None for point in points if point.state != "scored")
    assert points[4].template == "the template is too long"


def test_importance_finds_what_moves_the_value(run: FinishedRun) -> None:
    """The value is made of the end; of the calibration it is not."""
    found = {name: (share, n) for name, share, n in importance(run)}
    assert found["slot end"][0] > 0.95
    assert found["calibration"][0] < 0.3
    assert found["slot end"][1] == sum(point.state == "scored" for point in history(run))


def test_measures_by_label() -> None:
    found = scored()
    rows = by_label(found, ["a", "b", "c"])
    wanted = precision_recall_fscore_support(found.gold, found.predictions, zero_division=0)
    for at, values in enumerate(zip(*wanted, strict=True)):
        row = rows[at]
        assert (row.precision, row.recall, row.f1, row.n) == pytest.approx(values)
    matrix = confusion_matrix(found.gold, found.predictions)
    assert [list(row.predicted) for row in rows] == matrix.tolist()


def test_a_label_that_is_never_met_or_said_has_no_measures() -> None:
    found = Scored(np.log([[0.9, 0.1]]), np.array([0]))
    row = by_label(found, ["a", "b"])[1]
    assert (row.n, row.precision, row.recall, row.f1) == (0, None, None, None)


def test_reliability_adds_up() -> None:
    found = scored(500)
    bins, error = reliability(found)
    assert sum(one.n for one in bins) == 500
    right = sum(one.right * one.n for one in bins) / 500
    assert right == pytest.approx(float((found.predictions == found.gold).mean()))
    by_hand = sum(one.n / 500 * abs(one.confidence - one.right) for one in bins)
    assert error == pytest.approx(by_hand)
    for one in bins:
        assert one.low <= one.confidence <= one.high
        assert one.right_low <= one.right <= one.right_high


def test_disagreements_and_misses(run: FinishedRun) -> None:
    differing, missed = disagreements(run), misses(run)
    assert differing
    for row in differing:
        assert row.split == "dev"  # the winner was judged on dev alone
        assert row.winner is not None
        assert row.baseline is not None
        assert row.winner[0] != row.baseline[0]
    wrong = run.scored("winner")
    assert wrong is not None
    assert len(missed) == int((wrong.predictions != wrong.gold).sum())


def test_a_kept_seed_disagrees_with_nobody(
    family_models: Callable[[str], TransformerModel], tmp_path: Path
) -> None:
    run = FinishedRun.load(finished_run(tmp_path / "run", family_models("bert"), kept_seed=True))
    assert run.kept_seed
    assert disagreements(run) == []
    assert [row.role for row in leaderboard(run)] == ["winner"]


def test_long_texts_are_cut() -> None:
    assert cut("x" * CHARACTERS) == "x" * CHARACTERS
    assert cut("x" * 2000).endswith("x … (1,100 more characters)")


@pytest.mark.parametrize("bounds", [(0.32, 0.88), (-1.4, -0.5), (0.0, 1e-3), (-200.0, 5.0)])
def test_ticks_are_few_and_inside(bounds: tuple[float, float]) -> None:
    found = ticks(*bounds)
    assert 2 <= len(found) <= 8
    assert bounds[0] <= found[0] < found[-1] <= bounds[1]


# -- reading a run ----------------------------------------------------------------------------


def test_what_was_written_is_read_again(run: FinishedRun) -> None:
    assert len(run.selection) == 64
    assert [row.split for row in run.selection].count("train") == 24
    assert all(row.winner is None for row in run.selection[:24])
    assert all(row.baseline is not None for row in run.selection)
    baseline = run.scored("baseline")
    assert baseline is not None
    assert len(baseline.gold) == 64


def test_a_run_of_an_earlier_version_has_no_selection(place: Path, tmp_path: Path) -> None:
    import shutil

    older = shutil.copytree(place, tmp_path / "older")
    (older / "selection.jsonl").unlink()
    run = FinishedRun.load(older)
    assert run.scored("winner") is None
    assert disagreements(run) == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("verdict.json", "{}", "is damaged or missing"),
        ("verdict.json", None, "is damaged or missing"),
        ("trials.jsonl", '{"trial": 0', "is damaged or missing"),
        ("selection.jsonl", "[]\n", "is damaged or missing"),
        (
            "selection.jsonl",
            '{"fields": {}, "label": "x", "split": "dev", "winner": {}, "baseline": null}\n',
            "is damaged or missing",
        ),
        ("best.json", None, "holds no best.json"),
    ],
)
def test_damage_is_told(
    place: Path, tmp_path: Path, name: str, text: str | None, said: str
) -> None:
    import shutil

    damaged = shutil.copytree(place, tmp_path / "damaged")
    if text is None:
        (damaged / name).unlink()
    else:
        (damaged / name).write_text(text)
    with pytest.raises(RunDirectoryError, match=said):
        FinishedRun.load(damaged)


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="no run directory"):
        FinishedRun.load(tmp_path / "none")


def test_selection_keeps_texts_whole(
    family_models: Callable[[str], TransformerModel], tmp_path: Path
) -> None:
    """A separator in a text is no end of a line."""
    texts = ["one\u2028two\nthree \x85 four", "<b>"]
    run = FinishedRun.load(finished_run(tmp_path / "run", family_models("bert"), texts=texts))
    assert [row.example.fields["text"] for row in run.selection[-2:]] == texts
    assert json.dumps(run.config)
