"""Models with an encoder and a decoder: any `AutoModelForSeq2SeqLM`; an input is encoded once.

All words that are asked for after one input share the encoder's states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from autoprompt.models.gradients import added_to_triggers, embedding_layer
from autoprompt.models.scoring_model import Rows
from autoprompt.models.sequence import Encoding
from autoprompt.models.transformer import TransformerModel

Run = Callable[[Sequence[Encoding]], torch.Tensor]
Ids = tuple[int, ...]


@dataclass(frozen=True)
class States:
    """What the encoder made of some inputs.

    Attributes:
        output: of the encoder; `last_hidden_state` has shape `(inputs, longest, width)`.
        attention: shape `(inputs, longest)`, 0 at padding.
        row: from an input to its row.
    """

    output: Any
    attention: torch.Tensor
    row: dict[Ids, int]


class Read(list[Encoding]):
    """A batch whose inputs the encoder has read."""

    def __init__(self, encodings: Iterable[Encoding], states: States) -> None:
        super().__init__(encodings)
        self.states = states


class Seq2SeqLanguageModel(TransformerModel):
    """A Hugging Face model with an encoder and a decoder behind the `LanguageModel` protocol."""

    def _body(self) -> Any:
        return self.module.get_decoder()

    def _narrow_probe(self) -> list[Encoding]:
        line = tuple(self.encoder.text_ids("It was a very good film"))
        return [
            Encoding(line, (1, 2), decoder_ids=line[:3]),
            Encoding(line[2:], (0, 3), decoder_ids=line[1:5]),
        ]

    def _in_batches(self, encodings: Sequence[Encoding], run: Run) -> list[tuple[list[int], Rows]]:
        asked: dict[Ids, list[int]] = {}
        for index, encoding in enumerate(encodings):
            asked.setdefault(encoding.ids, []).append(index)
        inputs = list(asked)
        done: list[tuple[list[int], Rows]] = []

        def encode(rows: list[int]) -> None:
            states = self._states([inputs[row] for row in rows])
            members = [index for row in rows for index in asked[inputs[row]]]

            def decode(places: list[int]) -> None:
                part = [members[place] for place in places]
                batch = Read([encodings[index] for index in part], states)
                done.append((part, run(batch).cpu().numpy()))

            self._batched(
                [len(encodings[index].decoder_ids) for index in members],
                decode,
                [len(encodings[index].ids) for index in members],
            )

        self._batched([len(ids) for ids in inputs], encode)
        return done

    def _mask_logits(self, batch: Sequence[Encoding]) -> torch.Tensor:
        if isinstance(batch, Read):
            states = batch.states
        else:
            states = self._states(list(dict.fromkeys(encoding.ids for encoding in batch)))
        return self._decoded(batch, states)

    def _embeddings(self) -> torch.nn.Embedding:
        return embedding_layer(self.module.get_encoder(), self.identity.name)

    def _moved_logits(self, batch: Sequence[Encoding], delta: torch.Tensor) -> torch.Tensor:
        inputs = {encoding.ids: encoding.trigger_positions for encoding in batch}
        with added_to_triggers(self._embeddings(), list(inputs.values()), delta):
            states = self._states(list(inputs))
        # A decoder that repeats the text repeats the triggers in front of the mask.
        again = [[1 + at for at in e.trigger_positions if at < e.repeated] for e in batch]
        layer = embedding_layer(self.module.get_decoder(), self.identity.name)
        with added_to_triggers(layer, again, delta[: len(again[0])]):
            return self._decoded(batch, states)

    def _states(self, inputs: Sequence[Ids]) -> States:
        ids, attention = self._padded(inputs)
        output = self.module.get_encoder()(input_ids=ids, attention_mask=attention)
        return States(output, attention, {one: row for row, one in enumerate(inputs)})

    def _decoded(self, batch: Sequence[Encoding], states: States) -> torch.Tensor:
        ids, attention = self._padded([encoding.decoder_ids for encoding in batch])
        rows = torch.tensor([states.row[encoding.ids] for encoding in batch], device=ids.device)
        output = states.output
        return self._logits_at(
            [encoding.mask_positions for encoding in batch],
            encoder_outputs=type(output)(last_hidden_state=output.last_hidden_state[rows]),
            attention_mask=states.attention[rows],
            decoder_input_ids=ids,
            decoder_attention_mask=attention,
            use_cache=False,
        )
