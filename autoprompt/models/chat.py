"""Chat messages: what a tokenizer's own chat template writes around the parts of a template.

The chat template (Jinja, run in the sandbox of transformers) never sees a text. It renders marks in
the place of the messages, the rendered string is cut at the marks, and the texts are put in
afterwards. Chat templates often trim their messages: whether one does shows at the white space
around a mark, and the texts are then trimmed as it would have trimmed them.

The special tokens of the rendered string get names that no text contains (see `text_reader`). So
string and texts are tokenized in one go, as `apply_chat_template` does it, and an "<|im_end|>" in a
text stays text.

The last message is the assistant's: the word stands where the chat template itself puts an answer.
For most models that is right behind what `add_generation_prompt` gives; where answers begin with a
space, a line break or an empty block of thoughts, it is behind that, as the model has learnt it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from autoprompt.errors import TemplateError, shortened
from autoprompt.models.layouts import Run, runs_between, with_places
from autoprompt.models.text_reader import HIDDEN, reader_of_text
from autoprompt.pieces import ASSISTANT, ROLES, USER, Field, Literal, Piece, Trigger, merged
from autoprompt.prompts import Frame
from autoprompt.templates import Template

# Some chat templates tell the model today's date. A prompt must be the same tomorrow, so it is this
# day always, which Llama's own template takes where it is told none. The macro stands in front of
# the function that transformers gives chat templates; "+" keeps the white space behind it.
TODAY = date(2024, 7, 26)
FIXED_DATE = (
    "{% macro strftime_now(format) -%}{{ format"
    + "".join(f" | replace('%{code}', '{TODAY:%{code}}')" for code in "aAbBdHIjmMpSyY")
    + " }}{%- endmacro +%}"
)
LEFT, RIGHT = " \n\t\n ", " \n\t \n"  # white space that a chat template does not write itself
MARKS = {role: f"({role} says this)" for role in ROLES}
SAMPLES = {role: f"'{role}':  <b> & \"{{{{ more }}}}\"\n\n# 1. {{% naïve %}}" for role in ROLES}


@dataclass(frozen=True)
class Opening:
    """What the chat template writes in front of a message, and what it does to the message.

    Attributes:
        text: from the end of the message before on; special tokens have their hidden names.
        trims_left, trims_right: whether the message loses the white space at its ends.
    """

    text: str
    trims_left: bool
    trims_right: bool


class ChatWriter:
    """Writes chats as one tokenizer's chat template does.

    Args:
        tokenizer: a fast Hugging Face tokenizer with a chat template.

    Attributes:
        reader: reads what it writes; see `reader_of_text`.
        controls: the tokens that chats are made of, which no text may hold.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[tuple[str, ...], dict[str, Opening] | str] = {}
        self.controls = controls = self._controls()
        longest_first = sorted(controls, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self.reader = reader_of_text(tokenizer, controls)

    def openings(self, template: Template) -> Mapping[str, Opening]:
        """Role to what opens its message.

        Raises:
            TemplateError: the chat template raises an error of its own (many know no system
                message), or does not show the messages as they are.
        """
        roles = tuple(template.parts)
        if roles not in self._known:
            self._known[roles] = self._found(roles)
        found = self._known[roles]
        if isinstance(found, str):
            raise TemplateError(
                f"template {template.text!r} cannot be sent: the chat template of the model's "
                f"tokenizer {found}; leave {{system:}} out, or write plain text without roles"
            )
        return found

    def written(self, frame: Frame) -> Frame:
        """The frame with what the chat template writes in the place of the roles' marks.

        The text of a message before the assistant's is a field of its own, one for each run
        between trigger slots, which `filled` fills in: only then can it be trimmed.

        Args:
            frame: a chat; its demonstrations stand in its template.

        Raises:
            TemplateError: as `openings`.
        """
        openings = self.openings(frame.template)
        pieces: list[Piece] = []
        for role, part in frame.template.parts.items():
            pieces.append(Literal(openings[role].text))
            if role == ASSISTANT:
                pieces += part
                continue
            triggers = [piece for piece in part if isinstance(piece, Trigger)]
            pieces.append(Field(f"{role} 0"))
            for number, trigger in enumerate(triggers, start=1):
                pieces += [trigger, Field(f"{role} {number}")]
        return Frame(Template(frame.template.text, merged(pieces)), frame.triggers)

    def filled(self, template: Template, fields: Mapping[str, str]) -> dict[str, str]:
        """The fields of the written frame for one example's fields."""
        openings = self.openings(template)
        found = dict(fields)
        for role, part in template.parts.items():
            if role == ASSISTANT:
                continue
            runs = _runs(part, fields)
            if openings[role].trims_left:
                runs[0] = runs[0].lstrip()
            if openings[role].trims_right:
                runs[-1] = runs[-1].rstrip()
            found.update((f"{role} {number}", run) for number, run in enumerate(runs))
        return found

    def runs(self, template: Template) -> dict[str, Run]:
        """The fields of the written frame as `filled` makes them: name to what stands there."""
        openings = self.openings(template)
        found: dict[str, Run] = {}
        for role, part in template.parts.items():
            if role == ASSISTANT:
                continue
            runs = list(runs_between(part))
            for number, run in enumerate(runs):
                found[f"{role} {number}"] = Run(
                    with_places(run),
                    openings[role].trims_left and number == 0,
                    openings[role].trims_right and number == len(runs) - 1,
                )
        return found

    # -- the chat template --------------------------------------------------------------------

    def _found(self, roles: Sequence[str]) -> dict[str, Opening] | str:
        """What opens the messages of some roles, or why these cannot be sent."""
        padded = {role: f"{LEFT}{MARKS[role]}{RIGHT}" for role in roles}
        padded[ASSISTANT] = MARKS[ASSISTANT]
        try:
            rest = self._rendered(padded)
            sample = self._rendered({role: SAMPLES[role] for role in roles})
        except Exception as error:  # a chat template may raise anything
            return f"refuses it ({shortened(str(error), 200)})"
        found: dict[str, Opening] = {}
        for role in roles:
            before, mark, rest = rest.partition(MARKS[role])
            if not mark or MARKS[role] in rest:
                return f"does not show the {role}'s message once, in its turn"
            text = self._control.sub(lambda control: HIDDEN + control[0], before.removesuffix(LEFT))
            trims_left, trims_right = not before.endswith(LEFT), not rest.startswith(RIGHT)
            found[role] = Opening(text, trims_left, trims_right)
            rest = rest.removeprefix(RIGHT)
        spliced = "".join(found[role].text.replace(HIDDEN, "") + SAMPLES[role] for role in roles)
        if not sample.startswith(spliced):
            return "changes what the messages say"
        return found

    def _rendered(self, contents: Mapping[str, str]) -> str:
        messages = [{"role": role, "content": text} for role, text in contents.items()]
        source = self._tokenizer.get_chat_template()
        rendered: str = self._tokenizer.apply_chat_template(
            messages, chat_template=FIXED_DATE + source, tokenize=False
        )
        return rendered

    def _controls(self) -> set[str]:
        """The tokens that a text must not hold: special ones, and those that chats are made of.

        Of the latter, white space is none: Gemma's chats are full of line breaks.
        """
        written = ""
        for roles in ((USER, ASSISTANT), ROLES):
            with contextlib.suppress(Exception):  # told when a template asks for these roles
                written += self._rendered({role: MARKS[role] for role in roles})
        return set(self._tokenizer.all_special_tokens) | {
            token.content
            for token in self._tokenizer.added_tokens_decoder.values()
            if token.special or (token.content in written and not token.content.isspace())
        }


def _runs(part: Sequence[Piece], fields: Mapping[str, str]) -> list[str]:
    """The texts between the trigger slots of a part."""
    runs = [""]
    for piece in part:
        if isinstance(piece, Trigger):
            runs.append("")
        elif isinstance(piece, Literal):
            runs[-1] += piece.text
        elif isinstance(piece, Field):
            runs[-1] += fields[piece.name]
    return runs
