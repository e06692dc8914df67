"""A planted task: one trigger token and one word for each label decide it, and nothing else does.

A tiny BERT is trained on the spot. Each text holds one cue, of class A or class B. Where the token
`TRIGGER` stands at most `REACH` tokens before the mask, the model says the class's word of `WORDS`
there. Where it does not, the mask is filled by what the other words of the text suggest (their
"themes"), and the class shifts the planted words only a little, far less than the themes do: a
trace that statistics over many texts find, but that predicts no single text.

Two things make it a fair task for a search that follows gradients. The slot is trained with
mixtures of a token's embedding and the trigger's, so that the model answers smoothly on the way
from one to the other. And the themes move every word, so that no chance leak of the class
into some word is larger than the noise around it.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import transformers
from tiny_models import BERT_SPECIALS
from torch.nn import functional

from autoprompt.tasks.examples import Example
from autoprompt.tasks.task import Task

LABELS = ("first", "second")
TRIGGER = "zap"
WORDS = {"first": "sun", "second": "moon"}
USELESS = {"first": "gray", "second": "plain"}
TEMPLATE = "{text} zap {mask}"
USELESS_TEMPLATE = "{text} It {mask}."
CUES = {
    "first": ["apple", "bread", "cherry", "honey"],
    "second": ["hammer", "ladder", "needle", "shovel"],
}
# Words of the texts.
FILLER_LIST = """
road river stone field garden window door table chair paper letter street bridge market wagon horse
cattle sheep farmer village castle tower harbor island coast valley forest meadow winter summer
morning evening clock mirror candle blanket basket bottle pocket button ribbon jacket shoulder
finger walked carried opened closed painted waited listened followed gathered counted borrowed
returned visited measured repaired quietly slowly often rarely always nearly together alone
outside inside above below between behind beside early later today
"""
# Words that no text holds: for templates, triggers and labels.
OTHER_LIST = """
gray plain round square heavy light narrow wide simple common wooden silver golden copper marble
velvet cotton linen leather rubber purple orange yellow green brown violet scarlet north south east
west seven eleven twenty hundred thousand monday friday april august circle triangle corner edge
middle center pattern signal number figure measure volume weight degree planet comet meteor rocket
engine piston lever pulley magnet copy print draft sketch record chapter verse rhyme melody rhythm
drum flute violin trumpet piano sun moon zap
"""
STOP_LIST = "it was is a an the this that of in on and or so to my very all text here there now"
FILLERS, OTHERS, STOPS = FILLER_LIST.split(), OTHER_LIST.split(), STOP_LIST.split()
MARKS = [".", ",", ":", "!", "?"]
REACH = 3  # how many tokens before the mask the trigger works
MAX_LENGTH = 40

THEMES = 3
THEME = 1.0  # strength of the themes on a word's log-odds
LURE = 1.5  # ... and on a planted word's
TRACE = 0.5  # log-odds between the planted words that the class gives without the trigger
PULL = 10.0  # ... and with it
UNLIKELY = -5.0  # log-odds of what is no word: marks, special tokens, and the trigger
STEPS = 600
GROUPS = 22  # rows a step, each in three forms
RATE = 6e-3


# -- the task ---------------------------------------------------------------------------------


def texts(count: int, draw: random.Random) -> list[tuple[str, str]]:
    """Pairs of text and label, the labels in turns; no two texts are equal."""
    found: dict[str, str] = {}
    while len(found) < count:
        label = LABELS[len(found) % 2]
        found.setdefault(" ".join(_words_of_text(label, draw)), label)
    return list(found.items())


def task(seed: int, per_label: int = 16, test: int = 100) -> Task:
    """The planted task with data of its own for each seed.

    Args:
        seed: of the texts.
        per_label: train examples a label, and as many for dev.
        test: examples of the test split, both labels together.
    """
    draw = random.Random(f"planted task {seed}")
    rows = texts(4 * per_label + test, draw)
    examples = [Example({"text": text}, label) for text, label in rows]
    cuts = (2 * per_label, 4 * per_label)
    return Task(
        name="planted",
        fields=("text",),
        labels=LABELS,
        metric="accuracy",
        train=tuple(examples[: cuts[0]]),
        dev=tuple(examples[cuts[0] : cuts[1]]),
        test=tuple(examples[cuts[1] :]),
    )


def write_task(directory: Path, seed: int, per_label: int = 16, test: int = 100) -> Path:
    """Write `task(...)` as train, dev and test files, for the command line."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, examples in task(seed, per_label, test).splits.items():
        rows = [{**example.fields, "label": example.label} for example in examples]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (directory / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return directory


def space_text() -> str:
    """A search space with one seed prompt, which is useless: neither word tells the classes."""
    return f"""\
name: planted
fields: [text]
labels: [{", ".join(LABELS)}]
seeds:
  - template: "{USELESS_TEMPLATE}"
    verbalizer: {{first: [{USELESS["first"]}], second: [{USELESS["second"]}]}}
"""


def _words_of_text(label: str, draw: random.Random) -> list[str]:
    words = [draw.choice(FILLERS) for _ in range(draw.randint(4, 10))]
    words.insert(draw.randint(0, len(words)), draw.choice(CUES[label]))
    return words


# -- the model --------------------------------------------------------------------------------


def vocabulary() -> dict[str, int]:
    """Whole words only: all that is written here is one token."""
    cues = [word for words in CUES.values() for word in words]
    pieces = [*BERT_SPECIALS, *STOPS, *MARKS, *FILLERS, *OTHERS, *cues]
    return {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}


def build(directory: Path, seed: int = 3) -> Path:
    """Train the planted model and save it with its tokenizer, as `save_pretrained` does.

    Every seed that was tried plants trigger and words. The default one was chosen of eight: with
    it gradients point at the trigger from a mask in any slot, and the trigger does little beyond
    its reach.
    """
    tokenizer = transformers.BertTokenizer(vocabulary())
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_LENGTH,
        initializer_range=0.1,
        hidden_dropout_prob=0.0,  # too few steps for it
        attention_probs_dropout_prob=0.0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = transformers.BertForMaskedLM(config)
        course = _Course(vocabulary(), seed)  # the tokenizer gives its own in no order
        course.begin(module.get_input_embeddings().weight)
        _train(module, course)
    module.eval().save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@dataclass(frozen=True)
class _Row:
    """One training sequence.

    Attributes:
        ids: its tokens, without the trigger.
        answer: the position of the mask that is to be filled.
        label: 0 or 1.
        cue: the position of the cue.
        trigger: the position where the trigger is mixed in.
        share: how much of the trigger is in the mixture; 0 for none.
    """

    ids: list[int]
    answer: int
    label: int
    cue: int
    trigger: int = 1
    share: float = 0.0


@dataclass(frozen=True)
class _Batch:
    """Rows as tensors; `odds` are the log-odds of the vocabulary that each mask should have."""

    ids: torch.Tensor
    attention: torch.Tensor
    answers: torch.Tensor
    triggers: torch.Tensor
    shares: torch.Tensor
    odds: torch.Tensor


class _Course:
    """Draws training batches, with the distribution that each mask should have."""

    def __init__(self, vocab: dict[str, int], seed: int) -> None:
        self.vocab = vocab
        self.draw = random.Random(f"planted model {seed}")
        self.mask, self.trigger = vocab["[MASK]"], vocab[TRIGGER]
        self.planted = torch.tensor([vocab[WORDS[label]] for label in LABELS])
        self.rest = torch.tensor([i for i in vocab.values() if i not in self.planted.tolist()])
        self.neutral = [vocab[word] for word in (*STOPS, *MARKS)]
        self.cues = [[vocab[word] for word in CUES[label]] for label in LABELS]
        self.fill = [index for index in vocab.values() if index != self.trigger]
        # A cue beside the trigger would contradict the text's.
        self.fill_by_trigger = [i for i in self.fill if i not in (*self.cues[0], *self.cues[1])]

        fillers = [vocab[word] for word in FILLERS]
        self.leaning = torch.zeros(len(vocab), THEMES)  # how a filler speaks for a theme
        self.leaning[fillers] = torch.randn(len(fillers), THEMES)
        self.is_filler = torch.zeros(len(vocab))
        self.is_filler[fillers] = 1.0
        self.loading = torch.randn(THEMES, len(vocab)) * THEME / THEMES**0.5
        # Opposite themes of a set strength: what the trace has to hide behind.
        first, second = self.planted.tolist()
        self.loading[:, first] *= LURE / self.loading[:, first].norm()
        self.loading[:, second] = -self.loading[:, first]
        self.usual = torch.full((len(vocab),), UNLIKELY)
        self.usual[[vocab[word] for word in (*FILLERS, *OTHERS)]] = 0.0
        self.usual[self.trigger] = UNLIKELY

    @torch.no_grad()
    def begin(self, table: torch.Tensor) -> None:
        """Put the themes into the embeddings, which would take thousands of steps to find them."""
        table[:, :THEMES] += 0.5 * self.leaning
        table[:, THEMES : 2 * THEMES] += 0.5 * self.loading.T
        table[self.trigger] *= 2.0  # a direction that a gradient can see among the themes

    def batch(self) -> _Batch:
        """Rows without the trigger, then the same with it, then with a cue of the other class.

        What trigger and class do is learned from the differences, which the themes leave alone.
        """
        drawn = [self._row() for _ in range(GROUPS)]
        plain = [replace(row, share=0.0) for row in drawn]
        rows = [*plain, *drawn, *(self._swapped(row) for row in plain)]
        ids = torch.zeros((len(rows), max(len(row.ids) for row in rows)), dtype=torch.long)
        attention = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row.ids)] = torch.tensor(row.ids)
            attention[index, : len(row.ids)] = 1
        answers = torch.tensor([row.answer for row in rows])
        triggers = torch.tensor([row.trigger for row in rows])
        shares = torch.tensor([row.share for row in rows])
        labels = torch.tensor([row.label for row in rows])

        spoken = self.leaning[ids].sum(1) / self.is_filler[ids].sum(1, keepdim=True)
        odds = self.usual + 7**0.5 * spoken @ self.loading  # texts have 7 fillers on average
        every = torch.arange(len(rows))
        works = answers - triggers <= REACH
        odds[every, self.planted[labels]] += TRACE / 2 + PULL * shares * works
        odds[every, self.planted[1 - labels]] -= TRACE / 2
        return _Batch(ids, attention, answers, triggers, shares, odds)

    def _row(self) -> _Row:
        draw = self.draw
        label = draw.randrange(2)
        text = [self.vocab[word] for word in _words_of_text(LABELS[label], draw)]
        works = draw.random() < 0.65
        fill = self.fill_by_trigger if works else self.fill
        slots = [draw.choice(fill) for _ in range(draw.randint(1, 3))]
        if draw.random() < 0.25:  # as a search begins
            slots = [self.mask] * len(slots)
        lead = [*self._neutral(2), *slots, *self._neutral(REACH - 1)]
        tail = self._neutral(2)
        text_first = draw.random() < 0.75
        before, after = ([*text, *lead], tail) if text_first else (lead, [*tail, *text])
        ids = [self.vocab["[CLS]"], *before, self.mask, *after, self.vocab["[SEP]"]]
        answer = 1 + len(before)
        start = 1 if text_first else answer + 1 + len(tail)
        cue = start + next(at for at, token in enumerate(text) if token in self.cues[label])
        row = _Row(ids, answer, label, cue)
        if works:
            trigger = answer - draw.randint(1, min(REACH, len(lead)))
            return replace(row, trigger=trigger, share=self._share())
        farthest = answer - REACH - 3
        if farthest > 1 and draw.random() < 0.7:  # too far from the mask to work
            return replace(row, trigger=draw.randint(1, farthest), share=1.0)
        return row

    def _share(self) -> float:
        """Mostly parts; some below zero, so that the slope at zero is not that of an edge."""
        if self.draw.random() < 0.3:
            return 1.0
        if self.draw.random() < 0.75:
            return self.draw.uniform(0.1, 1.0)
        return self.draw.uniform(-0.3, -0.1)

    def _swapped(self, row: _Row) -> _Row:
        """The row with a cue of the other class in the place of its own."""
        ids = list(row.ids)
        ids[row.cue] = self.draw.choice(self.cues[1 - row.label])
        return replace(row, ids=ids, label=1 - row.label)

    def _neutral(self, most: int) -> list[int]:
        return [self.draw.choice(self.neutral) for _ in range(self.draw.randint(0, most))]


def _train(module: transformers.BertForMaskedLM, course: _Course) -> None:
    optimizer = torch.optim.AdamW(module.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    table = module.get_input_embeddings()
    module.train()
    for _ in range(STEPS):
        batch = course.batch()
        every = torch.arange(len(batch.ids))
        embedded = table(batch.ids)
        mixed = torch.lerp(
            embedded[every, batch.triggers], table.weight[course.trigger], batch.shares[:, None]
        )
        embedded = embedded.index_put((every, batch.triggers), mixed)
        states = module.bert(inputs_embeds=embedded, attention_mask=batch.attention)[0]
        _loss(module.cls(states[every, batch.answers]), batch, course).backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


def _loss(logits: torch.Tensor, batch: _Batch, course: _Course) -> torch.Tensor:
    loss = functional.cross_entropy(logits, batch.odds.softmax(-1))
    # The other words alone: the trigger must not give them away to any other pair of words.
    rest = course.rest
    loss += functional.cross_entropy(logits[:, rest], batch.odds[:, rest].softmax(-1))
    # The odds between the planted words themselves: cross-entropy hardly sees them where both are
    # rare, which is where a search begins.
    first, second = course.planted.tolist()
    wrong = logits[:, first] - logits[:, second] - batch.odds[:, first] + batch.odds[:, second]
    plain, triggered, swapped = wrong.view(3, -1)
    share = batch.shares.view(3, -1)[1].abs().clamp(min=0.1)
    loss += 0.3 * _size(wrong)
    loss += 0.25 * _size((triggered - plain) / share)
    loss += 0.5 * _size(swapped - plain)
    return loss


def _size(wrong: torch.Tensor) -> torch.Tensor:
    return functional.smooth_l1_loss(wrong, torch.zeros_like(wrong))
