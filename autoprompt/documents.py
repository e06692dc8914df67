"""Strict YAML for the files that people write: search spaces and task descriptions.

Every scalar is the string that stands in the file (`no`, `1` and `2024-01-01` stay text), keys may
not repeat, and tags, anchors, aliases and deep nesting are refused before anything is built.
Nodes keep their line, so that an error found later can name it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from autoprompt.errors import InputError, listing, nearest_of

MAX_DEPTH = 12
MAX_CHARACTERS = 200_000  # a shipped space has 7,000; for 200,000 the parser takes a second or two


@dataclass(frozen=True)
class Node:
    """A value of a document with its place.

    Attributes:
        value: a string, a list of nodes, or a dict from string to node.
        where: file and line for messages, for example `space.yaml, line 4`.
    """

    value: str | list[Node] | dict[str, Node]
    where: str
    error: type[InputError]

    def fail(self, message: str) -> InputError:
        """The document's error type, with the place in front of the message."""
        return self.error(f"{self.where}: {message}")

    def text(self, what: str) -> str:
        """This node as a string that is not empty."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.fail(f"{what} must be text; write a string here")
        return self.value

    def integer(self, what: str, low: int, high: int) -> int:
        """This node as a whole number between `low` and `high`, both included."""
        text = self.text(what).strip()
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise self.fail(f"{what} must be a whole number from {low} to {high}, not {text!r}")
        if not low <= int(text) <= high:
            raise self.fail(f"{what} must lie between {low} and {high}, not {text}")
        return int(text)

    def number(self, what: str, low: float, high: float) -> float:
        """The value as a number from low to high, both included."""
        try:
            found = float(self.value) if isinstance(self.value, str) else math.nan
        except ValueError:
            found = math.nan
        if not low <= found <= high:
            raise self.fail(f"{what} must be a number from {low:g} to {high:g}")
        return found

    def boolean(self, what: str) -> bool:
        """This node as `true` or `false`."""
        text = self.text(what).strip().lower()
        if text not in ("true", "false"):
            raise self.fail(f"{what} must be true or false, not {text!r}")
        return text == "true"

    def items(self, what: str) -> list[Node]:
        """This node as a list with at least one entry."""
        if not isinstance(self.value, list) or not self.value:
            raise self.fail(f"{what} must be a list with at least one entry")
        return self.value

    def texts(self, what: str) -> list[str]:
        """This node as a list of strings; a single string counts as a list of one."""
        if isinstance(self.value, str):
            return [self.text(what)]
        return [item.text(f"each entry of {what}") for item in self.items(what)]

    def mapping(self, what: str) -> dict[str, Node]:
        """This node as a mapping from names to nodes."""
        if not isinstance(self.value, dict):
            raise self.fail(f"{what} must be a mapping of names to values")
        return self.value

    def record(self, what: str, known: tuple[str, ...]) -> dict[str, Node]:
        """This node as a mapping whose keys are all in `known`."""
        mapping = self.mapping(what)
        for key, node in mapping.items():
            if key not in known:
                raise node.fail(
                    f"{what} has no key {key!r}; {nearest_of(key, known)}valid: {listing(known)}"
                )
        return mapping


def parse_yaml(text: str, source: str, error: type[InputError]) -> Node:
    """Parse one YAML document strictly.

    Args:
        text: the document.
        source: its name in messages.
        error: the type of error to raise, here and from the nodes.

    Raises:
        InputError: of the type given, with the line, for anything that is not plain YAML.
    """
    if len(text) > MAX_CHARACTERS:
        raise error(
            f"{source} has {len(text):,} characters; at most {MAX_CHARACTERS:,}, so shorten it"
        )
    try:
        for event in _plain_events(text, source, error):
            del event
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as problem:
        raise error(_describe(problem, source, text)) from problem
    except (ValueError, OverflowError) as problem:
        if isinstance(problem, InputError):
            raise
        # The parser hands "\U00110000" on to chr() unchecked.
        raise error(f"{source}: an escape names no character ({problem}); mend it") from problem
    if root is None:
        raise error(f"{source} is empty; write its keys, or remove the file")
    return _build(root, source, error)


def _plain_events(text: str, source: str, error: type[InputError]) -> Iterator[yaml.Event]:
    """The parser's events (iterative, so that deep nesting cannot exhaust the stack)."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        line = f"{source}, line {event.start_mark.line + 1 if event.start_mark else 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise error(f"{line}: anchors and aliases are not allowed; write the value out")
        if tag := getattr(event, "tag", None):
            raise error(f"{line}: tags ({tag}) are not allowed; write plain values")
        if isinstance(event, yaml.ScalarEvent) and (bad := _unfit(event.value)):
            raise error(f"{line}: a text holds the character {bad!r}; remove it")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise error(f"{line}: nested deeper than {MAX_DEPTH} levels; flatten it")
        yield event


def _unfit(text: str) -> str:
    """The first character that an escape smuggled in and no tokenizer or file takes, or ""."""
    return next((char for char in text if char == "\0" or "\ud800" <= char <= "\udfff"), "")


def _build(node: yaml.Node, source: str, error: type[InputError], where: str = "") -> Node:
    # A value's place is that of its key: the value itself may begin on the next line.
    where = where or f"{source}, line {node.start_mark.line + 1}"
    if isinstance(node, yaml.SequenceNode):
        return Node([_build(item, source, error) for item in node.value], where, error)
    if not isinstance(node, yaml.MappingNode):
        return Node(str(node.value), where, error)
    mapping: dict[str, Node] = {}
    for key_node, value_node in node.value:
        key = _build(key_node, source, error)
        if not isinstance(key.value, str):
            raise key.fail("a key must be text")
        if key.value in mapping:
            raise key.fail(f"the key {key.value!r} stands twice; keep one of them")
        mapping[key.value] = _build(value_node, source, error, key.where)
    return Node(mapping, where, error)


def _describe(problem: yaml.YAMLError, source: str, text: str) -> str:
    if isinstance(problem, yaml.reader.ReaderError):
        line = text.count("\n", 0, problem.position) + 1
        char = text[problem.position]
        return f"{source}, line {line}: the character {char!r} is not allowed in YAML; remove it"
    mark = getattr(problem, "problem_mark", None)
    place = f"{source}, line {mark.line + 1}, column {mark.column + 1}" if mark else source
    reason = getattr(problem, "problem", None) or getattr(problem, "reason", None) or str(problem)
    return f"{place}: not valid YAML: {reason}; values with {{braces}} or colons want quotes"
