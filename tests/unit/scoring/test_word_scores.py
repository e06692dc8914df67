"""Word scores against a naive oracle, and the accounting of what was computed and paid."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoprompt.errors import ScoringError, VerbalizerError
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.models.sequence import Encoding
from autoprompt.prompts import Frame
from autoprompt.scoring import word_scores
from autoprompt.scoring.label_scores import label_scores, log_softmax
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

FRAME = Frame(Template.parse("{text} It was {mask}."))
OTHER = Frame(Template.parse("{mask} news: {text}"))
GLUED = Frame(Template.parse("{text} mo{mask}"))
EXAMPLES = [
    Example({"text": text}) for text in ("a good film", "", "dull", "the story was not very slow")
]
WORDS = ["great", "bad", "not good", "terribly slow"]


def naive(model: MaskedLanguageModel, frame: Frame, example: Example, word: str) -> float:
    """The mean log-probability of a word's tokens at as many masks, in one plain forward pass."""
    ids = model.encoder.word_ids(frame, word)
    (encoding,) = model.encoder.encode(frame, [example], len(ids))
    with torch.no_grad():
        logits = model.module(input_ids=torch.tensor([encoding.ids])).logits[0]
    rows = logits.double().log_softmax(-1)[list(encoding.mask_positions)]
    return float(np.mean([rows[place, token] for place, token in enumerate(ids)]))


class Counted:
    """A model that notes the batches that it runs."""

    def __init__(self, model: MaskedLanguageModel) -> None:
        self.inner, self.batches = model, list[list[Encoding]]()
        self.encoder, self.identity, self.device = model.encoder, model.identity, model.device

    def log_probabilities(
        self, batch: Sequence[Encoding], token_ids: np.ndarray, relative: bool = False
    ) -> np.ndarray:
        self.batches.append(list(batch))
        return self.inner.log_probabilities(batch, token_ids, relative)

    @property
    def sequences(self) -> int:
        return sum(map(len, self.batches))


@pytest.fixture
def counted(tiny_model: MaskedLanguageModel) -> Counted:
    return Counted(tiny_model)


# -- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [FRAME, OTHER])
def test_scores_are_the_naive_ones(tiny_model: MaskedLanguageModel, frame: Frame) -> None:
    found = WordScorer(tiny_model, WORDS).scores(frame, EXAMPLES)
    wanted = [[naive(tiny_model, frame, example, word) for word in WORDS] for example in EXAMPLES]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.lists(st.integers(0, len(EXAMPLES) - 1), max_size=8),
    tokens=st.sampled_from([1, 20, 4096]),
)
def test_batches_order_and_cache_do_not_matter(
    tiny_model: MaskedLanguageModel, order: list[int], tokens: int
) -> None:
    wanted = WordScorer(tiny_model, WORDS).scores(FRAME, EXAMPLES)
    scorer = WordScorer(tiny_model, WORDS)
    with mock.patch.object(tiny_model, "tokens_per_batch", tokens):
        for _ in range(2):  # computed, then from the cache
            found = scorer.scores(FRAME, [EXAMPLES[index] for index in order])
            np.testing.assert_allclose(found, wanted[order], atol=1e-5)


def test_a_word_that_cannot_be_written_here_is_nan(tiny_model: MaskedLanguageModel) -> None:
    found = WordScorer(tiny_model, ["한국", "great"]).scores(FRAME, EXAMPLES)
    assert np.isnan(found[:, 0]).all()
    assert np.isfinite(found[:, 1]).all()


def test_no_word_that_can_be_written_costs_nothing(counted: Counted) -> None:
    scorer = WordScorer(counted, ["한국"])
    assert np.isnan(scorer.scores(FRAME, EXAMPLES)).all()
    assert counted.sequences == scorer.spent.forwards == 0


def test_no_examples_have_no_scores(counted: Counted) -> None:
    assert WordScorer(counted, WORDS).scores(FRAME, []).shape == (0, len(WORDS))


def test_words_are_kept_once(tiny_model: MaskedLanguageModel) -> None:
    assert WordScorer(tiny_model, ["great", "bad", "great"]).words == ("great", "bad")


# -- columns ----------------------------------------------------------------------------------


def test_columns_follow_the_verbalizer(tiny_model: MaskedLanguageModel) -> None:
    scorer = WordScorer(tiny_model, WORDS)
    verbalizer = Verbalizer.of({"no": ["bad", "terribly slow"], "yes": ["great"]})
    assert scorer.columns(FRAME, verbalizer) == [[1, 3], [0]]


def test_a_word_that_cannot_be_written_has_no_column(tiny_model: MaskedLanguageModel) -> None:
    scorer = WordScorer(tiny_model, ["great", "한국"])
    with pytest.raises(VerbalizerError, match="choose another word"):
        scorer.columns(FRAME, Verbalizer.of({"no": ["한국"], "yes": ["great"]}))


def test_two_labels_with_the_same_tokens_are_refused(tiny_model: MaskedLanguageModel) -> None:
    """Different words to a reader ("café", "cafe"), the same to a tokenizer without accents."""
    scorer = WordScorer(tiny_model, ["fine", "finé"])
    with pytest.raises(VerbalizerError, match="'no' and 'yes' are the same tokens"):
        scorer.columns(FRAME, Verbalizer.of({"no": ["fine"], "yes": ["finé"]}))


def test_two_words_of_one_label_may_be_the_same_tokens(tiny_model: MaskedLanguageModel) -> None:
    scorer = WordScorer(tiny_model, ["fine", "finé", "bad"])
    verbalizer = Verbalizer.of({"no": ["bad"], "yes": ["fine", "finé"]})
    assert scorer.columns(FRAME, verbalizer) == [[2], [0, 1]]


def test_refused_words_take_no_memory(tiny_model: MaskedLanguageModel) -> None:
    """Of ten thousand words of a vocabulary many are refused, in each of a thousand templates."""
    words = [f"unspeakable{n}" for n in range(500)]
    scorer = WordScorer(tiny_model, ["great", *words], one_token=words)
    verbalizer = Verbalizer.of({"no": words[:1], "yes": ["great"]})
    tracemalloc.start()
    try:
        for number in range(40):
            frame = Frame(Template.parse(f"{number} {{text}} It was {{mask}}."))
            assert scorer.single_tokens(frame).keys() == {"great"}
            with pytest.raises(VerbalizerError, match="tokens at this mask"):
                scorer.columns(frame, verbalizer)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 40 * len(words) * 16  # bytes; an error is some 500


def test_ids_are_right_however_many_texts_stand_before_the_mask(
    tiny_model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_scores, "CONTEXTS", 2)
    scorer = WordScorer(tiny_model, ["great", "bad"])
    for frame in (FRAME, OTHER, GLUED, FRAME, GLUED, OTHER):
        assert scorer.single_tokens(frame) == WordScorer(tiny_model, scorer.words).single_tokens(
            frame
        )


# -- cache and batches ------------------------------------------------------------------------


def test_a_frame_meets_an_example_once(counted: Counted) -> None:
    scorer = WordScorer(counted, ["great", "bad"])
    scorer.scores(FRAME, EXAMPLES[:2])
    scorer.scores(FRAME, [*EXAMPLES, EXAMPLES[0]])
    scorer.scores(Frame(Template.parse(FRAME.template.text)), EXAMPLES)
    assert counted.sequences == len(EXAMPLES)


def test_equal_texts_are_one_example(counted: Counted) -> None:
    texts = [Example({"text": "dull"}, label) for label in ("a", "b", None)]
    WordScorer(counted, ["great"]).scores(FRAME, texts)
    assert counted.sequences == 1


def test_a_full_cache_drops_the_oldest_frame(counted: Counted) -> None:
    scorer = WordScorer(counted, ["great"], cache_bytes=4 * 2 * len(EXAMPLES))  # two frames
    third = Frame(Template.parse("{text} {mask}"))
    for frame in (FRAME, OTHER, FRAME, third):
        scorer.scores(frame, EXAMPLES)
    assert counted.sequences == 3 * len(EXAMPLES)
    scorer.scores(FRAME, EXAMPLES)  # used after OTHER was, so it is still there
    assert counted.sequences == 3 * len(EXAMPLES)
    scorer.scores(OTHER, EXAMPLES)
    assert counted.sequences == 4 * len(EXAMPLES)


def test_a_frame_larger_than_the_cache_is_kept_while_it_is_used(counted: Counted) -> None:
    scorer = WordScorer(counted, ["great"], cache_bytes=1)
    scorer.scores(FRAME, EXAMPLES)
    scorer.scores(FRAME, EXAMPLES)
    assert counted.sequences == len(EXAMPLES)


# -- what is spent ----------------------------------------------------------------------------


def test_every_number_of_masks_counts_singly(counted: Counted) -> None:
    scorer = WordScorer(counted, WORDS)
    counts = {len(counted.encoder.word_ids(FRAME, word)) for word in WORDS}
    scorer.scores(FRAME, EXAMPLES)
    assert len(counts) > 1
    assert scorer.spent.forwards == counted.sequences == len(counts) * len(EXAMPLES)
    assert scorer.spent.recomputed == 0


def test_tokens_are_those_of_the_sequences(counted: Counted) -> None:
    scorer = WordScorer(counted, WORDS)
    scorer.scores(FRAME, EXAMPLES)
    ran = [encoding for batch in counted.batches for encoding in batch]
    assert scorer.spent.tokens == sum(len(encoding.ids) for encoding in ran)


def test_truncated_sequences_are_counted(counted: Counted) -> None:
    scorer = WordScorer(counted, ["great"])
    scorer.scores(FRAME, [Example({"text": "good " * 200}), EXAMPLES[0]])
    assert scorer.truncated == 1


def test_demonstrations_that_were_left_out_are_counted(counted: Counted) -> None:
    frame = Frame(Template.parse("{demonstrations}{text} It was {mask}."), (), ("good " * 200,))
    scorer = WordScorer(counted, ["great"])
    scorer.scores(frame, EXAMPLES)
    assert scorer.truncated == len(EXAMPLES)


def test_what_the_cache_lost_is_recomputed_not_paid_again(counted: Counted) -> None:
    scorer = WordScorer(counted, ["great"], cache_bytes=1)
    scorer.scores(FRAME, EXAMPLES)
    scorer.scores(OTHER, EXAMPLES)
    scorer.begin()
    scorer.scores(FRAME, EXAMPLES)
    assert (scorer.spent.forwards, scorer.spent.recomputed) == (0, len(EXAMPLES))


def test_what_an_earlier_process_paid_is_recomputed(counted: Counted) -> None:
    scorer = WordScorer(counted, ["great"])
    scorer.mark_paid(FRAME.key, EXAMPLES[:3])
    scorer.scores(FRAME, EXAMPLES)
    assert (scorer.spent.forwards, scorer.spent.recomputed) == (1, 3)


def test_begin_starts_at_nothing(counted: Counted) -> None:
    scorer = WordScorer(counted, ["great"])
    scorer.scores(FRAME, EXAMPLES[:2])
    scorer.begin()
    scorer.scores(FRAME, EXAMPLES[:2])
    assert scorer.spent.forwards == scorer.spent.tokens == 0


def test_abandoned_work_is_paid_again(counted: Counted) -> None:
    scorer = WordScorer(counted, ["great"])
    scorer.scores(FRAME, EXAMPLES[:1])
    scorer.begin()
    scorer.scores(FRAME, EXAMPLES[:3])
    scorer.abandon()
    assert scorer.spent.forwards == 2  # it stays spent
    scorer.begin()
    scorer.scores(FRAME, EXAMPLES[:3])
    assert scorer.spent.forwards == 2  # and the row from before `begin` is still there
    assert counted.sequences == 5


def test_abandoning_after_the_cache_dropped_the_frame(counted: Counted) -> None:
    scorer = WordScorer(counted, ["great"], cache_bytes=1)
    scorer.begin()
    scorer.scores(FRAME, EXAMPLES[:2])
    scorer.scores(OTHER, EXAMPLES[:2])
    scorer.abandon()
    scorer.begin()
    scorer.scores(FRAME, EXAMPLES[:2])
    assert (scorer.spent.forwards, scorer.spent.recomputed) == (2, 0)


def test_a_failed_forward_leaves_nothing_behind(
    tiny_model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = WordScorer(tiny_model, ["great"])
    wanted = WordScorer(tiny_model, ["great"]).scores(FRAME, EXAMPLES)

    def fail(*_given: object) -> np.ndarray:
        raise ScoringError("not finite")

    scorer.begin()
    with monkeypatch.context() as patch:
        patch.setattr(tiny_model, "log_probabilities", fail)
        with pytest.raises(ScoringError):
            scorer.scores(FRAME, EXAMPLES)
    scorer.abandon()
    scorer.begin()
    np.testing.assert_allclose(scorer.scores(FRAME, EXAMPLES), wanted, atol=1e-5)
    assert scorer.spent.forwards == len(EXAMPLES)


# -- relative scores ------------------------------------------------------------------------------


def test_relative_scores_make_the_same_label_scores(tiny_model: MaskedLanguageModel) -> None:
    verbalizer = Verbalizer.of({"pos": ["great", "good"], "neg": ["poor"]})
    found = []
    for relative in (True, False):
        scorer = WordScorer(tiny_model, verbalizer.all_words, relative=relative)
        scores = scorer.scores(FRAME, EXAMPLES)
        columns = scorer.columns(FRAME, verbalizer)
        found.append(log_softmax(label_scores(scores, columns, "logsumexp")))
        assert bool((np.exp(scores.astype(float)).sum(1) > 1.0).any()) is relative
        assert scorer.like().relative is relative
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_words_of_several_tokens_are_not_scored_relatively(tiny_model: MaskedLanguageModel) -> None:
    words = ["great", "very good"]
    relative, plain = (WordScorer(tiny_model, words, relative=one) for one in (True, False))
    np.testing.assert_array_equal(relative.scores(FRAME, EXAMPLES), plain.scores(FRAME, EXAMPLES))
