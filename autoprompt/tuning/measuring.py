"""What a tuned model is measured by, and which of the measures decides.

A model that has learnt a few examples by heart is far too sure of itself, long before it stops
getting better at telling labels apart. Cross-entropy mixes the two, and would stop it too early; at
the temperature that suits the model best it does not (Berta, Holzmüller, Jordan and Bach 2025,
"Rethinking early stopping: refine, then calibrate"). A search judges prompts likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autoprompt.objective import Scored, evaluate, tempered_log_likelihoods
from autoprompt.prompts import Prompt
from autoprompt.scoring.metrics import Measure, mean_loss
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.tasks.examples import Example

CROSS_ENTROPY = "cross_entropy"
DECIDES = "tempered_cross_entropy"  # of dev: what stops, and what is kept


def scores_of(model: Any, prompt: Prompt, examples: Sequence[Example]) -> Scored:
    """A prompt's scores, as a prediction computes them."""
    return evaluate(prompt, WordScorer(model, prompt.verbalizer.all_words), examples)


def measures_of(scored: Scored) -> dict[str, Measure]:
    """All measures by name, `DECIDES` among them."""
    return {**scored.measures(), DECIDES: mean_loss(-tempered_log_likelihoods(scored))}
