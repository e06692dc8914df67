"""What a person said of a run: prompts to begin with, what to leave out, corrected labels.

A file of it is YAML, written by `autoprompt review` or by hand::

    seeds:
      - template: "{text} All in all it was {mask}."
        verbalizer: {negative: [bad], positive: [good]}
    bans:
      templates: ["{text} pages {mask}."]
      words: [minister]
    labels:
      - fields: {text: "not half bad"}
        label: positive
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from autoprompt.documents import Node, parse_yaml
from autoprompt.errors import FeedbackError, InputError, listing, nearest_of
from autoprompt.files import read_text, write_atomically
from autoprompt.space_content import Pattern, SeedPrompt
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.examples import Example
from autoprompt.tasks.task import Task
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer, normalised_word

KEYS = ("seeds", "bans", "labels")


@dataclass(frozen=True)
class Feedback:
    """What a person said.

    Attributes:
        seeds: prompts that they accepted or wrote; a search scores them first, with the space's.
        banned_templates: texts of templates that no search is to try.
        banned_words: words that no label is to have.
        labels: examples with the label that is right.
    """

    seeds: tuple[SeedPrompt, ...] = ()
    banned_templates: tuple[str, ...] = ()
    banned_words: tuple[str, ...] = ()
    labels: tuple[Example, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said."""
        return self == Feedback()

    @classmethod
    def load(cls, path: str | Path) -> Feedback:
        """Read a file.

        Raises:
            FeedbackError: it breaks a rule; the message holds the line.
            InputError: it cannot be read.
        """
        root = parse_yaml(read_text(Path(path), "feedback file"), str(path), FeedbackError)
        record = root.record("feedback", KEYS)
        bans = record["bans"].record("bans", ("templates", "words")) if "bans" in record else {}
        return cls(
            seeds=_many(record, "seeds", _seed),
            banned_templates=tuple(bans["templates"].texts("templates"))
            if "templates" in bans
            else (),
            banned_words=tuple(bans["words"].texts("words")) if "words" in bans else (),
            labels=_many(record, "labels", _correction),
        )

    def save(self, path: Path) -> None:
        """Write the file, atomically."""
        record: dict[str, Any] = {}
        if self.seeds:
            record["seeds"] = [
                {
                    "template": seed.template.text,
                    "verbalizer": {label: list(words) for label, words in seed.words.items()},
                }
                for seed in self.seeds
            ]
        bans = {"templates": list(self.banned_templates), "words": list(self.banned_words)}
        if any(bans.values()):
            record["bans"] = {key: found for key, found in bans.items() if found}
        if self.labels:
            record["labels"] = [
                {"fields": dict(example.fields), "label": example.label} for example in self.labels
            ]
        text = yaml.safe_dump(record, sort_keys=False, allow_unicode=True) if record else ""
        write_atomically(
            path, f"# What a person said of a run: search --feedback reads it.\n{text}"
        )

    def of_space(self, space: SearchSpace) -> SearchSpace:
        """A space, restricted to its task, with this in it.

        Raises:
            FeedbackError: a seed's fields or labels are not the space's, or nothing is left to
                begin with.
        """
        added = [self._usable(seed, space) for seed in self.seeds]
        known = [
            seed
            for seed in (*added, *space.seeds)
            if not self._bans(seed.template.text, seed.words)
        ]
        seeds: dict[tuple[Any, ...], SeedPrompt] = {}
        for seed in known:
            words = tuple((label, tuple(seed.words[label])) for label in space.labels)
            seeds.setdefault((seed.template.text, words), seed)
        if not seeds:
            raise FeedbackError(
                "the feedback bans every seed prompt; leave one, or add one under 'seeds'"
            )
        left_out = {normalised_word(word) for word in self.banned_words}
        candidates = {
            label: tuple(word for word in words if normalised_word(word) not in left_out)
            for label, words in (space.candidates or {}).items()
        }

        def kept(patterns: Sequence[Pattern]) -> tuple[Pattern, ...]:
            return tuple(p for p in patterns if p.text not in self.banned_templates)

        instructions = replace(
            space.instructions,
            seeds=tuple(
                seed
                for seed in space.instructions.seeds
                if not self._bans(seed.template.text, seed.words)
            ),
            patterns=kept(space.instructions.patterns),
        )
        return replace(
            space,
            seeds=tuple(seeds.values()),
            patterns=kept(space.patterns),
            candidates=candidates,
            instructions=instructions,
            banned_templates=self.banned_templates,
            banned_words=tuple(sorted(left_out)),
        )

    def of_task(self, task: Task) -> tuple[Task, int]:
        """A task with the corrected labels in train and dev, and how many that were.

        The test split stays as it is: it measures, and nobody who has seen the results corrects it.

        Raises:
            FeedbackError: a label is none of the task's.
        """
        right: dict[tuple[str, ...], str] = {}
        for example in self.labels:
            label = str(example.label)
            if label not in task.labels:
                raise FeedbackError(
                    f"the feedback corrects a label to {label!r}; "
                    f"{nearest_of(label, task.labels)}the task's are: {listing(task.labels)}"
                )
            right[example.key] = label

        def corrected(examples: Sequence[Example]) -> tuple[Example, ...]:
            return tuple(
                replace(example, label=right.get(example.key, example.label))
                for example in examples
            )

        train, dev = corrected(task.train), corrected(task.dev)
        pairs = zip((*train, *dev), (*task.train, *task.dev), strict=True)
        changed = sum(new.label != old.label for new, old in pairs)
        return replace(task, train=train, dev=dev), changed

    def _bans(self, template: str, words: Mapping[str, Sequence[str]]) -> bool:
        banned = {normalised_word(word) for word in self.banned_words}
        used = {normalised_word(word) for group in words.values() for word in group}
        return template in self.banned_templates or bool(banned & used)

    def _usable(self, seed: SeedPrompt, space: SearchSpace) -> SeedPrompt:
        """A seed with its words in the space's order of labels."""
        try:
            seed.template.check_fields(space.fields)
            Verbalizer.of(seed.words, space.labels)
        except InputError as error:
            raise FeedbackError(f"a seed prompt of the feedback: {error}") from error
        return SeedPrompt(seed.template, {label: seed.words[label] for label in space.labels})


def _many(record: Mapping[str, Node], key: str, read: Any) -> tuple[Any, ...]:
    return tuple(read(node) for node in record[key].items(key)) if key in record else ()


def _seed(node: Node) -> SeedPrompt:
    record = node.record("a seed", ("template", "verbalizer"))
    for key in ("template", "verbalizer"):
        if key not in record:
            raise node.fail(f"a seed needs the key {key!r}")
    words = {
        label: tuple(found.texts(f"the words of {label!r}"))
        for label, found in record["verbalizer"].mapping("a verbalizer").items()
    }
    try:
        template = Template.parse(record["template"].text("template"))
        Verbalizer.of(words)
    except InputError as error:
        raise node.fail(str(error)) from error
    return SeedPrompt(template, words)


def _correction(node: Node) -> Example:
    record = node.record("a corrected label", ("fields", "label"))
    for key in ("fields", "label"):
        if key not in record:
            raise node.fail(f"a corrected label needs the key {key!r}")
    fields: dict[str, str] = {}
    for name, found in record["fields"].mapping("fields").items():
        if not isinstance(found.value, str):
            raise found.fail(f"field {name!r} must be text; write a string here")
        fields[name] = found.value  # an empty text is one too
    return Example(fields, record["label"].text("label"))
