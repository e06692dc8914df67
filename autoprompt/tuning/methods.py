"""What each method trains of a model, and how the result is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from autoprompt.errors import ModelError
from autoprompt.files import write_atomically, write_json
from autoprompt.models.adapters import CONFIG, LORA, SOFT, TASK_TYPES, WEIGHTS, peft, quiet_peft
from autoprompt.models.label_rows import LabelRows, attach_label_rows
from autoprompt.models.loading import quiet
from autoprompt.models.soft import SoftEmbedding, attach_soft_prompt, embedded
from autoprompt.models.transformer import TransformerModel
from autoprompt.prompts import Prompt
from autoprompt.seeding import derive_seed
from autoprompt.tuning.settings import TuningSettings


class Method(Protocol):
    """A way to tune."""

    def attach(
        self, model: TransformerModel, prompts: Sequence[Prompt], settings: TuningSettings
    ) -> None:
        """Choose what is trained.

        Args:
            model: changed in place; frozen before.
            prompts: that it is trained through.
            settings: numbers.

        Raises:
            ModelError: the model lacks what the method trains.
        """
        ...

    def save(self, model: TransformerModel, folder: Path) -> None:
        """Write what has been trained, so that `load_model(folder)` finds it."""
        ...


class Full:
    """All weights."""

    def attach(
        self, model: TransformerModel, prompts: Sequence[Prompt], settings: TuningSettings
    ) -> None:
        """See `Method.attach`."""
        del prompts, settings
        model.module.requires_grad_(True)

    def save(self, model: TransformerModel, folder: Path) -> None:
        """See `Method.save`: an ordinary `save_pretrained` directory."""
        config = model.module.config
        caching = getattr(config, "use_cache", None)
        if model.identity.family == "causal":
            config.use_cache = True  # it is off here only because nothing is generated
        with quiet():
            model.module.save_pretrained(folder)
        if caching is not None:
            config.use_cache = caching
        model.encoder.tokenizer.save_pretrained(folder)


class BitFit(Full):
    """The biases (Zaken et al. 2022)."""

    def attach(
        self, model: TransformerModel, prompts: Sequence[Prompt], settings: TuningSettings
    ) -> None:
        """See `Method.attach`."""
        del prompts, settings
        biases = [
            each
            for name, each in model.module.named_parameters()
            if name.rsplit(".", 1)[-1] == "bias"
        ]
        if not biases:
            raise ModelError(
                f"method 'bitfit' trains biases, and {model.identity.name!r} has none; choose "
                f"another method (lora trains about as little)"
            )
        for each in biases:
            each.requires_grad_(True)


class Head(Full):
    """A linear classifier at the mask: the label words' rows of the output embeddings."""

    def attach(
        self, model: TransformerModel, prompts: Sequence[Prompt], settings: TuningSettings
    ) -> None:
        """See `Method.attach`."""
        del settings
        attach_label_rows(model, list(dict.fromkeys(t for p in prompts for t in _words(model, p))))

    def save(self, model: TransformerModel, folder: Path) -> None:
        """See `Method.save`: the rows are written into an output layer of its own."""
        module = model.module
        rows = module.get_output_embeddings()
        assert isinstance(rows, LabelRows)
        tied = module.config.tie_word_embeddings
        module.config.tie_word_embeddings = False
        module.set_output_embeddings(plain := rows.plain())
        _part_biases(module, plain)
        try:
            super().save(model, folder)
        finally:
            module.set_output_embeddings(rows)
            module.config.tie_word_embeddings = tied


class Lora:
    """Low-rank matrices beside all linear layers (Hu et al. 2022), by `peft`."""

    _wrapped: Any = None

    def attach(
        self, model: TransformerModel, prompts: Sequence[Prompt], settings: TuningSettings
    ) -> None:
        """See `Method.attach`."""
        del prompts
        family = model.identity.family
        config = peft().LoraConfig(
            r=settings.rank,
            lora_alpha=2 * settings.rank,
            lora_dropout=settings.dropout or 0.0,
            target_modules="all-linear",
            task_type=None if family == "masked" else TASK_TYPES[family],
            base_model_name_or_path=model.identity.name,
            revision=model.identity.revision or None,
        )
        device = model.module.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []), quiet_peft():
            torch.manual_seed(derive_seed(settings.seed, "lora"))
            try:
                self._wrapped = peft().get_peft_model(model.module, config)
            except ValueError as error:
                raise ModelError(
                    f"method 'lora' cannot be put into {model.identity.name!r} "
                    f"({str(error).splitlines()[0]}); choose another method"
                ) from error

    def save(self, model: TransformerModel, folder: Path) -> None:
        """See `Method.save`: a `peft` adapter."""
        with quiet_peft():
            self._wrapped.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)  # ours says more
        _name_base(folder, model)


class Soft:
    """A soft prompt, begun from the embeddings of the prompt's own words."""

    def attach(
        self, model: TransformerModel, prompts: Sequence[Prompt], settings: TuningSettings
    ) -> None:
        """See `Method.attach`."""
        del settings
        ids = _own_tokens(model, prompts)
        attach_soft_prompt(model, embedded(model.module, model.identity.name, ids))

    def save(self, model: TransformerModel, folder: Path) -> None:
        """See `Method.save`: a `peft` adapter for prompt tuning."""
        from safetensors.torch import save

        layer = model.module.get_input_embeddings()
        assert isinstance(layer, SoftEmbedding)
        vectors = layer.vectors.detach().cpu().contiguous()
        body = model.module.config
        config = peft().PromptTuningConfig(
            task_type=TASK_TYPES[model.identity.family],
            base_model_name_or_path=model.identity.name,
            revision=model.identity.revision or None,
            num_virtual_tokens=vectors.shape[0],
            token_dim=vectors.shape[1],
            num_transformer_submodules=1,  # in front of what the encoder reads, where there is one
            num_attention_heads=getattr(body, "num_attention_heads", None),
            num_layers=getattr(body, "num_hidden_layers", None),
            inference_mode=True,
        )
        config.save_pretrained(folder)
        write_atomically(folder / WEIGHTS, save({"prompt_embeddings": vectors}))
        _name_base(folder, model)


METHODS: dict[str, type[Method]] = {
    "full": Full,
    "head": Head,
    "bitfit": BitFit,
    "lora": Lora,
    "soft": Soft,
}
ADAPTERS = {"lora": LORA, "soft": SOFT}


def set_dropout(module: Any, share: float) -> None:
    """Set the share that every dropout of a model drops."""
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = share
        for name in ("dropout", "attention_dropout", "activation_dropout", "dropout_prob"):
            if isinstance(getattr(part, name, None), float):
                setattr(part, name, share)


def _part_biases(module: Any, layer: torch.nn.Linear) -> None:
    """Give what shares a layer's bias one of its own: a BERT's head holds it a second time."""
    for part in module.modules():
        if (
            part is not layer
            and layer.bias is not None
            and getattr(part, "bias", None) is layer.bias
        ):
            part.bias = torch.nn.Parameter(layer.bias.detach().clone())


def _words(model: TransformerModel, prompt: Prompt) -> list[int]:
    """The token of each label word.

    Raises:
        ModelError: a word has several.
    """
    found: list[int] = []
    for word in prompt.verbalizer.all_words:
        ids = model.encoder.word_ids(prompt.frame, word)
        if len(ids) > 1:
            raise ModelError(
                f"method 'head' trains one row for each label word, and {word!r} is {len(ids)} "
                f"tokens for {model.identity.name!r}; take it out of the label words, or choose "
                f"another method"
            )
        found += ids
    return found


def _own_tokens(model: TransformerModel, prompts: Sequence[Prompt]) -> list[int]:
    """The tokens of the prompts' own words: their templates with empty texts, their label words."""
    found: list[int] = []
    for prompt in prompts:
        shown = prompt.template.unmarked() if prompt.template.is_chat else prompt.template
        empty = dict.fromkeys(prompt.template.fields, "")
        strings = ["".join(trigger.strings) for trigger in prompt.triggers]
        text = shown.render(empty, "", strings, "")
        words = " ".join(words[0] for words in prompt.verbalizer.words)
        found += model.encoder.text_ids(" ".join(f"{text} {words}".split()))
    return found


def _name_base(folder: Path, model: TransformerModel) -> None:
    """Write into an adapter's configuration whose it is: `peft` may have put a path of its own."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = model.identity.name
    config["revision"] = model.identity.revision or None
    write_json(folder / CONFIG, config)
