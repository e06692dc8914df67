"""The neighbours' recipes against slow, obvious references of their papers, choice by choice.

The references score one example and one candidate at a time with plain `transformers`. Of the
package they take only what is drawn (which examples are train and dev, which of them a batch), how
a template is written around its triggers, and the temperatures of the likelihood that breaks ties.
"""

from __future__ import annotations

import itertools
import math
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import planted
import pytest
import tiny_models
import tiny_t5
import torch
import transformers
from scipy.optimize import minimize

import autoprompt as ap
from autoprompt.models.infilling import SentinelInfiller
from autoprompt.models.loading import load_model
from autoprompt.objective import CLIP, INVERSE_TEMPERATURES
from autoprompt.prompts import Frame, Prompt
from autoprompt.searching.generation import fill
from autoprompt.searching.recipes import Recipe
from autoprompt.searching.records import Record, record_of
from autoprompt.searching.selection_data import SelectionData
from autoprompt.searching.template_writing import WRITTEN_TEMPLATES
from autoprompt.searching.triggers import TriggerSearch
from autoprompt.searching.verdict import KEPT_SEED
from autoprompt.seeding import derive_seed, generator
from autoprompt.tasks.examples import Example
from autoprompt.tasks.splits import shuffled_by_label
from autoprompt.templates import Template

SEED = 0
LABELS = ("neg", "pos")
CUES = {"neg": ["terrible", "bad", "awful", "dull"], "pos": ["great", "good", "fine", "warm"]}
FILLERS = ["film", "movie", "book", "story", "plot", "acting", "was", "is", "a", "very", "all"]
SPACE = """
name: tiny
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask} ."
    verbalizer: {neg: [terrible], pos: [great]}
  - template: "{mask} film : {text}"
    verbalizer: {neg: [bad, awful], pos: [good, fine]}
  - template: "this is {mask} : {text}"
    verbalizer: {neg: [no], pos: [yes]}
templates:
  patterns: ["{text} all in all {mask} !"]
label_words:
  per_label: [1, 2]
  candidates: {neg: [boring], pos: [funny]}
  search: true
demonstrations: {per_label: [0, 1]}
calibration: [none, contextual, batch]
"""
PLENTY = ap.Budget(forwards=100_000)


# -- the task, and plain transformers ---------------------------------------------------------


def tiny_task(train: int, dev: int) -> ap.Task:
    draw = random.Random(f"recipes {train}")
    found: dict[str, str] = {}
    while len(found) < train + dev + 20:
        label = LABELS[len(found) % 2]
        words = [draw.choice(FILLERS) for _ in range(draw.randint(4, 9))]
        words.insert(draw.randrange(len(words)), draw.choice(CUES[label]))
        found.setdefault(" ".join(words), label)
    examples = tuple(Example({"text": text}, label) for text, label in found.items())
    return ap.Task(
        name="tiny",
        fields=("text",),
        labels=LABELS,
        metric="accuracy",
        train=examples[:train],
        dev=examples[train : train + dev],
        test=examples[train + dev :],
    )


class Plain:
    """A BERT, one sequence at a time."""

    def __init__(self, directory: Path) -> None:
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
        self.module = transformers.AutoModelForMaskedLM.from_pretrained(directory).eval()
        self.mask = self.tokenizer.mask_token_id
        self.vocabulary: dict[str, int] = self.tokenizer.get_vocab()
        self._known: dict[tuple[tuple[int, ...], int], Any] = {}

    def ids(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer(text)["input_ids"]
        return found

    def filled(self, template: str, example: Example) -> list[int]:
        text = template.replace("{text}", example.fields["text"])
        return self.ids(text.replace("{mask}", "[MASK]"))

    def at(self, ids: Sequence[int], place: int) -> Any:
        """Log-probabilities of the vocabulary at a place."""
        key = (tuple(ids), place)
        if key not in self._known:
            with torch.no_grad():
                logits = self.module(torch.tensor([list(ids)])).logits[0, place]
            self._known[key] = torch.log_softmax(logits.double(), -1).numpy()
        return self._known[key]

    def at_mask(self, template: str, example: Example) -> Any:
        ids = self.filled(template, example)
        return self.at(ids, ids.index(self.mask))

    def words(self) -> dict[str, int]:
        """Whole words of two letters and more, without the field's name."""
        return {
            word: index
            for word, index in sorted(self.vocabulary.items(), key=lambda item: item[1])
            if word.isalpha() and len(word) > 1 and word != "text"
        }


@dataclass
class Reference:
    """A prompt of a reference: label scores of one example at a time."""

    scores: Callable[[Example], list[float]]

    def accuracy(self, examples: Sequence[Example]) -> float:
        hits = 0
        for example in examples:
            scores = self.scores(example)
            hits += LABELS_OF[example.label] == scores.index(max(scores))
        return hits / len(examples)

    def cross_entropy(self, examples: Sequence[Example]) -> float:
        total = 0.0
        for example in examples:
            scores = self.scores(example)
            total -= scores[LABELS_OF[example.label]] - float(np.logaddexp.reduce(scores))
        return total / len(examples)


LABELS_OF: dict[str | None, int] = {"neg": 0, "pos": 1, "first": 0, "second": 1}


def best_on_dev(prompts: Sequence[Reference], dev: Sequence[Example]) -> int:
    """The most accurate one; likelihood, then age, break ties."""
    best, record = 0, (-1.0, 0.0)
    for index, prompt in enumerate(prompts):
        reached = (prompt.accuracy(dev), -prompt.cross_entropy(dev))
        if reached > record:
            best, record = index, reached
    return best


def verbalized(
    plain: Plain, template: str, words: Sequence[Sequence[str]], how: str = "logsumexp"
) -> Reference:
    def scores(example: Example) -> list[float]:
        logs = plain.at_mask(template, example)
        groups = [[float(logs[plain.vocabulary[word]]) for word in group] for group in words]
        if how == "mean":
            return [sum(group) / len(group) for group in groups]
        return [math.log(sum(math.exp(log) for log in group)) for group in groups]

    return Reference(scores)


# -- runs of the engine -----------------------------------------------------------------------


@dataclass
class Run:
    """What a search did."""

    result: ap.SearchResult
    records: list[Record]
    written: list[str]

    def prompt(self, index: int) -> Prompt:
        outcome = self.records[index].outcome
        assert outcome is not None, self.records[index].failure
        return outcome.prompt


@pytest.fixture
def searched(tmp_path: Path) -> Callable[..., Run]:
    """Runs a recipe and reads its study."""

    def run(
        task: ap.Task,
        space: ap.SearchSpace,
        model: Any,
        recipe: str | Recipe,
        budget: ap.Budget = PLENTY,
        generator: SentinelInfiller | None = None,
    ) -> Run:
        out = Path(tempfile.mkdtemp(dir=tmp_path)) / "run"
        result = ap.search(
            task,
            space,
            model,
            recipe=recipe,
            seed=SEED,
            budget=budget,
            out=out,
            generator=generator,
        )
        storage = f"sqlite:///{out / 'study.db'}"
        (known,) = optuna.get_all_study_summaries(storage)
        study = optuna.load_study(study_name=known.study_name, storage=storage)
        records = [record for trial in study.trials if (record := record_of(trial))]
        records.sort(key=lambda record: record.proposal)
        written = study.user_attrs.get(WRITTEN_TEMPLATES, {"templates": []})["templates"]
        return Run(result, records, [text for text, _ in written])

    return run


@pytest.fixture(scope="module")
def bert_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT."""
    return tiny_models.build("bert", tmp_path_factory.mktemp("recipes"), seed=1)


@pytest.fixture(scope="module")
def bert(bert_directory: Path) -> Any:
    """The tiny random BERT, loaded."""
    return load_model(str(bert_directory))


@pytest.fixture(scope="module")
def plain_bert(bert_directory: Path) -> Plain:
    """The tiny random BERT, plain."""
    return Plain(bert_directory)


@pytest.fixture(scope="module")
def space() -> ap.SearchSpace:
    """Three seeds, and much that no recipe of a neighbour may use."""
    return ap.SearchSpace.parse(SPACE)


SEEDS = ["{text} it was {mask} .", "{mask} film : {text}", "this is {mask} : {text}"]
SEED_WORDS = [
    [["terrible"], ["great"]],
    [["bad", "awful"], ["good", "fine"]],
    [["no"], ["yes"]],
]


# -- manual -----------------------------------------------------------------------------------


def test_manual_is_the_best_seed(
    bert: Any, plain_bert: Plain, space: ap.SearchSpace, searched: Callable[..., Run]
) -> None:
    task = tiny_task(28, 64)
    run = searched(task, space, bert, "manual")
    assert [prompt.template.text for prompt in map(run.prompt, range(3))] == SEEDS
    assert len(run.records) == 3
    prompts = [
        verbalized(plain_bert, template, words)
        for template, words in zip(SEEDS, SEED_WORDS, strict=True)
    ]
    # Nothing of a seed is fitted, so that train judges it as dev does.
    best = best_on_dev(prompts, [*task.train, *task.dev])
    assert run.result.best.digest == run.result.baseline.digest == run.prompt(best).digest
    assert run.result.verdict.status == KEPT_SEED


# -- PETAL ------------------------------------------------------------------------------------


def petal_words(plain: Plain, template: str, train: Sequence[Example]) -> list[list[str]]:
    """Ten words a label: `find_verbalizer` of the authors' code, for two labels."""
    odds: dict[str, list[float]] = {word: [] for word in plain.words()}
    for example in train:
        logs = plain.at_mask(template, example)
        for word, index in plain.words().items():
            odds[word].append(float(logs[index]) - math.log(1 - math.exp(logs[index])))
    found = []
    for label in LABELS:
        inside = [example.label == label for example in train]
        scale = (len(train) - sum(inside)) / sum(inside)
        ratio = {
            word: sum(one * (scale if mine else -1) for one, mine in zip(row, inside, strict=True))
            for word, row in odds.items()
        }
        found.append(sorted(ratio, key=lambda word: -ratio[word])[:10])
    return found


def test_petal_takes_the_papers_words_and_returns_the_best_pattern_on_dev(
    bert: Any, plain_bert: Plain, space: ap.SearchSpace, searched: Callable[..., Run]
) -> None:
    task = tiny_task(28, 64)
    run = searched(task, space, bert, "petal")
    assert len(run.records) == 6
    prompts = []
    for index, template in enumerate(SEEDS):
        words = petal_words(plain_bert, template, task.train)
        assert not set(words[0]) & set(words[1])
        prompt = run.prompt(3 + index)
        assert prompt.template.text == template
        assert [list(group) for group in prompt.verbalizer.words] == words
        assert prompt.verbalizer.aggregation == "mean"
        assert prompt.calibration.method == "none"
        prompts.append(verbalized(plain_bert, template, words, "mean"))
    best = best_on_dev(prompts, task.dev)
    assert run.result.best.digest == run.prompt(3 + best).digest


# -- LM-BFF -----------------------------------------------------------------------------------


def gain_of_a_word(
    plain: Plain, before: str, old: str, new: str, after: str, train: Sequence[Example]
) -> float:
    """By how much the model expects a word more than another, with gold label words in place."""
    total = 0.0
    words = dict(zip(LABELS, ("terrible", "great"), strict=True))
    for example in train:
        text = f"{before}@@{after}".replace("{text}", example.fields["text"])
        text = text.replace("{mask}", words[str(example.label)]).replace("@@", "[MASK]")
        ids = plain.ids(text)
        logs = plain.at(ids, ids.index(plain.mask))
        total += float(logs[plain.vocabulary[new]] - logs[plain.vocabulary[old]])
    return total / len(train)


def assigned_words(plain: Plain, template: str, train: Sequence[Example]) -> tuple[str, str]:
    """The pair with the highest accuracy on train, ties by likelihood at its best temperature."""
    words = plain.words()
    rows = [plain.at_mask(template, example) for example in train]
    golds = [LABELS_OF[example.label] for example in train]
    best, record = ("", ""), (-1, -math.inf)
    for pair in itertools.permutations(words, 2):
        columns = [words[word] for word in pair]
        hits = sum(
            bool(row[columns[gold]] > row[columns[1 - gold]])
            for row, gold in zip(rows, golds, strict=True)
        )
        if hits < record[0]:
            continue
        reached = (hits, likelihood(rows, golds, columns))
        if reached > (record[0], record[1] + 1e-9 if hits == record[0] else record[1]):
            best, record = (pair[0], pair[1]), reached
    return best


def likelihood(rows: Sequence[Any], golds: Sequence[int], columns: Sequence[int]) -> float:
    found = []
    for inverse in INVERSE_TEMPERATURES:
        total = 0.0
        for row, gold in zip(rows, golds, strict=True):
            scores = [inverse * float(row[column]) for column in columns]
            total += max(scores[gold] - float(np.logaddexp.reduce(scores)), -CLIP)
        found.append(total / len(rows))
    return max(found)


def test_lm_bff_fill_proposes_around_gold_words_assigns_words_and_returns_the_best_on_dev(
    bert: Any, plain_bert: Plain, space: ap.SearchSpace, searched: Callable[..., Run]
) -> None:
    one_seed = replace(space, seeds=space.seeds[:1])
    task = tiny_task(12, 40)
    budget = ap.Budget(trials=1 + 2 * 6)
    run = searched(task, one_seed, bert, "lm-bff", budget)

    # What the model proposes depends on the gold label's words.
    fit = SelectionData.of(task, SEED).fit
    words = {"neg": "terrible", "pos": "great"}
    proposed, _ = fill(bert, Template.parse(SEEDS[0]), fit, words, most=100)
    assert run.written == [one.template.text for one in proposed]
    assert len(run.written) == 100
    blind, _ = fill(bert, Template.parse(SEEDS[0]), fit, most=100)
    assert run.written != [one.template.text for one in blind]
    edits, _ = fill(bert, Template.parse(SEEDS[0]), fit, words, rounds=1, most=10_000)
    scores = {one.template.text: one.score for one in edits}
    checked = 0
    for old, before, after in (
        ("was", "{text} it ", " {mask} ."),
        ("it", "{text} ", " was {mask} ."),
    ):
        naive = {
            before + new + after: gain_of_a_word(plain_bert, before, old, new, after, task.train)
            for new in plain_bert.words()
            if new not in ("it", "was")
        }
        likely = sorted(naive, key=lambda text: -naive[text])[:6]  # "a" and signs may take places
        for text in likely:
            assert scores[text] == pytest.approx(naive[text], abs=1e-4)
            checked += 1
    assert checked == 12

    # Each with the manual words, then with assigned ones, in the order of their scores.
    prompts: list[Reference] = []
    owners: list[int] = []
    for index, record in enumerate(run.records[1:], start=1):
        template = run.written[(index - 1) // 2]
        assert record.outcome is not None
        prompt = record.outcome.prompt
        assert prompt.template.text == template
        assigned = (index - 1) % 2
        pair = (
            assigned_words(plain_bert, template, task.train) if assigned else ("terrible", "great")
        )
        assert [list(group) for group in prompt.verbalizer.words] == [[word] for word in pair]
        assert record.outcome.start == len(fit)  # train has had its say
        prompts.append(verbalized(plain_bert, template, [[word] for word in pair]))
        owners.append(index)
    assert len(prompts) >= 12
    best = owners[best_on_dev(prompts, task.dev)]
    assert run.result.best.digest == run.prompt(best).digest


def test_lm_bff_with_a_t5_tries_the_templates_of_its_beam(
    bert: Any,
    plain_bert: Plain,
    space: ap.SearchSpace,
    searched: Callable[..., Run],
    tmp_path: Path,
) -> None:
    one_seed = replace(space, seeds=space.seeds[:1])
    task = tiny_task(8, 20)
    t5 = SentinelInfiller.load(str(tiny_t5.build(tmp_path / "t5")))
    run = searched(task, one_seed, bert, "lm-bff", ap.Budget(trials=1 + 2 * 3), t5)
    fit = SelectionData.of(task, SEED).fit
    words = {"neg": "terrible", "pos": "great"}
    texts = t5.generate(fit, ("text",), words, beam=100, most=100, max_tokens=20)
    assert sorted(run.written) == sorted(text for text, _ in texts)
    scored = [record.outcome for record in run.records[1:] if record.outcome]
    assert {one.prompt.template.text for one in scored} <= set(run.written)
    prompts = []
    for place, outcome in enumerate(scored):
        template = outcome.prompt.template.text
        assert template == run.written[place // 2]
        assigned = place % 2 == 1
        pair = (
            assigned_words(plain_bert, template, task.train) if assigned else ("terrible", "great")
        )
        assert [list(group) for group in outcome.prompt.verbalizer.words] == [[w] for w in pair]
        prompts.append(verbalized(plain_bert, template, [[word] for word in pair]))
    best = best_on_dev(prompts, task.dev)
    assert run.result.best.digest == scored[best].prompt.digest


# -- AutoPrompt -------------------------------------------------------------------------------


class SlowAutoPrompt:
    """Shin et al. 2020, as in `label_search.py` and `create_trigger.py`.

    Args:
        plain: the model.
        task: its fields are one text.
        encoder: tells whether tokens, written as text, are read as the same tokens.
    """

    def __init__(self, plain: Plain, task: ap.Task, encoder: Any) -> None:
        self.plain = plain
        self.task = task
        self.encoder = encoder
        self.template = Template.parse("{text} {trigger:3} {mask}.")
        self.fit = SelectionData.of(task, SEED).fit
        self.words = self.label_words()
        named = {index for group in self.words for index in group}
        special = set(plain.tokenizer.all_special_ids)
        self.allowed = [
            token
            for token in range(len(plain.vocabulary))
            if token not in named and token not in special
        ]

    def ids(self, triggers: Sequence[int], example: Example) -> list[int]:
        text = self.plain.ids(example.fields["text"])
        stop = self.plain.ids(".")[1:-1]
        return [*text[:-1], *triggers, self.plain.mask, *stop, text[-1]]

    def scores(self, triggers: Sequence[int], example: Example) -> list[float]:
        ids = self.ids(triggers, example)
        logs = self.plain.at(ids, len(ids) - 3)
        return [float(np.logaddexp.reduce([logs[i] for i in group])) for group in self.words]

    def label_words(self) -> list[list[int]]:
        """The three words a label whose output embeddings a classifier of mask states likes best.

        The classifier is a penalised one on centred inputs of unit scale: see `head_log_odds`.
        """
        plain, states = self.plain, []
        for example in self.task.train:
            ids = self.ids([plain.mask] * 3, example)
            with torch.no_grad():
                hidden = plain.module.bert(torch.tensor([ids]))[0]
                hidden = plain.module.cls.predictions.transform(hidden)
            states.append(hidden[0, len(ids) - 3].double().numpy())
        signs = [1.0 if LABELS_OF[example.label] else -1.0 for example in self.task.train]
        inputs = unit(np.array(states))

        def loss(parameters: Any) -> float:
            total = 0.5 * float(parameters[:-1] @ parameters[:-1])
            for row, sign in zip(inputs, signs, strict=True):
                total += float(np.logaddexp(0, -sign * (row @ parameters[:-1] + parameters[-1])))
            return total

        def slope(parameters: Any) -> Any:
            found = np.append(parameters[:-1], 0.0)
            for row, sign in zip(inputs, signs, strict=True):
                margin = sign * (row @ parameters[:-1] + parameters[-1])
                found -= sign / (1 + math.exp(margin)) * np.append(row, 1.0)
            return found

        start = np.zeros(inputs.shape[1] + 1)
        weights = minimize(loss, start, jac=slope, options={"gtol": 1e-9}).x[:-1]
        words = plain.words()
        table = plain.module.get_output_embeddings().weight.detach().double().numpy()
        odds = unit(table[list(words.values())]) @ weights
        ranked = [token for _, token in sorted(zip(odds, words.values(), strict=True))]
        return [ranked[:3], ranked[::-1][:3]]

    def batch(self, step: int, use: int) -> list[Example]:
        """24 examples, as the engine draws them."""
        seed = derive_seed(derive_seed(SEED, "line", 0), "batch", step, use)
        return shuffled_by_label(self.fit, seed)[:24]

    def position(self, step: int) -> int:
        return int(generator(derive_seed(SEED, "line", 0), "triggers", step, 0).integers(3))

    def loss(self, triggers: Sequence[int], batch: Sequence[Example]) -> float:
        """Equation 1: -log of the summed probabilities of the gold label's words, on average."""
        total = 0.0
        for example in batch:
            total -= self.scores(triggers, example)[LABELS_OF[example.label]]
        return total / len(batch)

    def misses(self, triggers: Sequence[int], batch: Sequence[Example]) -> float:
        """What `AccuracyFn` does not count as right: a tie is a miss."""
        wrong = 0
        for example in batch:
            scores = self.scores(triggers, example)
            wrong += sum(score >= scores[LABELS_OF[example.label]] for score in scores) > 1
        return wrong / len(batch)

    def gradient(self, triggers: Sequence[int], batch: Sequence[Example]) -> Any:
        """Of the loss at the three triggers' embeddings."""
        module = self.plain.module
        total = np.zeros((3, module.get_input_embeddings().weight.shape[1]))
        for example in batch:
            ids = self.ids(triggers, example)
            embedded = module.get_input_embeddings()(torch.tensor([ids])).detach()
            embedded.requires_grad_()
            place = len(ids) - 3
            logs = torch.log_softmax(module(inputs_embeds=embedded).logits[0, place], -1)
            loss = -torch.logsumexp(logs[self.words[LABELS_OF[example.label]]], -1)
            (slope,) = torch.autograd.grad(loss, embedded)
            total += slope[0, place - 3 : place].double().numpy() / len(batch)
        return total

    def candidates(self, triggers: Sequence[int], slopes: Any, position: int) -> list[list[int]]:
        """Equation 2: the ten tokens that lower the loss most, by its slope."""
        table = self.plain.module.get_input_embeddings().weight.detach().double().numpy()
        order = sorted(self.allowed, key=lambda token: float(table[token] @ slopes[position]))
        found: list[list[int]] = []
        for token in order:
            swapped = [*triggers[:position], token, *triggers[position + 1 :]]
            readable = self.encoder.round_trips(Frame(self.template, (tuple(swapped),)))
            if token != triggers[position] and readable and len(found) < 10:
                found.append(swapped)
        return found

    def prompt(self, triggers: Sequence[int]) -> Reference:
        return Reference(lambda example: self.scores(triggers, example))


def unit(rows: Any) -> Any:
    centred = rows - rows.mean(axis=0)
    return centred / math.sqrt(float((centred**2).mean()))


def test_autoprompt_goes_step_by_step_as_the_authors_code(
    bert_directory: Path,
    space: ap.SearchSpace,
    searched: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _steps_as_the_authors_code(bert_directory, tiny_task(32, 28), space, searched, monkeypatch)


def test_autoprompt_accepts_steps_as_the_authors_code(
    planted_directory: Path, searched: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On some draw a step is accepted; on which one hangs on the arithmetic of the machine."""
    space = ap.SearchSpace.parse(planted.space_text())
    assert any(
        _steps_as_the_authors_code(
            planted_directory, planted.task(draw, per_label=16), space, searched, monkeypatch
        )
        for draw in (2, 1, 3, 0)
    )


def _steps_as_the_authors_code(
    directory: Path,
    task: ap.Task,
    space: ap.SearchSpace,
    searched: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
) -> int:
    """Compare all steps of a search with the slow reference; returns how many were accepted."""
    model: Any = load_model(str(directory))
    slow = SlowAutoPrompt(Plain(directory), task, model.encoder)

    gradients: list[Any] = []
    judged: list[tuple[list[tuple[int, ...]], Any]] = []
    promises, values = TriggerSearch.promises, TriggerSearch.values

    def heard_promises(self: Any, ids: Any, rows: Any) -> Any:
        found = promises(self, ids, rows)
        gradients.append(found)
        return found

    def heard_values(self: Any, candidates: Any, rows: Any) -> Any:
        found = values(self, candidates, rows)
        judged.append((list(candidates), found))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(TriggerSearch, "promises", heard_promises)
        patch.setattr(TriggerSearch, "values", heard_values)
        run = searched(task, space, model, "autoprompt", ap.Budget(forwards=6_000))

    settings = Recipe.of("autoprompt").triggers
    judge = slow.misses if getattr(settings, "by_accuracy", False) else slow.loss
    seeds = len(space.seeds)
    first = run.prompt(seeds)
    assert first.template == slow.template
    assert first.frame.triggers == ((slow.plain.mask,) * 3,)
    spelled = [slow.plain.tokenizer.convert_ids_to_tokens(group) for group in slow.words]
    assert [list(group) for group in first.verbalizer.words] == spelled
    assert first.verbalizer.aggregation == "logsumexp"

    steps = run.records[seeds + 1 :]
    assert len(steps) >= 10
    now = [slow.plain.mask] * 3
    tried, accepted = [now], 0
    table = slow.plain.module.get_input_embeddings().weight.detach().double().numpy()
    for step, record in enumerate(steps):
        position = slow.position(step)
        slopes = slow.gradient(now, slow.batch(step, 0))
        promised = (table[now[position]] - table[slow.allowed]) @ slopes[position]
        known = gradients[step][position, slow.allowed]
        same = np.isfinite(known)
        np.testing.assert_allclose(known[same], promised[same], atol=1e-4)

        candidates = slow.candidates(now, slopes, position)
        of_engine, values_of_engine = judged[step]
        assert [list(ids) for ids in of_engine] == [now, *candidates]
        batch = slow.batch(step, 1)
        losses = [judge(ids, batch) for ids in (now, *candidates)]
        np.testing.assert_allclose(values_of_engine, losses, atol=1e-4)

        best = min(range(len(candidates)), key=lambda index: losses[1 + index])
        if losses[1 + best] < losses[0]:
            now, accepted = candidates[best], accepted + 1
            tried.append(now)
        assert record.outcome is not None
        assert record.outcome.prompt.frame.triggers == (tuple(now),)
        assert record.outcome.prompt.verbalizer == first.verbalizer
    best = best_on_dev([slow.prompt(ids) for ids in tried], task.dev)
    assert run.result.best.frame.triggers == (tuple(tried[best]),)
    return accepted


# -- what is left to the paper: all of dev ----------------------------------------------------


@pytest.mark.parametrize("recipe", ["petal", "lm-bff", "autoprompt"])
def test_all_of_dev_judges_what_a_recipe_tries(
    recipe: str, bert: Any, space: ap.SearchSpace, searched: Callable[..., Run]
) -> None:
    budget = ap.Budget(forwards=5_000)
    run = searched(tiny_task(16, 120), space, bert, recipe, budget)
    assert len(run.records) > 3
    for record in run.records:
        assert record.outcome is not None
        assert record.outcome.value is not None
