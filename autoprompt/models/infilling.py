"""Templates from a T5, which was trained to fill gaps: LM-BFF's template generation.

The label word of each train example is put beside its text with a gap on both sides of it, and a
beam search looks for the two fillings that are likeliest over all examples together
(Gao, Fisch and Chen 2021, section 5.2)::

    A fine film. <extra_id_0> great <extra_id_1></s>      ->      {text} It was {mask}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from autoprompt.errors import (
    InputError,
    ModelError,
    ScoringError,
    TaskError,
    TemplateError,
    VerbalizerError,
    listing,
)
from autoprompt.models.batches import lacks_memory
from autoprompt.models.families import SEQ2SEQ
from autoprompt.models.infilling_steps import Decoder, Ids, Row, Rules
from autoprompt.models.loading import load_parts
from autoprompt.models.protocol import LanguageModel
from autoprompt.models.seq2seq import decoder_start
from autoprompt.models.seq2seq_model import Seq2SeqLanguageModel
from autoprompt.models.text_reader import reader_of_text
from autoprompt.models.truncation import levelled
from autoprompt.pieces import escape
from autoprompt.tasks.examples import Example

SENTINELS = ("<extra_id_0>", "<extra_id_1>", "<extra_id_2>")
MAX_LENGTH = 256  # tokens of an input, as in LM-BFF's code


class SentinelInfiller:
    """Fills the gaps around a label word, one filling for many examples.

    Attributes:
        forwards: sequences run so far. A row of the beam counts as one sequence for each example,
            however many steps it makes: its keys and values are kept, so that all its steps
            together are one pass. So a placement costs examples x the widest beam.
        tokens: tokens run so far, in encoder and decoder; an input is encoded once.

    Args:
        module: a T5-like model, in evaluation mode.
        tokenizer: its fast tokenizer, with the sentinels.
        name: for messages.
        max_length: the most tokens of an input; texts are cut at the end that is farther from the
            gaps, the longest first.

    Raises:
        ModelError: the tokenizer is not a fast one, or has no sentinels.
    """

    def __init__(
        self, module: Any, tokenizer: Any, name: str, max_length: int = MAX_LENGTH
    ) -> None:
        vocabulary = tokenizer.get_vocab()
        if missing := [token for token in SENTINELS if token not in vocabulary]:
            raise ModelError(
                f"{name!r} has no sentinel tokens ({listing(missing)}), which stand for the gaps; "
                f"choose a T5, for example google-t5/t5-base"
            )
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(
                f"the tokenizer of {name!r} has no fast version; convert it with transformers and "
                f"save it as tokenizer.json"
            )
        self.module = module
        self.tokenizer = tokenizer
        self.name = name
        self.max_length = max_length
        self.forwards = 0
        self.tokens = 0
        self._sentinels: Ids = tuple(vocabulary[token] for token in SENTINELS)
        self._reader = reader_of_text(tokenizer)
        self._end: int = tokenizer.eos_token_id
        self._start = decoder_start(module, tokenizer)
        # The width of the logits, which may be more than the tokenizer has.
        size = module.get_output_embeddings().weight.shape[0]
        self._rules = Rules.of(tokenizer, self._ids("it"), size)

    @classmethod
    def load(
        cls,
        name: str,
        device: str = "cpu",
        *,
        revision: str = "",
        trust_remote_code: bool = False,
        max_length: int = MAX_LENGTH,
    ) -> SentinelInfiller:
        """Load a T5-like model in float32 from a directory or by its Hugging Face name.

        Raises:
            ModelError: the model is absent, damaged or no sequence-to-sequence model, has weights
                other than safetensors, or has no sentinel tokens.
        """
        parts = load_parts(name, device, revision, trust_remote_code, families=[SEQ2SEQ])
        return cls(parts.module, parts.tokenizer, name, max_length)

    def generate(
        self,
        examples: Sequence[Example],
        fields: Sequence[str],
        words: Mapping[str, str],
        *,
        beam: int = 100,
        most: int = 100,
        max_tokens: int = 20,
    ) -> list[tuple[str, float]]:
        """Templates whose words are likely over all examples together.

        With one field the label word is put after the text and before it, with several between
        each two of them; each placement has a beam of its own and gives an equal share.

        Args:
            examples: labelled; LM-BFF takes the whole few-shot train split.
            fields: the task's; each stands in every template, in this order.
            words: label to word.
            beam: rows of the beam. Their keys and values are kept for every example: with 100
                rows, 32 examples and 10 tokens a t5-base takes 2.4 GB for them.
            most: the most templates that are returned.
            max_tokens: the most tokens in the two gaps together.

        Returns:
            Template texts, each once, with the sums over the examples of the log-probability of
            the two fillings with the sentinels that end them, the likeliest first.

        Raises:
            InputError: a number is smaller than 1.
            TaskError: there is no example or no field, or an example lacks a field.
            VerbalizerError: the label of an example has no word.
            TemplateError: label word and gaps alone are longer than `max_length`, or a text holds
                a NUL.
            ScoringError: the model gave scores that are not finite, or the memory is too small.
        """
        for name, value in {"beam": beam, "most": most, "max_tokens": max_tokens}.items():
            if value < 1:
                raise InputError(f"{name} must be 1 or more; it is {value}")
        _check(examples, fields, words)
        cuts = range(1, len(fields)) if len(fields) > 1 else (1, 0)
        found: dict[str, float] = {}
        for number, cut in enumerate(cuts):
            before, after = fields[:cut], fields[cut:]
            inputs = [
                self._input(example, before, after, words[str(example.label)])
                for example in examples
            ]
            texts: dict[str, float] = {}
            for row in self._searched(inputs, beam, max_tokens):
                texts.setdefault(self._template(before, after, row.tokens), row.score)
            share = most // len(cuts) + (number < most % len(cuts))
            found |= dict(list(texts.items())[:share])
        return sorted(found.items(), key=lambda item: (-item[1], item[0]))

    # -- text and ids -------------------------------------------------------------------------

    def _ids(self, text: str) -> list[int]:
        return list(self._reader.encode(text, add_special_tokens=False).ids)

    def _input(
        self, example: Example, before: Sequence[str], after: Sequence[str], word: str
    ) -> list[int]:
        """Texts, first gap, label word, second gap, texts, end."""
        ids = {name: self._ids(example.fields[name]) for name in (*before, *after)}
        lengths = {name: len(found) for name, found in ids.items()}
        middle = [self._sentinels[0], *self._ids(f" {word}"), self._sentinels[1]]
        room = self.max_length - len(middle) - 1
        if room < 0:
            raise TemplateError(
                f"the label word {word!r} with its gaps has {len(middle) + 1} tokens, the limit is "
                f"{self.max_length}; raise max_length or take a shorter word"
            )
        if (surplus := sum(lengths.values()) - room) > 0:
            left = levelled(lengths, dict.fromkeys(lengths, 1), surplus)
            for name in ids:  # what stays is what is next to the gaps
                cut = lengths[name] - left[name]
                ids[name] = ids[name][cut:] if name in before else ids[name][: left[name]]
        return [
            *(token for name in before for token in ids[name]),
            *middle,
            *(token for name in after for token in ids[name]),
            self._end,
        ]

    def _template(self, before: Sequence[str], after: Sequence[str], tokens: Ids) -> str:
        cut = tokens.index(self._sentinels[1])
        first, second = (
            escape("".join(self._rules.texts[token] for token in gap))
            for gap in (tokens[:cut], tokens[cut + 1 : -1])
        )
        left, right = (" ".join(f"{{{name}}}" for name in side) for side in (before, after))
        return " ".join(f"{left}{first} {{mask}}{second} {right}".split())

    # -- the search ---------------------------------------------------------------------------

    def _searched(self, inputs: list[list[int]], beam: int, max_tokens: int) -> list[Row]:
        """The best finished rows, the best first."""
        try:
            with torch.inference_mode():
                return self._beam_search(inputs, beam, max_tokens)
        except RuntimeError as error:
            if not lacks_memory(error):
                raise
            raise ScoringError(
                f"a beam of {beam} rows over {len(inputs)} examples does not fit into the memory "
                f"of {str(self.module.device)!r}; take a smaller beam or fewer examples"
            ) from error

    def _beam_search(self, inputs: list[list[int]], beam: int, max_tokens: int) -> list[Row]:
        decoders = [Decoder(self.module, ids) for ids in inputs]
        pool = [Row((), 0.0, 0, 0)]
        fed = [[self._start, self._sentinels[0]]]
        steps = widest = 0
        # A row's score only sinks as it grows, so the finished ones wait in the pool.
        while live := [row for row in pool if row.closed < 2]:
            parents = [row.parent for row in live]
            totals = self._summed(decoders, parents, fed)
            totals += torch.tensor([row.score for row in live], dtype=torch.float64)[:, None]
            for at, row in enumerate(live):
                totals[at, self._barred(row, max_tokens)] = -torch.inf
            best = totals.flatten().topk(min(beam, totals.numel()))
            grown = [row for row in pool if row.closed == 2]
            for score, index in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                if score > -torch.inf:
                    parent, token = divmod(index, totals.shape[1])
                    closed = live[parent].closed + (token in self._sentinels)
                    grown.append(Row((*live[parent].tokens, token), score, closed, parent))
            pool = sorted(grown, key=lambda row: (-row.score, row.tokens))[:beam]
            widest, steps = max(widest, len(live)), steps + len(live) * len(fed[0])
            fed = [[row.tokens[-1]] for row in pool if row.closed < 2]
        self.forwards += len(inputs) * widest
        self.tokens += sum(len(ids) for ids in inputs) + len(inputs) * steps
        return pool

    def _summed(
        self, decoders: Sequence[Decoder], parents: list[int], fed: list[list[int]]
    ) -> torch.Tensor:
        """Next tokens' log-probabilities, summed over examples: shape `(rows, vocab_size)`.

        The last sentinel stands for the end of the text too: T5 ends with either.
        """
        last = self._sentinels[2]
        total = torch.zeros((len(fed), len(self._rules.barred)), dtype=torch.float64)
        for decoder in decoders:
            logs = decoder.step(parents, fed)
            logs[:, last] = torch.logaddexp(logs[:, last], logs[:, self._end])
            total += logs
        if not torch.isfinite(total).all():
            raise ScoringError(
                f"model {self.name!r} gave scores that are not finite (NaN or infinite); its "
                f"weights are damaged: copy or download them again"
            )
        return total

    def _barred(self, row: Row, max_tokens: int) -> torch.Tensor:
        """What may not come next: shape `(vocab_size,)`."""
        rules = self._rules
        if len(row.tokens) - row.closed >= max_tokens:
            barred = torch.ones_like(rules.barred)
        elif not row.tokens or row.tokens[-1] == self._sentinels[1]:
            barred = rules.barred | rules.glued
        else:
            barred = rules.barred.clone()
            barred[row.tokens[-1]] |= rules.marks[row.tokens[-1]]
        barred[self._sentinels[row.closed + 1]] = False
        return barred


def own_infiller(model: LanguageModel) -> SentinelInfiller | None:
    """The infiller that a model is itself: a T5 writes templates as it scores them."""
    if not isinstance(model, Seq2SeqLanguageModel):
        return None
    tokenizer = model.encoder.tokenizer
    if not set(SENTINELS) <= set(tokenizer.get_vocab()):
        return None
    return SentinelInfiller(model.module, tokenizer, model.identity.name)


def _check(examples: Sequence[Example], fields: Sequence[str], words: Mapping[str, str]) -> None:
    if not examples or not fields:
        raise TaskError("templates are generated from examples with texts; give one at least")
    for example in examples:
        if missing := [name for name in fields if name not in example.fields]:
            raise TaskError(
                f"an example has no text for {listing(missing)}; it has: {listing(example.fields)}"
            )
        if any("\0" in example.fields[name] for name in fields):  # see `text_reader`
            raise TemplateError("a text holds a NUL character; remove it")
        if example.label not in words:
            raise VerbalizerError(
                f"an example has the label {example.label!r}, for which no word is given; there "
                f"are words for: {listing(words)}"
            )
