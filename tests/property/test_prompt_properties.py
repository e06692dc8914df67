"""Prompts: the JSON form keeps everything, and damaged ones are refused in words."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprompt.errors import AutopromptError
from autoprompt.lineage import Edit
from autoprompt.pieces import escape
from autoprompt.prompts import Calibration, ModelIdentity, Prompt, TokenRecord, TriggerTokens
from autoprompt.space_content import CALIBRATIONS
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer, normalised_word

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
words = texts.filter(normalised_word)
finite = st.floats(allow_nan=False, allow_infinity=False)
ids = st.lists(st.integers(0, 60_000), min_size=1, max_size=4).map(tuple)


@st.composite
def prompts(draw):
    found = draw(st.lists(words, min_size=2, max_size=6, unique_by=normalised_word))
    cut = draw(st.integers(1, len(found) - 1))
    labels = draw(st.lists(texts, min_size=2, max_size=2, unique=True))
    verbalizer = Verbalizer.of(
        {labels[0]: found[:cut], labels[1]: found[cut:]},
        aggregation=draw(st.sampled_from(["mean", "logsumexp"])),
    )
    triggers = draw(st.lists(ids, max_size=2))
    slots = "".join(f"{{trigger:{len(run)}}}" for run in triggers)
    template = Template.parse(f"{{demonstrations}}{{text}}{escape(draw(texts))}{slots}{{mask}}")
    method = draw(st.sampled_from(CALIBRATIONS))
    return Prompt(
        template=template,
        verbalizer=verbalizer,
        triggers=tuple(TriggerTokens(run, tuple(draw(texts) for _ in run)) for run in triggers),
        demonstrations=tuple(
            Example({"text": text}, draw(st.sampled_from(labels)))
            for text in draw(st.lists(texts, max_size=3))
        ),
        calibration=Calibration(method, () if method == "none" else (draw(finite), draw(finite))),
        model=draw(st.none() | st.builds(ModelIdentity, *[texts] * 5)),
        tokens=draw(
            st.none()
            | st.builds(
                TokenRecord,
                ids,
                st.dictionaries(texts, ids, max_size=3),
                st.integers(1, 512),
                st.booleans(),
            )
        ),
        lineage=tuple(Edit(how) for how in draw(st.lists(texts, max_size=3))),
        scores=draw(st.dictionaries(texts, st.dictionaries(texts, finite, max_size=2), max_size=2)),
        splits=draw(st.dictionaries(texts, texts, max_size=2)),
        versions=draw(st.dictionaries(texts, texts, max_size=2)),
        seed=draw(st.none() | st.integers()),
    )


@given(prompts())
def test_prompt_comes_back_from_its_file(tmp_path_factory, prompt):
    path = tmp_path_factory.mktemp("prompt") / "best.json"
    prompt.save(path)
    again = Prompt.load(path)
    assert again == prompt
    assert (again.digest, again.frame) == (prompt.digest, prompt.frame)


def places(value, path=()):
    """Every place of a JSON value, as a path of keys and indices."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)


@given(prompts(), st.data())
def test_damaged_prompt_is_refused_or_still_whole(prompt, data):
    """One place of the JSON form is replaced by any value: a prompt or an error of ours."""
    record = json.loads(json.dumps(prompt.to_dict()))
    path = data.draw(st.sampled_from([p for p in places(record) if p]))
    damaged = copy.deepcopy(record)
    inner = damaged
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = data.draw(json_values)
    if path != ("digest",):
        del damaged["digest"]
    try:
        again = Prompt.from_dict(damaged)
    except AutopromptError:
        return
    assert Prompt.from_dict(again.to_dict()) == again
    assert again.frame.key


@given(st.binary(max_size=200))
def test_random_bytes_are_no_prompt(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("prompt") / "best.json"
    path.write_bytes(data)
    with pytest.raises(AutopromptError):
        Prompt.load(path)
