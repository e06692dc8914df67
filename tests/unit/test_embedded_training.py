"""The parts of the embedded models' recipe, without training anything for long."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from autoprompt.models.embedded import FOLDERS
from experiments.embedded.batches import (
    IGNORED,
    PAD,
    Masker,
    SpecialIds,
    assign_rows,
    mask_rates,
    positions_of,
    rows_of_sequences,
    rows_of_stream,
    segments_of,
    special_ids,
)
from experiments.embedded.corpus import split_sentences
from experiments.embedded.model import masked_losses, new_masked_model
from experiments.embedded.overlap import OverlapFilter, words_of
from experiments.embedded.pack import Packer, choose_held_out, plain
from experiments.embedded.recipe import Masking, Shape, read_recipe
from experiments.embedded.train import learning_rate

RECIPES = Path(__file__).parents[2] / "experiments" / "embedded"
MASKED = read_recipe(RECIPES / "recipe.yaml")
WORDS = 50
SPECIAL = SpecialIds(cls=2, sep=3, mask=4, continues=np.arange(WORDS) % 3 == 2)


@given(st.text(alphabet="ab .!?\"”)’'", max_size=40))
def test_sentences_lose_nothing_but_spaces(line: str) -> None:
    assert "".join("".join(split_sentences(line)).split()) == "".join(line.split())


def test_a_closing_quote_stays_with_its_sentence() -> None:
    assert split_sentences("“I see.” He left. (Why?) So.") == [
        "“I see.”",
        "He left.",
        "(Why?)",
        "So.",
    ]


@given(
    st.lists(st.lists(st.sampled_from("abcde"), max_size=9), max_size=6),
    st.lists(st.lists(st.sampled_from("abcdef"), max_size=9), min_size=1, max_size=6),
)
def test_overlaps_are_what_a_slow_search_finds(
    texts: list[list[str]], lines: list[list[str]]
) -> None:
    def runs(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[at : at + 3]) for at in range(len(words) - 2)}

    known = {("a", "b", "c")}.union(*map(runs, texts))
    found = OverlapFilter([*map(" ".join, texts), "a B c"], 3)
    shown = [" , ".join(line) for line in lines]
    assert found.overlapping(shown).tolist() == [bool(runs(line) & known) for line in lines]


def test_a_filter_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="folder of tasks"):
        OverlapFilter(["too short"], 13)


def test_words_have_no_marks_and_no_case() -> None:
    assert words_of("It's FINE, really_so.") == ["it", "s", "fine", "really", "so"]
    assert plain(["It's", "fine."]) == plain(["it s fine"])


@given(st.lists(st.integers(1, 30), max_size=60))
def test_every_sequence_has_one_place_in_rows_that_hold_it(lengths: list[int]) -> None:
    rows = assign_rows(lengths, 30)
    assert sorted(member for row in rows for member in row) == list(range(len(lengths)))
    assert all(sum(lengths[member] for member in row) <= 30 for row in rows)


def test_rows_of_running_text() -> None:
    rows = rows_of_stream(np.arange(10, dtype=np.uint16), 4)
    assert rows.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_held_out_documents_hold_the_words_wanted() -> None:
    import random

    documents = [[f"word {'more ' * (n % 7)}end of it"] for n in range(600)]
    chosen = choose_held_out(documents, 200, random.Random(0))
    assert 200 <= sum(len(documents[at][0].split()) for at in chosen) < 220


def sequences(count: int, seed: int = 0) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.integers(5, WORDS, draw.integers(3, 12)).astype(np.uint16) for _ in range(count)]


def test_a_packed_sequence_scores_as_it_does_alone() -> None:
    shape = Shape(hidden=16, layers=2, heads=2, feed_forward=32)
    packing = replace(MASKED.packing, row_length=32)
    model = new_masked_model(replace(MASKED, model=shape, packing=packing), WORDS).eval()
    parts = sequences(7)

    def losses(ids: np.ndarray) -> torch.Tensor:
        rows = torch.from_numpy(ids.astype(np.int64))
        places = (rows.flatten() > 4).nonzero().flatten()
        given = rows, positions_of(rows, SPECIAL), segments_of(rows, SPECIAL), places
        with torch.no_grad():
            return masked_losses(model, *given, rows.flatten()[places])

    together = losses(rows_of_sequences(parts, 32, SPECIAL))
    alone = [losses(rows_of_sequences([part], 32, SPECIAL)) for part in parts]
    placed = assign_rows([len(part) + 2 for part in parts], 32)
    wanted = torch.cat([alone[member] for row in placed for member in row])
    torch.testing.assert_close(together, wanted, rtol=0.02, atol=0.02)  # bfloat16 products


def test_whole_words_are_masked_and_special_tokens_never() -> None:
    ids = torch.from_numpy(rows_of_sequences(sequences(400), 64, SPECIAL).astype(np.int64))
    counts = np.bincount(ids.flatten().numpy(), minlength=WORDS)
    masking = Masking(0.3, 0.1, 5, mask_token=1.0, random_token=0.0)
    masker = Masker(counts, masking, SPECIAL, "cpu")
    batch = masker(ids, ids.numel(), torch.Generator().manual_seed(1))
    used = int((batch.labels != IGNORED).sum())
    hit = torch.zeros(ids.numel(), dtype=torch.bool)
    hit[batch.places[:used]] = True
    flat = ids.flatten()
    assert (batch.labels[:used] == flat[batch.places[:used]]).all()
    assert (batch.ids.flatten()[hit] == SPECIAL.mask).all()
    assert (batch.ids.flatten()[~hit] == flat[~hit]).all()
    assert not hit[flat <= SPECIAL.mask].any()
    follows = torch.from_numpy(SPECIAL.continues)[flat]
    for at in follows.nonzero().flatten().tolist():
        if flat[at - 1] > SPECIAL.mask:
            assert hit[at] == hit[at - 1]
    ordinary = hit[flat > SPECIAL.mask].float().mean().item()
    assert ordinary == pytest.approx(0.3, abs=0.05)


def test_no_more_places_than_slots() -> None:
    ids = torch.from_numpy(rows_of_sequences(sequences(40), 64, SPECIAL).astype(np.int64))
    counts = np.bincount(ids.flatten().numpy(), minlength=WORDS)
    masker = Masker(counts, Masking(0.5, 0.5, 5, 0.8, 0.1), SPECIAL, "cpu")
    batch = masker(ids, 20, torch.Generator().manual_seed(1))
    assert batch.places.shape == batch.labels.shape == (20,)
    assert (batch.labels != IGNORED).all()
    assert (ids != PAD).any()


def test_rates_average_to_the_one_asked_for() -> None:
    counts = np.random.default_rng(0).integers(1, 1000, WORDS)
    rates = mask_rates(counts, Masking(0.22, 0.12, 9, 1.0, 0.0), SPECIAL)
    ordinary = counts[5:]
    assert (rates[5:] * ordinary).sum() / ordinary.sum() == pytest.approx(0.22)
    assert not rates[:5].any()


def test_the_learning_rate_warms_up_stays_and_decays() -> None:
    training = replace(MASKED.training, warmup_steps=10, decay_share=0.25, peak_lr=1.0)
    rates = [learning_rate(step, 100, training) for step in range(101)]
    assert rates[4] == pytest.approx(0.5)
    assert rates[10:76] == [1.0] * 66
    assert rates[76:] == sorted(rates[76:], reverse=True)
    assert rates[100] == pytest.approx(training.final_lr)


def test_a_recipe_with_a_wrong_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text((RECIPES / "recipe.yaml").read_text() + "nonsense: 1\n")
    with pytest.raises(ValueError, match="nonsense"):
        read_recipe(path)


@pytest.mark.parametrize("name", FOLDERS)
def test_the_card_is_that_of_the_weights(name: str) -> None:
    folder = FOLDERS[name]
    config = json.loads((folder / "config.json").read_text())
    card = " ".join((folder / "README.md").read_text(encoding="utf-8").split())
    assert f"{config['vocab_size']:,}" in card
    assert f"{config['num_hidden_layers']} layers, {config['hidden_size']} hidden units" in card
    assert f"{config['max_position_embeddings']} positions" in card


def test_special_ids_of_the_shipped_tokenizer() -> None:
    found = special_ids(Tokenizer.from_file(str(FOLDERS["embedded"] / "tokenizer.json")))
    assert (found.cls, found.sep, found.mask, found.ordinary_from) == (2, 3, 4, 5)
    assert found.continues.any()


def test_a_folder_without_tasks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    source = FOLDERS["embedded"] / "tokenizer.json"
    (tmp_path / "tokenizer" / "tokenizer.json").write_bytes(source.read_bytes())
    with pytest.raises(ValueError, match="name the folder of tasks"):
        Packer(MASKED, tmp_path, tmp_path / "nowhere")
