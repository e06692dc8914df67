"""`autoprompt tune` from a run: its winner, its seed, its ensemble, and a search afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from command_line import Ended, autoprompt
from run_files import stop_after

from autoprompt import strategies
from autoprompt.prompts import Prompt

QUICK = ("--steps", 6, "--evaluate-every", 3, "--learning-rate", "3e-3")


@pytest.fixture(scope="module")
def run(search: Callable[..., Ended], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of the tiny task."""
    out = tmp_path_factory.mktemp("tuned") / "run"
    ended = search(out)
    assert ended.code == 0, ended.err
    return out


@pytest.fixture
def tune(run: Path, task: Path, tmp_path: Path) -> Callable[..., Ended]:
    def call(*more: object, out: str = "out") -> Ended:
        given = ["--task", task, "--out", tmp_path / out, "--seed", 1, *QUICK]
        return autoprompt("tune", run, *given, *more)

    return call


def record(folder: Path) -> dict[str, object]:
    return json.loads((folder / "tuning.json").read_text())


@pytest.mark.parametrize(("strategy", "origin"), [("p>w", "searched"), ("w", "seed")])
def test_the_winner_or_the_seed_is_tuned_through(
    run: Path, tune: Callable[..., Ended], tmp_path: Path, strategy: str, origin: str
) -> None:
    ended = tune("--strategy", strategy)
    assert ended.code == 0, ended.err
    assert record(tmp_path / "out")["origins"] == [origin]
    verdict = json.loads((run / "verdict.json").read_text())
    wanted = verdict["winner_prompt" if origin == "searched" else "baseline_prompt"]
    prompt = Prompt.load(tmp_path / "out" / "prompt.json")
    assert prompt.digest == wanted
    assert prompt.lineage[-1].how == "tuned (full)"


def test_an_ensemble_of_the_runs_prompts(
    tune: Callable[..., Ended], task: Path, tmp_path: Path
) -> None:
    ended = tune("--ensemble", 3, "--strategy", "p", "--unlabelled", task / "train.jsonl")
    assert ended.code == 0, ended.err
    details = record(tmp_path / "out")["training"]["details"]  # type: ignore[index]
    assert len(details["members"]) == 3
    assert details["tuned"] is False


def test_trials_stand_in_the_runs_storage(run: Path, tune: Callable[..., Ended]) -> None:
    ended = tune("--tune-trials", 2, out="trials")
    assert ended.code == 0, ended.err
    assert "Trial 1 of 2: full, learning rate 0.003, at most 6 steps of 8" in ended.err
    names = optuna.get_all_study_names(f"sqlite:///{run / 'study.db'}")
    first, second = sorted(names)
    assert first == "autoprompt"
    assert second.startswith("tuning trials ")


@pytest.mark.slow
def test_a_search_on_the_tuned_model(
    tune: Callable[..., Ended], space: Path, tmp_path: Path
) -> None:
    ended = tune("--strategy", "w>p", "--space", space, "--budget", "quick")
    assert ended.code == 0, ended.err
    assert "Searched on the tuned model: " in ended.out
    out = tmp_path / "out"
    best = Prompt.load(out / "search" / "best.json")
    assert Prompt.load(out / "prompt.json").digest == best.digest
    predicted = autoprompt("predict", out, "--data", "-", stdin=b"a good film\n")
    assert predicted.code == 0, predicted.err
    text = tmp_path / "general.txt"
    text.write_text("the film was a good story .\n")
    compared = autoprompt("compare", out, out / "search", "--general-text", text, "--json")
    tuned, *rows = json.loads(compared.out)["rows"]
    assert [row["name"] for row in rows] == [
        "expert prompt on a tuned model",
        "searched prompt on a tuned model",
    ]
    for row in rows:  # what they need counts too, and they have their own values
        assert row["parameters"] == tuned["parameters"]
        assert row["bytes_to_ship"] > tuned["bytes_to_ship"]
        assert row["examples"] == tuned["examples"]
        assert row["retention"] == tuned["retention"]
    assert {row["selection"]["n"] for row in rows} == {64}  # dev: the model has learnt train
    assert tuned["name"] == "full, through the expert prompt, before its search"
    config = json.loads((out / "search" / "config.json").read_text())
    assert config["sizes"]["dev"] == 64
    assert "selected on dev alone" in ended.err
    assert "single train example" not in ended.err
    # The card and the record tell of both prompts, and both are there.
    found = record(out)
    assert found["searched_on"]["prompt"] == best.digest  # type: ignore[index]
    card = (out / "README.md").read_text()
    assert best.shown in card
    first = Prompt.load(out / "prompts" / "tuned_through.json")
    assert first.digest == found["tasks"][0]["prompt"]  # type: ignore[index]
    assert first.shown in card
    assert autoprompt("predict", out / "prompts" / "tuned_through.json", "--data", "-",
                      stdin=b"a good film\n").code == 0  # fmt: skip
    verdict = json.loads((out / "search" / "verdict.json").read_text())
    assert verdict["test_reads"] == 2  # the tuning's and its own


@pytest.mark.slow
def test_a_search_on_the_tuned_model_that_was_killed_goes_on(
    tune: Callable[..., Ended], space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("--strategy", "w>p", "--space", space)
    with monkeypatch.context() as patch:
        stop_after(patch, strategies, "search", 1, KeyboardInterrupt())
        assert tune(*given).code == 130
    out = tmp_path / "out"
    before = Prompt.load(out / "prompt.json")
    assert before.lineage[-1].how == "tuned (full)"  # a whole model already
    ended = tune(*given, "--resume")
    assert ended.code == 0, ended.err
    assert "Step" not in ended.err  # it was not tuned again
    found = Prompt.load(out / "prompt.json")
    assert found.digest == Prompt.load(out / "search" / "best.json").digest
    assert not (out / "settings.json").exists()
    assert tune(*given, "--resume").code == 2


def test_examples_of_the_runs_test_are_not_tuned_on(run: Path, task: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for name, source in {"train": "test", "dev": "dev", "test": "train"}.items():
        (mixed / f"{name}.jsonl").write_text((task / f"{source}.jsonl").read_text())
    ended = autoprompt("tune", run, "--task", mixed, "--out", tmp_path / "out", *QUICK)
    assert ended.code == 2
    assert "in the test split of the prompt's run" in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strategy", "w>w"], "unknown strategy 'w>w'; did you mean"),
        (["--strategy", "p"], "give --ensemble"),
        (["--strategy", "w>p"], "name the search space with --space"),
        (["--space", "sentiment"], "leave --space out"),
        (["--strategy", "w>p", "--space", "sentiment", "--folds", "2"], "leave --folds out"),
        (["--ensemble", "2"], "give some (--unlabelled FILE)"),
        (["--ensemble", "-1"], "two prompts at least, not -1"),
        (["--folds", "2", "--seeds", "2"], "exclude each other"),
        (["--folds", "1"], "two at least"),
        (["--trial-method", "lora"], "wants --tune-trials"),
        (["--tune-trials", "2", "--trial-method", "lara"], "did you mean 'lora'"),
        (["--method", "adapter"], "unknown tuning method 'adapter'"),
        (["--report-to", "nothing"], "unknown tracker 'nothing'"),
        (["--mlm-weight", "0.1"], "wants unlabelled texts"),
        (["--batch", "0"], "batch must be at least 1"),
        (["--task", "topic"], "1 prompts and 2 tasks"),
    ],
)
def test_bad_requests(
    tune: Callable[..., Ended], tmp_path: Path, options: list[str], message: str
) -> None:
    ended = tune(*options)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert not (tmp_path / "out").exists()


def test_a_task_with_other_labels_is_refused(run: Path, tmp_path: Path) -> None:
    ended = autoprompt("tune", run, "--task", "topic", "--out", tmp_path / "out")
    assert ended.code == 2
    assert "give the task that the prompt is for" in ended.err


# -- compare --------------------------------------------------------------------------------------


def test_ways_are_compared(
    run: Path, tune: Callable[..., Ended], task: Path, tmp_path: Path
) -> None:
    for out, options in {"full": [], "seed": ["--strategy", "w"], "lora": []}.items():
        method = ["--method", "lora"] if out == "lora" else []
        assert tune(*options, *method, out=out).code == 0
    text = tmp_path / "general.txt"
    text.write_text("the film was a good story .\nmoney and business .\n")
    places = [run, *(tmp_path / name for name in ("full", "seed", "lora"))]
    ended = autoprompt("compare", *places, "--general-text", text, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    names = [row["name"] for row in found["rows"]]
    assert names == [
        "expert prompt",
        "searched prompt",
        "full, through the searched prompt",
        "full, through the expert prompt",
        "lora, through the searched prompt",
    ]
    expert, searched, full, seed, lora = found["rows"]
    assert (expert["parameters"], expert["examples"], searched["examples"]) == (0, 0, 96)
    # All on dev, for the tuned ones have measured their prompts there.
    assert {row["selection"]["n"] for row in found["rows"]} == {64}
    assert lora["parameters"] < full["parameters"] == seed["parameters"]
    assert lora["bytes_to_ship"] < full["bytes_to_ship"]
    assert expert["retention"]["before"] == expert["retention"]["after"]
    assert full["retention"]["before"] == expert["retention"]["before"]
    assert full["retention"]["after"] != full["retention"]["before"]
    assert all(row["test"]["n"] == 40 for row in found["rows"])
    assert found["recommended"]["name"] in names
    plain = autoprompt("compare", *places, "--no-retention")
    assert plain.code == 0, plain.err
    lines = plain.out.splitlines()
    assert lines[0].startswith("way")
    assert lines[-1].startswith("Use the ")
    assert plain.err == ""


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    ended = autoprompt("compare", tmp_path)
    assert ended.code == 2
    assert "neither a finished search nor a tuned model" in ended.err
