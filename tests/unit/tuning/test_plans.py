"""One set of weights from several trainings: seeds, folds, trials, an ensemble."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from tuning_material import assignment, examples, prompt

from autoprompt.errors import DivergedError, InputError, ModelError
from autoprompt.models.gradients import LabelLoss
from autoprompt.models.loading import load_model
from autoprompt.models.transformer import TransformerModel
from autoprompt.prediction import Predictor
from autoprompt.runs import RunDirectory
from autoprompt.searching.addresses import Address
from autoprompt.searching.storage import Place
from autoprompt.tasks.examples import Example, split_digest
from autoprompt.tuning import plans
from autoprompt.tuning.comparison import rows_of
from autoprompt.tuning.ensemble import Ensemble, cross_entropy, mixed, mixture_weights
from autoprompt.tuning.measuring import DECIDES, measures_of, scores_of
from autoprompt.tuning.output import TunedDirectory
from autoprompt.tuning.plans import folds_of, over_folds, over_seeds
from autoprompt.tuning.results import TuningResult
from autoprompt.tuning.settings import TuningSettings
from autoprompt.tuning.training import Course, Plan
from autoprompt.tuning.trials import Trials, trials_place
from autoprompt.tuning.tuning import Request, tune

SETTINGS = TuningSettings(steps=10, batch=16, evaluate_every=5, learning_rate=3e-3)
Tune = Callable[..., TuningResult]


@pytest.fixture
def tuned(model_directory: Callable[[str], Path], tmp_path: Path) -> Tune:
    def run(out: str = "out", settings: TuningSettings = SETTINGS, **given: object) -> TuningResult:
        def fresh() -> TransformerModel:
            found = load_model(str(model_directory("bert")))
            assert isinstance(found, TransformerModel)
            return found

        request = Request((assignment(),), settings, **given)  # type: ignore[arg-type]
        return tune(request, fresh, tmp_path / out)

    return run


# -- seeds ----------------------------------------------------------------------------------------


def test_seeds_are_averaged_unless_dev_prefers_one(tuned: Tune) -> None:
    result = tuned(plan=over_seeds(3))
    details = result.trained.details
    each = details["tempered_cross_entropy_of_each"]
    assert len(set(each)) == 3
    after = result.tasks[0].after[DECIDES].value
    assert details["averaged"] == (details["tempered_cross_entropy_of_the_mean"] <= min(each))
    assert after == pytest.approx(
        min([*each, details["tempered_cross_entropy_of_the_mean"]]), abs=1e-5
    )
    assert result.trained.steps == 30


def test_the_first_of_several_seeds_is_the_given_one(tuned: Tune) -> None:
    alone = tuned("alone").trained.after
    assert (
        tuned("three", plan=over_seeds(2)).trained.details["tempered_cross_entropy_of_each"][0]
        == alone
    )


# -- folds ----------------------------------------------------------------------------------------


def test_folds_part_train_and_dev_evenly() -> None:
    one = assignment(train=20, dev=10)
    folds = folds_of(one, 5, seed=3)
    held = [example for fold in folds for example in fold.dev]
    assert split_digest(held) == split_digest([*one.train, *one.dev])
    for fold in folds:
        assert {example.key for example in fold.dev}.isdisjoint(e.key for e in fold.train)
        assert sorted(str(example.label) for example in fold.dev) == ["neg"] * 3 + ["pos"] * 3
    assert folds == folds_of(one, 5, seed=3)
    assert folds != folds_of(one, 5, seed=4)


def test_a_tuning_over_folds_says_what_held_out_examples_say(
    tuned: Tune, model_directory: Callable[[str], Path]
) -> None:
    result = tuned(plan=over_folds(2))
    (task,) = result.tasks
    assert task.after["accuracy"].n == 128  # all of train and dev, each by the fold without it
    one = assignment()
    untuned = load_model(str(model_directory("bert")))
    wanted = measures_of(scores_of(untuned, one.prompt, [*one.train, *one.dev]))
    assert task.before["cross_entropy"].value == pytest.approx(wanted["cross_entropy"].value)
    assert task.before["cross_entropy"].n == 128
    card = (result.out / "README.md").read_text()
    assert "the weights are the mean over 2 folds" in card
    assert "| held-out folds, untuned | accuracy |" in card
    assert "Each fold chose when to stop" in card
    assert task.prompt.scores.keys() == {"selection"}
    assert task.before[DECIDES].value == pytest.approx(result.trained.before)
    assert task.after[DECIDES].value == pytest.approx(result.trained.after)
    assert Predictor(result.out).predict(["a good film"])


@pytest.mark.parametrize("count", [0, 1])
def test_one_fold_or_seed_is_none(count: int) -> None:
    for plan in (over_folds, over_seeds):
        with pytest.raises(InputError, match="two at least"):
            plan(count)


def test_a_mean_of_folds_that_is_worse_than_they_are_is_told(
    tuned: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = tuned("good", plan=over_folds(2)).trained
    assert trained.weights == "the mean over 2 folds"
    assert trained.details["tempered_cross_entropy_of_the_mean"] < trained.after
    original = plans._mean_of
    monkeypatch.setattr(
        plans, "_mean_of", lambda given: {name: -2 * one for name, one in original(given).items()}
    )
    trained = tuned("bad", plan=over_folds(2)).trained
    assert trained.weights == "the mean over 2 folds, which is worse than they are"


@pytest.fixture
def breaks_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the loss of some steps, counted over all trainings, be NaN."""

    def arrange(*steps: int) -> None:
        original, calls = LabelLoss.expected, iter(range(1, 10_000))

        def expected(self: LabelLoss, *given: torch.Tensor) -> torch.Tensor:
            return original(self, *given) * (float("nan") if next(calls) in steps else 1.0)

        monkeypatch.setattr(LabelLoss, "expected", expected)

    return arrange


def test_a_fold_that_diverges_is_told(tuned: Tune, breaks_at: Callable[..., None]) -> None:
    breaks_at(18)
    with pytest.raises(DivergedError, match=r"^fold 2 of 2: .* at step 8; .* mean over 2 folds"):
        tuned(plan=over_folds(2))


@pytest.mark.parametrize(("plan", "kind"), [(over_seeds, "seed"), (over_folds, "fold")])
def test_a_training_that_diverges_at_once_leaves_the_others(
    tuned: Tune,
    breaks_at: Callable[..., None],
    tmp_path: Path,
    plan: Callable[..., Plan],
    kind: str,
) -> None:
    breaks_at(12)  # the second step of the second training, before any look
    with pytest.raises(DivergedError, match=rf"^{kind} 2 of 3: .* at step 2; .*holds the last"):
        tuned(plan=plan(3))
    assert Predictor(tmp_path / "out").predict(["a good film"])
    details = json.loads((tmp_path / "out" / "tuning.json").read_text())["training"]["details"]
    each, mean = details[f"{DECIDES}_of_each"], details[f"{DECIDES}_of_the_mean"]
    assert min(each[0], each[2]) < each[1]  # the second one is as it began
    assert mean < each[1]
    said = (tmp_path / "out" / "README.md").read_text()
    if kind == "fold":  # what the failed one held out, the others have learnt
        assert "the mean over 2 of 3 folds" in said
        task = json.loads((tmp_path / "out" / "tuning.json").read_text())["tasks"][0]
        assert task["after"]["accuracy"]["n"] == task["before"]["accuracy"]["n"] < 128
        assert task["after"][DECIDES]["value"] < each[1]


def test_when_all_trainings_diverge_at_once_there_is_no_model(
    tuned: Tune, breaks_at: Callable[..., None], tmp_path: Path
) -> None:
    breaks_at(1, 2)
    with pytest.raises(DivergedError, match=r"all 2 trainings diverged .* lower the learning rate"):
        tuned(plan=over_seeds(2))
    assert not (tmp_path / "out" / "prompt.json").exists()


def test_a_member_that_diverges_at_once_is_mixed_as_it_began(
    tuned: Tune, breaks_at: Callable[..., None], tmp_path: Path
) -> None:
    breaks_at(2)
    ensemble = Ensemble(members(), True, unlabelled())  # type: ignore[arg-type]
    with pytest.raises(DivergedError, match=r"^member 1 of 2: .* at step 2"):
        tuned(plan=ensemble.plan(), plan_name=ensemble.name)
    details = json.loads((tmp_path / "out" / "tuning.json").read_text())["training"]["details"]
    first, second = (member["weight"] for member in details["members"])
    assert first < second


def test_too_few_examples_for_so_many_folds(tuned: Tune) -> None:
    with pytest.raises(InputError, match=r"has 2 examples .* too few for 5 folds"):
        folds_of(assignment(train=2, dev=2), 5, 0)


# -- trials ---------------------------------------------------------------------------------------


def trials_of(database: Path, count: int = 3, methods: tuple[str, ...] = ("full",)) -> Trials:
    return Trials(count, methods, Place(Address.of_file(database), "tuning out", str(database)))


def test_trials_begin_with_what_was_given_and_ship_the_best(tuned: Tune, tmp_path: Path) -> None:
    database = tmp_path / "study.db"
    result = tuned(trials=trials_of(database, 3, ("full", "bitfit")))
    study = optuna.load_study(study_name="tuning out", storage=f"sqlite:///{database}")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3
    first, *others = (trial.user_attrs["settings"] for trial in study.trials)
    assert first == SETTINGS.to_dict()
    assert all(other["learning_rate"] != first["learning_rate"] for other in others)
    assert all(other["steps"] <= first["steps"] for other in others)
    assert result.trained.after == min(trial.value for trial in study.trials)
    assert result.settings.to_dict() in [first, *others]
    assert not (result.out / "checkpoints").exists()
    record = json.loads((result.out / "tuning.json").read_text())
    assert record["settings"] == result.settings.to_dict()
    # What they took is told, and that they were several.
    assert record["training"]["details"]["trials"] == {"count": 3, "failed": 0}
    seconds = [trial.user_attrs["seconds"] for trial in study.trials]
    assert record["seconds"] == pytest.approx(sum(seconds), abs=1e-3)
    assert "best of 3 trials on dev (0 failed)" in (result.out / "README.md").read_text()
    (row,) = rows_of(result.out)
    assert "best of 3 trials" in row.bright


def test_trials_have_the_methods_that_were_named_alone(tuned: Tune, tmp_path: Path) -> None:
    database = tmp_path / "study.db"
    result = tuned(trials=trials_of(database, 2, ("bitfit",)))
    study = optuna.load_study(study_name="tuning out", storage=f"sqlite:///{database}")
    assert {trial.user_attrs["settings"]["method"] for trial in study.trials} == {"bitfit"}
    assert result.settings.method == "bitfit"


def test_trials_lie_in_the_runs_storage_under_a_name_of_their_own(tmp_path: Path) -> None:
    run = tmp_path / "run"
    directories = [TunedDirectory(tmp_path / name / "out") for name in ("one", "two")]
    one, two = (trials_place(directory, run, "") for directory in directories)
    assert str(one.address) == str(two.address) == str(run / "study.db")
    assert one.study != two.study
    assert one.study.startswith("tuning out ")
    alone = trials_place(directories[0], None, "")
    assert (str(alone.address), alone.study) == (str(directories[0].database), one.study)


@pytest.mark.slow
def test_the_same_trials_are_proposed_again(tuned: Tune, tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        tuned(name, trials=trials_of(tmp_path / f"{name}.db"))
        study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / name}.db")
        found.append([(trial.params, trial.value) for trial in study.trials])
    assert found[0] == found[1]


def test_a_trial_whose_method_the_model_lacks_fails_alone(
    model_directory: Callable[[str], Path], tmp_path: Path
) -> None:
    def fresh() -> TransformerModel:
        found = load_model(str(model_directory("llama")))
        assert isinstance(found, TransformerModel)
        return found

    settings = replace(SETTINGS, seed=2, evaluate_every=100)  # one look, at the end
    trials = trials_of(tmp_path / "study.db", 6, ("bitfit", "lora"))
    given = Request((assignment(),), replace(settings, method="lora"), trials=trials)
    result = tune(given, fresh, tmp_path / "out")
    study = optuna.load_study(study_name="tuning out", storage=f"sqlite:///{tmp_path}/study.db")
    failures = [t.user_attrs["failure"] for t in study.trials if t.state.name == "FAIL"]
    assert failures
    assert all("biases" in failure for failure in failures)
    assert result.settings.method == "lora"


def test_no_trials_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one at least"):
        trials_of(tmp_path / "study.db", 0)


# -- the ensemble ---------------------------------------------------------------------------------


def unlabelled(count: int = 40) -> tuple[Example, ...]:
    return tuple(replace(example, label=None) for example in examples(count, seed=9))


def members() -> tuple[object, ...]:
    return prompt(), prompt("{mask} film : {text}", neg=["bad"], pos=["good"])


def test_weights_prefer_who_is_right() -> None:
    rows = np.array([[0.8, 0.2], [0.3, 0.7], [0.9, 0.1], [0.2, 0.8]] * 10)
    gold = np.array([0, 1, 0, 1] * 10)
    right, wrong, even = rows, rows[:, ::-1], np.full_like(rows, 0.5)
    logs = np.log(np.stack([wrong, right, even]))
    weights = mixture_weights(logs, gold)
    assert weights.sum() == pytest.approx(1)
    assert weights[1] > 0.9
    mixture = cross_entropy(mixed(logs, weights), gold)
    assert mixture < cross_entropy(mixed(logs, np.full(3, 1 / 3)), gold)
    assert mixture == pytest.approx(cross_entropy(np.log(right), gold), abs=0.05)
    # With few examples the members stay nearly equal.
    few = mixture_weights(logs[:, :1], gold[:1], prior=10.0)
    assert few.max() - few.min() < 0.2


@pytest.mark.parametrize("is_tuned", [True, False])
def test_an_ensemble_is_distilled_into_one_model(tuned: Tune, is_tuned: bool) -> None:
    ensemble = Ensemble(members(), is_tuned, unlabelled())  # type: ignore[arg-type]
    result = tuned(plan=ensemble.plan(), plan_name=ensemble.name)
    details = result.trained.details
    weights = [member["weight"] for member in details["members"]]
    assert sum(weights) == pytest.approx(1)
    assert all(weight > 0 for weight in weights)
    card = (result.out / "README.md").read_text()
    assert "distilled from a mixture of 2 " in card
    for weight, member in zip(weights, members(), strict=True):
        assert f"weight {weight:.2f}" in card
        assert f"`{member.shown}`" in card  # type: ignore[attr-defined]
    assert result.trained.steps == (30 if is_tuned else 10)
    (task,) = result.tasks
    assert task.after[DECIDES].value < task.before[DECIDES].value
    if not is_tuned:
        before = task.before[DECIDES].value
        assert details["members"][0][DECIDES] == pytest.approx(before, abs=1e-4)
    assert Predictor(result.out).predict(["a good film"])


def test_a_member_alone_and_no_texts_are_refused() -> None:
    with pytest.raises(InputError, match="two prompts at least"):
        Ensemble((prompt(),), True, unlabelled())
    with pytest.raises(InputError, match="unlabelled texts"):
        Ensemble(members(), True, ())  # type: ignore[arg-type]
    other = prompt(bad=["bad"], good=["good"])
    with pytest.raises(InputError, match="different labels"):
        Ensemble((prompt(), other), True, unlabelled())
    elsewhere = tuple(Example({"sentence": one.fields["text"]}, None) for one in unlabelled())
    with pytest.raises(InputError, match=r"no field 'text', .* name its column"):
        Ensemble(members(), True, elsewhere)  # type: ignore[arg-type]


def test_a_head_has_the_words_of_one_prompt(tuned: Tune) -> None:
    ensemble = Ensemble(members(), True, unlabelled())  # type: ignore[arg-type]
    settings = replace(SETTINGS, method="head")
    with pytest.raises(ModelError, match=r"other words \(bad, good\); choose another"):
        tuned(settings=settings, plan=ensemble.plan())
    plain = replace(ensemble, tuned=False)
    assert tuned("plain", settings=settings, plan=plain.plan()).trained.details["members"]


def test_an_ensemble_is_named_by_what_it_depends_on() -> None:
    given = Ensemble(members(), True, unlabelled())  # type: ignore[arg-type]
    others = (replace(given, tuned=False), replace(given, unlabelled=unlabelled(30)))
    assert len({given.name, *(one.name for one in others)}) == 3


# -- unlabelled text, several tasks ---------------------------------------------------------------


def test_the_auxiliary_loss_changes_the_weights(tuned: Tune) -> None:
    texts = tuple(example.fields["text"] for example in examples(60, seed=5))
    plain = tuned("plain").trained.after
    settings = replace(SETTINGS, mlm_weight=0.5)
    found = tuned("aided", settings=settings, texts=texts)
    assert found.trained.after != plain
    assert found.trained.after < found.trained.before
    with pytest.raises(InputError, match="wants unlabelled texts"):
        tuned("none", settings=settings)
    with pytest.raises(InputError, match="give more text"):
        tuned("little", settings=settings, texts=("a film",))


def test_several_tasks_are_learnt_by_one_model(
    model_directory: Callable[[str], Path], tmp_path: Path
) -> None:
    def fresh() -> TransformerModel:
        found = load_model(str(model_directory("bert")))
        assert isinstance(found, TransformerModel)
        return found

    other = assignment(
        train=40,
        seed=4,
        name="the other/one",
        prompt=prompt("{mask} film : {text}", neg=["bad"], pos=["good"]),
    )
    tests = (examples(20, seed=7), examples(20, seed=8))
    given = Request((assignment(), other), SETTINGS, tests=tests)
    result = tune(given, fresh, tmp_path / "out")
    card = (result.out / "README.md").read_text()
    for name in ("1_tiny.json", "2_the_other_one.json"):
        assert f"autoprompt predict THIS_DIRECTORY/prompts/{name} " in card
    # Each reads its own test split, and ships a part of the bytes.
    beside = RunDirectory(tmp_path / "run")
    assert [beside.neighbours_test_reads(split_digest(test)) for test in tests] == [1, 1]
    assert [row.bytes_to_ship for row in rows_of(result.out)] == [result.bytes_to_ship // 2] * 2
    assert [task.name for task in result.tasks] == ["tiny", "the other/one"]
    names = sorted(path.name for path in (result.out / "prompts").iterdir())
    assert names == ["1_tiny.json", "2_the_other_one.json"]
    for name, task, one in zip(names, result.tasks, (assignment(), other), strict=True):
        scored = Predictor(result.out / "prompts" / name).score(one.dev).measures()
        assert scored["cross_entropy"].value == pytest.approx(
            task.after["cross_entropy"].value, abs=1e-5
        )
    assert result.trained.after < result.trained.before
    assert {"tiny 1 cross_entropy", "the other/one 2 accuracy"} <= result.trained.history[0].keys()


def test_tasks_with_different_metrics_have_no_mean_of_them(tiny_model: TransformerModel) -> None:
    first, second = assignment(), assignment(seed=4, metric="macro_f1")
    looks = [Course(tiny_model, [first, one]).look() for one in (first, second)]
    assert looks[0]["accuracy"] == looks[0]["tiny 1 accuracy"] == looks[0]["tiny 2 accuracy"]
    assert looks[1].keys() == {
        *("cross_entropy", "tiny 1 cross_entropy", "tiny 2 cross_entropy"),
        *(DECIDES, f"tiny 1 {DECIDES}", f"tiny 2 {DECIDES}"),
        *("tiny 1 accuracy", "tiny 2 macro_f1"),
    }
