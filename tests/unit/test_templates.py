"""Templates as text: slots, braces, and what is refused."""

import pytest

from autoprompt.errors import TemplateError
from autoprompt.pieces import (
    MAX_TRIGGERS,
    Demonstrations,
    Field,
    Literal,
    Mask,
    Role,
    Trigger,
    escape,
    merged,
    slot_names,
    substitute,
    written,
)
from autoprompt.templates import Template


def message_of(text: str, fields=None) -> str:
    with pytest.raises(TemplateError) as caught:
        Template.parse(text, fields)
    return str(caught.value)


def test_pieces_stand_in_order():
    template = Template.parse("{demonstrations}{text} is{trigger:3} {mask}.")
    assert template.pieces == (
        Demonstrations(),
        Field("text"),
        Literal(" is"),
        Trigger(3),
        Literal(" "),
        Mask(),
        Literal("."),
    )


def test_fields_are_named_once_in_order():
    assert Template.parse("{b} {a} {b} {mask}").fields == ("b", "a")


def test_trigger_counts_are_in_order():
    assert Template.parse("{trigger:2}{text}{mask}{trigger:01}").trigger_counts == (2, 1)


@pytest.mark.parametrize(
    ("text", "has"), [("{text}{mask}", False), ("{demonstrations}{text}{mask}", True)]
)
def test_place_of_demonstrations_is_known(text, has):
    assert Template.parse(text).has_demonstrations is has


def test_no_mask_is_refused():
    """BAD_INPUTS 23."""
    assert message_of("{text} It was.") == (
        "template '{text} It was.' has 0 {mask} slots; it must have exactly one"
    )


def test_two_masks_are_refused():
    """BAD_INPUTS 24."""
    assert "has 2 {mask} slots; it must have exactly one" in message_of("{text} {mask} {mask}")


def test_two_places_for_demonstrations_are_refused():
    message = message_of("{demonstrations}{demonstrations}{text}{mask}")
    assert "has 2 {demonstrations} slots" in message


@pytest.mark.parametrize(
    ("fields", "example"), [(None, "{text}"), (["premise", "claim"], "{premise}")]
)
def test_no_field_is_refused(fields, example):
    """BAD_INPUTS 25."""
    message = message_of("It was {mask}.", fields)
    assert "shows no field of the example" in message
    assert f"for example {example}" in message


def test_unknown_slot_is_refused_with_a_suggestion():
    """BAD_INPUTS 26."""
    message = message_of("{txet} It was {mask}.", ["text"])
    assert "unknown slot {txet}; did you mean 'text'?" in message
    assert "valid: text, mask, demonstrations, trigger:N" in message


def test_misspelt_mask_is_suggested():
    assert "did you mean 'mask'?" in message_of("{text} {mask} {maks}", ["text"])


@pytest.mark.parametrize(
    ("text", "char", "column"),
    [
        ("{text} { {mask}", None, 8),
        ("{text} } {mask}", "}", 8),
        ("{text} {mask", "{", 8),
        ("{text}} {mask}", "}", 7),
        ("{{text} {mask}", "}", 7),
        ("{", "{", 1),
    ],
)
def test_stray_brace_gives_its_column(text, char, column):
    """BAD_INPUTS 27."""
    message = message_of(text)
    assert f"at column {column} of template {text!r}" in message
    if char:
        assert message.startswith(f"stray {char!r}")
        assert f"write a literal brace twice: {char * 2}" in message


@pytest.mark.parametrize(
    "slot",
    [
        "text.upper",
        "text.__class__",
        "text[0]",
        "text!r",
        "text:>10",
        "mask:2",
        "0",
        "",
        " text",
        "text ",
        "te xt",
        "a-b",
        "über",
        "text{",
        "trigger:3:3",
    ],
)
def test_slots_that_are_no_plain_names_are_refused(slot):
    """BAD_INPUTS 28."""
    assert "at column 8 of template" in message_of(f"{{mask}} {{{slot}}} {{text}}")


@pytest.mark.parametrize("count", ["", ":", ":0", f":{MAX_TRIGGERS + 1}", ":x", ":²", ":-1"])
def test_trigger_wants_a_count(count):
    message = message_of(f"{{text}} {{trigger{count}}} {{mask}}")
    assert "write the number of trigger tokens, 1 to 64, as in {trigger:3}" in message


def test_doubled_braces_are_literal():
    """BAD_INPUTS 27."""
    template = Template.parse("{{{text}}} {{mask}} {mask}")
    assert template.render({"text": "x"}, mask="_") == "{x} {mask} _"


@pytest.mark.parametrize(
    "text",
    ["{mask}", "{", "}}", "{{text}}", "{0.__class__}", "%s $x \\1", "[MASK] <mask> [SEP] </s>"],
)
def test_braces_and_tokens_of_the_input_are_inserted_verbatim(text):
    """BAD_INPUTS 29, and 30 as far as text goes."""
    rendered = Template.parse("{text} It was {mask}.").render({"text": text}, mask="[MASK]")
    assert rendered == f"{text} It was [MASK]."


def test_every_slot_is_rendered():
    template = Template.parse("{demonstrations}{a}{trigger:1} {mask} {trigger:2}{b}")
    assert (
        template.render({"a": "A", "b": "B"}, "M", triggers=["T1", "T2"], demonstrations="D ")
        == "D AT1 M T2B"
    )


def test_missing_field_is_refused():
    with pytest.raises(TemplateError, match="no text for b in template"):
        Template.parse("{a} {b} {mask}").render({"a": "x"}, mask="_")


def test_other_fields_of_the_example_are_left_out():
    assert Template.parse("{a} {mask}").render({"a": "x", "id": "7"}, mask="_") == "x _"


@pytest.mark.parametrize("triggers", [(), ("a", "b")])
def test_wrong_number_of_triggers_is_refused(triggers):
    with pytest.raises(TemplateError, match=f"has 1 trigger slots, {len(triggers)} were given"):
        Template.parse("{text}{trigger:3}{mask}").render({"text": "x"}, "_", triggers)


def test_equal_texts_are_equal_templates():
    assert Template.parse("{text}{mask}") == Template.parse("{text}{mask}")


def test_slot_names_are_not_judged():
    assert slot_names("{{x}} {stem} {mask} {stem} {trigger:02}") == [
        "stem",
        "mask",
        "stem",
        "trigger:2",
    ]


def test_substitute_fills_some_slots_and_keeps_the_others():
    filled = substitute("{{x}} {stem} {mask}{end}", {"stem": "It {was}", "end": ""})
    assert filled == "{{x}} It {was} {mask}"


def test_substitute_does_not_fill_what_it_put_in():
    assert substitute("{a}{b}", {"a": "{b}", "b": "{a}"}) == "{b}{a}"


def test_escaped_text_stands_for_itself():
    text = "{mask} }{ {{x}}"
    assert Template.parse(escape(text) + "{text}{mask}").pieces[0] == Literal(text)


# -- chats ------------------------------------------------------------------------------------

CHAT = "{system:}Judge.{user:}Good? {text}{assistant:}So: {mask}."


def test_parts_of_a_chat():
    template = Template.parse(CHAT)
    assert template.is_chat
    assert template.pieces[:3] == (Role("system"), Literal("Judge."), Role("user"))
    assert template.parts == {
        "system": (Literal("Judge."),),
        "user": (Literal("Good? "), Field("text")),
        "assistant": (Literal("So: "), Mask(), Literal(".")),
    }


def test_fields_may_have_the_names_of_roles():
    """Prompts of before have such fields."""
    template = Template.parse("{system} {user} {mask} {assistant}", ["system", "user", "assistant"])
    assert not template.is_chat
    assert template.parts == {}
    assert template.fields == ("system", "user", "assistant")
    assert Template.parse("{user:}{user}{assistant:}{mask}").fields == ("user",)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Hm. {user:}{text}{assistant:}{mask}", "something in front of {user:}"),
        ("{demonstrations}{user:}{text}{assistant:}{mask}", "something in front of {user:}"),
        ("{system:}a{system:}b{user:}{text}{assistant:}{mask}", "2 system parts"),
        ("{user:}a{assistant:}b{user:}{text}{assistant:}{mask}", "2 user parts"),
        ("{user:}{text}{system:}Judge.{assistant:}{mask}", "the parts user, system, assistant"),
        ("{system:}Judge.{assistant:}{text} {mask}", "the parts system, assistant"),
        ("{user:}{text} {mask}", "the parts user"),
        ("{assistant:}{text} {mask}", "the parts assistant"),
        ("{user:}{text} {mask}{assistant:}So", "its {mask} outside of the assistant's part"),
        ("{system:}{mask}{user:}{text}{assistant:}", "its {mask} outside of the assistant's part"),
        ("{system:}{user:}{text}{assistant:}{mask}", "an empty system part"),
        ("{user:} \n{assistant:}{text} {mask}", "an empty user part"),
        ("{user:}{demonstrations}{assistant:}{text} {mask}", "an empty user part"),
    ],
)
def test_chats_out_of_order_are_refused(text, what):
    message = message_of(text)
    assert message.startswith(f"template {text!r} has {what}; a chat is written {{system:}}")


@pytest.mark.parametrize("slot", ["asistant:", "user:3", "user :", "User:", "tool:"])
def test_unknown_roles_are_refused_with_the_known_ones(slot):
    message = message_of(f"{{mask}} {{{slot}}} {{text}}")
    assert "at column 8 of template" in message
    assert "begins a part of a chat (system:, user:, assistant:)" in message


def test_a_mark_without_its_colon_is_suggested():
    message = message_of("{user}{text}{assistant}{mask}", ["text"])
    assert "unknown slot {user}; did you mean 'user:'?" in message


def test_a_chat_is_rendered_with_its_marks():
    assert Template.parse(CHAT).render({"text": "{user:}"}, mask="_") == (
        "{system:}Judge.{user:}Good? {user:}{assistant:}So: _."
    )


def test_a_chat_as_plain_text():
    template = Template.parse(CHAT)
    plain = template.unmarked()
    assert written(plain.pieces) == "Judge.\nGood? {text}\nSo: {mask}."
    assert plain.text == template.text  # messages are about what was written
    assert written(template.unmarked(("user", "assistant")).pieces) == "Good? {text}\nSo: {mask}."
    bare = Template.parse("{text} {mask}")
    assert bare.unmarked() is bare


def test_pieces_of_a_chat_give_it_again():
    assert Template.of(Template.parse(CHAT).pieces) == Template.parse(CHAT)


def test_marks_stay_when_slots_are_filled():
    pattern = "{system:}{who}{user:}{text}{assistant:}{mask}"
    assert slot_names(pattern) == ["system:", "who", "user:", "text", "assistant:", "mask"]
    assert substitute(pattern, {"who": "Judge."}) == pattern.replace("{who}", "Judge.")


def test_literals_that_touch_are_merged():
    pieces = [Literal("a"), Literal(""), Literal("b"), Mask(), Literal("")]
    assert merged(pieces) == (Literal("ab"), Mask())
