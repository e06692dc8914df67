"""What a report says of a prompt that only its model can tell.

All of it is measured on a few dev examples of the search, never on test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoprompt.audit import audit
from autoprompt.audit_results import Audit
from autoprompt.errors import InputError
from autoprompt.finished_runs import FinishedRun
from autoprompt.objective import evaluate, tempered_log_likelihoods
from autoprompt.pieces import Demonstrations, Literal, Piece, Trigger, written
from autoprompt.prediction import Predictor
from autoprompt.prompts import Prompt, TriggerTokens
from autoprompt.runs import held_out_of
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template

EXAMPLES = 48  # of dev
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Salient:
    """A token of the prompt.

    Attributes:
        text: as it reads.
        kind: "word", "trigger", "slot" or "demonstrations".
        worth: by how much the mean log-likelihood of the right labels falls without it; None
            where it cannot be left out, or nothing can be said of it.
    """

    text: str
    kind: str
    worth: float | None = None


@dataclass(frozen=True)
class WordRow:
    """A label word.

    Attributes:
        word: the word.
        label: that it stands for.
        probabilities: label to the mean probability of the word at the mask, over examples that
            have that label; a word of several tokens has the geometric mean over its tokens.
    """

    word: str
    label: str
    probabilities: dict[str, float]


@dataclass(frozen=True)
class ModelFacts:
    """What the model says.

    Attributes:
        n: dev examples that it was asked about.
        tokens: the prompt's tokens in order.
        words: the label words.
        audit: the winner under other wordings, on changed inputs, with groups exchanged.
        forwards: sequences that went through the model for it.
    """

    n: int
    tokens: tuple[Salient, ...]
    words: tuple[WordRow, ...]
    audit: Audit
    forwards: int


def model_facts(run: FinishedRun, predictor: Predictor) -> ModelFacts | None:
    """Ask the winner's model; None where the run keeps no dev examples.

    Raises:
        PromptError: the predictor is another prompt's.
    """
    examples = [row.example for row in run.selection if row.split == "dev"][:EXAMPLES]
    if not examples:
        return None
    found = audit(predictor, examples, run.metric, held_out=held_out_of(run.path, predictor.prompt))
    return ModelFacts(
        len(examples),
        tuple(saliency(predictor, examples)),
        tuple(word_rows(predictor, examples)),
        found,
        predictor.scorer.spent.forwards,
    )


def saliency(predictor: Predictor, examples: Sequence[Example]) -> Iterator[Salient]:
    """Each token of the prompt with what it is worth: occlusion, token by token.

    The prompt is scored without the token, everything else as it is, at the temperature that suits
    it best. A gradient would say less: it tells of small steps, and a token is there or is not.
    """
    prompt, scorer = predictor.prompt, predictor.scorer
    whole = float(tempered_log_likelihoods(evaluate(prompt, scorer, examples)).mean())

    def worth(changed: Prompt | None) -> float | None:
        if changed is None:
            return None
        try:
            scored = evaluate(changed, scorer, examples)
        except InputError:  # the word melts into the text, or the mask is not last any more
            return None
        return whole - float(tempered_log_likelihoods(scored).mean())

    for token, without in _left_out(prompt):
        yield replace(token, worth=worth(without))


def _left_out(prompt: Prompt) -> Iterator[tuple[Salient, Prompt | None]]:
    """Each token with the prompt that lacks it; None where it cannot be left out."""
    pieces = prompt.template.pieces
    slot = 0
    for at, piece in enumerate(pieces):
        if isinstance(piece, Literal):
            for match in _TOKEN.finditer(piece.text):
                less = piece.text[: match.start()].rstrip(" ") + piece.text[match.end() :]
                if match.start() == 0 or not less[: match.start()].strip():
                    less = piece.text[: match.start()] + piece.text[match.end() :].lstrip(" ")
                yield Salient(match[0], "word"), _with(prompt, at, [Literal(less)])
        elif isinstance(piece, Trigger):
            for number, text in enumerate(prompt.triggers[slot].strings):
                changed = _without_trigger(prompt, at, slot, number)
                yield Salient(text.strip() or text, "trigger"), changed
            slot += 1
        elif isinstance(piece, Demonstrations):
            bare = (
                replace(prompt, demonstrations=(), tokens=None) if prompt.demonstrations else None
            )
            yield Salient("demonstrations", "demonstrations"), bare
        else:
            yield Salient(written([piece]), "slot"), None


def _with(prompt: Prompt, at: int, pieces: Sequence[Piece]) -> Prompt | None:
    old = prompt.template.pieces
    try:
        template = Template.of([*old[:at], *pieces, *old[at + 1 :]])
    except InputError:
        return None
    return replace(prompt, template=template, tokens=None)


def _without_trigger(prompt: Prompt, at: int, slot: int, number: int) -> Prompt | None:
    known = prompt.triggers[slot]
    kept = [n for n in range(len(known.ids)) if n != number]
    if not kept:
        fewer = prompt.triggers[:slot] + prompt.triggers[slot + 1 :]
        pieces: list[Piece] = []
    else:
        shorter = TriggerTokens(
            tuple(known.ids[n] for n in kept), tuple(known.strings[n] for n in kept)
        )
        fewer = (*prompt.triggers[:slot], shorter, *prompt.triggers[slot + 1 :])
        pieces = [Trigger(len(kept))]
    old = prompt.template.pieces
    template = Template.of([*old[:at], *pieces, *old[at + 1 :]])
    return replace(prompt, template=template, triggers=fewer, tokens=None)


def word_rows(predictor: Predictor, examples: Sequence[Example]) -> Iterator[WordRow]:
    """The probability of each label word at the mask, by the examples' labels."""
    prompt = predictor.prompt
    # Its own scores: the predictor's are relative to the label words.
    scorer = WordScorer(predictor.model, prompt.verbalizer.all_words)
    probabilities = np.exp(scorer.scores(prompt.frame, examples).astype(np.float64))
    predictor.scorer.spent += scorer.spent
    labels = prompt.verbalizer.labels
    gold = np.array([labels.index(str(example.label)) for example in examples])
    for label, words in zip(labels, prompt.verbalizer.words, strict=True):
        for word in words:
            column = probabilities[:, scorer.column[word]]
            means = {
                other: float(column[gold == at].mean())
                for at, other in enumerate(labels)
                if (gold == at).any()
            }
            yield WordRow(word, label, means)
