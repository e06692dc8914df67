"""Factorised scoring: one forward pass of a frame scores every candidate word at once.

A verbalizer is a choice among columns of the result, so that scoring a thousand verbalizers costs
array arithmetic only. Rows are cached: a frame meets an example once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import cast

import numpy as np
from numpy.typing import NDArray

from autoprompt.errors import VerbalizerError
from autoprompt.models.gradients import open_model
from autoprompt.models.protocol import LanguageModel
from autoprompt.models.sections import context_of
from autoprompt.models.sequence import Encoding
from autoprompt.prompts import Frame
from autoprompt.scoring.ledger import Spent
from autoprompt.tasks.examples import Example
from autoprompt.verbalizers import Verbalizer

CACHE_BYTES = 512 * 2**20
CONTEXTS = 64  # texts before the mask for which all words' ids are kept
Key = tuple[str, ...]
Ids = tuple[int, ...]
Row = NDArray[np.float32]


class WordScorer:
    """Scores a fixed list of words in any frame.

    Args:
        model: the language model.
        words: every word that may be asked for.
        one_token: those of them that are scored only in frames where they are one token; elsewhere
            they would cost every sequence a forward pass of its own.
        relative: the scores make label scores, and nothing else: to those of an example in a frame
            a number may have been added, where that is cheaper (see
            `LanguageModel.log_probabilities`).
        cache_bytes: the most memory that cached rows may take; the least recently used frame
            goes first.
        blocks: the block of each example that is known beforehand, by its key. Examples of two
            blocks never share a batch, so that what is asked for block by block has the same
            rounding whatever was asked for before.

    Attributes:
        spent: since `begin`.
        truncated: sequences that were too long: their text was cut, or demonstrations left out.
    """

    def __init__(
        self,
        model: LanguageModel,
        words: Sequence[str],
        one_token: Sequence[str] = (),
        relative: bool = False,
        cache_bytes: int = CACHE_BYTES,
        blocks: Mapping[Key, int] | None = None,
    ) -> None:
        self.model = model
        self.words = tuple(dict.fromkeys(words))
        self.one_token = frozenset(one_token)
        self.relative = relative
        self.column = {word: index for index, word in enumerate(self.words)}
        self.spent = Spent()
        self.truncated = 0
        self._blocks = blocks or {}
        self._rows_kept = max(cache_bytes // (4 * max(len(self.words), 1)), 1)
        self._cache: OrderedDict[str, dict[Key, Row]] = OrderedDict()
        self._states: dict[str, dict[Key, Row]] = {}
        self._paid: dict[str, set[Key]] = {}
        self._fresh: list[tuple[str, set[Key]]] = []
        self._ids: dict[str, dict[str, Ids]] = {}  # context -> word -> its ids there

    def like(self) -> WordScorer:
        """Another one that scores the same words, and has scored nothing."""
        return WordScorer(self.model, self.words, tuple(self.one_token), self.relative)

    def scores(self, frame: Frame, examples: Sequence[Example]) -> NDArray[np.float32]:
        """Log-probabilities of the words at the frame's mask, or relative ones.

        Returns:
            Shape `(examples, words)`. A word of n tokens is scored with n masks, or each token
            after those before it; its score is the mean of its tokens' log-probabilities. NaN
            stands for a word that cannot be written at this mask (see `columns`).
        """
        rows = self._cache.setdefault(frame.key, {})
        self._cache.move_to_end(frame.key)
        missing = {example.key: example for example in examples if example.key not in rows}
        if missing:
            rows.update(self._computed(frame, missing))
        found = [rows[example.key] for example in examples]
        self._shrink(frame.key)
        return np.stack(found) if found else np.zeros((0, len(self.words)), np.float32)

    def columns(self, frame: Frame, verbalizer: Verbalizer) -> list[list[int]]:
        """For each label the columns of its words.

        Raises:
            VerbalizerError: a word cannot be written at this frame's mask, or the words of two
                labels are the same tokens there.
        """
        known = self._ids_in(frame)
        owner: dict[Ids, str] = {}
        for label, words in zip(verbalizer.labels, verbalizer.words, strict=True):
            for word in words:
                # A word that cannot be written is not known: asked again, it says why.
                ids = known.get(word) or self._checked_ids(frame, word)
                other = owner.setdefault(ids, label)
                if other != label:
                    raise VerbalizerError(
                        f"the words of {other!r} and {label!r} are the same tokens for this model "
                        f"({word!r}); choose others"
                    )
        return [[self.column[word] for word in words] for words in verbalizer.words]

    def states(self, frame: Frame, examples: Sequence[Example]) -> NDArray[np.float32]:
        """What the output embeddings multiply at the frame's mask: shape `(examples, width)`.

        Raises:
            ModelError: the model does not show it.
        """
        rows = self._states.setdefault(frame.key, {})
        missing = {example.key: example for example in examples if example.key not in rows}
        if missing:
            encodings = self.model.encoder.encode(frame, list(missing.values()))
            found = open_model(self.model).mask_states(encodings)[:, 0]
            rows.update(zip(missing, found, strict=True))
            tokens = sum(len(encoding.ids) for encoding in encodings)
            self.spent += Spent(forwards=len(missing), tokens=tokens)
        return np.stack([rows[example.key] for example in examples])

    def output_embeddings(self, frame: Frame) -> NDArray[np.float32]:
        """The words' output embeddings: shape `(words, width)`, NaN for words of several tokens.

        Raises:
            ModelError: the model does not show them.
        """
        single = self.single_tokens(frame)
        known = open_model(self.model).output_embeddings(np.array(list(single.values())))
        found = np.full((len(self.words), known.shape[1]), np.nan, np.float32)
        found[[self.column[word] for word in single]] = known
        return found

    def single_tokens(self, frame: Frame) -> dict[str, int]:
        """The words that are one token at the frame's mask, and that token."""
        return {word: ids[0] for word, ids in self._ids_in(frame).items() if len(ids) == 1}

    def variants(self, frame: Frame) -> int:
        """Forward passes an example in a frame: one at least for each token count of the words."""
        groups: dict[int, list[Ids]] = {}
        for word in self.words:
            if word not in self.one_token:
                with suppress(VerbalizerError):
                    ids = self._checked_ids(frame, word)
                    groups.setdefault(len(ids), []).append(ids)
        # The others take one pass together, where they are scored at all.
        if 1 not in groups and any(self._token_count(frame, word) for word in self.one_token):
            groups[1] = [(0,)]
        return sum(ways_of(self.model, np.array(ids)) for ids in groups.values())

    def unpaid(self, frame: Frame, examples: Sequence[Example]) -> int:
        """How many forward passes the scores of examples would take that no one has paid for."""
        paid = self._paid.get(frame.key, set())
        return len({example.key for example in examples} - paid) * self.variants(frame)

    def begin(self) -> None:
        """Begin a new amount of work: `spent` starts at nothing."""
        self.spent = Spent()
        self._fresh = []
        # States are not kept: who asks for them in a later trial pays again, resumed run or not.
        self._states = {}

    def abandon(self) -> None:
        """Forget the rows computed since `begin`, as if a kill had come.

        The work stays spent. What a failed trial left behind must not make the next one cheaper
        than it would be after an interruption.
        """
        for frame_key, keys in self._fresh:
            self._paid[frame_key].difference_update(keys)
            for key in keys:
                self._cache.get(frame_key, {}).pop(key, None)
        self._fresh = []

    def mark_paid(self, frame_key: str, examples: Sequence[Example]) -> None:
        """Note that an earlier process of this run has paid for these rows of a frame."""
        self._paid.setdefault(frame_key, set()).update(example.key for example in examples)

    # -- the forward passes -------------------------------------------------------------------

    def _computed(self, frame: Frame, missing: dict[Key, Example]) -> dict[Key, Row]:
        keys, examples = list(missing), list(missing.values())
        result = np.full((len(examples), len(self.words)), np.nan, np.float32)
        paid = self._paid.setdefault(frame.key, set())
        fresh = {key for key in keys if key not in paid}
        again = len(keys) - len(fresh)
        paid.update(fresh)
        self._fresh.append((frame.key, fresh))
        groups = self._groups_of(frame)
        # Between words of different token counts, and between a word's tokens, denominators differ.
        relative = self.relative and [*groups] == [1]
        for masks, group in groups.items():
            encodings = self.model.encoder.encode(frame, examples, masks)
            self.truncated += sum(encoding.is_shortened for encoding in encodings)
            ways, tokens = ways_of(self.model, group.ids), 0
            for rows in self._by_block(keys):
                part = [encodings[row] for row in rows]
                found, cost = word_log_probabilities(self.model, part, group.ids, relative)
                result[np.ix_(rows, group.columns)] = found
                tokens += cost.tokens
            self.spent += Spent(forwards=ways * len(fresh), recomputed=ways * again, tokens=tokens)
        return dict(zip(keys, result, strict=True))

    def _by_block(self, keys: Sequence[Key]) -> list[list[int]]:
        """Indices of keys, one list a block; what is in none makes one more."""
        found: dict[int | None, list[int]] = {}
        for row, key in enumerate(keys):
            found.setdefault(self._blocks.get(key), []).append(row)
        return list(found.values())

    def _groups_of(self, frame: Frame) -> dict[int, _Group]:
        """The words by their number of tokens at this frame's mask."""
        found: dict[int, list[tuple[int, Ids]]] = {}
        for word, ids in self._ids_in(frame).items():
            found.setdefault(len(ids), []).append((self.column[word], ids))
        return {
            masks: _Group([index for index, _ in members], [ids for _, ids in members])
            for masks, members in sorted(found.items())
        }

    def _ids_in(self, frame: Frame) -> dict[str, Ids]:
        """The words that can be written at this frame's mask, and their ids there.

        Templates that end alike before the mask share a table, and who is refused stands in none:
        of ten thousand words many are, in each of a thousand templates.
        """
        context = context_of(frame)
        if context not in self._ids:
            if len(self._ids) >= CONTEXTS:
                del self._ids[next(iter(self._ids))]
            table: dict[str, Ids] = {}
            for word in self.words:
                with suppress(VerbalizerError):
                    table[word] = self._checked_ids(frame, word)
            self._ids[context] = table
        return self._ids[context]

    def _checked_ids(self, frame: Frame, word: str) -> Ids:
        ids = self.model.encoder.word_ids(frame, word)
        if len(ids) > 1 and word in self.one_token:
            raise VerbalizerError(f"the word {word!r} is {len(ids)} tokens at this mask")
        return ids

    def _token_count(self, frame: Frame, word: str) -> int:
        """How many tokens a word is at the frame's mask; 0 where it cannot be written there."""
        try:
            return len(self._checked_ids(frame, word))
        except VerbalizerError:
            return 0

    def _shrink(self, current: str) -> None:
        kept = sum(len(rows) for rows in self._cache.values())
        while kept > self._rows_kept and len(self._cache) > 1:
            oldest = next(iter(self._cache))
            if oldest == current:
                break
            kept -= len(self._cache.pop(oldest))


def ways_of(model: LanguageModel, ids: NDArray[np.int64]) -> int:
    """How many sequences an example takes, for words of one token count: `(words, tokens)` ids."""
    _, way = model.encoder.asked([], ids)
    return 1 + int(way.max(initial=0))


def word_log_probabilities(
    model: LanguageModel,
    encodings: Sequence[Encoding],
    ids: NDArray[np.int64],
    relative: bool = False,
) -> tuple[NDArray[np.float32], Spent]:
    """Scores of words of one token count.

    Args:
        model: the language model.
        encodings: made for words of as many tokens.
        ids: shape `(words, tokens)`, the words' token ids.
        relative: a number may be added to all scores of an encoding; for words of one token.

    Returns:
        Shape `(encodings, words)`: the mean log-probability of a word's tokens; and what that
        cost.
    """
    tokens, inverse = np.unique(ids, return_inverse=True)
    inverse = inverse.reshape(ids.shape)  # (words, tokens): indices into `tokens`
    asked, way = model.encoder.asked(encodings, ids)
    found = model.log_probabilities(asked, tokens, relative)
    ways = 1 + int(way.max(initial=0))
    found = found.reshape(ways, len(encodings), *found.shape[1:])
    masks = np.arange(ids.shape[1])
    result: NDArray[np.float32] = found[way[:, None], :, masks, inverse].mean(axis=1).T
    return result, Spent(forwards=len(asked), tokens=sum(len(one.ids) for one in asked))


class _Group:
    """Words of one token count: their columns, and their ids of shape `(words, tokens)`."""

    def __init__(self, columns: list[int], ids: list[Ids]) -> None:
        self.columns = columns
        self.ids = cast("NDArray[np.int64]", np.array(ids, dtype=np.int64))
