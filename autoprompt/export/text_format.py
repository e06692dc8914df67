"""What formats that are text alone have in common."""

from __future__ import annotations

import json

from autoprompt.export.material import Material


class TextFormat:
    """A format that needs no model."""

    wants_examples = False
    suffix = ""

    def wants_model(self, material: Material) -> bool:
        """No: the text says it all."""
        del material
        return False

    def origin(self, material: Material) -> str:
        """A file beside the others that says where they came from."""
        return json.dumps(material.origin.to_dict(), indent=2, ensure_ascii=False) + "\n"


ORIGIN = "origin.json"  # its name


def lines(rows: list[dict[str, object]]) -> str:
    """JSON Lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
