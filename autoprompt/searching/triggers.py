"""Gradient-guided search for trigger tokens.

The loss of the label words is linearised in the trigger tokens' embeddings: swapping token v for
token w at position j changes it by about (e_w - e_v) . g_j (HotFlip, Ebrahimi et al. 2018; for
prompts AutoPrompt, Shin et al. 2020, equation 2). The swaps that promise most are scored exactly,
on the same examples and in one pass. AutoPrompt tries one random position a step; here all
positions compete (GCG, Zou et al. 2023, algorithm 1), several prompts are kept in a beam, and the
search may begin as the words of a human prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoprompt.errors import InputError
from autoprompt.models.gradients import OpenModel
from autoprompt.prompts import Frame
from autoprompt.scoring.label_scores import Floats
from autoprompt.scoring.ledger import Spent
from autoprompt.scoring.metrics import Ints
from autoprompt.scoring.word_scores import ways_of
from autoprompt.searching.trigger_objective import (
    Ids,
    JointWords,
    TriggerObjective,
    TriggerSettings,
)
from autoprompt.searching.trigger_vocabulary import allowed_tokens, without_words
from autoprompt.seeding import derive_seed, generator
from autoprompt.tasks.examples import Example
from autoprompt.tasks.splits import shuffled_by_label
from autoprompt.verbalizers import Verbalizer

COMBINED = 3  # one of so many candidates makes several swaps at once
LOOKED_AT = 8  # times the candidates: how far down the swaps are looked for that are text
TRIES = 4  # for each combination: some are known, or are no text


@dataclass(frozen=True)
class Line:
    """A trigger search under way: all that its next step needs.

    Attributes:
        beam: the prompts to go on with, the best first.
        step: steps done.
        stale: of them, the last ones in a row that found nothing better.
    """

    beam: tuple[Ids, ...]
    step: int = 0
    stale: int = 0

    @property
    def best(self) -> Ids:
        """The best prompt's tokens."""
        return self.beam[0]


class TriggerSearch(TriggerObjective):
    """Searches the trigger tokens of one template.

    Args:
        model, template_frame, verbalizer, examples, gold, offsets, words: see `TriggerObjective`.
        settings: how to step.
        seed: of the batches and random positions.
        allowed: see `allowed_tokens`; found here where it is not given.
        exact: has the last word on the best candidates, where `model` is a faster copy of it;
            None: `model` has it.

    Raises:
        ModelError: the model gives no access to its input embeddings.
        InputError: the filters leave no token.
    """

    def __init__(
        self,
        model: OpenModel,
        template_frame: Frame,
        verbalizer: Verbalizer,
        examples: Sequence[Example],
        gold: Ints,
        settings: TriggerSettings,
        seed: int,
        offsets: tuple[float, ...] = (),
        allowed: NDArray[np.bool_] | None = None,
        words: JointWords | None = None,
        exact: OpenModel | None = None,
    ) -> None:
        super().__init__(
            model, template_frame, verbalizer, examples, gold, settings, offsets, words
        )
        self.seed = seed
        self.exact = model if exact is None else exact
        self._embeddings = model.input_embeddings()
        self._allowed = allowed_tokens(model) if allowed is None else allowed
        if words is None:  # words that are fitted to each candidate are not known beforehand
            self._allowed = without_words(self._allowed, model, verbalizer)
        if not self._allowed.any():
            raise InputError(
                "no token is left that a trigger may be: special tokens, label words and tokens "
                "that are not text of their own are banned; choose another model or other words"
            )

    # -- one step -----------------------------------------------------------------------------

    def step(self, line: Line) -> Line:
        """Linearise, propose, score exactly, keep the best.

        Raises:
            ScoringError: scores or gradients are not finite; `spent` has what was run.
        """
        rows = self._batches(line.step, 0)
        judged = self._batches(line.step, 1) if self.settings.fresh_batch else rows
        proposals = list(line.beam)
        for number, ids in enumerate(line.beam):
            promised = self.promises(ids, rows)
            most = self.settings.candidates // len(line.beam)
            # What found nothing better on the same examples is not tried again.
            same = len(rows) == len(self.examples) and not self.settings.fresh_batch
            stale = line.stale if same else 0
            proposals += self._proposals(ids, promised, most, stale, (line.step, number))
        proposals = list(dict.fromkeys(proposals))
        beam = self._next_beam(proposals, judged, len(line.beam))
        improved = beam[0] not in line.beam[:1]
        return Line(beam, line.step + 1, 0 if improved else line.stale + 1)

    def _next_beam(self, proposals: Sequence[Ids], rows: Ints, known: int) -> tuple[Ids, ...]:
        """The beam to go on with; the first `known` proposals are the beam so far."""
        places = list(range(len(proposals)))
        values = self.values(proposals, rows)
        if self.exact is not self.model:
            close = sorted(places, key=lambda place: (values[place], place))
            places = sorted({*places[:known], *close[: self.settings.decided]})
            values[places] = self.values([proposals[place] for place in places], rows, self.exact)
        # The first of equals is the older one: a tie is no improvement.
        places.sort(key=lambda place: (values[place], place))
        return tuple(proposals[place] for place in places[: self.settings.beam])

    def promises(self, ids: Ids, rows: Ints) -> Floats:
        """By how much each swap lowers the loss, to first order.

        Args:
            ids: the current tokens.
            rows: train examples.

        Returns:
            Shape `(triggers, vocab_size)`: -(e_w - e_v) . g_j; -inf where w is banned or is v.
        """
        parts = np.array_split(rows, min(self.settings.accumulation, len(rows)))
        gradients = np.zeros((len(ids), self._embeddings.shape[1]))
        for part in parts:
            variants = self._variants(ids, part)
            _, found = self.model.trigger_gradients(variants, self.gold[part], self.loss)
            gradients += found * len(part) / len(rows)
            ways = [ways_of(self.model, variant.ids) for variant in variants]
            passes = len(part) * sum(ways)
            lengths = [sum(len(one.ids) for one in variant.encodings) for variant in variants]
            tokens = sum(way * length for way, length in zip(ways, lengths, strict=True))
            self.spent += Spent(forwards=passes, tokens=tokens, backwards=passes)
        # In the table's own precision: a copy of it in float64 costs more than all the products.
        scores = (gradients.astype(np.float32) @ self._embeddings.T).astype(np.float64)
        promised: Floats = scores[np.arange(len(ids)), list(ids)][:, None] - scores
        promised[:, ~self._allowed] = -np.inf
        promised[np.arange(len(ids)), list(ids)] = -np.inf
        return promised

    # -- proposals ----------------------------------------------------------------------------

    def _proposals(
        self, ids: Ids, promised: Floats, most: int, stale: int, turn: tuple[int, int]
    ) -> list[Ids]:
        """The prompts whose swaps promise most and that are text.

        Args:
            ids: the current tokens.
            promised: see `promises`.
            most: how many prompts are wanted.
            stale: steps before this one that tried the best swaps in vain; theirs are passed over.
            turn: step and member of the beam, which random choices depend on.
        """
        chance = generator(self.seed, "triggers", *turn)
        if self.settings.one_position:
            only = int(chance.integers(len(ids)))
            others = np.arange(len(ids)) != only
            promised = np.where(others[:, None], -np.inf, promised)
        found: list[Ids] = []
        singles: list[tuple[int, int]] = []
        reserved = most // COMBINED if self.settings.flips > 1 and len(ids) > 1 else 0
        size = promised.shape[1]
        skipped = stale * (most - reserved)  # of single swaps that are text, as many as were tried
        for flat in _best_first(promised.ravel(), LOOKED_AT * (stale + 1) * most):
            position, token = divmod(int(flat), size)
            candidate = (*ids[:position], token, *ids[position + 1 :])
            if not self._is_text(candidate):
                continue
            if skipped:
                skipped -= 1
                continue
            singles.append((position, token))
            found.append(candidate)
            if len(found) >= most - reserved:
                break
        found += self._combined(ids, singles, reserved, chance)
        return found

    def _combined(
        self, ids: Ids, singles: Sequence[tuple[int, int]], most: int, chance: np.random.Generator
    ) -> list[Ids]:
        """Prompts with several of the single swaps at once, at different positions."""
        found: dict[Ids, None] = {}
        if len({position for position, _ in singles}) < 2:
            return []
        for _ in range(TRIES * most):
            if len(found) >= most:
                break
            tokens = list(ids)
            picked: set[int] = set()
            for pick in chance.permutation(len(singles)):
                position, token = singles[pick]
                if position not in picked:
                    picked.add(position)
                    tokens[position] = token
                if len(picked) == self.settings.flips:
                    break
            if self._is_text(candidate := tuple(tokens)):
                found[candidate] = None
        return list(found)

    def _is_text(self, ids: Ids) -> bool:
        """Whether the prompt, written as text, is read as the same tokens."""
        encoder = self.model.encoder
        # Some tokenizers never do so around a slot; their prompts are kept by their ids.
        return not encoder.exact or encoder.round_trips(self._framed(ids))

    # -- batches ------------------------------------------------------------------------------

    def _batches(self, step: int, use: int) -> Ints:
        """Rows of the train examples: balanced, and different from step to step.

        `use` tells the gradient's examples (0) from others that judge the candidates (1).
        """
        most = min(self.settings.batch * self.settings.accumulation, len(self.examples))
        if most == len(self.examples):
            return np.arange(most)
        order = shuffled_by_label(self.examples, derive_seed(self.seed, "batch", step, use))
        index = {id(example): row for row, example in enumerate(self.examples)}
        rows = [index[id(example)] for example in order]
        if self.words is not None:
            rows = self._in_two_folds(rows, self.words.folds)
        return np.array(sorted(rows[:most]))

    def _in_two_folds(self, rows: Sequence[int], folds: Ints) -> list[int]:
        """Rows with two of each label in front, of different folds where there are such.

        Words that are judged on one fold are fitted on the others, which need every label.
        """
        first: dict[int, int] = {}
        second: dict[int, int] = {}
        for row in rows:
            label = int(self.gold[row])
            if label not in first:
                first[label] = row
            elif label not in second and folds[row] != folds[first[label]]:
                second[label] = row
        return list(dict.fromkeys([*first.values(), *second.values(), *rows]))


def _best_first(values: Floats, most: int) -> NDArray[np.int64]:
    """Indices of the highest finite values, the highest first; ties by index."""
    finite = int(np.isfinite(values).sum())
    most = min(most, finite)
    if not most:
        return np.zeros(0, dtype=np.int64)
    picked = np.argpartition(-values, most - 1)[:most]
    return picked[np.lexsort((picked, -values[picked]))]
