"""Beginnings that sequences share: the same scores as whole runs, fewer tokens, bounded memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from autoprompt.errors import ScoringError
from autoprompt.models.causal_model import CausalLanguageModel
from autoprompt.models.heads import at
from autoprompt.models.past import Past
from autoprompt.models.rests import Rest, lines_of
from autoprompt.models.sequence import Encoding
from autoprompt.models.transformer import TransformerModel
from autoprompt.prompts import Frame
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template

Models = Callable[[str], TransformerModel]
families = pytest.mark.parametrize("family", tiny_models.CAUSAL)
TOKENS = np.arange(5, 60)
# Few different beginnings and few different tokens, so that much is shared.
lines = st.lists(st.integers(5, 8), min_size=1, max_size=9)


@st.composite
def jobs(draw: st.DrawFn) -> list[Encoding]:
    """Sequences that begin alike, each asked at two places."""
    front = draw(st.lists(st.lists(st.integers(5, 60), max_size=20), min_size=1, max_size=3))
    found = []
    for _ in range(draw(st.integers(1, 14))):
        ids = (9, *draw(st.sampled_from(front)), *draw(lines))
        first = draw(st.integers(0, len(ids) - 2))
        found.append(Encoding(ids, (first, draw(st.integers(first + 1, len(ids) - 1)))))
    return found


def oracle(model: TransformerModel, encoding: Encoding) -> tuple[np.ndarray, float]:
    with torch.no_grad():
        ids = torch.tensor([encoding.ids], device=model.module.device)
        logits = model.module(input_ids=ids).logits[0].cpu().double()
    rows = logits.log_softmax(-1)[list(encoding.mask_positions)]
    return rows[:, TOKENS].numpy(), float(logits.abs().max())


@contextmanager
def listening(model: TransformerModel) -> Iterator[list[Any]]:
    """The batches that the model runs."""
    heard: list[Any] = []
    plain = model._mask_logits

    def noted(batch: Sequence[Encoding]) -> torch.Tensor:
        heard.append(batch)
        return plain(batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "_mask_logits", noted)
        yield heard


@pytest.fixture
def gpt2(family_models: Models, monkeypatch: pytest.MonkeyPatch) -> TransformerModel:
    """Its batches hold 60 tokens, so that a level that saves 8 is worth its pass."""
    model = family_models("gpt2")
    monkeypatch.setattr(model, "tokens_per_batch", 60)
    return model


def with_a_long_front(count: int = 9) -> list[Encoding]:
    front = tuple(range(10, 40))
    return [Encoding((*front, 50 + at, 60, 61 + at), (32,)) for at in range(count)]


def run_tokens(batches: Sequence[Any]) -> int:
    """The tokens that ran, padding left out."""
    return sum(
        sum(len(one.ids) for one in batch) - (sum(batch.known) if isinstance(batch, Rest) else 0)
        for batch in batches
    )


# -- scores -----------------------------------------------------------------------------------


@families
def test_every_tiny_family_agrees_at_load(family_models: Models, family: str) -> None:
    model = family_models(family)
    assert isinstance(model, CausalLanguageModel)
    assert model.narrow
    assert model.reuse
    assert model.lays is (family not in {"mistral", "bloom"})  # a sliding window, ALiBi


@families
@given(job=jobs(), limit=st.sampled_from([24, 60, 200, 1024]))
def test_scores_are_those_of_whole_runs(
    family_models: Models, family: str, job: list[Encoding], limit: int
) -> None:
    model = family_models(family)
    usual, model.tokens_per_batch = model.tokens_per_batch, limit
    try:
        found = model.log_probabilities(job, TOKENS)
    finally:
        model.tokens_per_batch = usual
    for row, encoding in zip(found, job, strict=True):
        wanted, largest = oracle(model, encoding)
        np.testing.assert_allclose(row, wanted, rtol=0, atol=1e-5 * max(1.0, largest))


@given(job=jobs(), data=st.data())
def test_the_order_of_a_job_does_not_change_scores(
    family_models: Models, job: list[Encoding], data: st.DataObject
) -> None:
    model = family_models("llama")
    order = data.draw(st.permutations(range(len(job))))
    wanted = model.log_probabilities(job, TOKENS)
    found = model.log_probabilities([job[at] for at in order], TOKENS)
    np.testing.assert_allclose(found, wanted[order], rtol=0, atol=1e-4)


def test_states_are_those_of_whole_runs(
    gpt2: TransformerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = with_a_long_front()
    with listening(gpt2) as batches:
        found = gpt2.mask_states(job)
    assert any(isinstance(batch, Rest) for batch in batches)
    monkeypatch.setattr(gpt2, "reuse", False)
    np.testing.assert_allclose(found, gpt2.mask_states(job), rtol=0, atol=1e-4)


# -- what is run ------------------------------------------------------------------------------


def test_a_front_that_all_share_is_run_once(gpt2: TransformerModel) -> None:
    job = with_a_long_front(9)
    with listening(gpt2) as batches:
        gpt2.log_probabilities(job, TOKENS)
    assert run_tokens(batches) == 33 + 8 * 3
    assert [len(batch) for batch in batches][:1] == [1]


def test_words_of_several_tokens_go_on_from_one_run_of_the_text(gpt2: TransformerModel) -> None:
    frame = Frame(Template.parse("{text} It was {mask}."))
    texts = ["the story was slow and the acting was not very good", "a warm film , all in all"]
    examples = [Example({"text": text}) for text in texts]
    words = ["very good", "not good", "all good", "poor film"]
    with listening(gpt2) as batches:
        WordScorer(gpt2, words).scores(frame, examples)
    encoded = gpt2.encoder.encode(frame, examples, 2)
    # Each text with one word is run whole, and of the other words two tokens: the last one of the
    # text, which predicts, and the word's first.
    assert run_tokens(batches) == sum(len(e.ids) + 1 + (len(words) - 1) * 2 for e in encoded)


def test_candidates_go_on_from_their_own_change(gpt2: TransformerModel) -> None:
    base = tuple(range(10, 40))
    job = [
        Encoding((*base[:at], 60, *base[at + 1 :]), (29,), trigger_positions=(at,))
        for at in range(12, 29)
    ]
    with listening(gpt2) as batches:
        gpt2.log_probabilities(job, TOKENS)
    assert run_tokens(batches) <= 30 + sum(30 - at for at in range(12, 29))


def test_texts_that_share_little_are_run_whole(gpt2: TransformerModel) -> None:
    job = [Encoding((9, *range(at, at + 20)), (20,)) for at in range(10, 20)]
    with listening(gpt2) as batches:
        gpt2.log_probabilities(job, TOKENS)
    assert not any(isinstance(batch, Rest) for batch in batches)


def test_what_goes_on_from_one_sequence_shares_a_row(
    gpt2: TransformerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpt2, "tokens_per_batch", 140)
    job = with_a_long_front(9)
    with listening(gpt2) as batches:
        gpt2.log_probabilities(job, TOKENS)
    # The model reads 48 tokens, 32 of them are known, and each sequence of three counts eight.
    assert [len(row) for row in batches[-1].ids()] == [6] * 4
    assert batches[-1].shares


def test_rows_of_different_beginnings_are_padded(
    gpt2: TransformerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpt2, "tokens_per_batch", 200)
    fronts = [tuple(range(10, 26)), tuple(range(40, 60))]
    job = [
        Encoding((*front, 5 + at, *range(30, 30 + at)), (len(front) + at,))
        for front in fronts
        for at in range(5)
    ]
    with listening(gpt2) as batches:
        found = gpt2.log_probabilities(job, TOKENS)
    (shared,) = (batch for batch in batches if isinstance(batch, Rest) and batch.shares)
    assert len({*shared.known}) == 2
    for row, encoding in zip(found, job, strict=True):
        wanted, largest = oracle(gpt2, encoding)
        np.testing.assert_allclose(row, wanted, rtol=0, atol=1e-5 * max(1.0, largest))


def test_a_screening_copy_shares_rows(family_models: Models) -> None:
    llama = family_models("llama")
    model = CausalLanguageModel(llama.module, llama.encoder, llama.identity, torch.bfloat16)
    assert model.screening.lays
    job = with_a_long_front()
    with listening(model.screening) as batches:
        found = model.screening.log_probabilities(job, TOKENS)
    assert any(isinstance(batch, Rest) and batch.shares for batch in batches)
    assert np.abs(found - model.log_probabilities(job, TOKENS)).mean() < 0.1


def test_the_probe_shares_rows_at_two_places(family_models: Models) -> None:
    gpt2 = family_models("gpt2")
    model = CausalLanguageModel(gpt2.module, gpt2.encoder, gpt2.identity)
    with listening(model) as batches:
        assert model._reuse_agrees()
    shared = [batch for batch in batches if isinstance(batch, Rest) and batch.shares]
    assert sum(batch.row_of[-1] + 1 for batch in shared) > 1


@given(
    tokens=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 3)), min_size=1, max_size=40),
    most=st.integers(1, 50),
)
def test_rows_hold_each_sequence_once(tokens: list[tuple[int, int]], most: int) -> None:
    lengths, donors = zip(*tokens, strict=True)
    lines = lines_of(lengths, donors, most)
    assert sorted(at for line in lines for at in line) == list(range(len(tokens)))
    for line in lines:
        assert len({donors[at] for at in line}) == 1
        assert len(line) == 1 or sum(lengths[at] for at in line) <= most


def test_long_sequences_leave_rows_to_short_ones() -> None:
    lines = lines_of([1000] * 3 + [5] * 30, [0] * 33, 256)
    assert sorted(map(len, lines)) == [1, 1, 1, 30]


# -- memory -----------------------------------------------------------------------------------


@given(job=jobs(), limit=st.sampled_from([24, 60, 200]))
def test_batches_keep_the_token_budget(
    family_models: Models, job: list[Encoding], limit: int
) -> None:
    model = family_models("gpt2")
    usual, model.tokens_per_batch = model.tokens_per_batch, limit
    try:
        with listening(model) as batches:
            model.log_probabilities(job, TOKENS)
    finally:
        model.tokens_per_batch = usual
    assert sum(len(batch) for batch in batches) == len(job)
    for batch in batches:
        if isinstance(batch, Rest):
            longest, known, rows = (
                max(map(len, batch.ids())),
                max(batch.known),
                batch.row_of[-1] + 1,
            )
        else:
            longest, known, rows = max(len(one.ids) for one in batch), 0, len(batch)
        assert rows == 1 or rows * (longest + known // 4) <= limit


@pytest.mark.parametrize("most", [1, 2, 5])
def test_a_batch_that_does_not_fit_is_halved(
    gpt2: TransformerModel, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    job = with_a_long_front()
    wanted = gpt2.log_probabilities(job, TOKENS)
    plain = gpt2._mask_logits

    def limited(batch: Sequence[Encoding]) -> torch.Tensor:
        if len(batch) > most:
            raise torch.OutOfMemoryError("out of memory")
        return plain(batch)

    monkeypatch.setattr(gpt2, "_mask_logits", limited)
    with listening(gpt2) as batches:
        found = gpt2.log_probabilities(job, TOKENS)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)
    assert any(isinstance(batch, Rest) and batch.past for batch in batches)
    monkeypatch.setattr(gpt2, "_mask_logits", lambda batch: limited([*batch] * 9))
    with pytest.raises(ScoringError, match="does not fit into the memory"):
        gpt2.log_probabilities(job, TOKENS)


def test_what_is_kept_goes_when_all_that_goes_on_from_it_is_done(
    gpt2: TransformerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[Past]] = []
    most = 0
    plain = Rest.as_past

    def noted(self: Rest, indices: Sequence[int]) -> Past:
        nonlocal most
        past = plain(self, indices)
        alive.append(weakref.ref(past))
        most = max(most, sum(one() is not None for one in alive))
        return past

    monkeypatch.setattr(Rest, "as_past", noted)
    groups = [tuple(range(at, at + 20)) for at in range(10, 40, 3)]
    job = [Encoding((*group, end, 7), (21,)) for group in groups for end in (50, 51, 52, 53)]
    gpt2.log_probabilities(job, TOKENS)
    assert len(alive) > 1
    assert most == 1
    assert not any(one() for one in alive)


# -- models that have nothing to go on from ---------------------------------------------------


class Forgetful(torch.nn.Module):
    """A model that takes a past and does not look at it."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner, self.device, self.config = inner, inner.device, inner.config
        self.get_decoder = inner.get_decoder

    def forward(self, input_ids: torch.Tensor, position_ids: Any = None, **others: Any) -> Any:
        del others
        return self.inner(input_ids=input_ids)


class Refusing(Forgetful):
    """A model that takes no past."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:  # type: ignore[override]
        return self.inner(input_ids=input_ids, attention_mask=attention_mask)


@pytest.mark.parametrize("kind", [Forgetful, Refusing])
def test_a_model_that_forgets_is_run_whole(
    gpt2: TransformerModel, monkeypatch: pytest.MonkeyPatch, kind: type[Forgetful]
) -> None:
    model = CausalLanguageModel(kind(gpt2.module), gpt2.encoder, gpt2.identity)
    assert model.narrow
    assert not model.reuse
    job = with_a_long_front()
    wanted = gpt2.log_probabilities(job, TOKENS)
    np.testing.assert_allclose(model.log_probabilities(job, TOKENS), wanted, rtol=0, atol=1e-4)


def test_a_state_space_model_is_run_whole(gpt2: TransformerModel) -> None:
    config = transformers.RwkvConfig(
        vocab_size=len(gpt2.encoder.tokenizer), hidden_size=32, num_hidden_layers=2
    )
    module = transformers.RwkvForCausalLM(config).eval()
    identity = replace(gpt2.identity, name="rwkv")
    assert not CausalLanguageModel(module, gpt2.encoder, identity).reuse


def test_keys_that_turn_with_the_longest_sequence_are_not_read_again(
    gpt2: TransformerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        gpt2.module.config, "rope_parameters", {"rope_type": "dynamic"}, raising=False
    )
    assert not CausalLanguageModel(gpt2.module, gpt2.encoder, gpt2.identity).reuse


def test_the_probe_would_see_keys_at_wrong_places(
    gpt2: TransformerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Rest.as_past
    monkeypatch.setattr(
        Rest, "as_past", lambda self, of: replace(plain(self, of), begin=[0] * len(self))
    )
    assert not CausalLanguageModel(gpt2.module, gpt2.encoder, gpt2.identity).reuse


def test_the_probe_would_see_sequences_that_look_at_others_of_their_row(
    gpt2: TransformerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Rest.inputs

    def seen_by_all(self: Rest, *given: Any) -> dict[str, torch.Tensor]:
        found = plain(self, *given)
        if self.shares:
            mask = torch.full_like(found["attention_mask"], torch.finfo(torch.float32).min)
            found["attention_mask"] = mask.triu(max(self.known) + 1)
        return found

    monkeypatch.setattr(Rest, "inputs", seen_by_all)
    model = CausalLanguageModel(gpt2.module, gpt2.encoder, gpt2.identity)
    assert model.reuse
    assert not model.lays


@pytest.mark.parametrize(
    "setting", [{"layer_types": ["sliding_attention", "full_attention"]}, {"window_size": 256}]
)
def test_rows_are_not_shared_where_attention_counts_tokens(
    gpt2: TransformerModel, monkeypatch: pytest.MonkeyPatch, setting: dict[str, Any]
) -> None:
    for name, value in setting.items():
        monkeypatch.setattr(gpt2.module.config, name, value, raising=False)
    model = CausalLanguageModel(gpt2.module, gpt2.encoder, gpt2.identity)
    assert model.reuse
    assert not model.lays
    job = with_a_long_front()
    wanted = gpt2.log_probabilities(job, TOKENS)
    np.testing.assert_allclose(model.log_probabilities(job, TOKENS), wanted, rtol=0, atol=1e-4)


def test_a_screening_copy_keeps_what_positions_turn_by(
    family_models: Callable[[str], TransformerModel],
) -> None:
    """Rounded to bfloat16, frequencies are off by more the farther apart two tokens are."""
    llama = family_models("llama")
    model = CausalLanguageModel(llama.module, llama.encoder, llama.identity, torch.bfloat16)
    exact = dict(llama.module.named_buffers())
    found = dict(model.screening.module.named_buffers())
    turning = [name for name in exact if name.endswith("inv_freq")]
    assert turning
    for name in turning:
        assert found[name].dtype == torch.float32
        assert torch.equal(found[name], exact[name])
    weights = {one.dtype for one in model.screening.module.parameters()}
    assert weights == {torch.bfloat16}


def test_a_position_behind_the_end_is_an_error_before_the_device_sees_it() -> None:
    states = torch.arange(6.0).reshape(1, 3, 2)
    assert at(states, [[2, 0]]).tolist() == [[[4.0, 5.0], [0.0, 1.0]]]
    with pytest.raises(IndexError, match="no such position among 3"):
        at(states, [[3]])
