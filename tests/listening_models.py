"""A model that listens to what the test says, and to nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.models.sequence import Encoding
from autoprompt.prompts import Prompt
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

SURE = 0.9


class ListeningModel:
    """Says "great" where the text satisfies a condition, else "bad", each with `SURE`.

    Args:
        model: whose tokenizer reads the text.
        condition: of the decoded sequence, special tokens included.
    """

    def __init__(self, model: MaskedLanguageModel, condition: Callable[[str], bool]) -> None:
        self.encoder, self.identity, self.device = model.encoder, model.identity, "cpu"
        self.condition = condition
        self.sequences = 0

    def log_probabilities(
        self, batch: Sequence[Encoding], token_ids: NDArray[np.int64], relative: bool = False
    ) -> NDArray[np.float32]:
        """See `LanguageModel.log_probabilities`."""
        tokenizer = self.encoder.tokenizer
        great = tokenizer.convert_tokens_to_ids("great")
        self.sequences += len(batch)
        result = np.empty((len(batch), 1, len(token_ids)), np.float32)
        for row, encoding in enumerate(batch):
            text = tokenizer.decode(encoding.ids)
            chosen = (token_ids == great) == self.condition(text)
            result[row, 0] = np.log(np.where(chosen, SURE, 1 - SURE))
        return result


def listening_prompt(template: str = "{text} It was {mask}.", **more: Any) -> Prompt:
    """A prompt for a `ListeningModel`; `more` gives its other parts."""
    verbalizer = Verbalizer.of({"negative": ["bad"], "positive": ["great"]})
    return Prompt(Template.parse(template), verbalizer, **more)
