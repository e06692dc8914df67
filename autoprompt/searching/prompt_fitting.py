"""From a candidate to a frozen prompt.

Label words and a batch prior are fitted on train, or on some rows of it where the others are to be
scored by what is fitted; demonstrations are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from autoprompt.demonstrations import DemonstrationPool, not_shown, with_demonstrations
from autoprompt.lineage import Edit
from autoprompt.objective import calibrate
from autoprompt.prompts import Calibration, Frame, Prompt
from autoprompt.retrieval import POOL, Retrieval
from autoprompt.scoring.metrics import Ints
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.candidates import Candidate, CandidateTable
from autoprompt.searching.label_words import Evidence, fit_verbalizer
from autoprompt.searching.selection_data import SelectionData
from autoprompt.searching.trigger_slots import blank_frame, trigger_tokens
from autoprompt.space_content import SIMILAR
from autoprompt.tasks.examples import Example, normalised_texts
from autoprompt.tasks.task import Task
from autoprompt.verbalizers import Verbalizer


class PromptFitter:
    """Makes the prompts of one search's candidates.

    Args:
        task: fields, labels, and the train split that demonstrations are drawn from.
        data: what is fitted on, and what is scored on dev.
        table: the space's choices.
        scorer: knows every word of the space.
        seed: the run's seed.
        label_candidates: label to the words that may be fitted for it.
    """

    def __init__(
        self,
        task: Task,
        data: SelectionData,
        table: CandidateTable,
        scorer: WordScorer,
        seed: int,
        label_candidates: Mapping[str, Sequence[str]],
    ) -> None:
        self.task = task
        self.data = data
        self.table = table
        self.scorer = scorer
        self.seed = seed
        self.label_candidates = label_candidates
        # A demonstration must not give away an example that is scored on dev.
        on_dev = {normalised_texts(example) for example in data.dev}
        showable = [e for e in task.train if normalised_texts(e) not in on_dev]
        self._showable = DemonstrationPool(showable, task.labels)

    def prompt_of(self, candidate: Candidate) -> Prompt:
        """The frozen prompt of a candidate, fitted on all of `data.fit`.

        Raises:
            VerbalizerError: no words can be fitted for a label, or one cannot be written at the
                mask.
            TemplateError: the template alone does not fit into the model.
        """
        verbalizer = self.verbalizer(candidate, self.all_rows)
        shown, retrieval = self._demonstrations(candidate)
        template = with_demonstrations(candidate.template) if shown else candidate.template
        triggers = trigger_tokens(self.scorer.model.encoder, self.bare_frame(candidate).triggers)
        prompt = Prompt(template, verbalizer, triggers, shown, retrieval=retrieval)
        words = dict(zip(verbalizer.labels, verbalizer.words, strict=True))
        lineage = (*candidate.lineage, Edit(candidate.how, prompt.shown, words))
        calibration = self.calibration(candidate, prompt, verbalizer, self.all_rows)
        return replace(prompt, calibration=calibration, lineage=lineage)

    def bare_frame(self, candidate: Candidate) -> Frame:
        """What the model sees of a candidate without demonstrations."""
        if candidate.triggers:
            return Frame(candidate.template, candidate.triggers)
        return blank_frame(self.scorer.model.encoder, candidate.template)

    @property
    def all_rows(self) -> Ints:
        """The rows of all of `data.fit`."""
        return np.arange(len(self.data.fit))

    def verbalizer(self, candidate: Candidate, rows: Ints) -> Verbalizer:
        """The candidate's verbalizer, fitted on some rows of `data.fit` where it is fitted.

        Raises:
            VerbalizerError: no words can be fitted for a label.
        """
        if candidate.verbalizer is not None:
            return candidate.verbalizer
        if candidate.words is not None:
            known = self.table.verbalizers[candidate.words]
            return replace(known, aggregation=candidate.aggregation)
        frame = self.bare_frame(candidate)
        evidence = Evidence(
            self.scorer.scores(frame, self.data.fit), self.data.fit_gold, self.scorer.column
        )
        if candidate.method == "label head":
            evidence = replace(
                evidence,
                states=self.scorer.states(frame, self.data.fit),
                embeddings=self.scorer.output_embeddings(frame),
            )
        return fit_verbalizer(
            candidate.method,
            evidence.rows(rows),
            self.label_candidates,
            candidate.per_label,
            candidate.aggregation,
        )

    def calibration(
        self, candidate: Candidate, prompt: Prompt, verbalizer: Verbalizer, rows: Ints
    ) -> Calibration:
        """The calibration of a prompt with some words, a batch prior taken from some rows.

        Args:
            candidate: says which method.
            prompt: its calibration and verbalizer do not matter.
            verbalizer: the words whose scores are corrected.
            rows: of `data.fit`; those that the prompt shows to all are left out.
        """
        texts = not_shown([self.data.fit[row] for row in rows], prompt.shown_to_all)
        method = candidate.calibration
        if method == "batch":
            # All at once: in bfloat16 a score hangs a little on what else is in its batch.
            self.scorer.scores(prompt.frame, self.data.fit)
        return calibrate(method, self.scorer, prompt.frame, verbalizer, self.task.fields, texts)

    def _demonstrations(self, candidate: Candidate) -> tuple[tuple[Example, ...], Retrieval | None]:
        """What a candidate shows, or chooses from for each input."""
        if not candidate.demonstrations:
            return (), None
        if candidate.select == SIMILAR:
            pool = self._showable.draw(POOL, self.seed, 0, order="grouped")
            return pool, Retrieval(candidate.demonstrations, candidate.order)
        drawn = self._showable.draw(
            candidate.demonstrations, self.seed, candidate.draw, candidate.select, candidate.order
        )
        return drawn, None
