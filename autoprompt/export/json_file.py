"""`json`: our own prompt file, with where it came from beside it."""

from __future__ import annotations

import json

from autoprompt.export.material import Files, Material
from autoprompt.files import digest


class JsonFile:
    """A prompt file: `Prompt.load`, `Predictor` and every verb of autoprompt read it."""

    name = "json"
    reader = "autoprompt"
    suffix = ".json"
    wants_examples = False

    def wants_model(self, material: Material) -> bool:
        """The prompt says it all."""
        del material
        return False

    def check(self, material: Material) -> None:
        """Nothing is refused."""

    def files(self, material: Material) -> Files:
        """One file."""
        record = material.prompt.to_dict()
        del record["checksum"]
        record["origin"] = material.origin.to_dict()
        record["checksum"] = digest(record)
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
        return {"": text + "\n"}
