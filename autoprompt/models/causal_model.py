"""Causal language models: any `AutoModelForCausalLM`; beginnings that sequences share run once.

The examples of a template share what it says in front of them (instructions, demonstrations), the
words of several tokens share all of the text, and candidates for trigger tokens share what stands
before the first token that they change. What has been run of a sequence is not run again: the rest
of it reads the keys and values that another left. (Servers keep such a prefix cache, as vLLM, Kwon
et al. 2023; nanoGCG has one up to its trigger tokens, here it reaches each candidate's own change.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from inspect import signature
from typing import Any, Self

import numpy as np
import torch

from autoprompt.models.batches import lacks_memory
from autoprompt.models.past import Past
from autoprompt.models.prefixes import Start, starts_of
from autoprompt.models.rests import LEAST, ROW, Rest, lines_of
from autoprompt.models.scoring_model import PARITY, UNFIT, Rows
from autoprompt.models.sequence import Encoding
from autoprompt.models.transformer import TransformerModel

# One pass more must save an eighth of the tokens that a batch may hold, and a sixteenth of all that
# are asked for: near both a GPT-2 on a CPU breaks even.
WORTH, SHARE = 8, 16
# Settings of models that read the last so many tokens only, if they are set.
WINDOWS = ("sliding_window", "window_size", "attention_chunk_size", "attention_window")
Run = Callable[[Sequence[Encoding]], torch.Tensor]


class CausalLanguageModel(TransformerModel):
    """A Hugging Face causal language model behind the `LanguageModel` protocol.

    Attributes:
        reuse: whether sequences go on from others. At load this is compared with whole runs; where
            a model does not agree (a state-space model has no keys and values), all runs are whole.
        lays: whether several of those that go on from one share a row. Compared likewise; not where
            a sliding window counts the tokens between two.
    """

    reuse = lays = False

    def _probe(self) -> None:
        super()._probe()
        # Where positions turn with the length of the longest sequence, so do the keys.
        rope = str(getattr(self.module.config, "rope_parameters", ""))
        turning = "dynamic" in rope or "longrope" in rope
        may = self.narrow and not turning
        self.lays = may and self._takes_positions and not self._counts_tokens()
        self.reuse = may and self._reuse_agrees()
        if self.lays and not self.reuse:
            self.lays = False
            self.reuse = self._reuse_agrees()

    @cached_property
    def screening(self) -> Self:
        """See `LanguageModel.screening`; rounding would hide where the ways disagree."""
        found = super().screening
        found.reuse, found.lays = found.reuse and self.reuse, found.lays and self.lays
        return found

    def _body(self) -> Any:
        return self.module.get_decoder()  # an OPT's head does not follow its whole `base_model`

    def _in_batches(self, encodings: Sequence[Encoding], run: Run) -> list[tuple[list[int], Rows]]:
        if self.reuse:
            total = sum(len(encoding.ids) for encoding in encodings)
            starts = _starts(encodings, max(self.tokens_per_batch // WORTH, total // SHARE))
            if any(start.donor >= 0 for start in starts):
                return _Job(self, encodings, starts, run).done()
        return super()._in_batches(encodings, run)

    def _mask_logits(self, batch: Sequence[Encoding]) -> torch.Tensor:
        if not isinstance(batch, Rest) or batch.is_plain:
            return super()._mask_logits(batch)
        ids, attention = self._padded(batch.ids())
        inputs = batch.inputs(attention, self.module.dtype)
        if not self._takes_positions:
            del inputs["position_ids"]
        return self._logits_at(
            batch.mask_positions(),
            batch.row_of,
            input_ids=ids,
            past_key_values=batch.cache(ids.device),
            use_cache=True,
            **inputs,
        )

    @cached_property
    def _takes_positions(self) -> bool:
        return "position_ids" in signature(self.module.forward).parameters

    def _counts_tokens(self) -> bool:
        """Whether attention may depend on how many tokens lie between two, beside positions."""
        config = self.module.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ())
        return not kinds <= {"full_attention"} or any(getattr(config, w, None) for w in WINDOWS)

    def _reuse_agrees(self) -> bool:
        """Whether sequences that go on from others get the logits of whole runs."""
        probe = _probe_batch(self.encoder.text_ids("It was a very good film"))
        try:
            parts = _Job(self, probe, _starts(probe, worth=0), self._mask_logits).done()
        except UNFIT:
            return False
        with torch.inference_mode():
            whole = self._mask_logits(probe).cpu().numpy()
        most = PARITY[self.precision] * max(1.0, float(np.abs(whole).max()))
        return all(bool((np.abs(found - whole[rows]) <= most).all()) for rows, found in parts)


class _Job:
    """One request: batches, those that go on from them, and so on.

    What a batch leaves is held until all that goes on from it is done, and no longer.
    """

    def __init__(
        self,
        model: CausalLanguageModel,
        encodings: Sequence[Encoding],
        starts: Sequence[Start],
        run: Run,
    ) -> None:
        self._model, self._encodings, self._starts, self._run = model, encodings, starts, run
        self._waiting: dict[int, list[int]] = {}
        for index, start in enumerate(starts):
            self._waiting.setdefault(start.donor, []).append(index)
        self._done: list[tuple[list[int], Rows]] = []

    def done(self) -> list[tuple[list[int], Rows]]:
        """Run all; each batch's indices and result."""
        self._descend(self._waiting[-1], None)
        return self._done

    def _descend(self, members: Sequence[int], past: Past | None) -> None:
        # Apart, so that those from which none goes on keep nothing.
        for keeps in (True, False):
            part = [index for index in members if (index in self._waiting) is keeps]
            self._run_level(part, past, keeps)

    def _run_level(self, members: Sequence[int], past: Past | None, keeps: bool) -> None:
        lines = [[at] for at in members]
        if members and self._model.lays and past is not None and not keeps:
            donors = [self._starts[at].donor for at in members]
            # Four rows a batch at least, and no more keys than the model may read.
            known = max(self._starts[at].shared for at in members)
            budget = self._model.tokens_per_batch // 4, self._model.encoder.max_length - known
            most = max(1, min(ROW, *budget))
            sizes = [max(self._counted([at]), LEAST) for at in members]
            lines = [[members[at] for at in line] for line in lines_of(sizes, donors, most)]
        self._run_lines(lines, past, keeps)

    def _counted(self, line: Sequence[int]) -> int:
        """The tokens that a row counts."""
        rests = [len(self._encodings[at].ids) - self._starts[at].shared for at in line]
        return rests[0] if len(line) == 1 else sum(max(one, LEAST) for one in rests)

    def _run_lines(self, lines: Sequence[list[int]], past: Past | None, keeps: bool) -> None:
        known = [max(self._starts[at].shared for at in line) for line in lines]

        def run(rows: list[int]) -> None:
            batch = [lines[row] for row in rows]
            try:
                self._run_batch(batch, past, keeps)
                return
            except RuntimeError as error:
                if len(batch) > 1 or len(batch[0]) == 1 or not lacks_memory(error):
                    raise
            # Here, and not above: the error holds on to the memory.
            half = len(batch[0]) // 2
            self._run_lines([batch[0][:half], batch[0][half:]], past, keeps)

        self._model._batched([self._counted(line) for line in lines], run, known)

    def _run_batch(self, lines: list[list[int]], past: Past | None, keeps: bool) -> None:
        members = [at for line in lines for at in line]
        batch = Rest(
            [[self._encodings[at] for at in line] for line in lines],
            past,
            [past.row[self._starts[line[0]].donor] for line in lines] if past else [],
            [self._starts[at].shared for at in members],
            keeps,
        )
        self._done.append((members, self._run(batch).cpu().numpy()))
        if keeps:
            after = [index for donor in members for index in self._waiting[donor]]
            self._descend(after, batch.as_past(members))


def _starts(encodings: Sequence[Encoding], worth: int) -> list[Start]:
    # What is asked for must be run, so a rest begins at the first mask at the latest.
    return starts_of(
        [encoding.ids for encoding in encodings],
        [encoding.mask_positions[0] for encoding in encodings],
        worth,
    )


def _probe_batch(words: Sequence[int]) -> list[Encoding]:
    """Sequences that go on from others in two places, and at each others that go on from them.

    At both places several do, so that rows are shared there, by more and less.
    """
    line = (*words, *words, *words)
    turned = line[::-1]
    beginnings = [
        *((line[:15], turned[:count]) for count in (3, 6, 9)),
        *((line[:4], turned[:count] + line[:3]) for count in (7, 9)),
        *((line[:9], turned[:count] + line[:5]) for count in (1, 3)),
        *((line[:count], turned[:2]) for count in (12, 14)),
        ((), turned),
        *((turned[:count], line[:4]) for count in (8, 11)),
    ]
    sequences = [front + rest for front, rest in beginnings]
    return [Encoding(ids, (len(ids) - 2, len(ids) - 1)) for ids in sequences]
