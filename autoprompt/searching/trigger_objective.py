"""What a trigger search makes small: the exact objective of trigger tokens on train examples.

The loss of the label words, how evenly labels are predicted, and how well the tokens read as
language. Many candidates are scored on the same examples in one pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autoprompt.models.gradients import LabelLoss, OpenModel, Variant
from autoprompt.models.sequence import Encoding
from autoprompt.prompts import Frame
from autoprompt.scoring.label_scores import Floats, label_scores
from autoprompt.scoring.ledger import Spent
from autoprompt.scoring.metrics import Ints
from autoprompt.scoring.word_scores import word_log_probabilities
from autoprompt.searching.trigger_slots import blank_frame, split_by_slot
from autoprompt.tasks.examples import Example
from autoprompt.verbalizers import Verbalizer

Ids = tuple[int, ...]  # the tokens of all slots in a row


@dataclass(frozen=True)
class TriggerSettings:
    """How a trigger search steps.

    Attributes:
        candidates: prompts that are scored in a step, all members of the beam together.
        batch: train examples a batch.
        accumulation: batches that a gradient is averaged over.
        beam: prompts that a step goes on with.
        flips: token swaps that one candidate makes, at most; the strongest single swaps are
            combined.
        one_position: whether a step tries one random position (AutoPrompt) or all (GCG).
        fresh_batch: whether candidates are scored on other batches than the gradient's
            (AutoPrompt); on the same ones a comparison is paired with its prediction.
        patience: steps without a better prompt after which a search ends.
        fluency: weight of the prompt's own loss as language, in nats a trigger token.
        over_labels, anti_collapse: see `LabelLoss`.
        by_accuracy: whether candidates are judged by the share of examples that they get wrong
            (AutoPrompt's code, where labels have words) and not by the loss.
        decided: how many of the best candidates are scored again by the exact model, where
            another one screens.
    """

    candidates: int = 48
    batch: int = 32
    accumulation: int = 1
    beam: int = 2
    flips: int = 2
    one_position: bool = False
    fresh_batch: bool = False
    patience: int = 8
    fluency: float = 0.0
    over_labels: bool = True
    anti_collapse: float = 0.0
    by_accuracy: bool = False
    decided: int = 0

    def most_forwards(self, variants: int, tokens: int) -> int:
        """The most that a step takes, in a budget's forwards.

        Args:
            variants: passes that a sequence takes, for words of different numbers of tokens.
            tokens: trigger tokens, each of which takes a pass where fluency is asked for.
        """
        examples = self.batch * self.accumulation
        gradients = 3 * examples * variants * self.beam  # a backward pass counts as two
        fluency = tokens if self.fluency else 0
        scored = self.candidates + self.beam
        scored += self.decided + self.beam if self.decided else 0
        return gradients + scored * (examples * variants + fluency)

    def is_over(self, stale: int) -> bool:
        """Whether patience ends after so many steps in a row that found nothing better."""
        return stale >= self.patience


@dataclass(frozen=True)
class JointWords:
    """Label words that are fitted to each candidate.

    Attributes:
        ids: shape `(words, 1)`, tokens of the words that may be chosen.
        loss: from the words' scores of shape `(examples, words)` and the examples' rows to a loss
            in nats, fitted and judged on different folds.
        folds: shape `(train,)`, the fold of each train example.
    """

    ids: NDArray[np.int64]
    loss: Callable[[NDArray[np.float32], Ints], float]
    folds: Ints


class TriggerObjective:
    """Scores the trigger tokens of one template.

    Args:
        model: scores words and gives gradients.
        template_frame: template and demonstrations; its trigger ids do not matter.
        verbalizer: label words, each of as many tokens as it likes.
        examples, gold: the train examples and their label indices.
        settings: how the objective's parts are weighed.
        offsets: calibration's.
        words: label words that are fitted anew to each candidate, which is then judged by them;
            `verbalizer` leads the gradient only. Their cost is array time.

    Attributes:
        spent: so far.
    """

    def __init__(
        self,
        model: OpenModel,
        template_frame: Frame,
        verbalizer: Verbalizer,
        examples: Sequence[Example],
        gold: Ints,
        settings: TriggerSettings,
        offsets: tuple[float, ...] = (),
        words: JointWords | None = None,
    ) -> None:
        self.model = model
        self.frame = template_frame
        self.verbalizer = verbalizer
        self.examples, self.gold = examples, gold
        self.settings = settings
        self.loss = LabelLoss(
            verbalizer.aggregation, offsets, settings.over_labels, settings.anti_collapse
        )
        self.words = words
        self.spent = Spent()
        self._groups = self._words_by_length()

    def values(
        self, candidates: Sequence[Ids], rows: Ints, model: OpenModel | None = None
    ) -> Floats:
        """The objective of prompts on the same examples, to be made small.

        Args:
            candidates: tokens of prompts.
            rows: train examples.
            model: which one scores them; by default the one that gives gradients.

        Returns:
            Shape `(candidates,)`: loss, anti-collapse and fluency terms together.
        """
        model = model or self.model
        if self.words is not None:
            found = self._joint_values(self.words, candidates, rows, model)
        else:
            found = self._own_values(candidates, rows, model)
        if self.settings.fluency:
            found = found + self.settings.fluency * self.fluency(candidates, rows[0], model)
        return found

    def _joint_values(
        self, words: JointWords, candidates: Sequence[Ids], rows: Ints, model: OpenModel
    ) -> Floats:
        """The loss of each candidate with label words that are fitted to it."""
        base = self._encoded(candidates[0], rows, 1)
        encodings = [one.with_triggers(tokens) for tokens in candidates for one in base]
        scores, cost = word_log_probabilities(model, encodings, words.ids)
        self.spent += cost
        sets = scores.reshape(len(candidates), len(rows), -1)
        return np.array([words.loss(one, rows) for one in sets])

    def _own_values(self, candidates: Sequence[Ids], rows: Ints, model: OpenModel) -> Floats:
        """The loss of each candidate, or its share of misses, with the verbalizer's words."""
        shape = (len(candidates), len(rows))
        words = np.empty((len(candidates) * len(rows), len(self.verbalizer.all_words)))
        relative = self.loss.is_relative and [*self._groups] == [1]
        for masks, (columns, ids) in self._groups.items():
            base = self._encoded(candidates[0], rows, masks)
            encodings = [one.with_triggers(tokens) for tokens in candidates for one in base]
            words[:, columns], cost = word_log_probabilities(model, encodings, ids, relative)
            self.spent += cost
        scores = label_scores(words, self._columns(), self.verbalizer.aggregation)
        sets = scores.reshape(*shape, -1)
        if self.settings.by_accuracy:
            return _misses(sets, self.gold[rows])
        return self.loss.values(sets, self.gold[rows])

    def fluency(
        self, candidates: Sequence[Ids], row: int, model: OpenModel | None = None
    ) -> Floats:
        """The mean -log p of the trigger tokens, each with all else of the prompt in sight.

        A masked model sees both sides of a token (pseudo-likelihood, Salazar et al. 2020), and so
        does one with an encoder and a decoder; a causal one sees what is before it, and a token
        that begins the sequence is left out there.

        Args:
            candidates: tokens of prompts.
            row: the train example that stands in the prompt.
            model: as for `values`.

        Returns:
            Shape `(candidates,)`, nats a token.
        """
        model = model or self.model
        base = self._encoded(candidates[0], np.array([row]), 1)[0]
        hiding = model.encoder.hiding_triggers
        asked = [one for tokens in candidates for one in hiding(base.with_triggers(tokens))]
        if not asked:
            return np.zeros(len(candidates))
        known, column = np.unique(np.array(candidates), return_inverse=True)
        logs = model.log_probabilities(asked, known)
        self.spent += Spent(forwards=len(asked), tokens=sum(len(one.ids) for one in asked))
        logs = logs.reshape(len(candidates), -1, len(known))  # (candidates, tokens asked for, ...)
        column = column.reshape(len(candidates), -1)[:, -logs.shape[1] :, None]
        found: Floats = -np.take_along_axis(logs, column, 2)[..., 0].mean(axis=1)
        return found

    # -- encodings ----------------------------------------------------------------------------

    def _framed(self, ids: Ids) -> Frame:
        return replace(self.frame, triggers=split_by_slot(self.frame.template, ids))

    def _encoded(self, ids: Ids, rows: Ints, masks: int) -> list[Encoding]:
        examples = [self.examples[row] for row in rows]
        return self.model.encoder.encode(self._framed(ids), examples, masks)

    def _variants(self, ids: Ids, rows: Ints) -> list[Variant]:
        """What a gradient is taken of: the prompt's encodings for each length of words."""
        owner = np.repeat(
            np.arange(len(self.verbalizer.labels)), [len(w) for w in self.verbalizer.words]
        )
        return [
            Variant(self._encoded(ids, rows, masks), word_ids, owner[columns])
            for masks, (columns, word_ids) in self._groups.items()
        ]

    def _columns(self) -> list[list[int]]:
        """For each label where its words are among all words."""
        ends = np.cumsum([0, *(len(words) for words in self.verbalizer.words)])
        return [list(range(start, end)) for start, end in itertools.pairwise(ends)]

    def _words_by_length(self) -> dict[int, tuple[Ints, Ints]]:
        """Number of tokens -> (columns among all words, ids of shape `(words, tokens)`)."""
        blanks = blank_frame(self.model.encoder, self.frame.template).triggers
        first = replace(self.frame, triggers=blanks)
        found: dict[int, list[tuple[int, Ids]]] = {}
        for column, word in enumerate(self.verbalizer.all_words):
            ids = self.model.encoder.word_ids(first, word)
            found.setdefault(len(ids), []).append((column, ids))
        return {
            masks: (np.array([c for c, _ in group]), np.array([ids for _, ids in group]))
            for masks, group in sorted(found.items())
        }


def _misses(scores: Floats, gold: Ints) -> Floats:
    """The share of examples that a set gets wrong; a tie of two labels is a miss."""
    own = scores[:, np.arange(len(gold)), gold]
    found: Floats = ((scores >= own[..., None]).sum(axis=-1) > 1).mean(axis=-1)
    return found
