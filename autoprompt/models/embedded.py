"""The small masked language model that ships in the package, so that all runs with no network."""

from __future__ import annotations

from pathlib import Path

from autoprompt.errors import ModelError

EMBEDDED = "embedded"


def embedded_path() -> Path:
    """The directory of the embedded model.

    Raises:
        ModelError: the installation lacks it.
    """
    path = Path(__file__).parent / "embedded"
    if not (path / "model.safetensors").is_file():
        raise ModelError(
            "this installation lacks the embedded model; install autoprompt again, or name "
            "another model with --model"
        )
    return path
