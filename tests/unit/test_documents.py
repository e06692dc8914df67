"""Strict YAML."""

import pytest

from autoprompt.documents import MAX_CHARACTERS, MAX_DEPTH, Node, parse_yaml
from autoprompt.errors import SpaceError, TaskError


def parse(text: str) -> Node:
    return parse_yaml(text, "my.yaml", SpaceError)


def plain(node: Node):
    """The document without places."""
    if isinstance(node.value, dict):
        return {key: plain(value) for key, value in node.value.items()}
    if isinstance(node.value, list):
        return [plain(value) for value in node.value]
    return node.value


def message_of(text: str) -> str:
    with pytest.raises(SpaceError) as caught:
        parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    "scalar",
    [
        "no",
        "yes",
        "on",
        "NO",
        "true",
        "null",
        "~",
        "1",
        "0x1f",
        "0777",
        "1e3",
        ".nan",
        "1_000",
        "2024-01-01",
        "12:30:45",
        "=",
        "<<",
    ],
)
def test_scalars_stay_text(scalar):
    """BAD_INPUTS 37: YAML 1.1 makes booleans, integers, octals and dates of these."""
    assert plain(parse(f"word: [{scalar}]")) == {"word": [scalar]}


@pytest.mark.parametrize("key", ["no", "1", "2024-01-01", "null", "<<"])
def test_keys_stay_text(key):
    assert plain(parse(f"{key}: a")) == {key: "a"}


def test_merge_keys_do_not_merge():
    assert plain(parse("<<: {a: b}\nc: d")) == {"<<": {"a": "b"}, "c": "d"}


def test_duplicate_keys_are_refused():
    """BAD_INPUTS 38."""
    message = message_of("seeds: 1\nname: a\nseeds: 2\n")
    assert message == "my.yaml, line 3: the key 'seeds' stands twice; keep one of them"


def test_duplicate_keys_are_refused_at_depth():
    assert "line 3: the key 'x' stands twice" in message_of("a:\n  - x: 1\n    x: 2\n")


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!str", "!mine", "!"])
def test_tags_are_refused(tag):
    """BAD_INPUTS 39."""
    message = message_of(f"a: b\nc: {tag} [x]\n")
    assert message.startswith("my.yaml, line 2: tags (")
    assert "write plain values" in message


def test_alias_bomb_is_refused_at_its_first_anchor():
    """BAD_INPUTS 39."""
    bomb = "a: &a [x, x]\n" + "".join(
        f"{after}: &{after} [*{name}, *{name}, *{name}]\n"
        for name, after in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert message_of(bomb) == (
        "my.yaml, line 1: anchors and aliases are not allowed; write the value out"
    )


@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000 + "]" * 5000,
        "[" * 5000,
        "{a: " * 5000,
        "- " * 5000 + "x",
        "? " * 5000 + "x",
        "".join(" " * depth + "a:\n" for depth in range(500)),
    ],
    ids=["closed", "open", "mappings", "block", "keys", "indented"],
)
def test_deep_nesting_is_refused(text):
    """BAD_INPUTS 39: no RecursionError, and no time spent on what lies deeper."""
    assert "nested deeper than 12 levels; flatten it" in message_of(text)


def test_nesting_up_to_the_limit_is_read():
    node = parse("[" * MAX_DEPTH + "x" + "]" * MAX_DEPTH)
    for _ in range(MAX_DEPTH):
        (node,) = node.value
    assert node.value == "x"


def test_long_document_is_refused():
    assert "has 200,001 characters; at most 200,000" in message_of("#" * (MAX_CHARACTERS + 1))


def test_bom_at_the_start_is_no_part_of_the_key():
    assert plain(parse("\ufeffname: a")) == {"name": "a"}


def test_tab_as_indentation_gives_line_and_column():
    message = message_of("a:\n\tb: c\n")
    assert message.startswith("my.yaml, line 2, column 1: not valid YAML")
    assert "'\\t'" in message


def test_unquoted_braces_get_a_hint():
    message = message_of("template: {text} It was {mask}.\n")
    assert message.startswith("my.yaml, line 1")
    assert "values with {braces} or colons want quotes" in message


def test_control_character_gives_its_line():
    assert message_of("a: b\nc: \x07\n") == (
        "my.yaml, line 2: the character '\\x07' is not allowed in YAML; remove it"
    )


@pytest.mark.parametrize("escape", [r"\0", r"\ud800", r"\udfff"])
def test_escapes_cannot_smuggle_characters_in(escape):
    message = message_of(f'a: b\nc: "x{escape}"\n')
    assert message.startswith("my.yaml, line 2: a text holds the character")


@pytest.mark.parametrize("escape", [r"\U00110000", r"\UFFFFFFFF"])
def test_escape_beyond_unicode_is_refused(escape):
    assert "an escape names no character" in message_of(f'"{escape}"')


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_empty_document_is_refused(text):
    assert message_of(text) == "my.yaml is empty; write its keys, or remove the file"


def test_document_that_is_only_begun_is_no_mapping():
    with pytest.raises(SpaceError, match="a task must be a mapping"):
        parse("---\n").mapping("a task")


def test_second_document_is_refused():
    assert "another document" in message_of("a: b\n---\nc: d\n")


@pytest.mark.parametrize("text", ["[a]: b", "? {a: b}\n: c"])
def test_key_that_is_no_text_is_refused(text):
    assert "line 1: a key must be text" in message_of(text)


def test_error_type_is_the_callers():
    with pytest.raises(TaskError):
        parse_yaml("[", "task.yaml", TaskError)
    with pytest.raises(TaskError):
        parse_yaml("a", "task.yaml", TaskError).mapping("a task")


def test_place_of_a_value_is_that_of_its_key():
    assert parse("a: x\nb:\n  - y\n").value["b"].where == "my.yaml, line 2"


def test_place_of_an_entry_is_its_own():
    assert parse("b:\n  - x\n  - y\n").value["b"].value[1].where == "my.yaml, line 3"


@pytest.mark.parametrize("text", ["''", "'  '", "[a]", "{a: b}"])
def test_text_wants_text(text):
    with pytest.raises(SpaceError, match="line 1: name must be text"):
        parse(f"name: {text}").value["name"].text("name")


@pytest.mark.parametrize("text", ["x", "-1", "+1", "1.0", "1e3", "²", "1_0", "9999999999", "true"])
def test_integer_wants_digits(text):
    with pytest.raises(SpaceError, match="n must be a whole number from 1 to 5, not"):
        parse(text).integer("n", 1, 5)


@pytest.mark.parametrize("text", ["0", "6"])
def test_integer_out_of_bounds_is_named(text):
    with pytest.raises(SpaceError, match=f"n must lie between 1 and 5, not {text}"):
        parse(text).integer("n", 1, 5)


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("5", 5), ("'3'", 3)])
def test_integer_within_bounds_is_read(text, value):
    assert parse(text).integer("n", 1, 5) == value


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False)])
def test_boolean_is_read(text, value):
    assert parse(text).boolean("search") is value


@pytest.mark.parametrize("text", ["yes", "1", "on"])
def test_boolean_wants_true_or_false(text):
    with pytest.raises(SpaceError, match=f"search must be true or false, not '{text}'"):
        parse(text).boolean("search")


@pytest.mark.parametrize("text", ["[]", "a", "{a: b}"])
def test_items_want_a_list_with_an_entry(text):
    with pytest.raises(SpaceError, match="seeds must be a list with at least one entry"):
        parse(text).items("seeds")


def test_single_text_counts_as_a_list_of_one():
    assert parse("good").texts("words") == ["good"]
    assert parse("[good, nice]").texts("words") == ["good", "nice"]


def test_texts_name_the_entry_that_is_no_text():
    with pytest.raises(SpaceError, match="line 2: each entry of words must be text"):
        parse("- good\n- [nice]\n").texts("words")


def test_unknown_key_gets_line_hint_and_list():
    with pytest.raises(SpaceError) as caught:
        parse("name: a\nlabls:\n  - x\n").record("a task", ("name", "labels"))
    assert str(caught.value) == (
        "my.yaml, line 2: a task has no key 'labls'; did you mean 'labels'? valid: name, labels"
    )
