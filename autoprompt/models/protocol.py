"""What a language model must do to be prompted: one small seam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from autoprompt.models.encoding import PromptEncoder
from autoprompt.models.sequence import Encoding
from autoprompt.prompts import ModelIdentity


class LanguageModel(Protocol):
    """A model that scores tokens at the mask.

    Attributes:
        identity: name, revision and digests.
        encoder: turns frames and examples into ids for this model.
        device: where it runs, for people.
        precision: of its numbers: "float32" or "bfloat16".
    """

    identity: ModelIdentity
    encoder: PromptEncoder
    device: str
    precision: str

    @property
    def screening(self) -> LanguageModel:
        """The model to screen candidates with: itself, or where that pays itself in bfloat16.

        What is decided or reported comes from the model itself.
        """
        ...

    def log_probabilities(
        self,
        encodings: Sequence[Encoding],
        token_ids: NDArray[np.int64],
        relative: bool = False,
    ) -> NDArray[np.float32]:
        """Log-probabilities of some tokens at the masks.

        Args:
            encodings: any number, of any lengths, with equally many masks; the model makes batches
                of them.
            token_ids: shape `(tokens,)`, the vocabulary entries asked for.
            relative: only differences between tokens at one mask count. A number may be added to
                all of them there, which saves what is the same for all: the softmax's denominator,
                and with it the logits of all other tokens.

        Returns:
            Shape `(encodings, masks, tokens)`, natural logarithms, normalised over the whole
            vocabulary, float32. They do not depend on what else is asked for, up to
            1e-5 x max(1, largest |logit|).

        Raises:
            ScoringError: the model gave a score that is not finite.
        """
        ...
