"""The small language models that ship in the package, so that all runs with no network."""

from __future__ import annotations

from pathlib import Path

from autoprompt.errors import ModelError

EMBEDDED, EMBEDDED_CAUSAL = "embedded", "embedded-causal"
_HERE = Path(__file__).parent
# What `--model` calls them, and where they are. A prompt file names them so, whatever the place.
FOLDERS = {EMBEDDED: _HERE / "embedded", EMBEDDED_CAUSAL: _HERE / "embedded_causal"}


def is_installed(name: str) -> bool:
    """Whether a model that ships in the package is there.

    Args:
        name: of `FOLDERS`.
    """
    return (FOLDERS[name] / "model.safetensors").is_file()


def embedded_path(name: str = EMBEDDED) -> Path:
    """The directory of a model that ships in the package.

    Args:
        name: of `FOLDERS`.

    Raises:
        ModelError: the installation lacks it.
    """
    if not is_installed(name):
        raise ModelError(
            f"this installation lacks the model {name!r} that belongs to it; install autoprompt "
            f"again, or name another model with --model"
        )
    return FOLDERS[name]


def source_of(name: str) -> str:
    """What transformers loads a model from: its name, or where it is in the package.

    Raises:
        ModelError: as `embedded_path`.
    """
    return str(embedded_path(name)) if name in FOLDERS else name
