"""Unlabelled text of the domain, for the auxiliary language-model loss.

Texts are laid one after the other and cut into pieces of equal length, so that every piece has as
many masks. A masked model predicts masked tokens (BERT's recipe, Devlin et al. 2019: of the chosen
tokens 80 % are masked, 10 % exchanged, 10 % kept), a causal one every next token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from autoprompt.errors import InputError, ModelError
from autoprompt.models.sequence import Encoding, replaced
from autoprompt.models.transformer import TransformerModel
from autoprompt.seeding import generator

LENGTH = 64  # tokens of a piece
SHARE = 0.15
KEPT, EXCHANGED = 0.1, 0.1


@dataclass(frozen=True)
class TextBatch:
    """Pieces of text with what is to be predicted.

    Attributes:
        encodings: with equally many positions that are asked for.
        targets: shape `(pieces, positions)`, the right tokens.
    """

    encodings: tuple[Encoding, ...]
    targets: torch.Tensor


class TextLessons:
    """Pieces of unlabelled text for one model.

    Args:
        texts: at least a piece's worth of words, together.
        model: whose tokenizer cuts them.

    Raises:
        ModelError: the model has an encoder and a decoder.
        InputError: there is too little text.
    """

    def __init__(self, texts: Sequence[str], model: TransformerModel) -> None:
        family, encoder = model.identity.family, model.encoder
        if family == "seq2seq":
            raise ModelError(
                f"model {model.identity.name!r} has an encoder and a decoder, for which there is "
                f"no auxiliary loss on unlabelled text; leave it out"
            )
        self._masks = encoder.mask_id if family == "masked" else -1
        self._size = encoder.tokenizer.vocab_size
        bare = encoder.text_ids("text")
        whole = encoder.tokenizer("text")["input_ids"]
        start = next(at for at in range(len(whole)) if whole[at : at + len(bare)] == bare)
        head, tail = tuple(whole[:start]), tuple(whole[start + len(bare) :])
        self._head = encoder.front + head
        room = min(LENGTH, encoder.max_length) - len(self._head) - len(tail)
        stream = [token for text in texts for token in encoder.text_ids(text)]
        self.pieces = [
            (*self._head, *stream[at : at + room], *tail)
            for at in range(0, len(stream) - room + 1, room)
        ]
        self._room = room
        if not self.pieces:
            raise InputError(
                f"the unlabelled texts have {len(stream)} tokens together; the auxiliary loss "
                f"wants {room} at least: give more text"
            )

    def batch(self, count: int, *names: int) -> TextBatch:
        """Some pieces; which ones, and what of them is masked, depends on `names` alone."""
        chance = generator(0, "auxiliary", *names)
        chosen = [self.pieces[at] for at in chance.integers(len(self.pieces), size=count)]
        if self._masks < 0:
            positions = tuple(range(len(self._head), len(self._head) + self._room - 1))
            encodings = tuple(Encoding(piece, positions) for piece in chosen)
            targets = [[piece[at + 1] for at in positions] for piece in chosen]
            return TextBatch(encodings, torch.tensor(targets))
        made, targets = [], []
        for piece in chosen:
            encoding, right = self._masked(piece, chance)
            made.append(encoding)
            targets.append(right)
        return TextBatch(tuple(made), torch.tensor(targets))

    def _masked(self, piece: tuple[int, ...], chance: Any) -> tuple[Encoding, list[int]]:
        count = max(1, round(SHARE * self._room))
        places = sorted(chance.permutation(self._room)[:count] + len(self._head))
        right, ids = [], piece
        for place in map(int, places):
            right.append(piece[place])
            drawn = chance.random()
            if drawn >= KEPT + EXCHANGED:
                ids = replaced(ids, place, self._masks)
            elif drawn >= KEPT:
                ids = replaced(ids, place, int(chance.integers(self._size)))
        return Encoding(ids, tuple(map(int, places))), right
