"""Gradient-guided search for trigger tokens.

The loss of the label words is linearised in the trigger tokens' embeddings: swapping token v for
token w at position j changes it by about (e_w - e_v) . g_j (HotFlip, Ebrahimi et al. 2018; for
prompts AutoPrompt, Shin et al. 2020, equation 2). The swaps that promise most are scored exactly,
on the same examples and in one pass. AutoPrompt tries one random position a step; here all
positions compete (GCG, Zou et al. 2023, algorithm 1), several prompts are kept in a beam, and the
search may begin as the words of a human prompt.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autoprompt.errors import InputError
from autoprompt.models.encoding import Encoding
from autoprompt.models.gradients import LabelLoss, OpenModel, Variant
from autoprompt.prompts import Frame
from autoprompt.scoring.label_scores import Floats, label_scores
from autoprompt.scoring.ledger import Spent
from autoprompt.scoring.metrics import Ints
from autoprompt.scoring.word_scores import word_log_probabilities
from autoprompt.searching.trigger_slots import blank, split_by_slot
from autoprompt.seeding import derive_seed, generator
from autoprompt.tasks.examples import Example
from autoprompt.tasks.splits import shuffled_by_label
from autoprompt.verbalizers import Verbalizer

Ids = tuple[int, ...]  # the tokens of all slots in a row


@dataclass(frozen=True)
class TriggerSettings:
    """How a trigger search steps.

    Attributes:
        candidates: prompts that are scored exactly in a step, all members of the beam together.
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

    def most_forwards(self, variants: int, slots: int) -> int:
        """The most that a step takes, in a budget's forwards.

        Args:
            variants: numbers of tokens among the label words.
            slots: trigger tokens.
        """
        examples = self.batch * self.accumulation
        gradients = 3 * examples * variants * self.beam
        fluency = slots if self.fluency else 0
        return gradients + (self.candidates + self.beam) * (examples * variants + fluency)


@dataclass(frozen=True)
class JointWords:
    """Label words that are fitted to each candidate.

    Attributes:
        ids: shape `(words, 1)`, tokens of the words that may be chosen.
        loss: from the words' scores of shape `(examples, words)` and the examples' rows to a loss
            in nats, fitted and judged on different folds.
    """

    ids: NDArray[np.int64]
    loss: Callable[[NDArray[np.float32], Ints], float]


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


class TriggerSearch:
    """Searches the trigger tokens of one template.

    Args:
        model: gives gradients.
        template_frame: template and demonstrations; its trigger ids do not matter.
        verbalizer: label words, each of as many tokens as it likes.
        examples, gold: the train examples and their label indices.
        settings: how to step.
        seed: of the batches and random positions.
        offsets: calibration's.
        allowed: see `allowed_tokens`; found here where it is not given.
        words: label words that are fitted anew to each candidate, which is then judged by them;
            `verbalizer` leads the gradient only. Their cost is array time.

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
    ) -> None:
        self.model = model
        self.frame = template_frame
        self.verbalizer = verbalizer
        self.examples, self.gold = examples, gold
        self.settings = settings
        self.seed = seed
        self.loss = LabelLoss(
            verbalizer.aggregation, offsets, settings.over_labels, settings.anti_collapse
        )
        self.words = words
        self.spent = Spent()
        self._embeddings = model.input_embeddings()
        self._allowed = allowed_tokens(model) if allowed is None else allowed
        if words is None:  # words that are fitted to each candidate are not known beforehand
            self._allowed = _without_words(self._allowed, model, verbalizer)
        if not self._allowed.any():
            raise InputError(
                "no token is left that a trigger may be: special tokens, label words and tokens "
                "that are not text of their own are banned; choose another model or other words"
            )
        self._groups = self._words_by_length()

    # -- one step -----------------------------------------------------------------------------

    def step(self, line: Line) -> Line:
        """Linearise, propose, score exactly, keep the best."""
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
        values = self.values(proposals, judged)
        # The first of equals is the older one: a tie is no improvement.
        order = sorted(range(len(proposals)), key=lambda index: (values[index], index))
        beam = tuple(proposals[index] for index in order[: self.settings.beam])
        improved = beam[0] not in line.beam[:1]
        return Line(beam, line.step + 1, 0 if improved else line.stale + 1)

    def is_over(self, line: Line) -> bool:
        """Whether patience is at its end."""
        return line.stale >= self.settings.patience

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
            passes = len(part) * len(variants)
            tokens = sum(len(one.ids) for variant in variants for one in variant.encodings)
            self.spent += Spent(forwards=passes, tokens=tokens, backwards=passes)
        scores = gradients @ self._embeddings.T.astype(np.float64)
        promised: Floats = scores[np.arange(len(ids)), list(ids)][:, None] - scores
        promised[:, ~self._allowed] = -np.inf
        promised[np.arange(len(ids)), list(ids)] = -np.inf
        return promised

    def values(self, candidates: Sequence[Ids], rows: Ints) -> Floats:
        """The exact objective of prompts on the same examples, to be made small.

        Args:
            candidates: tokens of prompts.
            rows: train examples.

        Returns:
            Shape `(candidates,)`: loss, anti-collapse and fluency terms together.
        """
        if self.words is not None:
            found = self._joint_values(self.words, candidates, rows)
        else:
            found = self._own_values(candidates, rows)
        if self.settings.fluency:
            found = found + self.settings.fluency * self.fluency(candidates, rows[0])
        return found

    def _joint_values(self, words: JointWords, candidates: Sequence[Ids], rows: Ints) -> Floats:
        """The loss of each candidate with label words that are fitted to it."""
        base = self._encoded(candidates[0], rows, 1)
        encodings = [one.with_triggers(tokens) for tokens in candidates for one in base]
        scores = word_log_probabilities(self.model, encodings, words.ids)
        self.spent += Spent(forwards=len(encodings), tokens=sum(len(e.ids) for e in encodings))
        sets = scores.reshape(len(candidates), len(rows), -1)
        return np.array([words.loss(one, rows) for one in sets])

    def _own_values(self, candidates: Sequence[Ids], rows: Ints) -> Floats:
        shape = (len(candidates), len(rows))
        words = np.empty((len(candidates) * len(rows), len(self.verbalizer.all_words)))
        for masks, (columns, ids) in self._groups.items():
            base = self._encoded(candidates[0], rows, masks)
            encodings = [one.with_triggers(tokens) for tokens in candidates for one in base]
            words[:, columns] = word_log_probabilities(self.model, encodings, ids)
            self.spent += Spent(
                forwards=len(encodings), tokens=sum(len(one.ids) for one in encodings)
            )
        scores = label_scores(words, self._columns(), self.verbalizer.aggregation)
        sets = scores.reshape(*shape, -1)
        if self.settings.by_accuracy:
            return _misses(sets, self.gold[rows])
        return self.loss.values(sets, self.gold[rows])

    def fluency(self, candidates: Sequence[Ids], row: int) -> Floats:
        """The mean -log p of the trigger tokens, each with all else of the prompt in sight.

        A masked model sees both sides of a token (pseudo-likelihood, Salazar et al. 2020), and so
        does one with an encoder and a decoder; a causal one sees what is before it, and a token
        that begins the sequence is left out there.

        Args:
            candidates: tokens of prompts.
            row: the train example that stands in the prompt.

        Returns:
            Shape `(candidates,)`, nats a token.
        """
        base = self._encoded(candidates[0], np.array([row]), 1)[0]
        hiding = self.model.encoder.hiding_triggers
        asked = [one for tokens in candidates for one in hiding(base.with_triggers(tokens))]
        if not asked:
            return np.zeros(len(candidates))
        known, column = np.unique(np.array(candidates), return_inverse=True)
        logs = self.model.log_probabilities(asked, known)
        self.spent += Spent(forwards=len(asked), tokens=sum(len(one.ids) for one in asked))
        logs = logs.reshape(len(candidates), -1, len(known))  # (candidates, tokens asked for, ...)
        column = column.reshape(len(candidates), -1)[:, -logs.shape[1] :, None]
        found: Floats = -np.take_along_axis(logs, column, 2)[..., 0].mean(axis=1)
        return found

    # -- proposals ----------------------------------------------------------------------------

    def _proposals(
        self, ids: Ids, promised: Floats, most: int, stale: int, names: tuple[int, int]
    ) -> list[Ids]:
        """The prompts whose swaps promise most and that are text, after those of stale steps."""
        chance = generator(self.seed, "triggers", *names)
        if self.settings.one_position:
            only = int(chance.integers(len(ids)))
            others = np.arange(len(ids)) != only
            promised = np.where(others[:, None], -np.inf, promised)
        found: list[Ids] = []
        singles: list[tuple[int, int]] = []
        reserved = most // 3 if self.settings.flips > 1 and len(ids) > 1 else 0
        size = promised.shape[1]
        skipped = stale * (most - reserved)  # of single swaps that are text, as many as were tried
        for flat in _best_first(promised.ravel(), 8 * (stale + 1) * most):
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
        for _ in range(4 * most):
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
        if not self._round_trips_at_all:
            return True
        return self.model.encoder.round_trips(self._framed(ids))

    @property
    def _round_trips_at_all(self) -> bool:
        # Some tokenizers never do around a slot; their prompts are kept by their ids.
        return self.model.encoder.exact

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
        return np.array(sorted(index[id(example)] for example in order[:most]))

    def _framed(self, ids: Ids) -> Frame:
        return replace(self.frame, triggers=split_by_slot(self.frame.template, ids))

    def _encoded(self, ids: Ids, rows: Ints, masks: int) -> list[Encoding]:
        examples = [self.examples[row] for row in rows]
        return self.model.encoder.encode(self._framed(ids), examples, masks)

    def _variants(self, ids: Ids, rows: Ints) -> list[Variant]:
        owner = np.repeat(
            np.arange(len(self.verbalizer.labels)), [len(w) for w in self.verbalizer.words]
        )
        return [
            Variant(self._encoded(ids, rows, masks), word_ids, owner[columns])
            for masks, (columns, word_ids) in self._groups.items()
        ]

    def _columns(self) -> list[list[int]]:
        ends = np.cumsum([0, *(len(words) for words in self.verbalizer.words)])
        return [list(range(start, end)) for start, end in itertools.pairwise(ends)]

    def _words_by_length(self) -> dict[int, tuple[Ints, Ints]]:
        """Number of tokens -> (columns among all words, ids of shape `(words, tokens)`)."""
        first = self._framed((blank(self.model.encoder),) * sum(self.frame.template.trigger_counts))
        found: dict[int, list[tuple[int, Ids]]] = {}
        for column, word in enumerate(self.verbalizer.all_words):
            ids = self.model.encoder.word_ids(first, word)
            found.setdefault(len(ids), []).append((column, ids))
        return {
            masks: (np.array([c for c, _ in group]), np.array([ids for _, ids in group]))
            for masks, group in sorted(found.items())
        }


def allowed_tokens(model: OpenModel) -> NDArray[np.bool_]:
    """Which vocabulary entries may be trigger tokens: text of their own.

    Special and unused tokens, and pieces that do not decode to visible text, are banned.

    Returns:
        Shape `(vocab_size,)` of the embeddings.
    """
    tokenizer = model.encoder.tokenizer
    allowed = np.zeros(len(model.input_embeddings()), dtype=bool)
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    for token, text in enumerate(texts):
        unused = text.startswith("[unused")
        readable = bool(text.strip()) and text.isprintable() and "\ufffd" not in text
        allowed[token] = readable and not unused and token not in special
    return allowed


def _without_words(
    allowed: NDArray[np.bool_], model: OpenModel, verbalizer: Verbalizer
) -> NDArray[np.bool_]:
    """Ban the label words: a trigger that names a label answers for every example alike."""
    left = allowed.copy()
    for word in verbalizer.all_words:
        for text in (word, f" {word}"):
            ids = model.encoder.text_ids(text)
            if len(ids) == 1:
                left[ids[0]] = False
    return left


def _misses(scores: Floats, gold: Ints) -> Floats:
    """The share of examples that a set gets wrong; a tie of two labels is a miss."""
    own = scores[:, np.arange(len(gold)), gold]
    found: Floats = ((scores >= own[..., None]).sum(axis=-1) > 1).mean(axis=-1)
    return found


def _best_first(values: Floats, most: int) -> NDArray[np.int64]:
    """Indices of the highest finite values, the highest first; ties by index."""
    finite = int(np.isfinite(values).sum())
    most = min(most, finite)
    if not most:
        return np.zeros(0, dtype=np.int64)
    picked = np.argpartition(-values, most - 1)[:most]
    return picked[np.lexsort((picked, -values[picked]))]
