"""Loading a language model by name or directory, and refusing one that would mislead."""

from __future__ import annotations

import hashlib
import importlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprompt.errors import ModelError, UnknownNameError, listing
from autoprompt.models.adapters import Adapter
from autoprompt.models.embedded import EMBEDDED, FOLDERS, embedded_path
from autoprompt.models.families import FAMILIES, Family, family_of
from autoprompt.models.hub import check_reachable
from autoprompt.models.masked import usable_length
from autoprompt.models.precision import DTYPES, screening_dtype
from autoprompt.models.protocol import LanguageModel
from autoprompt.models.transformer import TransformerModel
from autoprompt.prompts import ModelIdentity


@dataclass(frozen=True)
class Parts:
    """A model as it was read.

    Attributes:
        module: in evaluation mode and float32, on its device.
        tokenizer: its own.
        family: of which it is.
        name: as a prompt stores it: a directory's is absolute.
        revision: the commit of a Hugging Face name, or "".
    """

    module: Any
    tokenizer: Any
    family: Family
    name: str
    revision: str


def load_model(
    name: str = EMBEDDED,
    *,
    device: str = "cpu",
    dtype: str = "auto",
    revision: str = "",
    trust_remote_code: bool = False,
    max_length: int | None = None,
) -> LanguageModel:
    """Load a masked, causal or sequence-to-sequence language model in float32.

    Args:
        name: "embedded" or "embedded-causal", which ship in the package, a directory, a Hugging
            Face name, or the directory of a `peft` adapter (LoRA or a soft prompt), which names
            its model.
        device: a torch device, for example "cpu", "cuda" or "mps".
        dtype: the precision that screens candidates: "auto" (bfloat16 where that is fast, else
            float32), "float32" or "bfloat16". What is decided or reported is in float32.
        revision: of a Hugging Face name.
        trust_remote_code: allow the model's own Python code to run.
        max_length: a lower limit of tokens than the model's own.

    Raises:
        ModelError: the model is absent, is of no known family, has no language-model head, has
            weights other than safetensors, or is damaged.
    """
    if dtype not in DTYPES:
        raise UnknownNameError("dtype", dtype, DTYPES)
    adapter = Adapter.at(name)
    if adapter is not None:
        model = load_model(
            adapter.base,
            device=device,
            dtype=dtype,
            revision=adapter.revision,
            trust_remote_code=trust_remote_code,
            max_length=max_length,
        )
        return _adapted(model, adapter, dtype, device)
    parts = load_parts(name, device, revision, trust_remote_code)
    module, tokenizer = parts.module, parts.tokenizer
    if parts.family.name == "causal":
        module.config.use_cache = False  # keys and values of a text that does not go on
    try:
        limit = usable_length(module, tokenizer)
        encoder = parts.family.encoder.of(module, tokenizer, min(limit, max_length or limit))
    except ModelError as error:
        raise ModelError(f"{name!r}: {error}") from error
    identity = ModelIdentity(
        name=parts.name,
        revision=parts.revision,
        family=parts.family.name,
        tokenizer=encoder.fingerprint,
        weights=_digest_of_weights(module),
    )
    return parts.family.model(module, encoder, identity, screening_dtype(dtype, device))


def _adapted(model: LanguageModel, adapter: Adapter, dtype: str, device: str) -> LanguageModel:
    """A model with an adapter."""
    assert isinstance(model, TransformerModel)
    identity = ModelIdentity(
        name=str(adapter.path),
        revision="",
        family=model.identity.family,
        tokenizer=model.identity.tokenizer,
        weights=adapter.weights(model.identity.weights),
    )
    module = adapter.merged(model.module).eval()
    found = type(model)(module, model.encoder, identity, screening_dtype(dtype, device))
    adapter.attach(found)
    return found


def load_parts(
    name: str,
    device: str = "cpu",
    revision: str = "",
    trust_remote_code: bool = False,
    families: Sequence[Family] = FAMILIES,
) -> Parts:
    """Read a model of some families; see `load_model`.

    Raises:
        ModelError: as `load_model`.
    """
    import transformers

    path = embedded_path(name) if name in FOLDERS else Path(name)
    local = path.is_dir()
    if local and revision:
        raise ModelError(f"{name!r} is a directory, which has no revisions; leave --revision out")
    if local:
        check_directory(path)
    elif path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelError(f"no model directory at {name}; check the path")
    source = str(path) if local else name
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if revision:
        options["revision"] = revision
    with clear_errors(name, "configuration", local), quiet():
        if not local:
            check_reachable(name, revision)
        config = transformers.AutoConfig.from_pretrained(source, **options)
        commit = "" if local else commit_of(name, revision)
    if commit:
        options["revision"] = commit  # tokenizer and weights of one state of the repository
    family = family_of(name, config, families)
    with clear_errors(name, "tokenizer", local), quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, **options)
    with clear_errors(name, "weights", local), quiet():
        module, info = getattr(transformers, family.loader).from_pretrained(
            source,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # `check_weights` names them
            dtype="float32",
            **options,
        )
    check_weights(name, module, info, family)
    check_vocabulary(name, module, tokenizer)
    to_device(module.eval(), device)
    shown = name if name in FOLDERS or not local else str(path.resolve())
    return Parts(module, tokenizer, family, shown, commit)


def commit_of(name: str, revision: str) -> str:
    """The commit that a revision of a Hugging Face name stands for, as the cache has it."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json", revision=revision or None)
    return Path(found).parent.name if isinstance(found, str) else revision


def check_directory(path: Path) -> None:
    """Refuse a directory that holds no whole model, or weights that could run code.

    Raises:
        ModelError: the configuration is missing, or weights as safetensors are.
    """
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


def check_weights(name: str, module: Any, info: dict[str, Any], family: Family) -> None:
    """Refuse a model with parameters that the checkpoint does not have: they would be random."""
    missing = sorted(str(key) for key in info["missing_keys"])
    mismatched = sorted(str(key[0]) for key in info["mismatched_keys"])
    if mismatched:
        raise ModelError(
            f"{name!r} has weights that do not fit its configuration ({', '.join(mismatched[:3])}"
            f"{', ...' if len(mismatched) > 3 else ''}); take config.json and weights of one "
            f"checkpoint"
        )
    if missing:
        body = f"{module.base_model_prefix}."
        # A T5 has its encoder and decoder beside its head, under no common name.
        told = hasattr(module, module.base_model_prefix)
        what = f"{family.name}-LM head" if not missing[0].startswith(body) else "body"
        raise ModelError(
            f"{name!r} lacks weights {f'of its {what} ' if told else ''}({listing(missing, 3)}), "
            f"which would be random; choose a checkpoint saved from a {family.name} language model"
        )


def check_vocabulary(name: str, module: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer that is not the model's.

    Raises:
        ModelError: it has special tokens only, or more entries than the model has embeddings.
    """
    # Where the files are missing, transformers makes a tokenizer of special tokens alone.
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise ModelError(
            f"{name!r} has no tokenizer; put the checkpoint's tokenizer.json beside its weights"
        )
    layer = module.get_input_embeddings()
    size = getattr(layer, "num_embeddings", module.config.vocab_size)
    if len(tokenizer) > size:
        raise ModelError(
            f"{name!r} has a tokenizer of {len(tokenizer)} entries and embeddings for {size}; take "
            f"tokenizer and weights of one checkpoint"
        )


def to_device(module: Any, device: str) -> None:
    """Move a model; raises ModelError where the device is not there."""
    try:
        module.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"cannot run on device {device!r}: {reason}; try --device cpu") from error


def _digest_of_weights(module: Any) -> str:
    """A digest of all parameters; a model of the hub and a local copy of it have the same."""
    total = hashlib.sha256()
    for key, tensor in sorted(module.state_dict().items()):
        total.update(key.encode())
        total.update(tensor.contiguous().cpu().numpy().tobytes())
    return total.hexdigest()[:16]


@contextmanager
def clear_errors(name: str, what: str, local: bool) -> Iterator[None]:
    """Say in one line what transformers says in many.

    Args:
        name: the model.
        what: the part of it that is being read.
        local: whether it is a directory.
    """
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise ModelError(
            f"the weights of {name!r} are damaged ({error}); download or copy them again"
        ) from error
    except Exception as error:  # tokenizers and transformers raise all kinds, bare ones too
        text = " ".join(str(error).split())
        if "trust_remote_code" in text:
            raise ModelError(
                f"{name!r} wants to run its own Python code; read it, then pass --trust-remote-code"
            ) from error
        if isinstance(error, OSError) and not local:
            raise ModelError(
                f"cannot load the model {name!r}: it is neither a model directory nor a Hugging "
                f"Face model that can be reached or is cached; check the name and the network"
                f"{_meant(name)}"
                if what == "configuration"
                else f"cannot load the {what} of {name!r}: the model lacks the files (weights must "
                f"be safetensors), or they can be neither reached nor found in the cache; check "
                f"the network, or choose another model"
            ) from error
        reason = f"{type(error).__name__}: {text[:300]}"
        raise ModelError(
            f"cannot load the {what} of {name!r} ({reason}); take a whole, unedited copy of the "
            f"checkpoint"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep away transformers' progress bars and its report of missing keys.

    What is missing `check_weights` says as an error.
    """
    transformers_logging: Any = importlib.import_module("transformers.utils.logging")
    level = transformers_logging.get_verbosity()
    bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bar:
            transformers_logging.enable_progress_bar()


def _meant(name: str) -> str:
    """A hint where a name is that of a model in the package but for its marks."""
    known = name.replace("_", "-").lower()
    return f"; did you mean {known!r}?" if known in FOLDERS else ""
