"""The frozen prompt: the sole currency between search and everything after it.

A prompt says all that a prediction needs beside the model's weights. Its digest names what it does,
not where it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoprompt.files import read_text, write_json
from autoprompt.prompt_content import (
    Calibration,
    Frame,
    ModelIdentity,
    PromptContent,
    TokenRecord,
    TriggerTokens,
)
from autoprompt.prompt_files import parse_prompt, read_prompt, record_of

BESIDE, ABOVE = ".", ".."  # names of a model in the prompt file's own directory, or the one above

__all__ = ["Calibration", "Frame", "ModelIdentity", "Prompt", "TokenRecord", "TriggerTokens"]


class Prompt(PromptContent):
    """Template, verbalizer, trigger tokens, demonstrations and calibration, frozen.

    Its attributes are those of `PromptContent`.
    """

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, with a checksum of all of it."""
        return record_of(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], source: str = "prompt") -> Prompt:
        """A prompt from its JSON form; `source` names it in messages.

        Raises:
            PromptError: a key is missing or of the wrong kind, the schema is newer than this
                version, or the digest does not fit the content.
        """
        return cls(**vars(read_prompt(record, source)))

    def save(self, path: str | Path) -> None:
        """Write the JSON form, atomically."""
        write_json(Path(path), self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Prompt:
        """Read a prompt file; a model that lies beside it is named by its directory.

        Raises:
            PromptError: it is damaged or foreign.
        """
        text = read_text(Path(path), "prompt file")
        prompt = cls.from_dict(parse_prompt(text, str(path)), str(path))
        if prompt.model is None or prompt.model.name not in (BESIDE, ABOVE):
            return prompt
        place = (Path(path).parent / prompt.model.name).resolve()
        return replace(prompt, model=replace(prompt.model, name=str(place)))
