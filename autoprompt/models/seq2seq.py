"""Encoding for models with an encoder and a decoder: the encoder reads the prompt, text on both
sides of the mask, and the decoder is asked for the word.

Where the tokenizer has sentinels, as T5's, a sentinel stands for the mask, and the decoder answers
it as it was trained to (Raffel et al. 2020, section 3.1.4; LM-BFF's use of it, Gao et al. 2021)::

    encoder   A fine film. It was <extra_id_0> .</s>
    decoder   <pad> <extra_id_0>            then the word

Where it has a mask token, as BART's, that stands for the mask, whatever its number of tokens. BART
was trained to write the whole text anew with its gaps filled (Lewis et al. 2020, "text infilling"),
so the decoder has read the text up to the mask, as in the mask-filling example of transformers'
documentation of BART::

    encoder   <s>A fine film. It was<mask>.</s>
    decoder   </s><s>A fine film. It was    then the word

A word of several tokens is read by the decoder but for its last: teacher forcing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprompt.errors import ModelError
from autoprompt.models.encoding import PromptEncoder
from autoprompt.models.forcing import Ids, forced
from autoprompt.models.layouts import Layout
from autoprompt.models.sequence import Encoding, replaced
from autoprompt.prompts import Frame

SENTINELS = ("<extra_id_0>", "<extra_id_1>")


class Seq2SeqEncoder(PromptEncoder):
    """Encodes frames for a model with an encoder and a decoder.

    Args:
        tokenizer: a fast Hugging Face tokenizer with sentinels or a mask token.
        max_length: the most tokens in a sequence, special tokens included.
        start: the token that the decoder begins with.

    Raises:
        ModelError: the tokenizer is not a fast one, or has neither sentinels nor a mask token.
    """

    reads_masks = False

    def __init__(self, tokenizer: Any, max_length: int, start: int) -> None:
        super().__init__(tokenizer, max_length)
        self._start = start
        self._sentinels: Ids = ()
        if self.mask == SENTINELS[0]:
            self._sentinels = tuple(tokenizer.convert_tokens_to_ids(list(SENTINELS)))

    @classmethod
    def of(cls, module: Any, tokenizer: Any, max_length: int) -> Seq2SeqEncoder:
        """See `PromptEncoder.of`.

        Raises:
            ModelError: as for the class, or the model does not tell how its decoder begins.
        """
        return cls(tokenizer, max_length, decoder_start(module, tokenizer))

    def asked(
        self, encodings: Sequence[Encoding], ids: NDArray[np.int64]
    ) -> tuple[list[Encoding], NDArray[np.int64]]:
        """See `PromptEncoder.asked`: the decoder reads all of a word's tokens but the last."""
        return forced(encodings, ids, _continued)

    def hiding_triggers(self, encoding: Encoding) -> list[Encoding]:
        """See `PromptEncoder.hiding_triggers`: each token is asked for as the word is."""
        return [self._hiding(encoding, at) for at in encoding.trigger_positions]

    def layout(self, frame: Frame) -> Layout:
        """See `PromptEncoder.layout`."""
        return replace(
            super().layout(frame),
            decoder_start=self._start,
            decoder_asks=self._sentinels[:1],
        )

    # -- the seams of `PromptEncoder` ---------------------------------------------------------

    def _mask_of(self, tokenizer: Any) -> str:
        special = set(tokenizer.all_special_tokens)
        if special.issuperset(SENTINELS):
            return SENTINELS[0]
        if tokenizer.mask_token_id is not None:
            return str(tokenizer.mask_token)
        raise ModelError(
            f"the tokenizer has neither sentinel tokens ({', '.join(SENTINELS)}) nor a mask token, "
            f"so the model cannot be asked for a word in a text; choose a T5 or a BART"
        )

    def encode_texts(
        self, frame: Frame, texts: Sequence[Mapping[str, str]], masks: int
    ) -> list[Encoding]:
        """See `PromptEncoder.encode_texts`."""
        del masks  # one stands for words of any number of tokens
        return [
            self._asking(encoding, encoding.mask_positions[0])
            for encoding in super().encode_texts(frame, texts, 1)
        ]

    def limit(self, masks: int) -> int:
        """See `PromptEncoder.limit`."""
        # A decoder that repeats the text reads no more than the encoder, and then the word.
        return self.max_length if self._sentinels else self.max_length - (masks - 1)

    # -- what the decoder reads ---------------------------------------------------------------

    def _asking(self, encoding: Encoding, at: int) -> Encoding:
        """The encoding with a decoder that is asked for what stands at a place of the ids."""
        if self._sentinels:
            return replace(
                encoding, decoder_ids=(self._start, self._sentinels[0]), mask_positions=(1,)
            )
        decoder_ids = (self._start, *encoding.ids[:at])
        return replace(encoding, decoder_ids=decoder_ids, mask_positions=(at,), repeated=at)

    def _hiding(self, encoding: Encoding, at: int) -> Encoding:
        if not self._sentinels:
            asking = self._asking(encoding, at)
            return replace(asking, ids=replaced(encoding.ids, at, self.mask_id))
        # The first sentinel is asked for first: it goes to the token, and the mask gets the second.
        first, second = self._sentinels
        ids = tuple(second if token == first else token for token in encoding.ids)
        return self._asking(replace(encoding, ids=replaced(ids, at, first)), at)


def decoder_start(module: Any, tokenizer: Any) -> int:
    """The token that a model's decoder begins with; a T5's is its padding.

    Raises:
        ModelError: the model tells none.
    """
    for told in (module.config, getattr(module, "generation_config", None)):
        start = getattr(told, "decoder_start_token_id", None)
        if start is not None:
            return int(start)
    if tokenizer.pad_token_id is None or tokenizer.mask_token_id is not None:
        raise ModelError(
            "the model does not tell which token its decoder begins with; set "
            "decoder_start_token_id in its config.json"
        )
    return int(tokenizer.pad_token_id)


def _continued(encoding: Encoding, head: Ids) -> Encoding:
    last = len(encoding.decoder_ids) - 1
    places = tuple(range(last, last + len(head) + 1))
    return replace(encoding, decoder_ids=encoding.decoder_ids + head, mask_positions=places)
