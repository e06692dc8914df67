"""`peft`: the words in front of the text as a soft prompt, a PEFT prompt-tuning adapter.

PEFT puts virtual tokens in front of a model's input. Here they are the embeddings of the prompt's
own tokens up to the first field, special tokens included, so that the adapter begins as exactly
this prompt and can be tuned from there; what follows stays text (`rest.txt`). The ids are taken as
they were scored: PEFT's own TEXT initialisation would tokenize anew, special tokens and all.
Its task type may not be left open, or no prompt is applied. For a masked model, logits come for the
virtual tokens too, so that positions are shifted. Read by PEFT 0.21.2.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from safetensors.torch import save

from autoprompt.errors import InputError
from autoprompt.export.material import Files, Material, refused
from autoprompt.export.text_format import ORIGIN, TextFormat
from autoprompt.export.text_forms import ELSEWHERE, filled, form_of, no_chat, plain_pieces
from autoprompt.models.embedded import source_of
from autoprompt.models.encoding import PromptEncoder
from autoprompt.models.transformer import TransformerModel
from autoprompt.pieces import Field, Literal, Mask, Piece, written
from autoprompt.prediction import Predictor
from autoprompt.prompts import Prompt
from autoprompt.tasks.examples import Example

TASK_TYPES = {"masked": "FEATURE_EXTRACTION", "causal": "CAUSAL_LM", "seq2seq": "SEQ_2_SEQ_LM"}
SAMPLES = ("text", "A gripping film, 1 of 10!", "(no)", "")


class PeftAdapter(TextFormat):
    """An adapter directory."""

    name = "peft"
    reader = "PEFT"

    def wants_model(self, material: Material) -> bool:
        """Yes: the adapter is made of its embeddings."""
        del material
        return True

    def check(self, material: Material) -> None:
        """Refuse prompts that begin with the text or the word."""
        no_chat(self.name, material.prompt)
        pieces = material.prompt.template.pieces
        first = next(p for p in pieces if isinstance(p, Field | Mask))
        if isinstance(first, Mask) or first is pieces[0]:
            raise refused(
                self.name,
                f"the template {material.prompt.template.text!r}",
                "a soft prompt stands in front of the input, and this one begins with the "
                f"{'word' if isinstance(first, Mask) else 'text'}",
                ELSEWHERE,
            )

    def files(self, material: Material) -> Files:
        """Configuration, embeddings, what is left of the template, and where they came from.

        Raises:
            InputError: no model is at hand, or the words cannot be parted from what follows.
        """
        predictor = material.predictor
        if predictor is None or not isinstance(predictor.model, TransformerModel):
            raise InputError("format 'peft' needs the prompt's model; name one by --model")
        encoder, module = predictor.model.encoder, predictor.model.module
        layout = encoder.layout(material.prompt.frame)
        if layout.decoder_start >= 0 and not layout.decoder_asks:
            raise refused(
                self.name,
                "a prompt for this model",
                "its decoder reads the prompt's words too, where PEFT puts none",
                ELSEWHERE,
            )
        ids, rest = parted(predictor)
        layer = module.get_input_embeddings()
        with torch.inference_mode():
            rows = layer(torch.tensor(ids, device=next(module.parameters()).device))
        config = adapter_config(material, module.config, tuple(rows.shape))
        return {
            "adapter_config.json": json.dumps(config, indent=2) + "\n",
            "adapter_model.safetensors": save({"prompt_embeddings": rows.float().cpu().clone()}),
            "rest.txt": rest + "\n",
            "README.md": _readme(material, rest, len(ids)),
            ORIGIN: self.origin(material),
        }


def parted(predictor: Predictor) -> tuple[list[int], str]:
    """The ids in front of the first field, and the template behind them, with special tokens.

    Raises:
        InputError: a tokenizer joins the two.
    """
    prompt, encoder = predictor.prompt, predictor.model.encoder
    fields = prompt.template.fields
    samples = [dict.fromkeys(fields, text) for text in SAMPLES]
    found = encoder.encode(prompt.frame, [Example(sample) for sample in samples])
    encoded = [list(encoding.ids) for encoding in found]
    count = next(n for n, row in enumerate(zip(*encoded, strict=False)) if len({*row}) > 1)
    pieces = plain_pieces(prompt)
    at = next(n for n, piece in enumerate(pieces) if isinstance(piece, Field))
    (front,) = pieces[:at]
    assert isinstance(front, Literal)
    tail = "".join(encoder.tokenizer.convert_ids_to_tokens(encoder.layout(prompt.frame).tail))
    for kept in dict.fromkeys((front.text, front.text.removesuffix(" "), front.text.rstrip())):
        behind = rest_of(prompt, encoder, [Literal(front.text[len(kept) :]), *pieces[at:]])
        behind += [Literal(tail)]
        texts = [filled(merged_texts(behind), sample) for sample in samples]
        ids = [encoder.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        if [ids_after[count:] for ids_after in encoded] == ids:
            return encoded[0][:count], written(behind)
    raise refused(
        "peft",
        f"the template {prompt.template.text!r}",
        "the tokenizer joins the words in front of the text with it",
        f"put a space or line break between them, or {ELSEWHERE}",
    )


def rest_of(prompt: Prompt, encoder: PromptEncoder, pieces: Sequence[Piece]) -> list[Piece]:
    """What is read of some pieces, with the mask token as text; a causal model reads no mask."""
    if prompt.model is not None and prompt.model.family == "causal":
        return list(form_of(prompt, pieces).before)
    return [Literal(encoder.mask) if piece == Mask() else piece for piece in pieces]


def merged_texts(pieces: Sequence[Piece]) -> list[Literal | Field]:
    """The literals and fields of some pieces."""
    return [piece for piece in pieces if isinstance(piece, Literal | Field)]


def adapter_config(material: Material, model: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    """What PEFT's `adapter_config.json` holds for prompt tuning.

    Args:
        material: of the export.
        model: the model's configuration.
        shape: `(tokens, width)` of the embeddings.
    """
    identity = material.prompt.model
    assert identity is not None
    return {
        "peft_type": "PROMPT_TUNING",
        "task_type": TASK_TYPES[identity.family],
        "base_model_name_or_path": source_of(identity.name),
        "revision": identity.revision or None,
        "inference_mode": True,
        "num_virtual_tokens": shape[0],
        "token_dim": shape[1],
        "num_transformer_submodules": 1,  # in front of the encoder alone, where there is a decoder
        "num_attention_heads": _number(model, "num_attention_heads", "n_head", "num_heads"),
        "num_layers": _number(model, "num_hidden_layers", "n_layer", "num_layers"),
        "prompt_tuning_init": "RANDOM",  # read at no load; the embeddings are in the file
        "tokenizer_name_or_path": None,
    }


def _number(model: Any, *names: str) -> int:
    return next((int(found) for name in names if (found := getattr(model, name, None))), 1)


def _readme(material: Material, rest: str, count: int) -> str:
    """How to use the adapter."""
    shifted = (
        f"Logits have {count} places more than the ids: look at the mask's place + {count}.\n"
        if material.family == "masked"
        else ""
    )
    words = json.dumps(material.prompt.verbalizer.as_dict(), ensure_ascii=False)
    return (
        f"# A prompt as a soft prompt\n\n"
        f"{count} virtual tokens stand for what the prompt says in front of the text. What follows "
        f"is text, to be tokenized with `add_special_tokens=False`; braces name its fields:\n\n"
        f"    {json.dumps(rest, ensure_ascii=False)}\n\n"
        f"The model then predicts one of the label words: {words}\n{shifted}"
    )
