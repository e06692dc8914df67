"""What a trial ran, small enough for a trial attribute.

The ledger counts a sequence once in a run. After an interruption the cache is empty, and what an
earlier process has paid for must not be counted again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoprompt.prompts import Frame, Prompt
from autoprompt.scoring.calibration import inputs_without_content
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.candidates import Candidate
from autoprompt.searching.selection_data import SelectionData
from autoprompt.tasks.task import Task
from autoprompt.templates import Template


def paid_rows(
    data: SelectionData, candidate: Candidate, bare: Frame, prompt: Prompt, seen: int
) -> dict[str, Any]:
    """What a trial looked at.

    Args:
        data: the selection data.
        candidate: what was scored.
        bare: its frame without demonstrations, where words are fitted.
        prompt: as it was scored.
        seen: how many of the selection examples that may judge it.
    """
    cross_fits = candidate.is_fitted and bool(data.fit_count and seen)
    return {
        "bare": bare.template.text if candidate.fits_words else None,
        "triggers": [list(slot) for slot in prompt.frame.triggers],
        "frame": prompt.frame.key,
        "calibration": candidate.calibration,
        "fit": candidate.calibration == "batch" or (cross_fits and not candidate.label_fitted),
        "start": data.judges_from(candidate.label_fitted),
        "seen": seen,
    }


def restore_paid(
    scorer: WordScorer, task: Task, data: SelectionData, paid: Mapping[str, Any]
) -> None:
    """Tell the scorer what an earlier process of this run has paid for."""
    triggers = tuple(tuple(slot) for slot in paid["triggers"])
    frame = paid["frame"]
    if paid["bare"] is not None:
        scorer.mark_paid(Frame(Template.parse(paid["bare"]), triggers).key, data.fit)
    scorer.mark_paid(frame, inputs_without_content(paid["calibration"], task.fields))
    if paid["fit"]:
        scorer.mark_paid(frame, data.fit)
    start = paid["start"]
    scorer.mark_paid(frame, data.examples[start : start + paid["seen"]])
