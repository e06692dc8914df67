"""How a prompt does under other wordings of itself.

A prompt's calibration, label words, trigger tokens and demonstrations stay as they are: nothing is
fitted anew, because it is this prompt that is asked about.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from autoprompt.errors import InputError, TemplateError, VerbalizerError
from autoprompt.models.sequence import Encoding
from autoprompt.objective import Scored, evaluate
from autoprompt.prompts import Prompt
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.tasks.examples import Example
from autoprompt.wordings import wordings


@dataclass(frozen=True)
class Spread:
    """How far a metric moves over the wordings of a prompt.

    Attributes:
        wordings: how many there are, the prompt as it is among them.
        low: the lowest value of the metric.
        high: the highest.
        deviation: the standard deviation of the values as a sample; 0 of a single one.
    """

    wordings: int
    low: float
    high: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of a metric's values, that of the prompt as it is among them.

        Raises:
            InputError: there is no value.

        >>> Spread.of([0.75, 0.5, 1.0])
        Spread(wordings=3, low=0.5, high=1.0, deviation=0.25)
        """
        if not values:
            raise InputError("a spread wants one value at least; give that of the prompt as it is")
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        return cls(len(values), min(values), max(values), deviation)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.low:.3f} to {self.high:.3f} over {self.wordings} wordings "
            f"(standard deviation {self.deviation:.3f})"
        )


def wording_scores(
    prompt: Prompt, scorer: WordScorer, examples: Sequence[Example]
) -> dict[str, Scored]:
    """A prompt's scores on labelled examples under each of `wordings(prompt.template)`.

    Args:
        prompt: its trigger tokens, demonstrations (in the changed wording, as the prompt itself
            would show them) and calibration survive.
        scorer: of the prompt's model, with its label words.
        examples: labelled ones.

    Returns:
        Name of the change to scores. A wording is left out where its label words cannot be
        written at the mask, where it alone is longer than the model takes, and where the
        tokenizer makes the same of it (as of another case, if it has none): it costs nothing then.
    """
    return scores_and_notes(prompt, scorer, examples)[0]


def scores_and_notes(
    prompt: Prompt, scorer: WordScorer, examples: Sequence[Example]
) -> tuple[dict[str, Scored], list[str]]:
    """What `wording_scores` gives, and a note on each wording that was left out."""
    found: dict[str, Scored] = {}
    notes: list[str] = []
    as_it_is = _seen_by_the_model(prompt, scorer, examples)
    for name, template in wordings(prompt.template).items():
        changed = replace(prompt, template=template, tokens=None)
        left_out = f"the wording {name!r} ({template.text!r}) is left out"
        try:
            if _seen_by_the_model(changed, scorer, examples) == as_it_is:
                notes.append(f"{left_out}: the model reads the same tokens")
            else:
                found[name] = evaluate(changed, scorer, examples)
        except (VerbalizerError, TemplateError) as error:
            notes.append(f"{left_out}: {error}")
    return found, notes


def _seen_by_the_model(
    prompt: Prompt, scorer: WordScorer, examples: Sequence[Example]
) -> tuple[list[Encoding], list[tuple[int, ...]]]:
    """All that a score depends on: the encoded examples, and the label words' ids."""
    encoder, frame = scorer.model.encoder, prompt.frame
    words = [encoder.word_ids(frame, word) for word in prompt.verbalizer.all_words]
    return encoder.encode(frame, examples), words
