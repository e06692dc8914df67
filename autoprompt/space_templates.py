"""How the templates of a search-space file are read: patterns and the options of their slots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autoprompt.documents import Node
from autoprompt.errors import InputError, listing, nearest_of
from autoprompt.pieces import DEMONSTRATIONS, RESERVED, ROLE_MARKS, slot_names, substitute
from autoprompt.space_content import Pattern
from autoprompt.templates import Template

KEYS = ("patterns", "slots", "generated")
MAX_TEMPLATES = 1_000_000
MAX_GENERATED = 1000


def read_template(node: Node, text: str, fields: Sequence[str]) -> Template:
    """A template, its errors being the node's."""
    try:
        template = Template.parse(text, fields)
    except InputError as error:
        raise node.fail(str(error)) from error
    return template


def read_templates(node: Node, fields: Sequence[str]) -> dict[str, Any]:
    """What `templates` says, by the names of `SpaceContent`.

    Args:
        node: its value.
        fields: the space's.

    Raises:
        SpaceError: it breaks a rule.
    """
    record = node.record("templates", KEYS)
    generated = 0
    if "generated" in record:
        generated = record["generated"].integer("generated", 0, MAX_GENERATED)
    if "patterns" not in record:
        if "generated" in record and "slots" not in record:
            return {"slots": {}, "generated": generated}
        raise node.fail("templates needs the key 'patterns', or 'generated' alone")
    slots, patterns = read_patterns(node, record, fields, {})
    return {"slots": slots, "patterns": patterns, "generated": generated}


def read_patterns(
    node: Node,
    record: Mapping[str, Node],
    fields: Sequence[str],
    known: Mapping[str, tuple[str, ...]],
) -> tuple[dict[str, tuple[str, ...]], tuple[Pattern, ...]]:
    """What stands under `slots` and `patterns`.

    Args:
        node: what holds them.
        record: its keys.
        fields: the space's.
        known: slots that stand elsewhere, which the patterns may use too.

    Raises:
        SpaceError: it breaks a rule.
    """
    slots: dict[str, tuple[str, ...]] = {}
    for name, options in record["slots"].mapping("slots").items() if "slots" in record else ():
        if name in RESERVED or name in fields:
            raise options.fail(f"a slot cannot be called {name!r}: it is a field or reserved")
        if name in known:
            raise options.fail(
                f"the slot {name!r} stands under templates too; use that one, or give this one "
                f"another name"
            )
        slots[name] = tuple(_options(options))
    every = {**known, **slots}
    patterns = tuple(_pattern(item, every, fields) for item in record["patterns"].items("patterns"))
    for name, choices in slots.items():
        if not any(name in pattern.slots for pattern in patterns):
            raise node.fail(
                f"no pattern uses the slot {name!r} ({len(choices)} options); "
                f"use it, or take it out"
            )
    return slots, patterns


def _options(node: Node) -> list[str]:
    # An option may be empty ("no stem"), so `texts` would be too strict here.
    options = []
    for item in node.items("a slot's options"):
        if not isinstance(item.value, str):
            raise item.fail("an option must be text")
        if item.value in options:
            raise item.fail(f"the option {item.value!r} stands twice; keep one of them")
        try:
            slot_names(item.value)  # each option is whole: no slot spreads over two of them
        except InputError as error:
            raise item.fail(str(error)) from error
        options.append(item.value)
    return options


def _pattern(node: Node, slots: Mapping[str, tuple[str, ...]], fields: Sequence[str]) -> Pattern:
    text = node.text("a pattern")
    try:
        names = slot_names(text)
    except InputError as error:
        raise node.fail(str(error)) from error
    used = tuple(dict.fromkeys(name for name in names if name in slots))
    known = [*fields, *RESERVED, *slots]
    every = [*known, *ROLE_MARKS]
    for name in names:
        if name.partition(":")[0] not in known and name not in ROLE_MARKS:
            raise node.fail(
                f"pattern {text!r} has an unknown slot {{{name}}}; {nearest_of(name, every)}"
                f"valid: {listing(every)}"
            )
    pattern = Pattern(text, used)
    total = 1
    for name in used:
        total *= len(slots[name])
    if total > MAX_TEMPLATES:
        raise node.fail(
            f"pattern {text!r} gives {total:,} templates; at most {MAX_TEMPLATES:,}; "
            f"take some options out"
        )
    for choice in _representatives({name: slots[name] for name in used}):
        read_template(node, substitute(text, choice), fields)
    return pattern


def _representatives(slots: Mapping[str, tuple[str, ...]]) -> Iterator[dict[str, str]]:
    """A few choices of options: if their templates are valid, all choices' templates are.

    Each option once, among the others' first ones, finds unknown slots and a wrong number of
    masks. What only several options together can break, showing no field and having two places
    for demonstrations, is found by the choices with the fewest fields and the most such places.
    """

    def fields(option: str) -> int:
        names = [name for name in slot_names(option) if name not in ROLE_MARKS]
        return sum(name.partition(":")[0] not in RESERVED for name in names)

    def places(option: str) -> int:
        return slot_names(option).count(DEMONSTRATIONS)

    first = {name: options[0] for name, options in slots.items()}
    yield first
    for name, options in slots.items():
        for option in options[1:]:
            yield first | {name: option}
    yield {name: min(options, key=fields) for name, options in slots.items()}
    yield {name: max(options, key=places) for name, options in slots.items()}
