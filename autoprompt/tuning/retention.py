"""What a model still knows: how surprised it is by ordinary text, before tuning and after.

For masked models and those with an encoder and a decoder this is pseudo-perplexity, each token
hidden in turn with all else in sight (Salazar et al. 2020), for causal ones perplexity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoprompt.errors import InputError
from autoprompt.files import read_text
from autoprompt.models.encoding import PromptEncoder
from autoprompt.models.protocol import LanguageModel
from autoprompt.models.sequence import Encoding

GENERAL_TEXT = Path(__file__).parent / "general_text.txt"


@dataclass(frozen=True)
class Retention:
    """Pseudo-perplexity on ordinary text.

    Attributes:
        before, after: of the base model, and of the tuned one.
    """

    before: float
    after: float

    @property
    def ratio(self) -> float:
        """How many times as surprised the tuned model is; 1 where nothing was lost."""
        return self.after / self.before


def general_text(path: Path | None = None) -> list[str]:
    """Sentences, one a line: 200 that were written for this project, or a file's.

    Raises:
        InputError: the file cannot be read, or is empty.
    """
    lines = read_text(path or GENERAL_TEXT, "general text").splitlines()
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise InputError(f"general text {path} is empty; give one sentence a line")
    return found


def pseudo_perplexity(model: LanguageModel, texts: Sequence[str]) -> float:
    """How surprised a model is by texts: exp of the mean -log p of their tokens.

    Args:
        model: of any family.
        texts: a text longer than the model reads is cut at its end.

    Raises:
        ScoringError: the model's scores are not finite.
    """
    hidden: list[Encoding] = []
    targets: list[tuple[int, ...]] = []
    for text in texts:
        encoding = _whole(model.encoder, text)
        ids = [encoding.ids[at] for at in encoding.trigger_positions]
        parts = model.encoder.hiding_triggers(encoding)
        if len(parts) == len(ids):
            targets += [(token,) for token in ids]
        elif parts:  # a causal model predicts all in one pass, but for what nothing stands before
            targets.append(tuple(ids[-len(parts[0].mask_positions) :]))
        hidden += (replace(part, trigger_positions=()) for part in parts)
    total, count = 0.0, 0
    for masks in sorted({len(target) for target in targets}):
        rows = [row for row, target in enumerate(targets) if len(target) == masks]
        wanted = np.array([targets[row] for row in rows], dtype=np.int64)
        tokens, inverse = np.unique(wanted, return_inverse=True)
        scores = model.log_probabilities([hidden[row] for row in rows], tokens)
        places = inverse.reshape(wanted.shape)[..., None]
        total += float(np.take_along_axis(scores.astype(np.float64), places, axis=2).sum())
        count += wanted.size
    if not count:
        raise InputError("the general text has no token that the model could predict; give more")
    return math.exp(-total / count)


def _whole(encoder: PromptEncoder, text: str) -> Encoding:
    """A text with the tokenizer's special tokens; its own tokens stand where triggers would."""
    room = encoder.max_length - len(encoder.front)
    bare = encoder.text_ids(text)
    probe, whole = encoder.text_ids("text"), encoder.tokenizer("text")["input_ids"]
    first = next(at for at in range(len(whole)) if whole[at : at + len(probe)] == probe)
    head, tail = whole[:first], whole[first + len(probe) :]
    kept = bare[: room - len(head) - len(tail)]
    ids = (*head, *kept, *tail)
    own = tuple(range(len(head), len(head) + len(kept)))
    # A model with a decoder asks for a place of its own; here any serves.
    return Encoding(ids, (), trigger_positions=own).behind(encoder.front)
