"""The frozen prompt and its JSON form."""

import dataclasses
import json

import pytest

from autoprompt.errors import InputError, PromptError
from autoprompt.lineage import Edit
from autoprompt.prompts import (
    Calibration,
    Frame,
    ModelIdentity,
    Prompt,
    TokenRecord,
    TriggerTokens,
)
from autoprompt.retrieval import Retrieval
from autoprompt.tasks.columns import Columns
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

PLAIN = Prompt(
    Template.parse("{text} It was {mask}."),
    Verbalizer.of({"neg": ["bad"], "pos": ["good", "very good"]}),
)
FULL = Prompt(
    template=Template.parse("{demonstrations}{text}{trigger:2} {mask}."),
    verbalizer=Verbalizer.of({"neg": ["bad"], "pos": ["good"]}, aggregation="mean"),
    triggers=(TriggerTokens((5, 7), (" atmosphere", " alot")),),
    demonstrations=(Example({"text": "Fün\u2028{mask}"}, "pos"), Example({"text": "Dull"}, "neg")),
    calibration=Calibration("contextual", (0.25, -1.5)),
    model=ModelIdentity("bert-base", "abc", "masked", "t0k", "w0w"),
    tokens=TokenRecord((2, 3, 4), {"bad": (9,), "good": (8, 1)}, 512, False),
    lineage=(
        Edit("seed 2", "{text} It was {mask}.", {"neg": ("bad",), "pos": ("good",)}),
        Edit("trigger 1"),
    ),
    scores={"dev": {"value": 0.9, "n": 32, "low": 0.8, "high": 1.0}},
    splits={"dev": "0123456789abcdef"},
    versions={"torch": "2.10"},
    seed=0,
    columns=Columns({"text": "review"}, "stars", {"1": "pos", "0": "neg"}),
)


def edited(**changes) -> dict:
    """The JSON form of FULL by another hand: changed, and without digest and checksum."""
    record = {**json.loads(json.dumps(FULL.to_dict())), **changes}
    del record["digest"], record["checksum"]
    return record


@pytest.mark.parametrize("prompt", [PLAIN, FULL], ids=["plain", "full"])
def test_saved_prompt_comes_back(tmp_path, prompt):
    path = tmp_path / "best.json"
    prompt.save(path)
    again = Prompt.load(path)
    assert again == prompt
    assert again.digest == prompt.digest


def test_prompt_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLAIN.seed = 1


def test_json_form_shares_nothing_with_the_prompt():
    record = FULL.to_dict()
    record["model"]["name"] = "other"
    record["scores"]["test"] = {}
    assert FULL.model.name == "bert-base"
    assert list(FULL.scores) == ["dev"]


@pytest.mark.parametrize(
    "change",
    [
        {"template": Template.parse("{demonstrations}{text}{trigger:2} {mask}!")},
        {"verbalizer": Verbalizer.of({"neg": ["bad"], "pos": ["nice"]}, aggregation="mean")},
        {"verbalizer": Verbalizer.of({"neg": ["bad"], "pos": ["good"]})},
        {"triggers": (TriggerTokens((7, 5), (" alot", " atmosphere")),)},
        {"demonstrations": FULL.demonstrations[::-1]},
        {"demonstrations": (FULL.demonstrations[0], Example({"text": "Dull"}, "pos"))},
        {"calibration": Calibration("batch", (0.25, -1.5))},
    ],
)
def test_digest_follows_what_the_prompt_does(change):
    assert dataclasses.replace(FULL, **change).digest != FULL.digest


@pytest.mark.parametrize(
    "change",
    [
        {"model": None},
        {"tokens": None},
        {"lineage": ()},
        {"scores": {}},
        {"seed": 5},
        {"calibration": Calibration("contextual", (0.0, 0.0))},
    ],
)
def test_digest_does_not_follow_where_it_came_from(change):
    assert dataclasses.replace(FULL, **change).digest == FULL.digest


def test_frame_holds_what_the_model_sees():
    assert FULL.frame == Frame(
        FULL.template,
        ((5, 7),),
        ("Fün\u2028{mask} atmosphere alot good. ", "Dull atmosphere alot bad. "),
    )


def test_prompts_with_other_words_share_a_frame():
    other = dataclasses.replace(PLAIN, verbalizer=Verbalizer.of({"a": ["x"], "b": ["y"]}))
    assert other.frame.key == PLAIN.frame.key


def test_frames_with_other_triggers_have_other_keys():
    template = Template.parse("{text}{trigger:1}{mask}")
    assert Frame(template, ((1,),)).key != Frame(template, ((2,),)).key


def test_with_scores_adds_a_split():
    prompt = FULL.with_scores("test", {"value": 0.5}, "fedc")
    assert prompt.scores["test"] == {"value": 0.5}
    assert prompt.splits == {"dev": "0123456789abcdef", "test": "fedc"}
    assert list(FULL.scores) == ["dev"]


@pytest.mark.parametrize("triggers", [(), (TriggerTokens((5,), ("x",)),)])
def test_wrong_number_of_trigger_tokens_is_refused(triggers):
    with pytest.raises(PromptError, match=r"wants trigger tokens \(2,\), the prompt has"):
        dataclasses.replace(FULL, triggers=triggers)


RETRIEVING = dataclasses.replace(FULL, retrieval=Retrieval(1, "grouped"))


def test_choosing_for_each_input_is_another_prompt_and_another_frame():
    assert RETRIEVING.digest != FULL.digest
    assert RETRIEVING.digest != dataclasses.replace(FULL, retrieval=Retrieval(2, "grouped")).digest
    assert RETRIEVING.frame.key != FULL.frame.key
    assert RETRIEVING.shown_to_all == ()
    assert FULL.shown_to_all == FULL.demonstrations


def test_choosing_for_each_input_survives_the_file(tmp_path):
    RETRIEVING.save(tmp_path / "prompt.json")
    loaded = Prompt.load(tmp_path / "prompt.json")
    assert loaded == RETRIEVING
    assert loaded.frame == RETRIEVING.frame


def test_each_input_has_a_frame_of_its_own():
    inputs = [Example({"text": "Dull"}), Example({"text": "Something else"})]
    first, second = RETRIEVING.frame.seen_by(inputs)
    assert len(first.demonstrations) == 1  # the other one is the input itself
    assert len(second.demonstrations) == 2
    assert (first.pool, second.pool) == (None, None)
    assert FULL.frame.seen_by(inputs) == [FULL.frame, FULL.frame]


def test_there_must_be_something_to_choose_from():
    with pytest.raises(PromptError, match="none to choose from"):
        dataclasses.replace(PLAIN, retrieval=Retrieval(1))


def test_demonstrations_without_a_place_are_refused():
    with pytest.raises(PromptError, match=r"has no \{demonstrations\} slot"):
        dataclasses.replace(PLAIN, demonstrations=FULL.demonstrations)


@pytest.mark.parametrize("label", ["mid", None])
def test_demonstration_of_no_label_is_refused(label):
    with pytest.raises(PromptError, match=f"has the label {label!r}; .*labels are: neg, pos"):
        dataclasses.replace(FULL, demonstrations=(Example({"text": "x"}, label),))


def test_demonstration_without_the_templates_field_is_refused():
    with pytest.raises(PromptError, match="a demonstration has no text for text"):
        dataclasses.replace(FULL, demonstrations=(Example({"title": "x"}, "neg"),))


def test_unknown_calibration_is_refused():
    with pytest.raises(PromptError, match=r"'contextul'; did you mean 'contextual'\? valid: none"):
        Prompt(PLAIN.template, PLAIN.verbalizer, calibration=Calibration("contextul"))


def test_calibration_wants_an_offset_for_each_label():
    with pytest.raises(PromptError, match="has 1 offsets; it must have 2"):
        dataclasses.replace(FULL, calibration=Calibration("batch", (0.1,)))


@pytest.mark.parametrize("offset", [float("nan"), float("inf")])
def test_calibration_wants_finite_offsets(offset):
    with pytest.raises(PromptError, match="must be finite"):
        dataclasses.replace(FULL, calibration=Calibration("batch", (0.1, offset)))


@pytest.mark.parametrize("words", [{}, {"neg": ["bad"]}])
def test_prompt_needs_two_labels(words):
    with pytest.raises(PromptError, match="needs two labels at least"):
        Prompt(PLAIN.template, Verbalizer.of(words))


@pytest.mark.parametrize("schema", [2, None, "1", 0])
def test_other_schema_is_refused(schema):
    with pytest.raises(PromptError, match=f"prompt schema {schema!r} is not one .* upgrade"):
        Prompt.from_dict(edited(schema=schema))


def test_edited_content_is_noticed():
    record = {**FULL.to_dict(), "template": "{demonstrations}{text}{trigger:2} {mask}?"}
    with pytest.raises(
        PromptError, match=r"does not fit its digest .*remove 'digest' and 'checksum'"
    ):
        Prompt.from_dict(record)


def test_content_without_digest_is_taken():
    prompt = Prompt.from_dict(edited(template="{demonstrations}{text}{trigger:2} {mask}?"))
    assert prompt.template.text.endswith("?")


def test_hand_written_prompt_needs_little():
    record = {
        "schema": 1,
        "template": PLAIN.template.text,
        "verbalizer": PLAIN.verbalizer.as_dict(),
    }
    assert Prompt.from_dict(record) == PLAIN


@pytest.mark.parametrize("key", ["template", "verbalizer"])
def test_missing_key_is_named(key):
    record = edited()
    del record[key]
    with pytest.raises(PromptError, match=f"best.json: not a whole prompt file, the key '{key}'"):
        Prompt.from_dict(record, "best.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"template": 5},
        {"template": "{text}"},
        {"template": "{text.__class__} {mask}"},
        {"verbalizer": ["bad", "good"]},
        {"verbalizer": {"neg": "bad", "pos": "good"}},
        {"verbalizer": {"neg": [1], "pos": ["good"]}},
        {"verbalizer": {"neg": ["good"], "pos": ["good"]}},
        {"labels": "ab"},
        {"labels": ["neg"]},
        {"labels": None},
        {"aggregation": "median"},
        {"aggregation": ["mean"]},
        {"triggers": [{"ids": ["5", "7"], "strings": ["a", "b"]}]},
        {"triggers": [{"ids": [True, 7], "strings": ["a", "b"]}]},
        {"triggers": [{"ids": [5, 7], "strings": "ab"}]},
        {"triggers": [{"ids": [5, 7]}]},
        {"triggers": 3},
        {"demonstrations": [{"fields": {"text": 5}, "label": "pos"}]},
        {"retrieval": {"per_label": "1", "order": "mixed"}},
        {"retrieval": {"per_label": 0, "order": "mixed"}},
        {"retrieval": {"per_label": 1}},
        {"retrieval": [1]},
        {"demonstrations": [{"fields": ["text"], "label": "pos"}]},
        {"demonstrations": [{"fields": {"text": "x"}, "label": ["pos"]}]},
        {"calibration": "contextual"},
        {"calibration": {"method": 1}},
        {"calibration": {"method": "contextual", "offsets": ["x", "y"]}},
        {"calibration": {"method": "contextual", "offsets": [10**400, 0]}},
        {"calibration": {"method": "contextual", "offsets": 3}},
        {"model": "bert-base"},
        {"model": {"name": "bert-base"}},
        {"model": {**vars(FULL.model), "name": 5}},
        {"tokens": [1]},
        {"tokens": {"probe": [1], "words": {}, "max_length": "512", "ids_only": False}},
        {"tokens": {"probe": [1], "words": {}, "max_length": 512, "ids_only": 0}},
        {"tokens": {"probe": [1.5], "words": {}, "max_length": 512, "ids_only": True}},
        {"lineage": [5]},
        {"scores": "ab"},
        {"scores": [1]},
        {"splits": {"dev": 5}},
        {"versions": [["torch", "2"]]},
        {"seed": "0"},
        {"columns": "text"},
        {"columns": {"fields": {"text": 5}}},
        {"columns": {"label": None}},
    ],
    ids=str,
)
def test_wrong_kind_is_refused_with_the_file(changes):
    with pytest.raises(PromptError, match=r"^best\.json: "):
        Prompt.from_dict(edited(**changes), "best.json")


def test_prompt_file_cannot_ask_to_run_code():
    """BAD_INPUTS 48."""
    model = {**vars(FULL.model), "trust_remote_code": "true"}
    with pytest.raises(PromptError, match="trust_remote_code"):
        Prompt.from_dict(edited(model=model))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not valid JSON"),
        ('{"schema": 1,', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[1]", "holds one JSON object"),
        ("null", "holds one JSON object"),
        ('{"schema": NaN}', "NaN is not a JSON number"),
        ('{"schema": ' + "1" * 5000 + "}", "not valid JSON"),
        ('{"template": "\\ud800"}', "surrogates not allowed"),
    ],
    ids=["empty", "cut", "deep", "list", "null", "nan", "digits", "surrogate"],
)
def test_damaged_file_is_named(tmp_path, text, reason):
    path = tmp_path / "best.json"
    path.write_text(text)
    with pytest.raises(PromptError) as caught:
        Prompt.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)


def test_absent_prompt_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot read prompt file .*best\.json"):
        Prompt.load(tmp_path / "best.json")
