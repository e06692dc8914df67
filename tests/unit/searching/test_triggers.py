"""Trigger search, held to brute force, slow loops and counters."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import planted
import pytest
import tiny_models
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from autoprompt.errors import InputError
from autoprompt.models.gradients import LabelLoss, Variant
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.models.sequence import Encoding
from autoprompt.models.transformer import TransformerModel
from autoprompt.prompts import Frame
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.trigger_objective import Ids, JointWords, TriggerSettings
from autoprompt.searching.trigger_slots import blank, split_by_slot
from autoprompt.searching.trigger_vocabulary import allowed_tokens
from autoprompt.searching.triggers import Line, TriggerSearch
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

FAMILIES = [*tiny_models.FAMILIES, *tiny_models.CAUSAL, *tiny_models.SEQ2SEQ]
LABELS = ("neg", "pos")
TEXTS = [
    "a good film",
    "",
    "the story was slow , and the acting was not very good",
    "dull",
    "a great book",
    "not funny",
    "the team was good",
    "very very boring",
]
EXAMPLES = [Example({"text": text}, LABELS[n % 2]) for n, text in enumerate(TEXTS)]
GOLD = np.array([0, 1] * 4)
TWO_SLOTS = "{trigger:1} {text} {trigger:2} was {mask}"
PAIR = "{text} {trigger:2} {mask} ."
WORDS = Verbalizer.of({"neg": ["bad"], "pos": ["great", "fine"]})
LONG_WORDS = Verbalizer.of({"neg": ["bad", "unspeakably"], "pos": ["great", "fine"]})
EVERY = np.arange(len(EXAMPLES))
ALL = TriggerSettings(batch=len(EXAMPLES))


class Counting:
    """A model that counts the sequences that pass through it."""

    def __init__(self, inner: MaskedLanguageModel) -> None:
        self.inner, self.encoder, self.identity = inner, inner.encoder, inner.identity
        self.device = "cpu"
        self.forwards = self.backwards = 0
        self.batches: list[int] = []

    def log_probabilities(
        self, batch: Sequence[Encoding], token_ids: NDArray[np.int64], relative: bool = False
    ) -> NDArray[np.float32]:
        self.forwards += len(batch)
        self.batches.append(len(batch))
        return self.inner.log_probabilities(batch, token_ids, relative)

    def trigger_gradients(
        self, variants: Sequence[Variant], gold: NDArray[np.int64], loss: LabelLoss
    ) -> tuple[float, NDArray[np.float64]]:
        count = sum(len(variant.encodings) for variant in variants)
        self.forwards += count
        self.backwards += count
        return self.inner.trigger_gradients(variants, gold, loss)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def search_on(
    model: Any, template: str = PAIR, settings: TriggerSettings = ALL, **more: Any
) -> TriggerSearch:
    parts = {"verbalizer": WORDS, "examples": EXAMPLES, "gold": GOLD, "seed": 5, **more}
    return TriggerSearch(model, Frame(Template.parse(template)), settings=settings, **parts)


def among(model: MaskedLanguageModel, words: Sequence[str]) -> NDArray[np.bool_]:
    allowed = np.zeros(len(model.input_embeddings()), dtype=bool)
    for word in words:
        (token,) = model.encoder.text_ids(word)
        allowed[token] = True
    return allowed


def start_of(search: TriggerSearch) -> Ids:
    return (blank(search.model.encoder),) * sum(search.frame.template.trigger_counts)


def differences(first: Ids, second: Ids) -> int:
    return sum(a != b for a, b in zip(first, second, strict=True))


def watched(search: TriggerSearch, monkeypatch: pytest.MonkeyPatch) -> list[list[Ids]]:
    """The prompts that each step scores exactly."""
    seen: list[list[Ids]] = []
    plain = search.values

    def values(candidates: Sequence[Ids], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        seen.append(list(candidates))
        return plain(candidates, rows)

    monkeypatch.setattr(search, "values", values)
    return seen


def run(search: TriggerSearch, steps: int) -> list[Line]:
    lines = [Line((start_of(search),))]
    for _ in range(steps):
        lines.append(search.step(lines[-1]))
    return lines


def plain_objective(
    model: MaskedLanguageModel,
    frame: Frame,
    verbalizer: Verbalizer,
    examples: Sequence[Example],
    loss: LabelLoss,
) -> float:
    """One prompt, one example at a time, and the loss as it is written down."""
    scorer = WordScorer(model, verbalizer.all_words)
    total, predictions = 0.0, []
    for example in examples:
        row = dict(zip(scorer.words, scorer.scores(frame, [example])[0].tolist(), strict=True))
        scores = []
        for words in verbalizer.words:
            each = [row[word] for word in words]
            if verbalizer.aggregation == "mean":
                scores.append(sum(each) / len(each))
            else:
                scores.append(math.log(sum(math.exp(one) for one in each)))
        gold = verbalizer.labels.index(str(example.label))
        whole = math.log(sum(math.exp(score) for score in scores))
        over_labels = [score - whole for score in scores]
        if loss.offsets:
            shifted = [s - o for s, o in zip(over_labels, loss.offsets, strict=True)]
            whole = math.log(sum(math.exp(score) for score in shifted))
            over_labels = [score - whole for score in shifted]
        judged = over_labels if loss.over_labels or loss.offsets else scores
        total -= judged[gold] / len(examples)
        predictions.append([math.exp(score) for score in over_labels])
    mean = [sum(column) / len(examples) for column in zip(*predictions, strict=True)]
    entropy = -sum(one * math.log(one) for one in mean)
    return total + loss.anti_collapse * (math.log(len(mean)) - entropy)


# -- the first-order ranking ------------------------------------------------------------------


def ranks(search: TriggerSearch, ids: Ids, rows: NDArray[np.int64]) -> tuple[list[float], int]:
    """At each slot, how the promised order of all allowed tokens agrees with the exact one."""
    promised = search.promises(ids, rows)
    before = search.values([ids], rows)[0]
    found = []
    for slot in range(len(ids)):
        tokens = np.flatnonzero(np.isfinite(promised[slot]))
        swapped = [(*ids[:slot], int(token), *ids[slot + 1 :]) for token in tokens]
        gains = before - search.values(swapped, rows)
        found.append(float(spearmanr(promised[slot, tokens], gains).statistic))
    return found, len(tokens)


@pytest.mark.parametrize("template", ["{text} {trigger:1} {mask}", "{text} {trigger:3} {mask}."])
def test_the_gradient_ranks_the_vocabulary_as_exact_scores_do(
    planted_model: MaskedLanguageModel, template: str
) -> None:
    task = planted.task(0)
    gold = np.array([planted.LABELS.index(str(example.label)) for example in task.train])
    words = Verbalizer.of({label: [word] for label, word in planted.WORDS.items()}, planted.LABELS)
    search = search_on(
        planted_model, template, verbalizer=words, examples=list(task.train), gold=gold
    )
    found, tokens = ranks(search, start_of(search), np.arange(len(gold)))
    print(f"\nplanted {template}: rank correlations {np.round(found, 3)} over {tokens} tokens")
    assert tokens > 150
    # A random order has a mean of 0 and a standard deviation of at most 1 / sqrt(tokens - 1).
    assert np.mean(found) > 3.3 / math.sqrt(tokens - 1)


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "electra", "gpt2"])
def test_near_a_prompt_the_gradient_ranks_as_exact_scores_do(
    family_models: Callable[[str], TransformerModel], family: str
) -> None:
    """With the vocabulary moved close to the prompt's token, first order is nearly exact."""
    known = family_models(family)
    model = type(known)(copy.deepcopy(known.module), known.encoder, known.identity)
    (middle,) = start = (model.encoder.text_ids(" the")[-1],)
    search = search_on(model, "{text} {trigger:1} was {mask}")
    read = {token for one in search._encoded(start, EVERY, 1) for token in one.ids}
    allowed = allowed_tokens(model)
    allowed[list(read)] = False
    with torch.no_grad():
        table = model.module.get_input_embeddings().weight
        # The output layer may share the table; the label words keep their scores.
        output = model.module.get_output_embeddings()
        output.weight = torch.nn.Parameter(output.weight.detach().clone(), requires_grad=False)
        table[allowed] = torch.lerp(table[middle], table[allowed], 1e-2)
    close = search_on(model, "{text} {trigger:1} was {mask}", allowed=allowed)
    (found,), tokens = ranks(close, start, EVERY)
    print(f"\nnear {family}: rank correlation {found:.4f} over {tokens} tokens")
    assert found > 0.95


def test_promises_are_the_embedding_differences_along_the_gradient(
    tiny_model: MaskedLanguageModel,
) -> None:
    search = search_on(tiny_model, settings=replace(ALL, accumulation=1), verbalizer=LONG_WORDS)
    ids = tuple(tiny_model.encoder.text_ids("the film"))
    found = search.promises(ids, EVERY)
    _, gradients = tiny_model.trigger_gradients(search._variants(ids, EVERY), GOLD, search.loss)
    table = tiny_model.input_embeddings().astype(np.float64)
    banned = ~search._allowed
    for slot, old in enumerate(ids):
        for new in range(len(table)):
            if banned[new] or new == old:
                assert found[slot, new] == -np.inf
            else:
                wanted = -float((table[new] - table[old]) @ gradients[slot])
                assert found[slot, new] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("accumulation", [2, 3, 20])
def test_accumulated_gradients_are_those_of_all_examples(
    tiny_model: MaskedLanguageModel, accumulation: int
) -> None:
    whole = search_on(tiny_model)
    parts = search_on(tiny_model, settings=replace(ALL, accumulation=accumulation))
    ids = start_of(whole)
    wanted, found = whole.promises(ids, EVERY), parts.promises(ids, EVERY)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert parts.spent == whole.spent


# -- brute force ------------------------------------------------------------------------------

FEW = ("film", "story", "not", "very", "team", "slow", "who", "book")


def brute_force(search: TriggerSearch, allowed: NDArray[np.bool_]) -> tuple[float, Ids]:
    tokens = [*map(int, np.flatnonzero(allowed)), blank(search.model.encoder)]
    found = []
    for ids in itertools.product(tokens, repeat=2):
        frame = search._framed(ids)
        value = plain_objective(search.model, frame, search.verbalizer, EXAMPLES, search.loss)
        found.append((value, ids))
    return min(found)


@pytest.mark.parametrize("template", [PAIR, "{trigger:1} {text} {trigger:1} was {mask} ."])
def test_a_wide_beam_finds_what_brute_force_finds(
    tiny_model: MaskedLanguageModel, template: str
) -> None:
    allowed = among(tiny_model, FEW)
    wide = replace(ALL, beam=81, candidates=81 * 24)  # 24 a member: 16 swaps and combinations
    search = search_on(tiny_model, template, wide, allowed=allowed)
    lines = run(search, 2)
    value, ids = brute_force(search, allowed)
    assert lines[-1].best == ids
    assert search.values([ids], EVERY)[0] == pytest.approx(value, abs=1e-4)
    assert lines[1].best != ids or lines[0].best != ids  # it took a step at least


def test_a_narrow_beam_ends_where_no_swap_helps(tiny_model: MaskedLanguageModel) -> None:
    allowed = among(tiny_model, FEW)
    search = search_on(
        tiny_model, settings=replace(ALL, beam=2, candidates=100, patience=1), allowed=allowed
    )
    line = Line((start_of(search),))
    while not search.settings.is_over(line.stale):
        line = search.step(line)
    best = search.values([line.best], EVERY)[0]
    for slot, token in itertools.product((0, 1), np.flatnonzero(allowed)):
        swapped = (*line.best[:slot], int(token), *line.best[slot + 1 :])
        assert search.values([swapped], EVERY)[0] >= best - 1e-6


def test_a_step_keeps_the_best_in_order(
    tiny_model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = search_on(tiny_model, settings=replace(ALL, beam=3, candidates=30))
    tried = watched(search, monkeypatch)
    line = search.step(search.step(Line((start_of(search),))))
    scored = sorted(zip(search.values(tried[1], EVERY), tried[1], strict=True))
    assert line.beam == tuple(ids for _, ids in scored[:3])
    assert len(set(tried[1])) == len(tried[1])
    assert len(tried[1]) <= 30 + 3


# -- exact values -----------------------------------------------------------------------------

LOSSES = [
    {},
    {"over_labels": False},
    {"offsets": (-0.3, -1.4)},
    {"anti_collapse": 1.5},
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("loss", LOSSES, ids=["plain", "vocabulary", "offsets", "anti-collapse"])
def test_values_in_one_pass_are_those_one_by_one(
    family_models: Callable[[str], TransformerModel],
    family: str,
    loss: dict[str, Any],
) -> None:
    model = family_models(family)
    offsets = loss.get("offsets", ())
    settings = replace(ALL, **{key: value for key, value in loss.items() if key != "offsets"})
    for aggregation in ("logsumexp", "mean"):
        verbalizer = replace(LONG_WORDS, aggregation=aggregation)
        search = search_on(model, TWO_SLOTS, settings, verbalizer=verbalizer, offsets=offsets)
        candidates = [start_of(search), (40, 41, 42), (50, 51, 60), (60, 40, 50)]
        rows = np.array([0, 2, 3, 5, 6])
        found = search.values(candidates, rows)
        for value, ids in zip(found, candidates, strict=True):
            frame = Frame(search.frame.template, split_by_slot(search.frame.template, ids))
            examples = [EXAMPLES[row] for row in rows]
            wanted = plain_objective(model, frame, verbalizer, examples, search.loss)
            assert value == pytest.approx(wanted, abs=3e-4, rel=1e-4)


def test_all_candidates_share_their_batches(tiny_model: MaskedLanguageModel) -> None:
    model = Counting(tiny_model)
    search = search_on(model)
    search.values([(40, n) for n in range(40, 60)], EVERY)
    assert model.forwards == 20 * len(EXAMPLES)
    assert max(model.batches) > len(EXAMPLES)


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "gpt2", "llama", "t5", "bart"])
@pytest.mark.parametrize(
    "template", [TWO_SLOTS, "{text} {trigger:2} {mask}", "{text} {trigger:1} {mask}"]
)
def test_fluency_is_that_of_a_slow_loop(
    family_models: Callable[[str], TransformerModel], family: str, template: str
) -> None:
    model = family_models(family)
    device = model.module.device
    search = search_on(model, template)
    most = len(start_of(search))
    candidates = [(40, 41, 42)[:most], (61, 50, 41)[:most]]
    found = search.fluency(candidates, 4)
    for value, ids in zip(found, candidates, strict=True):
        frame = Frame(search.frame.template, split_by_slot(search.frame.template, ids))
        (encoding,) = model.encoder.encode(frame, [EXAMPLES[4]])
        losses = []
        for at, token in zip(encoding.trigger_positions, ids, strict=True):
            read, decoder = list(encoding.ids), {}
            vocabulary = model.encoder.tokenizer.get_vocab()
            place = at
            if model.identity.family == "causal":
                read, place = read[:at], at - 1
                if not read:
                    continue  # nothing stands before it that could predict it
            elif family == "t5":  # the token's sentinel is the first, and the mask's the second
                first, second = vocabulary["<extra_id_0>"], vocabulary["<extra_id_1>"]
                read[read.index(first)] = second
                read[at], place = first, 1
                decoder["decoder_input_ids"] = torch.tensor([[0, first]], device=device)
            elif family == "bart":  # the decoder has written the text up to the token
                decoder["decoder_input_ids"] = torch.tensor([[2, *read[:at]]], device=device)
                read[at] = vocabulary["<mask>"]
            else:
                read[at] = vocabulary[model.encoder.tokenizer.mask_token]
            with torch.no_grad():
                inputs = torch.tensor([read], device=device)
                found_logits = model.module(input_ids=inputs, **decoder).logits
            logits = found_logits[0, place].double()
            losses.append(-float(logits.log_softmax(-1)[token]))
        assert value == pytest.approx(sum(losses) / len(losses), abs=1e-3)


def test_a_first_token_that_nothing_predicts_has_no_fluency(
    family_models: Callable[[str], TransformerModel],
) -> None:
    search = search_on(family_models("gpt2"), "{trigger:1} {text} {mask}")
    np.testing.assert_array_equal(search.fluency([(40,), (50,)], 0), [0.0, 0.0])


def test_fluency_is_added_with_its_weight(tiny_model: MaskedLanguageModel) -> None:
    candidates = [(40, 41), (50, 60)]
    plain = search_on(tiny_model).values(candidates, EVERY)
    search = search_on(tiny_model, settings=replace(ALL, fluency=0.25))
    found = search.values(candidates, EVERY)
    fluency = search.fluency(candidates, 0)
    assert abs(fluency[0] - fluency[1]) > 0.1
    np.testing.assert_allclose(found, plain + 0.25 * fluency, atol=1e-6)


# -- what may be a trigger --------------------------------------------------------------------


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "gpt2", "t5", "bart"])
def test_label_words_are_banned(
    family_models: Callable[[str], TransformerModel],
    family: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = family_models(family)
    forms = [model.encoder.text_ids(form) for form in ("bad", " bad", "great", " fine")]
    banned = {ids[0] for ids in forms if len(ids) == 1}
    assert banned
    allowed = allowed_tokens(model)
    assert allowed[list(banned)].all()  # but for the verbalizer
    own = np.zeros_like(allowed)
    own[[*banned, *model.encoder.text_ids(" film"), *model.encoder.text_ids(" book")]] = True
    before = own.copy()
    search = search_on(model, "{text} {trigger:2} {mask}", allowed=own)
    np.testing.assert_array_equal(own, before)  # the caller's table is shared by all lines
    tried = watched(search, monkeypatch)
    run(search, 3)
    seen = {token for step in tried for ids in step for token in ids}
    assert not seen & banned
    assert len(seen) > 1


def test_nothing_left_is_an_error(tiny_model: MaskedLanguageModel) -> None:
    for allowed in (among(tiny_model, []), among(tiny_model, ["bad", "great"])):
        with pytest.raises(InputError, match="no token is left"):
            search_on(tiny_model, allowed=allowed)


def written_ids(model: MaskedLanguageModel, template: str, ids: Ids) -> bool:
    """Whether the prompt as plain text becomes the same tokens, slot by slot."""
    tokenizer, parsed = model.encoder.tokenizer, Template.parse(template)
    slots = split_by_slot(parsed, ids)
    text = parsed.render(
        {"text": "text"}, tokenizer.mask_token, [tokenizer.decode(list(slot)) for slot in slots]
    )
    (encoding,) = model.encoder.encode(Frame(parsed, slots), [Example({"text": "text"})])
    return tuple(tokenizer(text)["input_ids"]) == encoding.ids


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "modernbert"])
def test_proposals_are_read_as_they_are_written(
    family_models: Callable[[str], TransformerModel],
    family: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = family_models(family)
    template = "{text}{trigger:2} {mask}" if family == "roberta" else "{text} {trigger:2} {mask}"
    search = search_on(model, template, replace(ALL, candidates=40))
    assert model.encoder.exact
    tried = watched(search, monkeypatch)
    lines = run(search, 3)
    for line, step in zip(lines, tried, strict=False):
        proposals = [ids for ids in step if ids not in line.beam]
        assert len(proposals) > 10
        assert all(written_ids(model, template, ids) for ids in proposals)
    monkeypatch.setattr(TriggerSearch, "_is_text", lambda self, ids: True)
    wild = search_on(model, template, replace(ALL, candidates=40))
    unfiltered = watched(wild, monkeypatch)
    run(wild, 3)
    # Without the filter there would be others among the most promising.
    assert not all(written_ids(model, template, ids) for step in unfiltered for ids in step)


def test_prompts_of_an_inexact_tokenizer_are_kept_by_their_ids(
    tiny_model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tiny_model.encoder.__dict__, "exact", False)
    monkeypatch.setattr(tiny_model.encoder, "round_trips", lambda frame: False)
    search = search_on(tiny_model)
    tried = watched(search, monkeypatch)
    run(search, 1)
    assert len(tried[0]) > 1


# -- the steps --------------------------------------------------------------------------------


def test_patience_counts_steps_without_a_better_prompt(
    tiny_model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = search_on(tiny_model, settings=replace(ALL, patience=2, beam=1))
    tried = watched(search, monkeypatch)
    search.step(Line((start_of(search),), stale=1))
    better = tried[0][3]
    monkeypatch.setattr(
        search,
        "values",
        lambda candidates, rows: np.array([float(ids != better) for ids in candidates]),
    )
    first = search.step(Line((start_of(search),), stale=1))
    assert (first.best, first.step, first.stale) == (better, 1, 0)
    second = search.step(first)
    assert (second.best, second.step, second.stale) == (better, 2, 1)
    assert not search.settings.is_over(second.stale)
    third = search.step(second)
    assert (third.best, third.step, third.stale) == (better, 3, 2)
    assert search.settings.is_over(third.stale)


@pytest.mark.parametrize("beam", [1, 2])
def test_a_tie_is_no_improvement(
    tiny_model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch, beam: int
) -> None:
    search = search_on(tiny_model, settings=replace(ALL, beam=beam))
    monkeypatch.setattr(search, "values", lambda candidates, rows: np.zeros(len(candidates)))
    lines = run(search, 3)
    assert {line.best for line in lines} == {start_of(search)}
    assert [line.stale for line in lines] == [0, 1, 2, 3]


def test_what_was_tried_is_not_tried_again(
    tiny_model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(ALL, beam=1, candidates=12, flips=1)
    search = search_on(tiny_model, settings=settings)
    tried = watched(search, monkeypatch)
    monkeypatch.setattr(search, "values", lambda c, rows: tried.append(list(c)) or np.zeros(len(c)))
    run(search, 4)
    fresh = [step[1:] for step in tried]  # the first is what the line goes on with
    assert all(fresh)
    assert not any(set(a) & set(b) for a, b in itertools.combinations(fresh, 2))
    # Together they are the most promising ones, in their order.
    promised = search.promises(start_of(search), EVERY)
    size = promised.shape[1]
    order = [divmod(int(flat), size) for flat in np.argsort(-promised, axis=None, kind="stable")]
    ids = start_of(search)
    best = [(*ids[:slot], token, *ids[slot + 1 :]) for slot, token in order[:12]]
    wanted = [one for one in best if written_ids(tiny_model, PAIR, one)]
    assert fresh[0][: len(wanted)] == wanted


def test_no_swap_is_left_out_while_a_line_is_stale(
    tiny_model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = among(tiny_model, FEW)
    settings = replace(ALL, beam=1, candidates=6, flips=2)
    search = search_on(tiny_model, settings=settings, allowed=allowed)
    tried: list[Ids] = []
    monkeypatch.setattr(search, "values", lambda c, rows: tried.extend(c) or np.zeros(len(c)))
    lines = run(search, 4)  # 16 swaps, 4 a step beside combinations
    singles = {ids for ids in tried if differences(ids, lines[0].best) == 1}
    assert len(singles) == 16


def test_with_fresh_batches_the_best_swaps_are_tried_again(
    tiny_model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(ALL, beam=1, candidates=12, flips=1, fresh_batch=True)
    search = search_on(tiny_model, settings=settings)
    tried: list[list[Ids]] = []
    monkeypatch.setattr(search, "values", lambda c, rows: tried.append(list(c)) or np.zeros(len(c)))
    run(search, 2)
    assert tried[0] == tried[1]


@pytest.mark.parametrize("fresh", [False, True])
def test_a_fresh_batch_has_other_examples(
    tiny_model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    search = search_on(tiny_model, settings=TriggerSettings(batch=4, fresh_batch=fresh))
    led: list[list[int]] = []
    judged: list[list[int]] = []
    promises, values = search.promises, search.values
    monkeypatch.setattr(
        search, "promises", lambda ids, rows: led.append(rows.tolist()) or promises(ids, rows)
    )
    monkeypatch.setattr(
        search, "values", lambda c, rows: judged.append(rows.tolist()) or values(c, rows)
    )
    line = Line((start_of(search),))
    for _ in range(6):
        led.clear()
        judged.clear()
        line = search.step(line)
        assert len(led) in (1, 2)
        assert all(rows == led[0] for rows in led)
        (rows,) = judged
        if not fresh:
            assert rows == led[0]
        for batch in (led[0], rows):
            assert len(set(batch)) == 4
            assert GOLD[batch].sum() == 2  # both labels alike
    drawn = [search._batches(step, use).tolist() for step in range(20) for use in (0, 1)]
    assert len({tuple(batch) for batch in drawn}) > 10
    assert {row for batch in drawn for row in batch} == set(range(8))
    differing = [drawn[2 * step] != drawn[2 * step + 1] for step in range(20)]
    assert sum(differing) > 15


def test_one_position_a_step_and_each_in_its_turn(
    tiny_model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(ALL, one_position=True, beam=1, flips=3, fresh_batch=True)
    search = search_on(tiny_model, TWO_SLOTS, settings)
    tried: list[list[Ids]] = []
    monkeypatch.setattr(search, "values", lambda c, rows: tried.append(list(c)) or np.zeros(len(c)))
    run(search, 12)
    chosen = []
    for step in tried:
        places = {n for ids in step[1:] for n in range(3) if ids[n] != step[0][n]}
        assert len(places) == 1
        chosen += places
    assert set(chosen) == {0, 1, 2}


@pytest.mark.parametrize("flips", [1, 2, 3])
def test_a_candidate_makes_a_few_flips_at_most(
    tiny_model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch, flips: int
) -> None:
    search = search_on(tiny_model, TWO_SLOTS, replace(ALL, flips=flips, beam=1, candidates=60))
    tried = watched(search, monkeypatch)
    run(search, 1)
    start, *others = tried[0]
    counts = [differences(start, ids) for ids in others]
    assert min(counts) == 1
    assert max(counts) == flips
    assert len(others) <= 60
    assert len(set(others)) == len(others)
    # Combinations are made of the strongest single swaps.
    singles = {
        (n, ids[n])
        for ids in others
        for n in range(3)
        if differences(start, ids) == 1 and ids[n] != start[n]
    }
    swaps = {(n, ids[n]) for ids in others for n in range(3) if ids[n] != start[n]}
    assert swaps == singles


def test_the_same_seed_takes_the_same_steps(tiny_model: MaskedLanguageModel) -> None:
    settings = TriggerSettings(batch=4, candidates=12)

    def steps(seed: int) -> list[Line]:
        return run(search_on(tiny_model, TWO_SLOTS, settings, seed=seed), 4)

    assert steps(1) == steps(1)
    assert len({line.beam for seed in range(4) for line in steps(seed)[-1:]}) > 1


def test_a_step_depends_on_its_line_only(tiny_model: MaskedLanguageModel) -> None:
    """As an interrupted run needs: a new search goes on as the old one would have."""
    settings = TriggerSettings(batch=4, candidates=12)
    lines = run(search_on(tiny_model, TWO_SLOTS, settings), 3)
    for before, after in itertools.pairwise(lines):
        assert search_on(tiny_model, TWO_SLOTS, settings).step(before) == after


# -- what it costs ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "words", "settings"),
    [
        ("bert", WORDS, ALL),
        ("bert", LONG_WORDS, replace(ALL, beam=3)),
        ("bert", LONG_WORDS, TriggerSettings(batch=2, accumulation=3, candidates=7)),
        ("bert", WORDS, replace(ALL, batch=4, fluency=0.1)),
        (
            "bert",
            WORDS,
            replace(ALL, batch=4, beam=1, flips=1, one_position=True, fresh_batch=True),
        ),
        ("gpt2", WORDS, replace(ALL, batch=4, fluency=0.1)),
    ],
)
def test_what_is_spent_is_what_ran(
    family_models: Callable[[str], TransformerModel],
    family: str,
    words: Verbalizer,
    settings: TriggerSettings,
) -> None:
    model = Counting(family_models(family))
    search = search_on(model, TWO_SLOTS, settings, verbalizer=words)
    line = Line((start_of(search),))
    variants = len({len(model.encoder.text_ids(f" {word}")) for word in words.all_words})
    for _ in range(3):
        before = search.spent.budgeted
        line = search.step(line)
        assert (search.spent.forwards, search.spent.backwards) == (model.forwards, model.backwards)
        assert search.spent.budgeted - before <= settings.most_forwards(variants, 3)
    assert model.backwards > 0
    assert search.spent.tokens > search.spent.forwards - search.spent.backwards


# -- words that are fitted to each candidate --------------------------------------------------


@pytest.mark.parametrize("rare", [2, 3])
def test_a_batch_holds_every_label_outside_each_fold(
    tiny_model: MaskedLanguageModel, rare: int
) -> None:
    """Else the words that a fold is judged by could not be fitted."""
    labels = ["bad"] * 60 + ["great"] * rare
    examples = [Example({"text": f"film {n}"}, label) for n, label in enumerate(labels)]
    gold = np.array([["bad", "great"].index(label) for label in labels])
    folds = np.array([0] * 30 + [1] * 30 + [0, 1, 1][:rare])
    search = search_on(
        tiny_model,
        settings=TriggerSettings(batch=8, accumulation=1),
        examples=examples,
        gold=gold,
        words=JointWords(np.array([[5]]), lambda _scores, _rows: 0.0, folds),
    )
    for step in range(20):
        rows = search._batches(step, 0)
        assert len(rows) == len(set(rows.tolist())) == 8
        for fold in (0, 1):
            assert set(gold[rows[folds[rows] != fold]]) == {0, 1}


def test_joint_words_judge_the_candidates(tiny_model: MaskedLanguageModel) -> None:
    model = Counting(tiny_model)
    names = ["great", "bad", "film", "warm"]
    ids = np.array([tiny_model.encoder.text_ids(name) for name in names])
    asked: list[tuple[tuple[int, ...], list[int]]] = []

    def loss(scores: NDArray[np.float32], rows: NDArray[np.int64]) -> float:
        asked.append((scores.shape, rows.tolist()))
        return float(scores[:, 2].mean() - scores[:, 3].mean())

    search = search_on(model, words=JointWords(ids, loss, np.zeros(len(EXAMPLES), dtype=np.int64)))
    candidates = [(40, 41), (50, 60), (61, 41)]
    rows = np.array([1, 4, 6])
    found = search.values(candidates, rows)
    assert asked == [((3, 4), [1, 4, 6])] * 3
    assert (search.spent.forwards, model.forwards) == (9, 9)
    scorer = WordScorer(tiny_model, names)
    for value, tokens in zip(found, candidates, strict=True):
        frame = Frame(search.frame.template, (tokens,))
        scores = scorer.scores(frame, [EXAMPLES[row] for row in rows])
        wanted = float(scores[:, 2].mean() - scores[:, 3].mean())
        assert value == pytest.approx(wanted, abs=1e-4)
    # Words that are not known beforehand cannot be banned.
    assert search._allowed[tiny_model.encoder.text_ids("great")].all()
    line = search.step(Line((start_of(search),)))
    assert line.step == 1
    best = search.values(list(line.beam), EVERY)
    assert best[0] <= best[1]
    assert search.spent.forwards == model.forwards


# -- a model that screens, and one that decides -----------------------------------------------


class Contrary:
    """A copy that likes best what the model likes least."""

    def __init__(self, inner: MaskedLanguageModel) -> None:
        self.inner = inner

    def log_probabilities(
        self, batch: Sequence[Encoding], token_ids: NDArray[np.int64], relative: bool = False
    ) -> NDArray[np.float32]:
        found = self.inner.log_probabilities(batch, token_ids, relative)
        return np.asarray(found[..., ::-1], np.float32)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_the_exact_model_has_the_last_word(tiny_model: MaskedLanguageModel) -> None:
    settings = replace(ALL, candidates=16, decided=16)
    decided = search_on(Contrary(tiny_model), settings=settings, exact=tiny_model)
    plain = search_on(tiny_model, settings=settings)
    start = start_of(decided)
    found = decided.step(Line((start,)))
    values = plain.values([start, *found.beam], EVERY)
    assert (np.diff(values[1:]) >= 0).all()  # in the model's order, not in that of the copy
    assert values[1] <= values[0]  # never worse than where the step began


def test_only_the_best_screened_are_scored_again(tiny_model: MaskedLanguageModel) -> None:
    screening, exact = Counting(tiny_model), Counting(tiny_model)
    settings = replace(ALL, candidates=16, decided=3)
    search = search_on(screening, settings=settings, exact=exact)
    start = start_of(search)
    line = search.step(Line((start,)))
    again = exact.forwards // len(EXAMPLES)
    assert 3 <= again <= 4  # and the prompt that the step began with
    assert search.spent.budgeted <= settings.most_forwards(1, len(start))
    assert line == search_on(tiny_model, settings=settings).step(Line((start,)))
