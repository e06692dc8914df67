"""The most that a trial can cost, known before it runs: a budget must leave room for it.

What one did cost is in its outcome: `Outcome.spent`, and `Outcome.paid` for after an interruption.
"""

from __future__ import annotations

from functools import cached_property

from autoprompt.scoring.calibration import CONTENT_FREE
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.candidates import CandidateTable
from autoprompt.searching.selection_data import SelectionData
from autoprompt.searching.trigger_slots import blank_frame


class TrialCosts:
    """Bounds on the forwards of one search's trials; trigger search has its own in `Refiner`.

    Args:
        data: what is fitted and selected on.
        table: the space's choices.
        scorer: knows every word of the space.
    """

    def __init__(self, data: SelectionData, table: CandidateTable, scorer: WordScorer) -> None:
        self._data = data
        self._table = table
        self._scorer = scorer

    @cached_property
    def variants(self) -> int:
        """The most forwards that one sequence takes, over the kinds of templates."""
        return max(self._scorer.variants(frame) for frame in self._table.frames())

    def most_forwards(self) -> int:
        """The most forwards that one composed prompt can take."""
        space = self._table.space
        reads_states = space.fit_words and "label head" in space.word_methods
        return self._sequences * self.variants + (len(self._data.fit) if reads_states else 0)

    def most_for_seeds(self) -> int:
        """The most forwards that all seed prompts can take, as the expert wrote them."""
        encoder = self._scorer.model.encoder
        frames = [blank_frame(encoder, seed.template) for seed in self._table.space.seeds]
        return self._sequences * sum(self._scorer.variants(frame) for frame in frames)

    @property
    def _sequences(self) -> int:
        """Different sequences of one prompt: dev, what is fitted on, and calibration's inputs."""
        return len(self._data.dev) + len(self._data.fit) + len(CONTENT_FREE)
