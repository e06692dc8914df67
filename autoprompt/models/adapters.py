"""Adapters of `peft` beside a model: low-rank matrices (LoRA), and soft prompts.

LoRA is merged into the weights at load, so that the model runs as fast as without it.
"""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprompt.errors import ModelError
from autoprompt.files import digest, digest_of_file
from autoprompt.models.soft import attach_soft_prompt
from autoprompt.models.transformer import TransformerModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
LORA, SOFT = "LORA", "PROMPT_TUNING"
TASK_TYPES = {"causal": "CAUSAL_LM", "seq2seq": "SEQ_2_SEQ_LM", "masked": "FEATURE_EXTRACTION"}


def peft() -> Any:
    """The package, loaded when it is needed."""
    return importlib.import_module("peft")


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Keep away what `peft` warns of: names that transformers has changed, layers it has fitted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True)
class Adapter:
    """An adapter's directory.

    Attributes:
        path: of it.
        kind: `LORA` or `SOFT`.
        base: the name of the model that it belongs to.
        revision: of that name, or "".
    """

    path: Path
    kind: str
    base: str
    revision: str

    @classmethod
    def at(cls, name: str) -> Adapter | None:
        """The adapter in a directory; None where it is none.

        Raises:
            ModelError: it is of another kind, damaged, or has weights other than safetensors.
        """
        path = Path(name)
        if not (path / CONFIG).is_file():
            return None
        try:
            config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
            kind, base = config["peft_type"], config["base_model_name_or_path"]
            revision = config.get("revision") or ""
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{path / CONFIG} is damaged ({error}); copy it again") from error
        if kind not in (LORA, SOFT) or not isinstance(base, str) or not isinstance(revision, str):
            raise ModelError(
                f"{path} holds a {kind!r} adapter for {base!r}; only {LORA} and {SOFT} adapters "
                f"of a named model can be loaded"
            )
        if not (path / WEIGHTS).is_file():
            raise ModelError(
                f"{path} holds no {WEIGHTS}; pickled weights can run code: save it as safetensors"
            )
        return cls(path.resolve(), kind, base, revision)

    def weights(self, base: str) -> str:
        """A digest of all parameters.

        Args:
            base: the digest of the model's own.
        """
        return digest([base, digest_of_file(self.path / WEIGHTS)])

    def merged(self, module: Any) -> Any:
        """The module with the adapter in its weights, where it is of that kind."""
        if self.kind != LORA:
            return module
        try:
            with quiet_peft():
                model = peft().PeftModel.from_pretrained(
                    module, str(self.path), torch_device=str(module.device)
                )
                return model.merge_and_unload().requires_grad_(False)
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelError(self._misfit(error)) from error

    def attach(self, model: TransformerModel) -> None:
        """Put the soft prompt in front of what the model reads, where it is one."""
        if self.kind != SOFT:
            return
        from safetensors.torch import load_file

        try:
            vectors = load_file(self.path / WEIGHTS)["prompt_embeddings"]
            attach_soft_prompt(model, vectors).requires_grad_(False)
        except (KeyError, RuntimeError) as error:
            raise ModelError(self._misfit(error)) from error

    def _misfit(self, error: Exception) -> str:
        reason = str(error).strip().splitlines()[0]
        return f"the adapter {self.path} does not fit {self.base!r} ({reason}); take its own model"
