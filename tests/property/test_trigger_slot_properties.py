"""Trigger slots: whatever the template, what comes back is one with the same fields and mask."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.pieces import Mask, Trigger, escape
from autoprompt.prompts import Frame
from autoprompt.searching.trigger_slots import slotted, trigger_tokens
from autoprompt.templates import Template

POSITIONS = ("own_words", "prefix", "before_mask", "suffix")
words = st.sampled_from(["It", "was", "film", "a", "news", "don't", "very", "naïve"])
marks = st.sampled_from(["{", "}", ".", ",", ":", "(", ")", "\n", "  ", " "])
literals = st.lists(words | marks, max_size=5).map(" ".join) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8
)


@st.composite
def templates(draw: st.DrawFn, mask_last: bool = False) -> Template:
    slots = draw(st.sampled_from([["{text}"], ["{a}", "{b}"], ["{text}", "{text}"]]))
    slots = [*slots, "{mask}"] if mask_last else draw(st.permutations([*slots, "{mask}"]))
    text = "".join(escape(draw(literals)) + slot for slot in slots)
    return Template.parse(text if mask_last else text + escape(draw(literals)))


def check(model: MaskedLanguageModel, template: Template, places: list[str], most: int) -> None:
    ways = slotted(model.encoder, template, places, most)
    assert ways
    assert len({way.template.text for way in ways}) == len(ways)
    for way in ways:
        assert Template.parse(way.template.text) == way.template
        assert way.template.fields == template.fields
        assert sum(isinstance(piece, Mask) for piece in way.template.pieces) == 1
        counts = way.template.trigger_counts
        assert counts == tuple(len(ids) for ids in way.initial)
        assert len(counts) == 1
        assert 1 <= counts[0] <= most
        if "as trigger tokens" in way.how:
            wanted = model.encoder.record(Frame(template), []).probe
            assert model.encoder.record(way.frame, []).probe == wanted
        for slot, ids in zip(trigger_tokens(model.encoder, way.initial), way.initial, strict=True):
            assert "".join(slot.strings) == model.encoder.tokenizer.decode(list(ids))
        if model.identity.family == "causal":
            pieces = way.template.pieces
            assert pieces.index(Trigger(counts[0])) < pieces.index(Mask())


places = st.lists(st.sampled_from(POSITIONS), min_size=1, unique=True)


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "t5", "bart"])
@given(template=templates(), places=places, most=st.integers(1, 6))
def test_any_template_stays_a_template(
    family_models: Callable[[str], MaskedLanguageModel],
    family: str,
    template: Template,
    places: list[str],
    most: int,
) -> None:
    check(family_models(family), template, places, most)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@given(
    template=templates(mask_last=True),
    places=places.filter(lambda found: found != ["suffix"]),
    most=st.integers(1, 6),
)
def test_any_causal_template_keeps_its_mask_last(
    family_models: Callable[[str], MaskedLanguageModel],
    family: str,
    template: Template,
    places: list[str],
    most: int,
) -> None:
    check(family_models(family), template, places, most)
