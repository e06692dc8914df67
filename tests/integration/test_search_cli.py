"""`autoprompt search`, and `score` and `predict` on what it found."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
from command_line import Ended, autoprompt, command, environment
from run_files import document, reproducible, trials

from autoprompt import session
from autoprompt.prompts import Prompt
from autoprompt.results import SPREAD_EXAMPLES
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching import budget
from autoprompt.tasks.examples import split_digest
from autoprompt.tasks.task import Task

TRIALS = 12
SELECTION = 32 + 64  # train and dev
FILES = {
    ".lock",
    "best.json",
    "config.json",
    "held_out.json",
    "ledger.json",
    "log.txt",
    "prompts",
    "report.html",
    "scores",
    "selection.jsonl",
    "study.db",
    "trials.jsonl",
    "verdict.json",
}
Search = Callable[..., Ended]


@pytest.fixture(scope="module")
def finished(search: Search, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A run, and what the command printed."""
    run = tmp_path_factory.mktemp("finished") / "run"
    done = search(run, trials=TRIALS)
    assert done.code == 0, done.err
    return run, done


@pytest.fixture(scope="module")
def run(finished: tuple[Path, Ended]) -> Path:
    """The directory of a finished run; do not write there."""
    return finished[0]


@pytest.fixture(scope="module")
def as_json(search: Search, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """The same search once more, elsewhere, with --json."""
    run = tmp_path_factory.mktemp("as_json") / "run"
    return run, search(run, "--json", trials=TRIALS)


# -- the main way -----------------------------------------------------------------------------


def test_from_a_csv_file_to_a_verdict_in_two_commands(
    tmp_path: Path, model: Path, rows: list[dict[str, str]]
) -> None:
    with (tmp_path / "reviews.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, ["text", "label"])
        writer.writeheader()
        writer.writerows(rows)
    init = ["init", "--task", "reviews.csv"]
    search = ["search", "--task", "reviews.csv", "--space", "space.yaml", "--out", "run"]
    for arguments in (init, [*search, "--trials", "6", "--model", str(model)]):
        done = subprocess.run(
            command(*arguments),
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert "\nVerdict: " in done.stdout
    assert "autoprompt predict run/best.json --data FILE" in done.stdout
    assert "a guess of `autoprompt init` from the labels' names" in done.stdout
    verdict = document(tmp_path / "run/verdict.json")
    assert verdict["baseline_is_drafted"]
    assert verdict["status"] in ("improved", "not_significant", "worse", "kept_seed")
    assert 0 <= verdict["p_value"] <= 1
    assert verdict["low"] <= verdict["lift"] <= verdict["high"]


def test_the_result_is_on_stdout_and_the_rest_on_stderr(finished: tuple[Path, Ended]) -> None:
    run, done = finished
    for part in ("Seed prompts, accuracy on", "Winner: ", "Verdict: "):
        assert part in done.out
        assert part not in done.err
    assert "Forecast: " in done.err
    assert f"{run}/best.json" in done.out


# -- the run directory ------------------------------------------------------------------------


def test_all_files_are_there_and_no_others(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == FILES


def test_the_study_is_whole_and_holds_every_trial(run: Path) -> None:
    with sqlite3.connect(run / "study.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (count,) = database.execute("SELECT count(*) FROM trials").fetchone()
    database.close()
    assert count == len(trials(run)) == document(run / "ledger.json")["trials"]


def test_the_seeds_come_first_and_as_they_were_written(run: Path) -> None:
    first, second = trials(run)[:2]
    assert (first["template"], first["verbalizer"]) == (
        "{text} it was {mask} .",
        {"neg": ["terrible"], "pos": ["great"]},
    )
    assert (second["template"], second["calibration"]) == ("{mask} film : {text}", "none")


def test_every_scored_trial_has_its_scores(run: Path) -> None:
    for row in trials(run):
        if row["state"] in ("scored", "dropped"):
            with np.load(run / "scores" / f"{row['prompt']}.npz") as arrays:
                found = arrays["log_probabilities"]
            assert found.shape == (row["examples"], 2)
            np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, rtol=1e-6)


def test_prompt_files_load_and_are_named_by_their_digests(run: Path) -> None:
    found = [Prompt.load(path) for path in (run / "prompts").iterdir()]
    assert {f"{prompt.digest}.json" for prompt in found} == {
        path.name for path in (run / "prompts").iterdir()
    }
    assert Prompt.load(run / "best.json").digest in {prompt.digest for prompt in found}
    assert {row["prompt"] for row in trials(run)[:2]} <= {prompt.digest for prompt in found}


def test_the_best_prompt_says_where_it_comes_from(run: Path, task: Path) -> None:
    best = Prompt.load(run / "best.json")
    data = Task.load(task)
    assert set(best.scores) == {"selection", "dev", "test"} == set(best.splits) - {"train"}
    assert best.splits["train"] == split_digest(data.train)
    assert best.seed == document(run / "config.json")["seed"]
    assert best.model is not None
    assert best.tokens is not None
    assert "torch" in best.versions
    assert best.splits["test"] == split_digest(data.test)


def test_the_config_names_input_and_budget(run: Path) -> None:
    config = document(run / "config.json")
    assert config["budget"] == {"trials": TRIALS, "forwards": None, "seconds": None}
    assert config["sizes"] == {"train": 32, "dev": 64, "test": 40}
    assert (config["task_name"], config["space_name"]) == ("tiny", "tiny")


def test_the_config_holds_the_command_line(run: Path, task: Path) -> None:
    config = document(run / "config.json")
    assert config["command"].startswith(f"autoprompt search --task {task} --space ")
    assert f" --trials {TRIALS}" in config["command"]
    assert config["earlier"] == []


def test_an_experts_seed_is_no_draft(finished: tuple[Path, Ended]) -> None:
    run, done = finished
    assert "a guess of `autoprompt init`" not in done.out
    assert not document(run / "verdict.json")["baseline_is_drafted"]


def test_the_ledger_is_the_sum_of_the_trials_and_the_test(run: Path) -> None:
    ledger, verdict = document(run / "ledger.json"), document(run / "verdict.json")
    spent = [row["spent"] for row in trials(run)]
    assert verdict["status"] == "kept_seed"  # one prompt was run on test
    reworded = verdict["winner_spread"]["wordings"] * SPREAD_EXAMPLES
    assert reworded > SPREAD_EXAMPLES  # other wordings were tried
    assert ledger["forwards"] == sum(row["forwards"] for row in spent) + verdict["n"] + reworded
    assert ledger["recomputed"] == sum(row["recomputed"] for row in spent) == 0
    assert ledger["tokens"] > sum(row["tokens"] for row in spent)


def test_the_winner_is_not_worse_than_any_seed(run: Path) -> None:
    best = document(run / "best.json")
    rows = [row for row in trials(run) if row["state"] == "scored"]
    (winner,) = [row for row in rows if row["prompt"] == best["digest"]]
    assert winner["value"] >= max(row["value"] for row in rows[:2])
    assert winner["metric"] == best["scores"]["selection"]["accuracy"]["value"]
    assert document(run / "verdict.json")["winner_prompt"] == best["digest"]


def test_a_dropped_trial_has_seen_a_part_of_the_examples(run: Path) -> None:
    dropped = [row for row in trials(run) if row["state"] == "dropped"]
    assert dropped
    for row in dropped:
        assert (row["metric"], row["value"]) == (None, None)
        assert row["examples"] < SELECTION


def test_a_failed_trial_is_failed_with_its_reason(finished: tuple[Path, Ended]) -> None:
    run, done = finished
    failed = [row for row in trials(run) if row["state"] == "failed"]
    assert failed
    for row in failed:
        assert "metric" not in row
        assert "shorten it" in row["reason"]
        assert f"Note: trial {row['trial']} failed: " in done.err
    assert "failed: " in (run / "log.txt").read_text(encoding="utf-8")


# -- a seed that can be beaten ----------------------------------------------------------------


@pytest.fixture(scope="module")
def improved(
    search: Search, taught: Path, weak_space: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Ended]:
    run = tmp_path_factory.mktemp("improved") / "run"
    done = search(run, "--model", taught, "--space", weak_space, trials=5)
    assert done.code == 0, done.err
    return run, done


def test_a_better_prompt_is_found_and_said_to_be_better(improved: tuple[Path, Ended]) -> None:
    run, done = improved
    verdict, best = document(run / "verdict.json"), document(run / "best.json")
    assert "The winner beats the best seed prompt on test." in done.out
    assert best["verbalizer"] == {"neg": ["terrible"], "pos": ["great"]}
    assert best["lineage"][0]["how"].startswith("seed prompt ")
    assert "(trial " in best["lineage"][-1]["how"]
    assert verdict["status"] == "improved"
    assert verdict["p_value"] < 0.05
    assert 0 < verdict["low"] <= verdict["lift"] <= verdict["high"]
    assert verdict["lift"] == pytest.approx(
        verdict["winner"]["value"] - verdict["baseline"]["value"]
    )
    assert best["scores"]["test"]["accuracy"] == verdict["winner"]


def test_winner_and_seed_are_both_paid_for_on_test(improved: tuple[Path, Ended]) -> None:
    run, _ = improved
    forwards = document(run / "ledger.json")["forwards"] - forwards_of_trials(run)
    verdict = document(run / "verdict.json")
    wordings = [verdict[f"{side}_spread"]["wordings"] for side in ("winner", "baseline")]
    assert forwards == 2 * verdict["n"] + sum(wordings) * SPREAD_EXAMPLES


# -- the same again ---------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_run(run: Path, as_json: tuple[Path, Ended]) -> None:
    assert reproducible(as_json[0]) == reproducible(run)


def test_another_seed_gives_other_proposals(run: Path, search: Search, tmp_path: Path) -> None:
    assert search(tmp_path / "run", "--seed", 5, trials=TRIALS).code == 0
    here, there = (
        [row["parameters"] for row in trials(place)] for place in (run, tmp_path / "run")
    )
    assert here[:2] == there[:2]  # the seed prompts
    assert here[2:TRIALS] != there[2:TRIALS]


def test_json_makes_stdout_one_document(as_json: tuple[Path, Ended]) -> None:
    run, done = as_json
    found = json.loads(done.out)
    assert done.code == 0
    assert found["best"] == document(run / "best.json")
    assert found["out"] == str(run)
    assert found["trials"] == len(trials(run))
    assert found["ledger"]["forwards"] == document(run / "ledger.json")["forwards"]
    assert found["verdict"]["status"] == document(run / "verdict.json")["status"]
    assert [seed["template"] for seed in found["seeds"]] == [
        row["template"] for row in trials(run)[:2]
    ]


# -- score and predict ------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["best.json", ""])
@pytest.mark.parametrize("split", ["test", "dev"])
def test_score_gives_the_numbers_in_the_file(run: Path, task: Path, named: str, split: str) -> None:
    data = task / f"{split}.jsonl"
    found = json.loads(autoprompt("score", run / named, "--data", data, "--json").out)
    recorded = document(run / "best.json")["scores"][split]
    measured = found["measures"]
    assert measured["accuracy"] == recorded["accuracy"]
    entropies = [place["cross_entropy"]["value"] for place in (measured, recorded)]
    assert entropies[0] == pytest.approx(entropies[1], rel=1e-5)
    if split == "test":  # dev is shown to the search in an order of its own
        assert (found["split"], found["recorded"]) == ("test", recorded)


def test_score_tells_people_about_the_number_in_the_file(run: Path, task: Path) -> None:
    done = autoprompt("score", run, "--data", task / "test.jsonl")
    value = document(run / "best.json")["scores"]["test"]["accuracy"]["value"]
    assert f"in the prompt file: {value:.3f}" in done.out
    assert "This is the test split of the run" in done.out
    assert done.err == ""


def predictions(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_predict_labels_the_texts_of_a_file(run: Path, task: Path) -> None:
    done = autoprompt("predict", run, "--data", task / "test.jsonl")
    assert (done.code, done.err) == (0, "")
    found = predictions(done.out)
    gold = predictions((task / "test.jsonl").read_text(encoding="utf-8"))
    assert [row["text"] for row in found] == [row["text"] for row in gold]
    right = sum(row["label"] == wanted["label"] for row, wanted in zip(found, gold, strict=True))
    recorded = document(run / "best.json")["scores"]["test"]["accuracy"]
    assert right / len(gold) == pytest.approx(recorded["value"])
    for row in found:
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_predict_reads_a_text_a_line_from_stdin(run: Path, task: Path) -> None:
    whole = autoprompt("predict", run, "--data", task / "test.jsonl").out
    texts = [row["text"] for row in predictions(whole)]
    done = autoprompt("predict", run, "--data", "-", stdin="\n".join(texts).encode())
    assert [row["label"] for row in predictions(done.out)] == [
        row["label"] for row in predictions(whole)
    ]


def test_predict_of_no_text_is_no_line(run: Path) -> None:
    assert autoprompt("predict", run, "--data", "-", stdin=b"") == Ended(0, "", "")


def test_an_empty_line_has_its_prediction(run: Path) -> None:
    done = autoprompt("predict", run, "--data", "-", stdin="fine\n\nbad\u2028really\n".encode())
    rows = [json.loads(line) for line in done.out.split("\n") if line]
    assert [row["text"] for row in rows] == ["fine", "", "bad\u2028really"]


def test_predict_writes_a_file_and_replaces_it_only_with_force(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.jsonl"
    arguments = ["predict", run, "--data", "-", "--out", out]
    assert autoprompt(*arguments, stdin=b"a good film") == Ended(0, "", "")
    assert [row["text"] for row in predictions(out.read_text("utf-8"))] == ["a good film"]
    refused = autoprompt(*arguments, stdin=b"a bad film")
    assert refused.code == 2
    assert "pass --force" in refused.err
    assert autoprompt(*arguments, "--force", stdin="un café".encode()).code == 0
    assert [row["text"] for row in predictions(out.read_text("utf-8"))] == ["un café"]


def test_drawn_splits_can_be_measured_again(search: Search, task: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = search(run, "--task", task / "train.jsonl", trials=4)
    assert done.code == 0, done.err
    scores = document(run / "best.json")["scores"]
    for name in ("dev", "test"):
        found = autoprompt("score", run, "--data", run / f"splits/{name}.jsonl", "--json")
        measured = json.loads(found.out)
        assert measured["split"] == name
        assert measured["measures"]["accuracy"]["value"] == scores[name]["accuracy"]["value"]


def test_splits_that_are_files_are_not_copied(run: Path) -> None:
    assert not (run / "splits").exists()


# -- options ----------------------------------------------------------------------------------


def test_the_metric_is_the_users(search: Search, tmp_path: Path) -> None:
    done = search(tmp_path / "run", "--metric", "macro_f1")
    verdict = document(tmp_path / "run/verdict.json")
    assert (verdict["metric"], verdict["test"]) == ("macro_f1", "paired bootstrap")
    assert "Seed prompts, macro_f1 on" in done.out
    assert "macro_f1" in document(tmp_path / "run/best.json")["scores"]["dev"]


def different_prompts(run: Path) -> set[str]:
    return {row["prompt"] for row in trials(run) if row["state"] != "failed"}


def forwards_of_trials(run: Path) -> int:
    return sum(row["spent"]["forwards"] for row in trials(run))


def test_trials_limit_the_prompts(search: Search, tmp_path: Path) -> None:
    assert search(tmp_path / "run", trials=5).code == 0
    assert len(different_prompts(tmp_path / "run")) == 5
    assert document(tmp_path / "run/ledger.json")["finish_reason"] == "trials"


@pytest.mark.parametrize("option", ["--forwards", "--budget"])
def test_forwards_are_not_overshot(
    search: Search, tmp_path: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, one_trial = 330, 32 + 64 + 3 + 32  # train, dev, content-free, train with demonstrations
    monkeypatch.setitem(budget.PRESETS, "quick", most)
    value = {"--forwards": most, "--budget": "quick"}[option]
    assert search(tmp_path / "run", option, value, trials=None).code == 0
    assert document(tmp_path / "run/ledger.json")["finish_reason"] == "forwards"
    assert document(tmp_path / "run/config.json")["budget"]["forwards"] == most
    assert most - one_trial < forwards_of_trials(tmp_path / "run") <= most


def test_seconds_stop_after_the_seeds(search: Search, tmp_path: Path) -> None:
    assert search(tmp_path / "run", "--seconds", 1e-6, trials=None).code == 0
    assert document(tmp_path / "run/ledger.json")["finish_reason"] == "seconds"
    assert len(trials(tmp_path / "run")) == 2


def test_a_search_ends_where_the_space_holds_no_more(
    search: Search, tmp_path: Path, space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "MAX_REPEATS", 4)
    seeds_only = tmp_path / "seeds.yaml"
    seeds_only.write_text(space.read_text("utf-8").partition("templates:")[0], encoding="utf-8")
    assert search(tmp_path / "run", "--space", seeds_only, trials=100).code == 0
    assert document(tmp_path / "run/ledger.json")["finish_reason"] == "no new prompts"
    found = trials(tmp_path / "run")
    assert [row["state"] for row in found[-4:]] == ["repeated"] * 4
    assert all(row["spent"]["forwards"] == 0 for row in found[-4:])


def test_k_shot_draws_train_and_dev(search: Search, tmp_path: Path) -> None:
    assert search(tmp_path / "run", "--k-shot", 4, trials=4).code == 0
    assert document(tmp_path / "run/config.json")["sizes"] == {"train": 8, "dev": 8, "test": 40}


@pytest.mark.parametrize(
    "labels", [["entailment", "not_entailment"], ["entailment", "neutral", "contradiction"]]
)
def test_pairs_with_two_and_three_labels(tmp_path: Path, labels: list[str]) -> None:
    lines = [
        {"premise": f"A man holds {i} books .", "hypothesis": f"He has {i} .", "label": label}
        for i, label in enumerate(labels * 12)
    ]
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    arguments = ["--task", data, "--space", "nli", "--out", tmp_path / "run", "--trials", 7]
    done = autoprompt("search", *arguments)
    assert done.code == 0, done.err
    assert Prompt.load(tmp_path / "run/best.json").verbalizer.labels == tuple(sorted(labels))
    score = autoprompt("score", tmp_path / "run", "--data", data)
    assert (score.code, score.err) == (0, "")


# -- honesty ----------------------------------------------------------------------------------


def test_the_test_split_is_read_once_and_after_the_selection(
    search: Search, tmp_path: Path, task: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_texts = {example.key for example in Task.load(task).test}
    events: list[str] = []
    scores, select = WordScorer.scores, session.select

    def spied_scores(scorer: WordScorer, frame: Any, examples: Any) -> Any:
        if test_texts & {example.key for example in examples}:
            events.append("test")
        return scores(scorer, frame, examples)

    def spied_select(*arguments: Any) -> Any:
        events.append("selection")
        return select(*arguments)

    monkeypatch.setattr(WordScorer, "scores", spied_scores)
    monkeypatch.setattr(session, "select", spied_select)
    assert search(tmp_path / "run").code == 0
    verdict = document(tmp_path / "run/verdict.json")
    assert verdict["winner_prompt"] == verdict["baseline_prompt"]
    assert events == ["selection", "test"]


def test_a_second_run_says_that_the_test_split_was_used_before(
    search: Search, tmp_path: Path
) -> None:
    assert "read this test split" not in search(tmp_path / "one", trials=3).out
    done = search(tmp_path / "two", "--seed", 5, trials=3)
    assert "have read this test split 2 times" in done.out
    assert document(tmp_path / "two/verdict.json")["test_reads"] == 2


def test_notes_go_to_stderr_and_to_the_log(
    search: Search, write_task: Callable[[Path], Path], tmp_path: Path
) -> None:
    task = write_task(tmp_path / "task")
    lines = (task / "train.jsonl").read_text("utf-8").splitlines()
    (task / "train.jsonl").write_text("\n".join([*lines, lines[0]]), encoding="utf-8")
    done = search(tmp_path / "run", "--task", task, trials=3)
    note = "train: 1 of 33 examples repeat another one"
    assert f"Note: {note}" in done.err
    assert "Note:" not in done.out
    assert note in (tmp_path / "run/log.txt").read_text("utf-8")


def test_a_model_that_gives_nan_is_a_failed_run(
    search: Search, model: Path, tmp_path: Path
) -> None:
    damaged = shutil.copytree(model, tmp_path / "model")
    weights = safetensors.torch.load_file(damaged / "model.safetensors")
    weights["bert.encoder.layer.0.output.dense.weight"][0, 0] = float("nan")
    safetensors.torch.save_file(weights, damaged / "model.safetensors", {"format": "pt"})
    done = search(tmp_path / "run", "--model", damaged)
    assert (done.code, done.out) == (1, "")
    assert "scores that are not finite" in done.err.splitlines()[-1]
    assert not (tmp_path / "run/best.json").exists()


@pytest.mark.slow
def test_the_demo_runs_on_what_is_shipped(tmp_path: Path) -> None:
    done = autoprompt("demo", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert "Verdict: " in done.out
    assert "autoprompt init --task FILE" in done.out
