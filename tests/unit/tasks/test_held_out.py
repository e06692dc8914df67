"""The texts of a test split are known again, and cannot be read."""

from __future__ import annotations

import json

import pytest

from autoprompt.tasks.examples import Example, split_digest
from autoprompt.tasks.held_out import HeldOut

TEST = [
    Example({"text_a": "A man sleeps.", "text_b": "He is awake."}, "no"),
    Example({"text_a": "A man sleeps.", "text_b": "He rests."}, "yes"),
    Example({"text_a": "It rains.", "text_b": "It is wet."}, "yes"),
]
HELD = HeldOut.of(TEST, [])


def pair(first: str, second: str) -> Example:
    return Example({"text_a": first, "text_b": second}, "yes")


def test_a_part_in_another_order_is_known():
    other = pair("It snows.", "It is wet.")
    assert HELD.among([TEST[2], other, TEST[0]]) == [TEST[2], TEST[0]]
    assert HELD.among([other]) == []


def test_label_case_space_and_order_of_the_fields_do_not_count():
    changed = Example({"text_b": "it is  WET. ", "text_a": "It rains."}, None)
    assert HELD.among([changed]) == [changed]


def test_both_texts_of_a_pair_count():
    mixed = [pair("A man sleeps.", "It is wet."), pair("He rests.", "A man sleeps.")]
    assert HELD.among(mixed) == []


def test_only_the_fields_that_the_examples_have_count():
    bare = Example({"text_b": "He rests."}, "yes")
    more = Example({**TEST[1].fields, "source": "a book"}, "yes")
    assert HELD.among([bare]) == [bare]
    assert HELD.among([more]) == [more]


def test_what_stands_in_another_split_is_held_out_no_more():
    leaked = pair("it rains.", "It is wet.")
    held = HeldOut.of(TEST, [leaked])
    assert held.among(TEST) == TEST[:2]
    assert held.split == HELD.split == split_digest(TEST)


def test_it_comes_back_from_json_and_holds_no_text():
    text = json.dumps(HELD.to_dict())
    assert HeldOut.from_dict(json.loads(text)) == HELD
    assert "rain" not in text


@pytest.mark.parametrize(
    "record",
    [
        {},
        [],
        {"split": "s", "fields": ["text"]},
        {"split": "s", "fields": ["a", "b"], "digests": [["1"]]},
    ],
)
def test_a_damaged_record_is_an_error(record):
    with pytest.raises((KeyError, TypeError, ValueError)):
        HeldOut.from_dict(record)
