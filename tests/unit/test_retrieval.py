"""Demonstrations that are chosen for each input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprompt.errors import PromptError, UnknownNameError
from autoprompt.retrieval import Retrieval, RetrievalPool
from autoprompt.similarity import TextVectors
from autoprompt.tasks.examples import Example, normalised_texts

TEXTS = [
    ("a good film", "pos"),
    ("good music", "pos"),
    ("a fine evening", "pos"),
    ("a bad film", "neg"),
    ("bad weather", "neg"),
    ("a dull evening", "neg"),
]
EXAMPLES = tuple(Example({"text": text}, label) for text, label in TEXTS)


def chosen(text: str, per_label: int = 1, order: str = "mixed", examples=EXAMPLES):
    pool = RetrievalPool(Retrieval(per_label, order), examples, tuple(e.key[0] for e in examples))
    (found,) = pool.chosen([Example({"text": text})])
    return found


def test_the_likest_of_each_label_are_shown():
    assert set(chosen("the weather was good")) == {"good music", "bad weather"}


def test_the_likest_of_all_stands_last():
    assert chosen("the weather was bad")[-1] == "bad weather"
    assert chosen("good good music")[-1] == "good music"


def test_grouped_ones_stand_by_label_with_the_likest_last():
    assert chosen("a film", 2, "grouped")[1::2] == ("a good film", "a bad film")


@pytest.mark.parametrize("text", ["A good  film", "a good film"])
def test_an_input_is_never_shown_itself(text):
    found = chosen(text, 3)
    assert "a good film" not in found
    assert len(found) == 5


@given(
    texts=st.lists(st.sampled_from("abcde").flatmap(lambda a: st.just(f"{a} {a}x")), max_size=8),
    text=st.text("abcdex ", max_size=8),
    per_label=st.integers(1, 4),
)
def test_it_is_what_sorting_by_similarity_gives(texts, text, per_label):
    examples = tuple(Example({"text": t}, ("x", "y")[i % 2]) for i, t in enumerate(texts))
    if not examples:
        return
    (near,) = TextVectors([" ".join(normalised_texts(e)) for e in examples]).cosines(
        [" ".join(normalised_texts(Example({"text": text})))]
    )
    # Slow oracle: all rows, nearest first, taken while their label has room.
    taken: list[int] = []
    own = normalised_texts(Example({"text": text}))
    for row in sorted(range(len(examples)), key=lambda row: (-near[row], row)):
        of_label = [r for r in taken if examples[r].label == examples[row].label]
        if len(of_label) < per_label and normalised_texts(examples[row]) != own:
            taken.append(row)
    found = chosen(text, per_label, examples=examples)
    assert sorted(found) == sorted(examples[row].key[0] for row in taken)


def test_no_input_hangs_on_the_others():
    pool = RetrievalPool(Retrieval(2), EXAMPLES, tuple(e.key[0] for e in EXAMPLES))
    alone = [pool.chosen([example])[0] for example in EXAMPLES]
    assert pool.chosen(EXAMPLES) == alone


def test_bad_ways_to_choose_are_refused():
    with pytest.raises(PromptError, match="1 of a label at least"):
        Retrieval(0)
    with pytest.raises(UnknownNameError, match="sorted"):
        Retrieval(1, "sorted")
