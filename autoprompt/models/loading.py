"""Loading a language model by name or directory, and refusing one that would mislead."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoprompt.errors import ModelError
from autoprompt.files import digest, digest_of_file
from autoprompt.models.embedded import EMBEDDED, embedded_path
from autoprompt.models.encoding import PromptEncoder
from autoprompt.models.masked import MaskedLanguageModel, usable_length
from autoprompt.models.protocol import LanguageModel
from autoprompt.prompts import ModelIdentity


def load_model(
    name: str = EMBEDDED,
    *,
    device: str = "cpu",
    revision: str = "",
    trust_remote_code: bool = False,
    max_length: int | None = None,
) -> LanguageModel:
    """Load a masked language model in float32.

    Args:
        name: "embedded", a directory, or a Hugging Face name.
        device: a torch device, for example "cpu", "cuda" or "mps".
        revision: of a Hugging Face name.
        trust_remote_code: allow the model's own Python code to run.
        max_length: a lower limit of tokens than the model's own.

    Raises:
        ModelError: the model is absent, is no masked language model, has no language-model head,
            has weights other than safetensors, or is damaged.
    """
    import transformers

    path = embedded_path() if name == EMBEDDED else Path(name)
    local = path.is_dir()
    if local:
        _check_directory(path)
    elif path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelError(f"no model directory at {name}; check the path")
    source = str(path) if local else name
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if revision:
        options["revision"] = revision
    with _clear_errors(name):
        config = transformers.AutoConfig.from_pretrained(source, **options)
    remote = "AutoModelForMaskedLM" in (getattr(config, "auto_map", None) or {})
    if type(config) not in transformers.MODEL_FOR_MASKED_LM_MAPPING and not remote:
        raise ModelError(
            f"{name!r} is a {config.model_type!r} model, which has no masked-LM head; choose a "
            f"masked language model such as BERT, RoBERTa, ALBERT, DeBERTa or ModernBERT"
        )
    with _clear_errors(name), _quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, **options)
        module, info = transformers.AutoModelForMaskedLM.from_pretrained(
            source,
            use_safetensors=True,
            output_loading_info=True,
            dtype="float32",
            **options,
        )
    _check_head(name, module, info)
    _check_vocabulary(name, module, tokenizer)
    _to_device(module.eval(), device)
    limit = usable_length(module, tokenizer)
    encoder = PromptEncoder(tokenizer, min(limit, max_length or limit))
    identity = ModelIdentity(
        name=name if name == EMBEDDED or not local else str(path.resolve()),
        revision="" if local else str(getattr(config, "_commit_hash", None) or revision),
        family="masked",
        tokenizer=encoder.fingerprint,
        weights=_digest_of_directory(path) if local else _digest_of_module(module),
    )
    return MaskedLanguageModel(module, encoder, identity)


def _check_directory(path: Path) -> None:
    if not (path / "config.json").is_file():
        raise ModelError(f"{path} holds no config.json; it is not a model directory")
    if any(path.glob("*.safetensors")):
        return
    pickled = sorted(file.name for file in [*path.glob("*.bin"), *path.glob("*.pt")])
    if pickled:
        raise ModelError(
            f"{path} has pickled weights only ({', '.join(pickled)}), which can run code; convert "
            f"them with save_pretrained, which writes safetensors"
        )
    raise ModelError(f"{path} holds no weights (*.safetensors)")


def _check_head(name: str, module: Any, info: dict[str, Any]) -> None:
    """Refuse a model with parameters that the checkpoint does not have: they would be random."""
    missing = sorted(str(key) for key in info["missing_keys"])
    mismatched = sorted(str(key) for key in info.get("mismatched_keys", ()))
    if missing:
        body = f"{module.base_model_prefix}."
        what = "masked-LM head" if not missing[0].startswith(body) else "body"
        raise ModelError(
            f"{name!r} lacks weights of its {what} ({', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}), which would be random; choose a checkpoint "
            f"saved from a masked language model"
        )
    if mismatched:
        raise ModelError(
            f"{name!r} has weights that do not fit its configuration ({', '.join(mismatched[:3])}); "
            f"take config and weights of one checkpoint"
        )


def _check_vocabulary(name: str, module: Any, tokenizer: Any) -> None:
    size = module.get_input_embeddings().num_embeddings
    if len(tokenizer) > size:
        raise ModelError(
            f"{name!r} has a tokenizer of {len(tokenizer)} entries and embeddings for {size}; take "
            f"tokenizer and weights of one checkpoint"
        )


def _to_device(module: Any, device: str) -> None:
    try:
        module.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"cannot run on device {device!r}: {reason}; try --device cpu") from error


def _digest_of_directory(path: Path) -> str:
    return digest({file.name: digest_of_file(file) for file in sorted(path.glob("*.safetensors"))})


def _digest_of_module(module: Any) -> str:
    total = hashlib.sha256()
    for key, tensor in sorted(module.state_dict().items()):
        total.update(key.encode())
        total.update(tensor.contiguous().cpu().numpy().tobytes())
    return total.hexdigest()[:16]


@contextmanager
def _clear_errors(name: str) -> Iterator[None]:
    """Say in one line what transformers says in many."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise ModelError(
            f"the weights of {name!r} are damaged ({error}); download or copy them again"
        ) from error
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        text = str(error)
        if "trust_remote_code" in text:
            raise ModelError(
                f"{name!r} wants to run its own Python code; read it, then pass --trust-remote-code"
            ) from error
        if isinstance(error, OSError):
            raise ModelError(
                f"cannot load the model {name!r}: it is neither a model directory nor a Hugging "
                f"Face model that can be reached or is cached; check the name and the network"
            ) from error
        reason = text.strip().splitlines()[0] if text.strip() else type(error).__name__
        raise ModelError(f"cannot load the model {name!r}: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' report of missing keys away: `_check_head` says it as an error."""
    from transformers.utils import logging as transformers_logging

    level, bar = (
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
    )
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bar:
            transformers_logging.enable_progress_bar()
