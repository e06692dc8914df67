"""A prompt as text for other programs: up to the word, the word, and after it.

What a format cannot carry is refused here, one rule a function, so that all say it alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoprompt.errors import InputError
from autoprompt.export.material import CALIBRATION, WORDS, Material, refused
from autoprompt.models.causal import check_order
from autoprompt.pieces import (
    ASSISTANT,
    Demonstrations,
    Field,
    Literal,
    Mask,
    Piece,
    Role,
    Trigger,
    merged,
)
from autoprompt.prompts import Prompt
from autoprompt.templates import Template

ELSEWHERE = "export it as 'transformers' or 'json'"


@dataclass(frozen=True)
class TextForm:
    """A template as text around its word.

    Attributes:
        before: up to the word, without the space that belongs to the word.
        space: " " where the word begins with one, else "".
        after: what follows the word.
    """

    before: tuple[Literal | Field, ...]
    space: str
    after: tuple[Literal | Field, ...]

    def text(self, fields: Mapping[str, str]) -> str:
        """What stands before the word, for one example."""
        return filled(self.before, fields)


def form_of(prompt: Prompt, pieces: Sequence[Piece] | None = None) -> TextForm:
    """The text form of a prompt that is no chat, or of some pieces of its template."""
    plain = plain_pieces(prompt, pieces)
    at = plain.index(Mask())
    before, after = list(plain[:at]), plain[at + 1 :]
    space = ""
    if before and isinstance(before[-1], Literal) and before[-1].text.endswith(" "):
        before[-1], space = Literal(before[-1].text.removesuffix(" ")), " "
    return TextForm(_texts(merged(before)), space, _texts(after))


def messages_of(prompt: Prompt) -> list[tuple[str, TextForm]]:
    """Role and text of each message of a chat; the last one, the assistant's, has the word.

    A prompt that is no chat is what the user says, and the word the answer; a message that does
    not end in the word has nothing after it.
    """
    template = prompt.template
    if not template.is_chat:
        form = form_of(prompt)
        return [("user", TextForm(form.before, "", ())), (ASSISTANT, TextForm((), "", form.after))]
    # Demonstrations and triggers are put in first: they may stand in any part.
    parts: dict[str, tuple[Piece, ...]] = {}
    role = ""
    for piece in plain_pieces(prompt):
        if isinstance(piece, Role):
            role = piece.name
            parts[role] = ()
        else:
            parts[role] = (*parts[role], piece)
    found = []
    for role, part in parts.items():
        if role == ASSISTANT:
            found.append((role, form_of(prompt, part)))
        else:
            found.append((role, TextForm(_texts(part), "", ())))
    return found


def plain_pieces(prompt: Prompt, pieces: Sequence[Piece] | None = None) -> tuple[Piece, ...]:
    """The template with demonstrations and trigger tokens as words of it."""
    strings = iter("".join(trigger.strings) for trigger in prompt.triggers)
    shown: list[Piece] = []
    for piece in prompt.template.pieces if pieces is None else pieces:
        if isinstance(piece, Demonstrations):
            shown.append(Literal(prompt.frame.shown))
        elif isinstance(piece, Trigger):
            shown.append(Literal(next(strings)))
        else:
            shown.append(piece)
    return merged(shown)


def filled(pieces: Sequence[Literal | Field], fields: Mapping[str, str]) -> str:
    """Pieces as text, for one example."""
    return "".join(
        piece.text if isinstance(piece, Literal) else fields[piece.name] for piece in pieces
    )


def jinja(pieces: Sequence[Literal | Field]) -> str:
    """Pieces as a Jinja (or Nunjucks) template.

    Every brace of the prompt's own words is written as an expression, so that none can begin one;
    a line break at the very end too, which Jinja drops.

    >>> jinja([Literal("{% x"), Field("text")])
    "{{ '{' }}% x{{ text }}"
    """
    parts = [
        piece.text.replace("{", "{{ '{' }}")
        if isinstance(piece, Literal)
        else f"{{{{ {piece.name} }}}}"
        for piece in pieces
    ]
    text = "".join(parts)
    return text[:-1] + "{{ '\\n' }}" if text.endswith("\n") else text


def words_of(prompt: Prompt) -> list[str]:
    """The first word of each label."""
    return [words[0] for words in prompt.verbalizer.words]


# -- what cannot be carried -------------------------------------------------------------------


def no_calibration(name: str, prompt: Prompt) -> None:
    """Refuse a calibrated prompt."""
    if prompt.calibration.method != "none":
        raise refused(
            name,
            f"the calibration {prompt.calibration.method!r}",
            "its reader takes nothing off a label's score",
            f"pass --drop {CALIBRATION} to leave it out (the scores will be others), or "
            f"{ELSEWHERE}",
        )


def one_token_a_word(format_name: str, prompt: Prompt, why: str) -> None:
    """Refuse label words of several tokens."""
    if prompt.tokens and any(len(ids) > 1 for ids in prompt.tokens.words.values()):
        raise refused(
            format_name,
            "label words of several tokens",
            why,
            f"choose words of one token, or {ELSEWHERE}",
        )


def one_word_a_label(name: str, prompt: Prompt) -> None:
    """Refuse a verbalizer with several words for a label."""
    many = [label for label, words in prompt.verbalizer.as_dict().items() if len(words) > 1]
    if many:
        raise refused(
            name,
            f"several words for the label {many[0]!r}",
            "its reader knows one answer a label",
            f"pass --drop {WORDS} to keep the first word of each (the scores will be others), or "
            f"{ELSEWHERE}",
        )


def no_triggers(name: str, prompt: Prompt) -> None:
    """Refuse trigger tokens where the text goes to models of any tokenizer."""
    if prompt.triggers:
        raise refused(
            name,
            "trigger tokens",
            "they are ids of one model's tokenizer, and its reader sends text to any model",
            ELSEWHERE,
        )


def text_gives_the_ids(name: str, prompt: Prompt) -> None:
    """Refuse a prompt whose text is tokenized to other ids than those that were scored."""
    if prompt.tokens is not None and prompt.tokens.ids_only:
        raise refused(
            name,
            "this prompt's token ids",
            "its text alone is tokenized to others (the prompt is ids-only)",
            ELSEWHERE,
        )


def no_chat(name: str, prompt: Prompt) -> None:
    """Refuse a chat."""
    if prompt.template.is_chat:
        raise refused(
            name,
            "a chat",
            "its reader takes one text, not messages",
            f"{ELSEWHERE}, or as 'chat', 'trl' or 'promptfoo'",
        )


def answer_last(name: str, template: Template) -> None:
    """Refuse a template that says something after the mask."""
    try:
        check_order(template)
    except InputError as error:
        raise refused(
            name,
            f"the template {template.text!r}",
            "it says something after {mask}, and its reader wants the answer last",
            ELSEWHERE,
        ) from error


def families(name: str, material: Material, wanted: Sequence[str], why: str) -> None:
    """Refuse a prompt that was found on a model of another family."""
    if material.family and material.family not in wanted:
        raise refused(name, f"a prompt for a {material.family} language model", why, ELSEWHERE)


def plain_question(name: str, material: Material, why: str) -> None:
    """Refuse what is no question that a causal model of any kind answers with one word."""
    prompt = material.prompt
    families(name, material, ("causal",), why)
    no_triggers(name, prompt)
    no_calibration(name, prompt)
    one_word_a_label(name, prompt)
    answer_last(name, prompt.template)


def _texts(pieces: Sequence[Piece]) -> tuple[Literal | Field, ...]:
    return tuple(piece for piece in pieces if isinstance(piece, Literal | Field))
