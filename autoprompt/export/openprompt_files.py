"""`openprompt`: a template and a verbalizer for OpenPrompt's `from_file`.

OpenPrompt evaluates what stands in braces as Python, reads one template a line, and joins its
pieces with at most one space; what would come out otherwise there is refused. It knows texts as
`text_a` and `text_b`; others are looked up in an example's `meta`. Read by OpenPrompt 1.0.1.
"""

from __future__ import annotations

import json

from autoprompt.export.material import Files, Material, refused
from autoprompt.export.text_format import ORIGIN, TextFormat
from autoprompt.export.text_forms import (
    ELSEWHERE,
    families,
    no_calibration,
    no_chat,
    one_token_a_word,
    one_word_a_label,
    plain_pieces,
    text_gives_the_ids,
)
from autoprompt.pieces import Field, Literal, Mask

PLACES = ("text_a", "text_b")


class OpenPromptFiles(TextFormat):
    """`template.txt` and `verbalizer.json`."""

    name = "openprompt"
    reader = "OpenPrompt"

    def check(self, material: Material) -> None:
        """Refuse what its parser or its verbalizer would change."""
        prompt = material.prompt
        families(self.name, material, ("masked",), "its manual templates fill a mask")
        no_chat(self.name, prompt)
        no_calibration(self.name, prompt)
        if prompt.verbalizer.aggregation != "mean":  # which is how OpenPrompt joins words
            one_word_a_label(self.name, prompt)
        text_gives_the_ids(self.name, prompt)
        one_token_a_word(self.name, prompt, "it scores the first token alone")
        pieces = plain_pieces(prompt)
        text = "".join(p.text if isinstance(p, Literal) else "x" for p in pieces)
        for what, found in (
            ("a brace in the template's words", "{" in text or "}" in text),
            ("a line break", "\n" in text or "\r" in text),
            ("two spaces in a row, or one at an end", "  " in text or text != text.strip(" ")),
            ("'<mask>' as a text", "<mask>" in text),
        ):
            if found:
                raise refused(self.name, what, "its parser would change or run it", ELSEWHERE)

    def files(self, material: Material) -> Files:
        """Template, verbalizer, and where they came from."""
        prompt = material.prompt
        fields = prompt.template.fields
        parts = []
        for piece in plain_pieces(prompt):
            if isinstance(piece, Literal):
                parts.append(piece.text)
            elif isinstance(piece, Mask):
                parts.append('{"mask"}')
            elif isinstance(piece, Field):
                parts.append(_place(piece.name, fields))
        words = [prompt.verbalizer.as_dict()]
        return {
            "template.txt": "".join(parts) + "\n",
            "verbalizer.json": json.dumps(words, ensure_ascii=True) + "\n",
            ORIGIN: self.origin(material),
        }


def _place(name: str, fields: tuple[str, ...]) -> str:
    if len(fields) == 1 and name == "text":
        name = PLACES[0]
    return f'{{"{"placeholder" if name in PLACES else "meta"}": "{name}"}}'
