"""`lm-bff`: the template and mapping lines of LM-BFF (Gao et al. 2021).

In its templates `_` is a space and `*` surrounds variables, so neither can be a character of the
prompt. A field takes the space before it along (`*+sent_0*`), as its tokenizer's words do. The
mapping is evaluated as Python there; here it is written as a dict of plain strings.
"""

from __future__ import annotations

from autoprompt.errors import InputError
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
    words_of,
)
from autoprompt.pieces import Field, Literal, Mask


class LmBffLines(TextFormat):
    """`template.txt`, `mapping.txt`, and both on one line in `prompt.txt`."""

    name = "lm-bff"
    reader = "LM-BFF"

    def check(self, material: Material) -> None:
        """Refuse what its grammar has no place for."""
        prompt = material.prompt
        families(self.name, material, ("masked",), "its templates fill a mask")
        no_chat(self.name, prompt)
        no_calibration(self.name, prompt)
        one_word_a_label(self.name, prompt)
        text_gives_the_ids(self.name, prompt)
        if prompt.demonstrations:
            raise refused(
                self.name,
                "demonstrations",
                "LM-BFF draws its own",
                f"pass its --demo there, or {ELSEWHERE}",
            )
        one_token_a_word(self.name, prompt, "it asserts that a word is one")
        for word in words_of(prompt):
            if word[0] in "<[.,":
                raise refused(
                    self.name, f"the word {word!r}", "it takes that for a token's name", ELSEWHERE
                )
        for piece in plain_pieces(prompt):
            if isinstance(piece, Literal):
                self._check_text(piece.text)

    def _check_text(self, text: str) -> None:
        for what, found in (
            ("a '*' or '_' in the template's words", "*" in text or "_" in text),
            ("a line break or tab", any(c in text for c in "\r\n\t")),
        ):
            if found:
                raise refused(self.name, what, "its grammar has no escape", ELSEWHERE)

    def files(self, material: Material) -> Files:
        """The lines, and where they came from."""
        template = template_line(material)
        mapping = repr(
            dict(zip(material.prompt.verbalizer.labels, words_of(material.prompt), strict=True))
        )
        return {
            "template.txt": template + "\n",
            "mapping.txt": mapping + "\n",
            "prompt.txt": f"{template}\t{mapping}\n",
            ORIGIN: self.origin(material),
        }


def template_line(material: Material) -> str:
    """The template in LM-BFF's grammar.

    Raises:
        InputError: a text begins as one of its variables does.
    """
    prompt = material.prompt
    fields = prompt.template.fields
    parts, space = ["*cls*"], ""
    pieces = plain_pieces(prompt)
    for piece, after in zip(pieces, [*pieces[1:], None], strict=True):
        if isinstance(piece, Field):
            parts.append(f"*{'+' if space else ''}sent_{fields.index(piece.name)}*")
            space = ""
        elif isinstance(piece, Mask):
            parts.append("*mask*")
            space = ""
        elif isinstance(piece, Literal):
            text, space = piece.text, ""
            if isinstance(after, Field | Mask) and text.endswith(" "):
                # A word takes its space along, and so does a mask: none is left as a token.
                text, space = text.removesuffix(" "), " "
            parts.append(_literal(text))
    return "".join(parts) + "*sep+*"


def _literal(text: str) -> str:
    shown = text.replace(" ", "_")
    # A single character is looked up as a token, whatever its neighbours are.
    known = ("label_", "labelx_", "sent_", "+sent_", "sentl", "sentu", "+sentl", "+sentu", "sent-")
    if shown.startswith(known) or shown in ("cls", "mask", "sep", "sep+"):
        raise InputError(
            f"format 'lm-bff' cannot carry the text {text!r}: it reads it as one of its variables; "
            f"{ELSEWHERE}"
        )
    return shown
