"""Examples, their keys, and the digest of a split."""

import pytest

from autoprompt.tasks.examples import Example, label_counts, split_digest

ONE = Example({"text_a": "x", "text_b": "y"}, "pos")
OTHER = Example({"text_a": "z", "text_b": "y"}, "neg")


def test_key_does_not_follow_the_order_of_fields():
    assert Example({"text_b": "y", "text_a": "x"}).key == ONE.key == ("x", "y")


def test_digest_is_that_of_the_content():
    assert split_digest([ONE, OTHER]) == split_digest([Example(dict(ONE.fields), "pos"), OTHER])


@pytest.mark.parametrize(
    "examples",
    [
        [],
        [ONE],
        [ONE, ONE],
        [ONE, Example(OTHER.fields, "pos")],
        [ONE, Example(OTHER.fields, None)],
        [ONE, Example({"text_a": "z", "text_b": "y "}, "neg")],
    ],
)
def test_digest_tells_splits_apart(examples):
    assert split_digest(examples) != split_digest([ONE, OTHER])


def test_digest_does_not_depend_on_the_order():
    # Dev is reordered for the race; `score` must still recognise the file.
    assert split_digest([ONE, OTHER]) == split_digest([OTHER, ONE])


def test_digest_takes_any_text():
    assert split_digest([Example({"text": "\ud800\u2028"})])


def test_counts_begin_with_the_most_frequent():
    counts = label_counts([OTHER, ONE, ONE, Example({"text": "x"})])
    assert list(counts.items()) == [("pos", 2), ("neg", 1)]
