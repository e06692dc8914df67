"""The tasks that ship: complete, balanced, without leaks, and at one with their spaces."""

from collections import Counter

import pytest

from autoprompt.spaces import SearchSpace
from autoprompt.tasks.task import SAMPLES, Task

SIZES = {
    "question_type": (66, 126, 258),
    "sentiment": (64, 128, 256),
    "topic": (64, 128, 256),
}
SPLITS = [(name, split) for name in SIZES for split in ("train", "dev", "test")]


@pytest.mark.parametrize("name", SIZES)
def test_counts(name):
    assert tuple(len(split) for split in Task.load(name).splits.values()) == SIZES[name]


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_labels_are_balanced(name, split):
    task = Task.load(name)
    counts = Counter(example.label for example in task.splits[split])
    assert set(counts) == set(task.labels)
    assert len(set(counts.values())) == 1


@pytest.mark.parametrize("name", SIZES)
def test_there_is_nothing_to_note(name):
    """No repetition, no leak, no text with two labels, no empty text, no imbalance."""
    assert Task.load(name, strict=True).notes == ()


@pytest.mark.parametrize("name", SIZES)
def test_no_text_is_another_one_but_for_its_punctuation(name):
    splits = Task.load(name).splits.values()
    texts = ["".join(filter(str.isalnum, e.fields["text"])).lower() for s in splits for e in s]
    assert [text for text, count in Counter(texts).items() if count > 1] == []


@pytest.mark.parametrize("name", SIZES)
def test_space_of_the_same_name_fits(name):
    task = Task.load(name)
    space = SearchSpace.load(name)
    assert space.labels == task.labels
    assert space.restricted(task.fields, task.labels).labels == task.labels


@pytest.mark.parametrize("name", SIZES)
def test_texts_are_clean(name):
    """One line, no white space around it, and no character of a broken encoding."""
    texts = [e.fields["text"] for split in Task.load(name).splits.values() for e in split]
    assert [t for t in texts if t != " ".join(t.split(" ")).strip() or "\n" in t] == []
    assert [
        t for t in texts if any(bad in t for bad in ("\ufffd", "Ã", "â€", "&amp;", "<br"))
    ] == []


@pytest.mark.parametrize("name", SIZES)
def test_labels_are_mixed_within_the_file(name):
    labels = [e.label for e in Task.load(name).train]
    assert len(set(labels[: len(labels) // 2])) == len(set(labels))


@pytest.mark.parametrize("name", SIZES)
def test_k_shot_can_be_drawn(name):
    task = Task.load(name, k_shot=4, seed=0)
    assert len(task.train) == len(task.dev) == 4 * len(task.labels)


def test_every_sample_is_tested_here():
    assert sorted(SIZES) == sorted(child.name for child in SAMPLES.iterdir() if child.is_dir())
