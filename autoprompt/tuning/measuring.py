"""What a tuned model is measured by, and which of the measures decides.

A model that has learnt a few examples by heart is far too sure of itself, long before it stops
getting better at telling labels apart. Cross-entropy mixes the two, and would stop it too early; at
the temperature that suits the model best it does not (Berta, Holzmüller, Jordan and Bach 2025,
"Rethinking early stopping: refine, then calibrate").

A search judges prompts likewise, and clips hopeless examples: with many labels that would hide what
a tuning has gained so far, so it is not done here. The temperature has a least value, for a model
that makes no mistake would be best at 0; what counts then is by how much it is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autoprompt.objective import Scored, evaluate
from autoprompt.prompts import Prompt
from autoprompt.scoring.label_scores import log_softmax
from autoprompt.scoring.metrics import Measure, mean_loss
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.tasks.examples import Example

CROSS_ENTROPY = "cross_entropy"
DECIDES = "tempered_cross_entropy"  # of dev: what stops, and what is kept
OFF = 0.1  # nats that a temperature would save; more, and probabilities mislead
SAME = 1e-3  # nats that do not count, for a model is measured in two ways
INVERSE_TEMPERATURES = np.geomspace(0.05, 4.0, 60)


def scores_of(model: Any, prompt: Prompt, examples: Sequence[Example]) -> Scored:
    """A prompt's scores, as a prediction computes them."""
    scorer = WordScorer(model, prompt.verbalizer.all_words, relative=True)
    return evaluate(prompt, scorer, examples)


def best_inverse_temperature(scored: Scored) -> float:
    """The inverse of the temperature at which cross-entropy is lowest."""
    return min(
        map(float, INVERSE_TEMPERATURES),
        key=lambda inverse: float(at_temperature(scored, inverse).losses().mean()),
    )


def at_temperature(scored: Scored, inverse: float) -> Scored:
    """The same scores, surer or less sure of themselves."""
    return Scored(log_softmax(scored.log_probabilities * inverse), scored.gold)


def is_too_sure(scored: Scored) -> bool:
    """Whether a model's probabilities are far above how often it is right.

    One that would do better were it surer of itself is not meant.
    """
    inverse = best_inverse_temperature(scored)
    saved = float((scored.losses() - at_temperature(scored, inverse).losses()).mean())
    return inverse < 1 and saved > OFF


def measures_of(scored: Scored) -> dict[str, Measure]:
    """All measures by name, `DECIDES` among them; it saw the labels: they are not a test's."""
    tempered = at_temperature(scored, best_inverse_temperature(scored))
    return {**scored.measures(), DECIDES: mean_loss(tempered.losses())}
