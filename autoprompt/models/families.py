"""The kinds of language models, and which of them a model is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autoprompt.errors import ModelError
from autoprompt.models.causal import CausalEncoder
from autoprompt.models.causal_model import CausalLanguageModel
from autoprompt.models.encoding import PromptEncoder
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.models.seq2seq import Seq2SeqEncoder
from autoprompt.models.seq2seq_model import Seq2SeqLanguageModel
from autoprompt.models.transformer import TransformerModel


@dataclass(frozen=True)
class Family:
    """A kind of language models.

    Attributes:
        name: as `ModelIdentity.family` has it.
        table: the table of transformers that lists the configurations which have one.
        loader: the class of transformers that loads one.
        encoder: what encodes for it.
        model: what runs it.
        known: some models of this kind, for people.
    """

    name: str
    table: str
    loader: str
    encoder: type[PromptEncoder]
    model: type[TransformerModel]
    known: str

    def has(self, config: Any) -> bool:
        """Whether a configuration is that of a model of this kind."""
        import transformers

        listed = type(config) in getattr(transformers, self.table)
        # The masked table has BART, and the causal one has the decoders of translators.
        paired = bool(getattr(config, "is_encoder_decoder", False))
        brought = getattr(config, "auto_map", None) or {}  # by the model's own code
        if self.name == "seq2seq":
            return (listed and paired) or self.loader in brought
        return (listed or self.loader in brought) and not paired


SEQ2SEQ = Family(
    "seq2seq",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
    "AutoModelForSeq2SeqLM",
    Seq2SeqEncoder,
    Seq2SeqLanguageModel,
    "T5, FLAN-T5 or BART",
)
# In the order in which they are tried: a BERT can be made causal, but that is not what it is.
FAMILIES = (
    Family(
        "masked",
        "MODEL_FOR_MASKED_LM_MAPPING",
        "AutoModelForMaskedLM",
        PromptEncoder,
        MaskedLanguageModel,
        "BERT, RoBERTa, ALBERT, DeBERTa or ModernBERT",
    ),
    Family(
        "causal",
        "MODEL_FOR_CAUSAL_LM_MAPPING",
        "AutoModelForCausalLM",
        CausalEncoder,
        CausalLanguageModel,
        "GPT-2, Llama, Qwen2 or Pythia",
    ),
    SEQ2SEQ,
)


def family_of(name: str, config: Any, families: Sequence[Family] = FAMILIES) -> Family:
    """The family of a model with a configuration.

    Raises:
        ModelError: it is of none of them.
    """
    for family in families:
        if family.has(config):
            return family
    kinds = " or ".join(family.name for family in families)
    ways = ", or ".join(f"a {family.name} one such as {family.known}" for family in families)
    raise ModelError(
        f"{name!r} is a {config.model_type!r} model, which is no {kinds} language model; choose "
        f"{ways}"
    )
