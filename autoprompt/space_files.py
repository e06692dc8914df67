"""How a search-space file is read.

The YAML format is described in the README; every error names the file and the line.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from autoprompt.documents import Node, parse_yaml
from autoprompt.errors import SpaceError, VerbalizerError, listing, nearest_of
from autoprompt.pieces import MAX_TRIGGERS, RESERVED, ROLE_MARKS, slot_names
from autoprompt.space_content import (
    CALIBRATIONS,
    CHAT,
    ORDERS,
    SELECTIONS,
    TRIGGER_POSITIONS,
    WORD_METHODS,
    Instructions,
    SeedPrompt,
    SpaceContent,
    TriggerPlan,
)
from autoprompt.space_templates import read_patterns, read_template, read_templates
from autoprompt.verbalizers import Verbalizer

KEYS = (
    "name",
    "description",
    "fields",
    "labels",
    "seeds",
    "templates",
    "instructions",
    "chat",
    "triggers",
    "label_words",
    "demonstrations",
    "calibration",
)
MAX_DEMONSTRATIONS = 32
MAX_VOCABULARY = 100_000
MAX_WEIGHT = 100  # of a term in the trigger search's objective


def read_space(text: str, source: str) -> SpaceContent:
    """Read a space from YAML text; `source` names it in messages.

    Raises:
        SpaceError: the text breaks a rule.
    """
    return _Reader(parse_yaml(text, source, SpaceError)).content()


class _Reader:
    """Turns the document's nodes into a checked space, keeping the lines for messages."""

    def __init__(self, root: Node) -> None:
        self.record = record = root.record("a search space", KEYS)
        for key in ("name", "fields", "labels", "seeds"):
            if key not in record:
                raise root.fail(
                    f"the key {key!r} is missing; a search space needs name, fields, labels and "
                    f"seeds"
                )
        self.fields = tuple(record["fields"].texts("fields"))
        for name in self.fields:
            if name in RESERVED:
                raise record["fields"].fail(f"a field cannot be called {name!r}; rename it")
        if len(set(self.fields)) < len(self.fields):
            raise record["fields"].fail("fields names one field twice; keep one of them")
        self.label_sets = self._label_sets(record["labels"])
        self.all_labels = tuple(dict.fromkeys(itertools.chain(*self.label_sets)))

    def content(self) -> SpaceContent:
        templates = self._templates()
        content = SpaceContent(
            name=self.record["name"].text("name"),
            description=self._optional_text("description"),
            fields=self.fields,
            label_sets=self.label_sets,
            seeds=self._seeds(self.record["seeds"]),
            instructions=self._instructions(templates["slots"]),
            **templates,
            triggers=self._triggers(),
            **self._label_words(),
            **self._demonstrations(),
            calibration=self._calibration(),
        )
        return replace(content, chat=self._chat(content))

    def _optional_text(self, key: str) -> str:
        return self.record[key].text(key) if key in self.record else ""

    def _label_sets(self, node: Node) -> tuple[tuple[str, ...], ...]:
        items = node.items("labels")
        nested = [item for item in items if isinstance(item.value, list)]
        written = [item.texts("labels") for item in items] if nested else [node.texts("labels")]
        groups = [[_label(name) for name in group] for group in written]
        for group in groups:
            if len(group) < 2 or len(set(group)) < len(group):
                raise node.fail("labels must name two different labels at least, each once")
        return tuple(tuple(group) for group in groups)

    def _words(self, node: Node) -> dict[str, tuple[str, ...]]:
        return {
            _label(label): tuple(words.texts(f"the words of {label!r}"))
            for label, words in node.mapping("a verbalizer").items()
        }

    def _check_words(self, node: Node, words: Mapping[str, Sequence[str]], whole: bool) -> None:
        for label in words:
            if label not in self.all_labels:
                raise node.fail(
                    f"words for {label!r}, which is not a label; "
                    f"{nearest_of(label, self.all_labels)}the labels are: "
                    f"{listing(self.all_labels)}"
                )
        for labels in self.label_sets:
            shown = {label: words[label] for label in labels if label in words}
            try:
                Verbalizer.of(shown, labels if whole else tuple(shown))
            except VerbalizerError as error:
                raise node.fail(str(error)) from error

    def _seeds(self, node: Node) -> tuple[SeedPrompt, ...]:
        return tuple(self._seed(item) for item in node.items("seeds"))

    def _seed(self, node: Node) -> SeedPrompt:
        record = node.record("a seed", ("template", "verbalizer"))
        for key in ("template", "verbalizer"):
            if key not in record:
                raise node.fail(f"a seed needs the key {key!r}")
        text = record["template"].text("template")
        template = read_template(record["template"], text, self.fields)
        words = self._words(record["verbalizer"])
        self._check_words(record["verbalizer"], words, whole=True)
        return SeedPrompt(template, words)

    def _templates(self) -> dict[str, Any]:
        """What `templates` says, by the names of `SpaceContent`."""
        if "templates" not in self.record:
            return {"slots": {}}
        return read_templates(self.record["templates"], self.fields)

    def _instructions(self, known: Mapping[str, tuple[str, ...]]) -> Instructions:
        if "instructions" not in self.record:
            return Instructions()
        node = self.record["instructions"]
        record = node.record("instructions", ("seeds", "patterns", "slots"))
        if "patterns" not in record and ("slots" in record or "seeds" not in record):
            raise node.fail("instructions needs the key 'patterns', or 'seeds' alone")
        seeds = self._seeds(record["seeds"]) if "seeds" in record else ()
        if "patterns" not in record:
            return Instructions(seeds)
        slots, patterns = read_patterns(node, record, self.fields, known)
        return Instructions(seeds, patterns, slots)

    def _chat(self, content: SpaceContent) -> str:
        """Whether the model's tokenizer must have a chat template."""
        if "chat" not in self.record:
            return CHAT[0]
        node = self.record["chat"]
        chosen = node.text("chat").strip()
        if chosen not in CHAT:
            raise node.fail(f"chat must be one of {listing(CHAT)}, not {chosen!r}")
        own = content.instructions
        texts = [seed.template.text for seed in (*content.seeds, *own.seeds)]
        texts += [pattern.text for pattern in (*content.patterns, *own.patterns)]
        texts += itertools.chain(*(content.slots or {}).values(), *own.slots.values())
        if chosen == "required" and not any(
            name in ROLE_MARKS for text in texts for name in slot_names(text)
        ):
            raise node.fail(
                "chat is required, but no template is a chat; write one, as in "
                '"{user:}Is this good? {text}{assistant:}{mask}", or leave the key out'
            )
        return chosen

    def _triggers(self) -> TriggerPlan | None:
        if "triggers" not in self.record:
            return None
        keys = ("max_tokens", "positions", "fluency", "anti_collapse")
        record = self.record["triggers"].record("triggers", keys)
        plan = TriggerPlan()
        weights = {key: record[key].number(key, 0, MAX_WEIGHT) for key in keys[2:] if key in record}
        plan = replace(
            plan,
            fluency=weights.get("fluency", plan.fluency),
            anti_collapse=weights.get("anti_collapse", plan.anti_collapse),
        )
        if "max_tokens" in record:
            most = record["max_tokens"].integer("max_tokens", 1, MAX_TRIGGERS)
            plan = replace(plan, max_tokens=most)
        if "positions" in record:
            names = self._names(record["positions"], "trigger position", TRIGGER_POSITIONS)
            plan = replace(plan, positions=names)
        return plan

    def _names(self, node: Node, kind: str, valid: Sequence[str]) -> tuple[str, ...]:
        """A list of known names, each once."""
        found = tuple(dict.fromkeys(node.texts(f"{kind}s")))
        for name in found:
            if name not in valid:
                raise node.fail(
                    f"unknown {kind} {name!r}; {nearest_of(name, valid)}valid: {listing(valid)}"
                )
        return found

    def _label_words(self) -> dict[str, Any]:
        """What `label_words` says, by the names of `SpaceContent`."""
        if "label_words" not in self.record:
            return {"candidates": {}}
        node = self.record["label_words"]
        keys = ("per_label", "candidates", "search", "methods", "vocabulary")
        record = node.record("label_words", keys)
        low, high = 1, 1
        if "per_label" in record:
            bounds = record["per_label"].items("per_label")
            numbers = [item.integer("per_label", 1, 100) for item in bounds]
            low, high = numbers[0], numbers[-1]
            if len(numbers) > 2 or low > high:
                raise record["per_label"].fail("per_label must be [fewest, most], as in [1, 3]")
        candidates: dict[str, tuple[str, ...]] = {}
        if "candidates" in record:
            candidates = self._words(record["candidates"])
            self._check_words(record["candidates"], candidates, whole=False)
        methods: tuple[str, ...] = WORD_METHODS[:1]
        if "methods" in record:
            methods = self._names(record["methods"], "label-word method", WORD_METHODS)
        vocabulary = 0
        if "vocabulary" in record:
            vocabulary = record["vocabulary"].integer("vocabulary", 0, MAX_VOCABULARY)
        fit = bool(candidates) or vocabulary > 0
        if "search" in record:
            fit = record["search"].boolean("search")
        return {
            "words_per_label": (low, high),
            "fit_words": fit,
            "candidates": candidates,
            "word_methods": methods,
            "vocabulary": vocabulary,
        }

    def _demonstrations(self) -> dict[str, Any]:
        """What `demonstrations` says, by the names of `SpaceContent`."""
        if "demonstrations" not in self.record:
            return {}
        keys = ("per_label", "select", "order")
        record = self.record["demonstrations"].record("demonstrations", keys)
        if "per_label" not in record:
            raise self.record["demonstrations"].fail("demonstrations needs the key 'per_label'")
        numbers = tuple(
            item.integer("demonstrations", 0, MAX_DEMONSTRATIONS)
            for item in record["per_label"].items("per_label")
        )
        found: dict[str, Any] = {"demonstrations": tuple(dict.fromkeys(numbers))}
        if "select" in record:
            kind = "selection of demonstrations"
            found["selections"] = self._names(record["select"], kind, SELECTIONS)
        if "order" in record:
            found["orders"] = self._names(record["order"], "order of demonstrations", ORDERS)
        return found

    def _calibration(self) -> tuple[str, ...]:
        if "calibration" not in self.record:
            return ("none",)
        return self._names(self.record["calibration"], "calibration", CALIBRATIONS)


def _label(text: str) -> str:
    """A label as `Columns.label_of` reads it from data: NFC, no white space around it."""
    return unicodedata.normalize("NFC", text).strip()
