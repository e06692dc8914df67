"""Batches: a partition, within the token budget, the longest first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autoprompt.models.batches import length_bucketed, width

lengths_lists = st.lists(st.integers(1, 60), max_size=40)
budgets = st.integers(1, 200)


@given(lengths_lists, budgets)
def test_every_index_is_in_one_batch(lengths: list[int], tokens: int) -> None:
    batches = length_bucketed(lengths, tokens)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))


@given(lengths_lists, budgets)
def test_a_padded_batch_keeps_the_budget(lengths: list[int], tokens: int) -> None:
    for batch in length_bucketed(lengths, tokens):
        widest = max(lengths[index] for index in batch)
        assert len(batch) == 1 or widest * len(batch) <= tokens


@given(lengths_lists, budgets)
def test_the_longest_come_first(lengths: list[int], tokens: int) -> None:
    order = [lengths[index] for batch in length_bucketed(lengths, tokens) for index in batch]
    assert order == sorted(lengths, reverse=True)


@given(lengths_lists, budgets)
def test_no_batch_could_have_taken_the_next_sequence(lengths: list[int], tokens: int) -> None:
    batches = length_bucketed(lengths, tokens)
    for batch in batches[:-1]:
        assert (len(batch) + 1) * lengths[batch[0]] > tokens


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 200)), max_size=40), st.integers(1, 200)
)
def test_what_has_been_run_before_counts_in_a_batch(
    sizes: list[tuple[int, int]], tokens: int
) -> None:
    lengths, known = [run for run, _ in sizes], [before for _, before in sizes]
    batches = length_bucketed(lengths, tokens, known)
    assert sorted(index for batch in batches for index in batch) == list(range(len(sizes)))
    for batch in batches:
        widest = width(max(lengths[at] for at in batch), max(known[at] for at in batch))
        assert len(batch) == 1 or widest * len(batch) <= tokens
    order = [lengths[index] for batch in batches for index in batch]
    assert order == sorted(lengths, reverse=True)
