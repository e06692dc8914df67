"""One encoded sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Encoding:
    """One sequence.

    Attributes:
        ids: token ids with the special tokens.
        mask_positions: where the model predicts the word's tokens, ascending: at the masks, or for
            a causal model at the token before each, or for a model with a decoder there.
        lost: tokens of the example's text that truncation took.
        trigger_positions: where the trigger tokens are, ascending.
        decoder_ids: what the decoder reads of a model that has one.
        repeated: how many of `ids` the decoder reads too, after its first token.
        left_out: how many of the frame's demonstrations did not fit.
    """

    ids: tuple[int, ...]
    mask_positions: tuple[int, ...]
    lost: int = 0
    trigger_positions: tuple[int, ...] = ()
    decoder_ids: tuple[int, ...] = ()
    repeated: int = 0
    left_out: int = 0

    def with_triggers(self, tokens: Sequence[int]) -> Encoding:
        """The sequence with other trigger tokens; their number, and so all positions, stay."""
        ids = list(self.ids)
        for place, token in zip(self.trigger_positions, tokens, strict=True):
            ids[place] = token
        repeated = self.repeated
        decoder_ids = (
            *self.decoder_ids[:1],
            *ids[:repeated],
            *self.decoder_ids[1 + repeated :],
        )
        return replace(self, ids=tuple(ids), decoder_ids=decoder_ids)

    def behind(self, front: tuple[int, ...]) -> Encoding:
        """The sequence with some more tokens in front of it."""
        if not front:
            return self
        places, triggers = (
            tuple(at + len(front) for at in some)
            for some in (self.mask_positions, self.trigger_positions)
        )
        # Where a decoder predicts the word, it reads what it did, and the masks are its own.
        places = self.mask_positions if self.decoder_ids else places
        return replace(
            self, ids=front + self.ids, mask_positions=places, trigger_positions=triggers
        )

    @property
    def is_shortened(self) -> bool:
        """Whether the model does not see all of the example or the demonstrations."""
        return self.lost > 0 or self.left_out > 0


def replaced(ids: tuple[int, ...], at: int, token: int) -> tuple[int, ...]:
    """Ids with another token at one place."""
    return (*ids[:at], token, *ids[at + 1 :])
