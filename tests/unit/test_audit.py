"""The audit: it finds what a model listens to, and finds nothing where there is nothing."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from listening_models import SURE, ListeningModel, listening_prompt

from autoprompt.audit import audit, check_request
from autoprompt.audit_results import Audit, Change, FamilyAudit, Flips
from autoprompt.errors import InputError, TaskError, UnknownNameError
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.objective import evaluate
from autoprompt.prediction import Predictor
from autoprompt.scoring.metrics import wilson
from autoprompt.tasks.examples import Example, split_digest
from autoprompt.tasks.held_out import HeldOut

EXAMPLES = [
    Example({"text": "he is good"}, "positive"),
    Example({"text": "he was slow"}, "positive"),
    Example({"text": "she is warm"}, "positive"),
    Example({"text": "a dull film"}, "negative"),
]
Run = Callable[..., Audit]


@pytest.fixture
def run(tiny_model: MaskedLanguageModel) -> Run:
    """Audits a prompt on a model that listens to a condition."""

    def audited(condition, examples=EXAMPLES, template="{text} It was {mask}.", **more) -> Audit:
        predictor = Predictor(listening_prompt(template), ListeningModel(tiny_model, condition))
        return audit(predictor, examples, **more)

    return audited


def change_of(changes: tuple[Change, ...], name: str) -> Change:
    (found,) = [change for change in changes if change.name == name]
    return found


def family_of(found: Audit, name: str) -> FamilyAudit:
    (family,) = [family for family in found.families if family.name == name]
    return family


def test_nothing_moves_where_the_model_listens_to_nothing(run: Run) -> None:
    found = run(lambda text: True)
    assert found.unchanged.value == 0.75
    for change in (*found.wordings, *found.inputs):
        assert (change.flips.count, change.difference, change.shift) == (0, 0, 0)
    assert (found.spread.low, found.spread.high, found.spread.deviation) == (0.75, 0.75, 0)
    (gender,) = found.families
    assert gender.flips == Flips(0, 3)
    assert [value.value for value in gender.pairs[0].shifts.values()] == [0, 0]
    assert "No changed input lowers the accuracy." in found.summary


def test_a_model_that_listens_to_the_template(run: Run) -> None:
    found = run(lambda text: "it was" in text and "dull" not in text)
    change = change_of(found.wordings, "'It was' as 'This was'")
    assert change.flips == Flips(3, 4)
    assert (change.metric.value, change.difference) == (0.25, -0.75)
    assert (change.metric.low, change.metric.high) == wilson(1, 4)
    assert change.shift == pytest.approx((2 * SURE - 1) * 3 / 4)
    assert (found.spread.low, found.spread.high) == (0.25, 1.0)
    assert found.spread.wordings == len(found.wordings) + 1
    assert change_of(found.wordings, "end: nothing").flips.count == 0
    # What is lost of "a dull film" may be "dull"; the template keeps its words.
    kept = [change for change in found.inputs if change.name == "doubled white space"]
    assert [change.flips.count for change in kept] == [0]


def test_a_model_that_listens_to_the_full_stop(run: Run) -> None:
    found = run(lambda text: "[MASK]." in text)
    assert change_of(found.wordings, "end: nothing").flips == Flips(4, 4)
    assert change_of(found.wordings, "'It was' as 'It is'").flips.count == 0


def test_a_model_that_listens_to_a_key_word(run: Run) -> None:
    examples = [Example({"text": f"{word} film film"}, "positive") for word in ("good", "nice")]
    found = run(lambda text: "good" in text or "nice" in text, examples)
    assert change_of(found.inputs, "no key words").flips == Flips(2, 2)
    assert change_of(found.inputs, "start cut off").flips == Flips(2, 2)
    assert change_of(found.inputs, "end cut off").flips == Flips(0, 2)
    assert "'no key words' (-1.000)" in found.summary


def test_only_examples_that_a_change_reaches_can_flip(run: Run) -> None:
    examples = [Example({"text": "good!"}, "positive"), Example({"text": "dull"}, "negative")]
    found = run(lambda text: "!" in text, examples)
    change = change_of(found.inputs, "no punctuation")
    assert change.flips == Flips(1, 1)
    assert change.metric.n == 2
    assert change.shift == pytest.approx(2 * SURE - 1)
    assert "the changed input 'lower case' is left out: it changes no text" in found.notes


def test_a_model_that_listens_to_gender(run: Run) -> None:
    found = run(lambda text: " he " in text)
    gender = family_of(found, "gender")
    assert gender.flips == Flips(3, 3)
    assert gender.compared == 3
    (pair,) = gender.pairs
    assert pair.groups == ("male", "female")
    assert pair.flips.measure.low == wilson(3, 3)[0]
    # From male to female "positive" loses, whichever of the two the original says.
    assert pair.shifts["positive"].value == pytest.approx(1 - 2 * SURE)
    assert pair.shifts["negative"].value == pytest.approx(2 * SURE - 1)
    assert pair.shifts["positive"].n == 3
    assert pair.shifts["positive"].high == pytest.approx(1 - 2 * SURE)


def test_a_text_of_both_groups_has_flips_but_no_direction(run: Run) -> None:
    found = run(
        lambda text: text.startswith("[CLS] he"), [Example({"text": "he, she"}, "positive")]
    )
    (pair,) = family_of(found, "gender").pairs
    assert pair.flips == Flips(1, 1)
    assert pair.shifts == {}


def test_one_example_is_counted_once_in_a_family_of_many_groups(run: Run) -> None:
    found = run(lambda text: "german" in text, [Example({"text": "german"}, "positive")])
    family = family_of(found, "nationality")
    assert family.compared == 7
    assert family.flips == Flips(1, 1)
    shift = family.pairs[0].shifts["positive"]
    assert (shift.n, shift.low, shift.high) == (1, -1, 1)


def test_no_group_is_no_result(run: Run) -> None:
    found = run(lambda text: True, EXAMPLES[3:])
    assert found.families == ()
    assert "says nothing about bias" in found.summary


def test_fields_that_the_prompt_does_not_show_do_not_count(run: Run) -> None:
    examples = [Example({"text": "dull", "author": "he"}, "negative")]
    assert run(lambda text: True, examples).families == ()


def test_it_is_the_same_each_time_and_follows_the_seed(run: Run) -> None:
    examples = [Example({"text": "one good film and a great many words more"}, "positive")]
    condition = len  # of no matter
    first, second = (run(condition, examples, seed=3, share=0.5).to_dict() for _ in range(2))
    assert first == second
    heard: list[set[str]] = []
    for seed in (1, 2):
        texts: set[str] = set()
        run(lambda text, texts=texts: not texts.add(text), examples, seed=seed, share=0.5)
        heard.append(texts)
    assert heard[0] != heard[1]


def test_the_metric_is_the_one_asked_for(run: Run) -> None:
    found = run(lambda text: "he" in text, metric="macro_f1")
    assert found.unchanged.value == pytest.approx(1.0)
    assert found.metric == "macro_f1"
    assert "macro_f1 lies between" in found.summary


def test_the_json_form_is_plain(run: Run) -> None:
    found = run(lambda text: " he " in text).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["families"][0]["flips"]["count"] == 3
    assert found["families"][0]["pairs"][0]["groups"] == ["male", "female"]
    assert set(found["wordings"][0]) == {"name", "metric", "difference", "flips", "shift"}


def test_a_real_model_is_audited_like_any(tiny_model: MaskedLanguageModel) -> None:
    predictor = Predictor(listening_prompt(), tiny_model)
    found = audit(predictor, EXAMPLES)
    scored = evaluate(predictor.prompt, predictor.scorer, EXAMPLES)
    assert found.unchanged == scored.measures()["accuracy"]
    assert len(found.wordings) == 4
    assert len(found.inputs) == 6  # no example has a capital or a comma to lose
    assert any(change.shift > 0 for change in found.wordings)


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("examples", "more", "error", "message"),
    [
        ([], {}, TaskError, "no examples"),
        ([Example({"text": "a"})], {}, TaskError, "labels that the prompt does not know: None"),
        ([Example({"text": "a"}, "odd")], {}, TaskError, "odd"),
        ([Example({"body": "a"}, "positive")], {}, TaskError, "no text for text, which"),
        (EXAMPLES, {"metric": "acuracy"}, UnknownNameError, "did you mean 'accuracy'"),
        (EXAMPLES, {"metric": "cross_entropy"}, UnknownNameError, "valid: accuracy"),
        (EXAMPLES, {"share": 0}, InputError, "above 0"),
    ],
)
def test_bad_requests(run: Run, examples, more, error, message: str) -> None:
    with pytest.raises(error, match=message):
        run(lambda text: True, examples, **more)


def test_the_test_split_is_refused_in_whatever_order() -> None:
    splits = {"test": split_digest(EXAMPLES), "dev": "other"}
    with pytest.raises(InputError, match=r"test split.*RUN/splits/dev.jsonl"):
        check_request(listening_prompt(splits=splits), EXAMPLES[::-1], "accuracy")


def test_a_part_of_the_test_split_is_refused_with_what_was_found() -> None:
    prompt = listening_prompt(splits={"test": split_digest(EXAMPLES)})
    held_out = HeldOut.of(EXAMPLES, [])
    fresh = Example({"text": "a new film"}, "positive")
    check_request(prompt, [fresh], "accuracy", held_out=held_out)
    with pytest.raises(InputError, match=r"2 of these 3 examples \(the first: 'she is warm'\)"):
        check_request(prompt, [fresh, EXAMPLES[2], EXAMPLES[0]], "accuracy", held_out=held_out)


@pytest.mark.parametrize("splits", [{"test": "other"}, {}])
def test_away_from_its_run_a_prompt_says_what_is_not_known(tiny_model, splits) -> None:
    prompt = listening_prompt(splits=splits)
    predictor = Predictor(prompt, ListeningModel(tiny_model, lambda text: True))
    said = [note for note in audit(predictor, EXAMPLES).notes if "the run that found" in note]
    assert len(said) == len(splits)
    at_home = audit(predictor, EXAMPLES, held_out=HeldOut("other", ("text",), ()))
    assert not [note for note in at_home.notes if "the run that found" in note]


def test_the_dev_split_is_welcome() -> None:
    splits = {"dev": split_digest(EXAMPLES), "test": "other"}
    check_request(listening_prompt(splits=splits), EXAMPLES, "accuracy")
