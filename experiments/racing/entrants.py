"""What takes part in a race: prompts with their per-example scores."""

from __future__ import annotations

from dataclasses import dataclass

from autoprompt.objective import Scored

LARGER = "larger"
FEW_SHOT = "few-shot"
SETTINGS = (LARGER, FEW_SHOT)


@dataclass(frozen=True)
class Entrant:
    """A candidate that a race may meet.

    Attributes:
        scored: on all selection examples, in their fixed order.
        value: mean tempered log-likelihood of all of them.
        template: its template's text. A search scores an example in a template once, whatever the
            label words.
        at_once: examples that are scored before the first block: those of train, where words or a
            prior are fitted on them.
    """

    scored: Scored
    value: float
    template: str
    at_once: int = 0


@dataclass(frozen=True)
class Field:
    """All entrants of one task, draw and setting, scored on the same examples.

    Attributes:
        task, draw, setting: where they are from.
        seeds: the seed prompts, which are always scored in full.
        others: the candidates.
    """

    task: str
    draw: int
    setting: str
    seeds: tuple[Entrant, ...]
    others: tuple[Entrant, ...]

    @property
    def examples(self) -> int:
        """How many selection examples there are."""
        return len(self.seeds[0].scored.gold)
