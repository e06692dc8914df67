"""Tuning from the request to a directory that loads and predicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
import transformers
from filelock import FileLock
from run_files import stop_after
from tuning_material import assignment, examples, prompt, write_task

from autoprompt.cli.tuned_console import print_tuning
from autoprompt.errors import (
    DivergedError,
    InputError,
    ModelError,
    PromptError,
    RunDirectoryError,
    ScoringError,
)
from autoprompt.models.gradients import LabelLoss
from autoprompt.models.loading import load_model
from autoprompt.models.transformer import TransformerModel
from autoprompt.prediction import Predictor
from autoprompt.retrieval import Retrieval
from autoprompt.runs import RunDirectory
from autoprompt.tasks.examples import Example, split_digest
from autoprompt.tuning import shipping
from autoprompt.tuning.card import card_of
from autoprompt.tuning.lessons import Assignment
from autoprompt.tuning.measuring import DECIDES
from autoprompt.tuning.memory import peak_memory
from autoprompt.tuning.processes import check_gpu
from autoprompt.tuning.results import TuningResult
from autoprompt.tuning.settings import TuningSettings
from autoprompt.tuning.trained import Trained
from autoprompt.tuning.training import Course
from autoprompt.tuning.tuning import Request, tune

RATES = {"full": 3e-3, "head": 1e-2, "bitfit": 1e-2, "lora": 1e-2, "soft": 1e-1}
SETTINGS = TuningSettings(steps=20, batch=16, evaluate_every=5)
Tune = Callable[..., TuningResult]


@pytest.fixture
def fresh(model_directory: Callable[[str], Path]) -> Callable[[str], TransformerModel]:
    """From a family's name to a model that nobody else has."""

    def load(family: str) -> TransformerModel:
        found = load_model(str(model_directory(family)))
        assert isinstance(found, TransformerModel)
        return found

    return load


@pytest.fixture
def tuned(fresh: Callable[[str], TransformerModel], tmp_path: Path) -> Tune:
    def run(
        method: str = "full",
        family: str = "bert",
        out: str = "out",
        one: Assignment | None = None,
        **changes: object,
    ) -> TuningResult:
        given = {"method": method, "learning_rate": RATES[method], **changes}
        request = Request((one or assignment(),), replace(SETTINGS, **given))  # type: ignore[arg-type]
        return tune(request, lambda: fresh(family), tmp_path / out)

    return run


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
@pytest.mark.parametrize("method", RATES)
def test_what_is_shipped_is_what_was_trained(tuned: Tune, family: str, method: str) -> None:
    if (family, method) in {("t5", "head"), ("t5", "bitfit")}:
        with pytest.raises(ModelError, match=f"method '{method}'.*choose another method"):
            tuned(method, family)
        return
    result = tuned(method, family, steps=100 if family == "t5" else SETTINGS.steps)
    (task,) = result.tasks
    assert task.after[DECIDES].value < task.before[DECIDES].value
    predictor = Predictor(result.out)
    scored = predictor.score(assignment().dev).measures()
    assert scored["cross_entropy"].value == pytest.approx(
        task.after["cross_entropy"].value, abs=1e-5
    )
    assert predictor.prompt.scores["dev"]["accuracy"]["value"] == task.after["accuracy"].value
    assert (result.out / "prompt.json").is_file()
    assert not (result.out / "checkpoints").exists()
    record = json.loads((result.out / "tuning.json").read_text())
    assert record["parameters"] == result.parameters > 0
    assert record["bytes_to_ship"] == result.bytes_to_ship > 0
    assert record["seconds"] > 0
    assert record["peak_memory"] > 2**20
    card = (result.out / "README.md").read_text()
    assert f"({result.parameters:,} of {result.all_parameters:,} parameters)" in card


def test_methods_train_what_they_say(tuned: Tune) -> None:
    counts = {method: tuned(method, out=method, steps=1).parameters for method in RATES}
    model = transformers.AutoModelForMaskedLM.from_pretrained(
        tuned("full", out="again", steps=1).out
    )
    assert counts["full"] == sum(each.numel() for each in model.parameters())
    assert counts["head"] == 2 * (32 + 1)  # a row and a bias for each label
    biases = sum(p.numel() for name, p in model.named_parameters() if name.endswith("bias"))
    assert counts["bitfit"] == biases
    assert counts["soft"] == 4 * 32  # "it was", "terrible great"
    assert counts["soft"] < counts["bitfit"] < counts["lora"] < counts["full"]


def test_a_gpu_that_the_trainer_does_not_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for asked, used in (("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:0", "cuda:0")):
        check_gpu(torch.device(asked), torch.device(used))
    with pytest.raises(InputError, match="CUDA_VISIBLE_DEVICES=1"):
        check_gpu(torch.device("cuda:1"), torch.device("cuda:0"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    with pytest.raises(InputError, match="CUDA_VISIBLE_DEVICES=5"):
        check_gpu(torch.device("cuda:1"), torch.device("cuda:0"))


def test_an_ordinary_directory_loads_without_us(
    tuned: Tune, capfd: pytest.CaptureFixture[str]
) -> None:
    for method in ("full", "head"):
        out = tuned(method, out=method).out
        assert "Writing" not in capfd.readouterr().err  # no progress bars of libraries
        model = transformers.AutoModelForMaskedLM.from_pretrained(out).eval()
        record = json.loads((out / "tuning.json").read_text())
        assert record["all_parameters"] == sum(each.numel() for each in model.parameters())
        tokenizer = transformers.AutoTokenizer.from_pretrained(out)
        (one, *_) = assignment().dev
        inputs = tokenizer(f"{one.fields['text']} it was [MASK]", return_tensors="pt")
        with torch.no_grad():
            logits = model(**inputs).logits
        at_mask = logits[inputs["input_ids"] == tokenizer.mask_token_id][0]
        words = at_mask[tokenizer.convert_tokens_to_ids(["terrible", "great"])].softmax(-1)
        (found,) = Predictor(out).predict([one.fields["text"]])
        assert found.probabilities["pos"] == pytest.approx(float(words[1]), abs=1e-5)


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_a_soft_prompt_is_what_peft_makes_of_it(
    tuned: Tune, fresh: Callable[[str], TransformerModel], family: str
) -> None:
    import peft

    from autoprompt.models.adapters import quiet_peft

    out = tuned("soft", family).out
    ours = load_model(str(out))
    front = len(ours.encoder.front)
    base = fresh(family)
    with quiet_peft():
        model = peft.PeftModel.from_pretrained(base.module, out).eval()
    (one, *_) = assignment().dev
    (encoding,) = base.encoder.encode(prompt().frame, [one])
    given = {"input_ids": torch.tensor([encoding.ids])}
    at = encoding.mask_positions[0] + (0 if family == "t5" else front)
    if family == "t5":
        given["decoder_input_ids"] = torch.tensor([encoding.decoder_ids])
    with torch.no_grad(), quiet_peft():
        wanted = model(**given, attention_mask=torch.ones_like(given["input_ids"])).logits[0, at]
    (own,) = ours.encoder.encode(prompt().frame, [one])
    assert own.ids[front:] == encoding.ids
    found = ours.mask_logits([own])[0, 0]
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_lora_is_what_peft_makes_of_it(
    tuned: Tune, fresh: Callable[[str], TransformerModel]
) -> None:
    import peft

    from autoprompt.models.adapters import quiet_peft

    out = tuned("lora").out
    base = fresh("bert")
    (one, *_) = assignment().dev
    (encoding,) = base.encoder.encode(prompt().frame, [one])
    with quiet_peft():
        model = peft.PeftModel.from_pretrained(base.module, out).eval()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([encoding.ids])).logits[0]
    found = load_model(str(out)).mask_logits([encoding])[0, 0]
    torch.testing.assert_close(found, logits[encoding.mask_positions[0]], atol=1e-4, rtol=1e-4)


def test_a_directory_can_be_moved(tuned: Tune, tmp_path: Path) -> None:
    out = tuned().out
    moved = out.rename(tmp_path / "elsewhere")
    assert Predictor(moved / "prompt.json").predict(["a good film"])


def test_the_weights_are_those_that_were_best_on_dev(tuned: Tune) -> None:
    result = tuned(learning_rate=2e-2, steps=60, patience=2)
    history = {row["step"]: row[DECIDES] for row in result.trained.history}
    best = min(history, key=lambda step: history[step])
    assert result.trained.step == best
    assert result.trained.steps <= best + 2 * 5
    assert result.trained.reason.startswith("no better on dev")
    assert result.tasks[0].after[DECIDES].value == pytest.approx(history[best], abs=1e-5)


def test_how_sure_the_model_is_does_not_stop_it(
    tuned: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Course.look

    def look(self: Course) -> dict[str, float]:
        found = plain(self)
        looks.append(found)
        # Ever surer of itself, and ever better.
        return {**found, "cross_entropy": float(len(looks)), DECIDES: 1.0 / len(looks)}

    looks: list[dict[str, float]] = []
    monkeypatch.setattr(Course, "look", look)
    result = tuned(steps=40, patience=1)
    assert result.trained.step == result.trained.steps == 40


def test_a_model_that_is_too_sure_of_itself_is_told(
    tuned: Tune, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tuned(learning_rate=1e-2, steps=20)
    (task,) = result.tasks
    for one in (replace(task, is_too_sure=True), replace(task, is_too_sure=False)):
        print_tuning(replace(result, tasks=(one,)), None, "out", as_json=False)
        shown = capsys.readouterr().out
        card = card_of({**result.to_dict(), "tasks": [one.to_dict()], "origins": [], "plan": ""})
        assert ("surer of itself" in shown) is ("surer of itself" in card) is one.is_too_sure
        assert "tempered_cross_entropy on dev, tuned" in shown


def test_a_tuning_that_only_harms_is_undone(tuned: Tune) -> None:
    learnt = tuned(steps=40)
    one = replace(assignment(), prompt=replace(prompt(), model=None))
    wrong = {"neg": "pos", "pos": "neg"}
    flipped = tuple(replace(each, label=wrong[str(each.label)]) for each in one.train)
    model = load_model(str(learnt.out))
    assert isinstance(model, TransformerModel)
    request = Request(
        (replace(one, train=flipped),), replace(SETTINGS, learning_rate=1e-2, patience=1)
    )
    result = tune(request, lambda: model, learnt.out.parent / "second")
    (task,) = result.tasks
    assert result.trained.step == 0
    assert "which is kept" in result.trained.reason
    assert task.after == task.before


def test_a_soft_prompt_that_stays_worse_than_the_prompt_alone_is_told(
    tuned: Tune, tmp_path: Path
) -> None:
    learnt = load_model(str(tuned(steps=150, evaluate_every=25).out))
    assert isinstance(learnt, TransformerModel)
    request = Request(
        (assignment(),), replace(SETTINGS, method="soft", steps=1, learning_rate=1e-9)
    )
    result = tune(request, lambda: learnt, tmp_path / "soft")
    (task,) = result.tasks
    assert task.after[DECIDES].value > task.before[DECIDES].value
    assert task.is_worse
    assert "The prompt alone, on the untuned model, is better." in _card(result)
    assert "is better." not in _card(tuned(out="better"))


def _card(result: TuningResult) -> str:
    return (result.out / "README.md").read_text()


def test_tuning_learns_the_task(tuned: Tune) -> None:
    result = tuned(steps=150, evaluate_every=25, learning_rate=3e-3)
    assert result.tasks[0].after["accuracy"].value >= 0.8


def test_the_same_seed_gives_the_same_weights_and_another_one_others(tuned: Tune) -> None:
    digests = [
        Predictor(tuned(out=f"{number}", seed=seed).out).model.identity.weights
        for number, seed in enumerate((0, 0, 1))
    ]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    "change",
    [{"dropout": 0.5}, {"weight_decay": 0.5}, {"warmup": 0.9}, {"batch": 4}, {"max_gradient": 0.1}],
    ids=lambda change: next(iter(change)),
)
def test_every_number_changes_something(tuned: Tune, change: dict[str, float]) -> None:
    plain = Predictor(tuned(out="plain").out).model.identity.weights
    assert Predictor(tuned(out="changed", **change).out).model.identity.weights != plain


def test_bfloat16_trains_and_decides_in_float32(tuned: Tune) -> None:
    result = tuned(precision="bfloat16")
    (task,) = result.tasks
    assert task.after["cross_entropy"].value < task.before["cross_entropy"].value
    plain = Predictor(tuned(out="plain").out).model.identity.weights
    found = Predictor(result.out).model
    assert found.identity.weights != plain
    assert found.precision == "float32"


# -- what goes wrong ------------------------------------------------------------------------------


@pytest.fixture
def breaks_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets the loss of a step, and of all after it, be NaN."""

    def arrange(step: int) -> None:
        original, calls = LabelLoss.expected, iter(range(1, 10_000))

        def expected(self: LabelLoss, *given: torch.Tensor) -> torch.Tensor:
            return original(self, *given) * (float("nan") if next(calls) >= step else 1.0)

        monkeypatch.setattr(LabelLoss, "expected", expected)

    return arrange


def test_a_tuning_that_does_not_help_says_so(
    tuned: Tune, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tuned(learning_rate=5.0)
    assert result.trained.step == 0
    print_tuning(result, None, "out", as_json=False)
    for said in ((result.out / "README.md").read_text(), capsys.readouterr().out):
        assert "Tuning did not help, and the weights are those that it began with" in said
    helped = tuned(out="helped")
    assert "did not help" not in (helped.out / "README.md").read_text()


def test_a_prompt_of_another_model_is_refused(
    fresh: Callable[[str], TransformerModel], tmp_path: Path
) -> None:
    other, bare = fresh("roberta"), prompt()
    tokens = other.encoder.record(bare.frame, bare.verbalizer.all_words)
    one = assignment(prompt=replace(bare, model=other.identity, tokens=tokens))
    with pytest.raises(PromptError, match=r"use the model it names"):
        tune(Request((one,), SETTINGS), lambda: fresh("bert"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tuning_that_another_process_ended_meanwhile_is_left_alone(
    fresh: Callable[[str], TransformerModel], tmp_path: Path
) -> None:
    """Two resume at once: the one that loads longer comes to a finished model."""
    out, given = tmp_path / "out", Request((assignment(),), replace(SETTINGS, learning_rate=3e-3))
    out.mkdir()
    (out / "settings.json").write_text(
        json.dumps(given.identity(fresh("bert").identity.weights)), encoding="utf-8"
    )

    def slow() -> TransformerModel:
        tune(given, lambda: fresh("bert"), out, resume=True)
        return fresh("bert")

    with pytest.raises(RunDirectoryError, match="no unfinished tuning"):
        tune(given, slow, out, resume=True)
    assert Predictor(out).predict(["a good film"])


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_weights(
    tuned: Tune, tmp_path: Path, breaks_at: Callable[[int], None]
) -> None:
    breaks_at(13)
    with pytest.raises(DivergedError, match=r"NaN or infinite at step 13;.*those of step 10"):
        tuned()
    scored = Predictor(tmp_path / "out").score(assignment().dev).measures()
    record = json.loads((tmp_path / "out" / "tuning.json").read_text())
    assert record["training"]["step"] == 10
    history = {row["step"]: row["cross_entropy"] for row in record["training"]["history"]}
    assert scored["cross_entropy"].value == pytest.approx(history[10], abs=1e-5)


def test_a_loss_that_is_no_number_before_any_checkpoint_leaves_no_model(
    tuned: Tune, tmp_path: Path, breaks_at: Callable[[int], None]
) -> None:
    breaks_at(2)
    with pytest.raises(DivergedError, match=r"before any checkpoint.*lower the learning rate"):
        tuned()
    assert not (tmp_path / "out" / "prompt.json").exists()


def test_scores_on_dev_that_are_no_numbers_stop_too(
    tuned: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights may break in the last step before a look, whose loss was still a number."""
    damaged = ScoringError("the model gave scores that are not finite; copy it again")
    stop_after(monkeypatch, Course, "look", 4, damaged)  # untuned, and at steps 5, 10, 15
    with pytest.raises(DivergedError, match=r"scores on dev .* by step 15;.*those of step 10"):
        tuned()
    assert Predictor(tmp_path / "out").predict(["a good film"])


def test_a_lack_of_memory_at_a_look_is_no_divergence(
    tuned: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = ScoringError("a single sequence does not fit into the memory")
    lacking.__cause__ = RuntimeError("out of memory")
    stop_after(monkeypatch, Course, "look", 2, lacking)
    with pytest.raises(ScoringError, match="does not fit into the memory"):
        tuned()


def test_a_training_that_was_killed_at_its_end_keeps_its_seconds(
    fresh: Callable[[str], TransformerModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request((assignment(),), replace(SETTINGS, learning_rate=3e-3))
    with monkeypatch.context() as patch:
        patch.setattr(Trained, "save", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            tune(request, lambda: fresh("bert"), tmp_path / "out")
    (kept,) = (tmp_path / "out" / "checkpoints").glob("*/checkpoint-20/whole")
    seconds = float(kept.read_text())
    result = tune(request, lambda: fresh("bert"), tmp_path / "out", resume=True)
    assert result.trained.steps == 20
    assert result.seconds >= seconds > 0


def test_an_output_directory_in_use_is_refused(tuned: Tune, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(RunDirectoryError, match="holds files already; choose an empty"):
        tuned()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]
    (tmp_path / "other").mkdir()
    with (
        FileLock(tmp_path / "other" / ".lock"),
        pytest.raises(RunDirectoryError, match="another process is writing"),
    ):
        tuned(out="other")
    tuned(out="third", steps=1)
    with pytest.raises(RunDirectoryError, match="holds a tuned model already"):
        tuned(out="third")


def test_resuming_wants_something_to_go_on_with(
    fresh: Callable[[str], TransformerModel], tmp_path: Path
) -> None:
    request = Request((assignment(),), SETTINGS)
    with pytest.raises(RunDirectoryError, match="no unfinished tuning"):
        tune(request, lambda: fresh("bert"), tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("split", ["train", "dev"])
def test_an_empty_split_is_refused(tuned: Tune, split: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"has no {split} examples"):
        tuned(one=replace(assignment(), **{split: ()}))
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak stays")
def test_memory_is_that_of_tuning_alone(tuned: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what the process held before, nor the model that is loaded again to be checked."""
    lot = 300 * 2**20
    original = shipping.load_model

    def load(*given: Any, **options: Any) -> Any:
        assert len(b"x" * lot) == lot
        return original(*given, **options)

    assert len(b"x" * lot) == lot
    before = peak_memory("cpu")
    monkeypatch.setattr(shipping, "load_model", load)
    assert tuned(steps=1).peak_memory < before - lot / 2


@pytest.mark.parametrize("tests", [((), ()), ((), examples(8, seed=3))], ids=["none", "second"])
def test_a_test_split_counts_as_read_where_there_is_one(
    fresh: Callable[[str], TransformerModel],
    tmp_path: Path,
    tests: tuple[tuple[Example, ...], ...],
) -> None:
    request = Request((assignment(), assignment(seed=4)), replace(SETTINGS, steps=1), tests=tests)
    tune(request, lambda: fresh("bert"), tmp_path / "out")
    record = json.loads((tmp_path / "out" / "tuning.json").read_text())
    found = record["own_test_reads"], record["test_digest"]
    assert found == ((1, split_digest(tests[1])) if tests[1] else (0, ""))


def test_demonstrations_are_not_learnt(tuned: Tune) -> None:
    shown = examples(2)
    one = replace(
        assignment(),
        prompt=replace(prompt("{demonstrations}{text} it was {mask}"), demonstrations=shown),
    )
    assert len(one.learnt) == len(one.train) - 2
    with pytest.raises(InputError, match="demonstrations aside"):
        tuned(one=replace(one, train=shown))


def test_examples_that_demonstrations_are_chosen_from_are_learnt(tuned: Tune) -> None:
    """None of them is shown itself, so that its answer is not given away."""
    given = assignment(train=16, dev=8)
    shown = replace(
        prompt("{demonstrations}{text} it was {mask}"),
        demonstrations=given.train,
        retrieval=Retrieval(1),
    )
    one = replace(given, prompt=shown)
    assert one.learnt == list(given.train)
    (task,) = tuned(one=one, steps=5).tasks
    assert task.after["cross_entropy"].value < task.before["cross_entropy"].value


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_head_that_could_not_be_saved_is_refused_before_it_is_trained(
    tuned: Tune, tmp_path: Path, family: str
) -> None:
    with pytest.raises(ModelError, match=r"output layer of its own .* choose another method"):
        tuned("head", family)
    assert not (tmp_path / "out").exists()


def test_the_head_wants_words_of_one_token(tuned: Tune) -> None:
    one = replace(assignment(), prompt=prompt(neg=["not good"], pos=["great"]))
    with pytest.raises(ModelError, match="'not good' is 2 tokens"):
        tuned("head", one=one)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "all"}, "unknown tuning method 'all'"),
        ({"precision": "int8"}, "unknown precision 'int8'"),
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"warmup": 1.0}, "warmup must be at least 0 and below 1"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"learning_rate": -1.0}, "learning rate must be between 0 and 10"),
    ],
)
def test_bad_numbers_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(TuningSettings(), **change)  # type: ignore[arg-type]


# -- in Python ------------------------------------------------------------------------------------


def test_the_public_function(
    model_directory: Callable[[str], Path],
    fresh: Callable[[str], TransformerModel],
    tmp_path: Path,
) -> None:
    import autoprompt as ap

    task = ap.Task.load(write_task(tmp_path / "task"))
    model = fresh("bert")
    bare = prompt()
    tokens = model.encoder.record(bare.frame, bare.verbalizer.all_words)
    given = replace(bare, model=model.identity, tokens=tokens)
    result = ap.tune(given, task, tmp_path / "out", method="lora", steps=10, learning_rate=1e-2)
    assert result.settings.method == "lora"
    assert result.tasks[0].test["accuracy"].n == 32
    assert ap.Predictor(tmp_path / "out").predict(["a good film"])
    texts = [replace(one, label=None) for one in task.train]
    for wrong, message in [
        ({"steps": 0}, "steps must be"),
        ({"folds": 2, "seeds": 2}, "exclude each other"),
        ({"ensemble": 2}, "give some"),
        ({"unlabelled": texts}, "want a use"),
        ({"mlm_weight": 0.1}, "wants unlabelled texts"),
        ({"stps": 4}, "unknown setting of a tuning 'stps'; did you mean 'steps'"),
        ({"ensemble": 2, "unlabelled": texts}, "run directory"),
    ]:
        with pytest.raises(InputError, match=message):
            ap.tune(given, task, tmp_path / "other", **wrong)  # type: ignore[arg-type]
    record = json.loads((tmp_path / "out" / "tuning.json").read_text())
    beside = RunDirectory(tmp_path / "run")
    assert beside.neighbours_test_reads(record["test_digest"]) == 1
    aided = ap.tune(given, task, tmp_path / "aided", steps=5, mlm_weight=0.1, unlabelled=texts)
    assert aided.settings.mlm_weight == 0.1
    averaged = ap.tune(given, task, tmp_path / "folds", folds=2, steps=5)
    assert averaged.trained.weights == "the mean over 2 folds"
