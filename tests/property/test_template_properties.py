"""Templates: what is parsed is rendered, whatever stands in the texts."""

from hypothesis import given
from hypothesis import strategies as st

from autoprompt.errors import TemplateError
from autoprompt.pieces import (
    Demonstrations,
    Field,
    Literal,
    Mask,
    Role,
    Trigger,
    escape,
    slot_names,
    substitute,
    written,
)
from autoprompt.templates import Template

anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
awkward = st.text(st.sampled_from("{}{}masktext:3. \u2028"), max_size=20)
texts = anything | awkward
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("mask", "demonstrations", "trigger")
)


@st.composite
def pieces(draw):
    """Slots of a valid template with literals between them, as (written, piece) pairs."""
    slots = [("{mask}", Mask())]
    slots += [
        (f"{{{name}}}", Field(name)) for name in draw(st.lists(names, min_size=1, max_size=3))
    ]
    slots += [
        (f"{{trigger:{n}}}", Trigger(n)) for n in draw(st.lists(st.integers(1, 64), max_size=2))
    ]
    slots += draw(st.sampled_from([[], [("{demonstrations}", Demonstrations())]]))
    mixed = []
    for slot in draw(st.permutations(slots)):
        if literal := draw(texts):
            mixed.append((escape(literal), Literal(literal)))
        mixed.append(slot)
    return mixed


@given(pieces())
def test_parse_finds_the_pieces(mixed):
    template = Template.parse("".join(written for written, _ in mixed))
    assert template.pieces == tuple(piece for _, piece in mixed)


@given(pieces(), st.data())
def test_render_is_the_pieces_in_a_row(mixed, data):
    template = Template.parse("".join(written for written, _ in mixed))
    fields = {name: data.draw(texts) for name in template.fields}
    triggers = [data.draw(texts) for _ in template.trigger_counts]
    mask, demonstrations = data.draw(texts), data.draw(texts)
    waiting = iter(triggers)
    expected = ""
    for _, piece in mixed:
        match piece:
            case Literal(text):
                expected += text
            case Field(name):
                expected += fields[name]
            case Trigger():
                expected += next(waiting)
            case Mask():
                expected += mask
            case _:
                expected += demonstrations
    assert template.render(fields, mask, triggers, demonstrations) == expected


@given(texts)
def test_text_of_the_user_is_never_a_slot(text):
    template = Template.parse("{text}|{mask}")
    assert template.render({"text": text}, mask="M") == f"{text}|M"


@given(texts)
def test_escaped_text_stands_for_itself(text):
    template = Template.parse(escape(text) + "{text}{mask}")
    assert template.render({"text": ""}, mask="") == text


@given(texts | pieces().map(lambda mixed: "".join(written for written, _ in mixed)))
def test_parse_refuses_or_gives_a_whole_template(text):
    try:
        template = Template.parse(text)
    except TemplateError:
        return
    assert sum(isinstance(piece, Mask) for piece in template.pieces) == 1
    assert template.fields
    neighbours = zip(template.pieces, template.pieces[1:], strict=False)
    assert not any(isinstance(a, Literal) and isinstance(b, Literal) for a, b in neighbours)


@given(pieces())
def test_substituting_nothing_changes_nothing(mixed):
    written = "".join(text for text, _ in mixed)
    assert substitute(written, {}) == written


marks = st.text(st.sampled_from("{}:")).map("user".join) | st.sampled_from(
    ["{user:}", "{system:}x", "{{assistant:}}", "{mask}", "{user:"]
)


@st.composite
def chats(draw):
    """Pieces of a chat, in order."""

    def part(*needed):
        own = [*needed, Literal("so"), *draw(st.sampled_from([[], [Trigger(2)], [Field("b")]]))]
        own += [Literal(text) for text in [draw(texts | marks)] if text]
        mixed = draw(st.permutations(own))
        return [piece for piece in mixed for piece in (piece, Literal("|"))]

    system = draw(st.sampled_from([[], [Role("system"), *part()]]))
    return [*system, Role("user"), *part(Field("text")), Role("assistant"), *part(Mask())]


@given(chats())
def test_a_chat_is_read_as_it_is_written(mixed):
    template = Template.of(mixed)
    assert template.is_chat
    roles = [piece.name for piece in mixed if isinstance(piece, Role)]
    assert list(template.parts) == roles
    assert [written(part) for part in template.parts.values()] == [
        written(part) for part in Template("", tuple(mixed)).parts.values()
    ]
    assert Template.parse(template.text) == template
    assert substitute(template.text, {}) == template.text


@given(chats(), texts | marks)
def test_marks_of_roles_in_a_text_are_text(mixed, text):
    template = Template.of(mixed)
    fields = dict.fromkeys(template.fields, text)
    triggers = ["T"] * len(template.trigger_counts)
    expected = ""
    for piece in mixed:
        match piece:
            case Literal(own):
                expected += own
            case Field():
                expected += text
            case Role(name):
                expected += f"{{{name}:}}"
            case _:
                expected += "M" if piece == Mask() else "T"
    assert template.render(fields, "M", triggers) == expected


@given(marks)
def test_escaped_marks_of_roles_are_text(mark):
    template = Template.parse("{user:}" + escape(mark) + "{text}|{assistant:}{mask}")
    assert template.parts["user"] == (
        *([Literal(mark)] if mark else []),
        Field("text"),
        Literal("|"),
    )


@given(pieces(), names, texts)
def test_substituted_option_stands_where_its_slot_stood(mixed, name, option):
    written = "".join(text for text, _ in mixed)
    filled = substitute(f"{{{name}}}{written}", {name: escape(option)})
    assert filled == substitute(escape(option) + written, {name: escape(option)})


@given(pieces())
def test_slot_names_are_those_of_the_slots(mixed):
    written = "".join(text for text, _ in mixed)
    slots = [text.strip("{}") for text, piece in mixed if not isinstance(piece, Literal)]
    assert slot_names(written) == slots
