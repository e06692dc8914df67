"""Loading a T5-like model, which is no `LanguageModel` and is not prompted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autoprompt.errors import ModelError, listing
from autoprompt.models.encoding import PromptEncoder
from autoprompt.models.loading import (
    Family,
    check_directory,
    check_vocabulary,
    check_weights,
    clear_errors,
    commit_of,
    quiet,
    to_device,
)
from autoprompt.models.transformer import TransformerModel

# Told to `check_weights`.
FAMILY = Family(
    "seq2seq",
    "AutoModelForSeq2SeqLM",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
    PromptEncoder,
    TransformerModel,
)


def load_parts(name: str, device: str, revision: str, trust_remote_code: bool) -> tuple[Any, Any]:
    """Model, in evaluation mode and float32, and tokenizer from a directory or by name.

    Raises:
        ModelError: the model is absent, damaged or no sequence-to-sequence model, or has weights
            other than safetensors.
    """
    import transformers

    path = Path(name)
    local = path.is_dir()
    if local and revision:
        raise ModelError(f"{name!r} is a directory, which has no revisions; leave it out")
    if local:
        check_directory(path)
    elif path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelError(f"no model directory at {name}; check the path")
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if revision:
        options["revision"] = revision
    with clear_errors(name, "configuration", local), quiet():
        config = transformers.AutoConfig.from_pretrained(name, **options)
        commit = "" if local else commit_of(name, revision)
    if commit:
        options["revision"] = commit  # tokenizer and weights of one state of the repository
    remote = FAMILY.loader in (getattr(config, "auto_map", None) or {})
    if type(config) not in getattr(transformers, FAMILY.table) and not remote:
        raise ModelError(
            f"{name!r} is a {config.model_type!r} model, which does not write text from text; "
            f"choose a T5, for example google-t5/t5-base"
        )
    with clear_errors(name, "tokenizer", local), quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, **options)
    with clear_errors(name, "weights", local), quiet():
        module, info = getattr(transformers, FAMILY.loader).from_pretrained(
            name,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # `check_weights` names them
            dtype="float32",
            **options,
        )
    if missing := sorted(str(key) for key in info["missing_keys"]):
        raise ModelError(  # `check_weights` tells head and body by a prefix, which T5 lacks
            f"{name!r} lacks weights ({listing(missing, 3)}), which would be random; choose a "
            f"checkpoint saved from a {FAMILY.name} language model"
        )
    check_weights(name, module, info, FAMILY)
    check_vocabulary(name, module, tokenizer)
    to_device(module.eval(), device)
    return module, tokenizer
