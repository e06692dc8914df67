"""Search spaces: what an expert wrote, and what a search may vary."""

from __future__ import annotations

import os.path
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autoprompt.errors import SpaceError, UnknownNameError, listing, nearest_of
from autoprompt.files import digest, read_text
from autoprompt.pieces import substitute
from autoprompt.space_content import Instructions, Pattern, SeedPrompt, SpaceContent
from autoprompt.space_files import read_space
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer, normalised_word


class SearchSpace(SpaceContent):
    """What a search starts from and may vary; its attributes are those of `SpaceContent`."""

    @classmethod
    def load(cls, name: str | Path) -> SearchSpace:
        """A space by the name of a shipped one, or from a YAML file.

        Raises:
            UnknownNameError: it is neither a file nor a shipped space; the message lists them.
            SpaceError: the file breaks a rule.
        """
        path = Path(name)
        if not os.path.isfile(path):  # unlike Path.is_file, never raises: a name may be too long
            shipped = shipped_spaces()
            if str(name) not in shipped:
                if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
                    raise SpaceError(
                        f"no search space at {path}; check the path, or write one with "
                        f"`autoprompt init`"
                    )
                raise UnknownNameError("search space", str(name), shipped)
            path = shipped[str(name)]
        return cls.parse(read_text(path, "search space"), str(path))

    @classmethod
    def parse(cls, text: str, source: str = "search space") -> SearchSpace:
        """A space from YAML text; `source` names it in messages."""
        return cls(**vars(read_space(text, source)))

    def restricted(self, fields: Sequence[str], labels: Sequence[str]) -> SearchSpace:
        """This space for one task: its label set in the task's order, its words only.

        Raises:
            SpaceError: the task's fields or labels are not those of the space.
        """
        if missing := [name for name in self.fields if name not in fields]:
            raise SpaceError(
                f"space {self.name!r} needs the fields {listing(self.fields)}; the task has "
                f"{listing(fields)} and lacks {listing(missing)}; map them in task.yaml, as in "
                f"`fields: {{{missing[0]}: its_column}}`"
            )
        if not any(set(labels) == set(known) for known in self.label_sets):
            strange = [
                f"{label!r} ({nearest_of(label, self.label_sets[0]).strip()})".replace(" ()", "")
                for label in labels
                if all(label not in known for known in self.label_sets)
            ]
            raise SpaceError(
                f"space {self.name!r} is for the labels "
                f"{' or '.join('{' + listing(known) + '}' for known in self.label_sets)}; the task "
                f"has {{{listing(labels)}}}"
                + (f", of which {listing(strange)} have no words" if strange else "")
                + "; rename labels in task.yaml, or write a space with `autoprompt init`"
            )
        candidates = self.candidates or {}

        def own_words(seeds: Sequence[SeedPrompt]) -> tuple[SeedPrompt, ...]:
            return tuple(
                replace(seed, words={label: seed.words[label] for label in labels})
                for seed in seeds
            )

        instructions = replace(self.instructions, seeds=own_words(self.instructions.seeds))
        return replace(
            self,
            label_sets=(tuple(labels),),
            seeds=own_words(self.seeds),
            instructions=instructions,
            candidates={label: candidates[label] for label in labels if label in candidates},
        )

    def for_family(self, family: str) -> SearchSpace:
        """This space for models of one family: instructions join the rest, or are dropped.

        Args:
            family: as `ModelIdentity.family` has it. A masked model fills gaps in text; it was not
                made to do what a text asks for.
        """
        bare = replace(self, instructions=Instructions())
        if family == "masked":
            return bare
        return replace(
            bare,
            seeds=self.seeds + self.instructions.seeds,
            patterns=self.patterns + self.instructions.patterns,
            slots={**(self.slots or {}), **self.instructions.slots},
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of a space with one label set (a restricted one always has one)."""
        if len(self.label_sets) != 1:
            raise SpaceError(
                f"space {self.name!r} serves several label sets; restrict it to a task first"
            )
        return self.label_sets[0]

    def verbalizers(self) -> tuple[Verbalizer, ...]:
        """The seeds' verbalizers without repetitions, in their order."""
        found = [Verbalizer.of(seed.words, self.labels) for seed in self.seeds]
        return tuple(dict.fromkeys(found))

    def label_candidates(self) -> dict[str, tuple[str, ...]]:
        """Label to words that may be fitted: the seeds' own first, then the candidates."""
        table: dict[str, dict[str, str]] = {label: {} for label in self.labels}
        for label, known in table.items():
            for seed in self.seeds:
                for word in seed.words[label]:
                    known.setdefault(normalised_word(word), word)
            for word in (self.candidates or {}).get(label, ()):
                known.setdefault(normalised_word(word), word)
        return {label: tuple(known.values()) for label, known in table.items()}

    def compositions(self, pattern: Pattern) -> int:
        """The number of templates that a pattern gives."""
        total = 1
        for name in pattern.slots:
            total *= len((self.slots or {})[name])
        return total

    def compose(self, pattern: Pattern, choices: Mapping[str, int]) -> Template:
        """The template of one choice (an index into each slot's options)."""
        options = {name: (self.slots or {})[name][choices[name]] for name in pattern.slots}
        return Template.parse(substitute(pattern.text, options), self.fields)

    def fingerprint(self) -> str:
        """A digest of everything that the search may see."""
        bans = [self.banned_templates, self.banned_words]
        return digest(
            {
                **({"bans": bans} if any(bans) else {}),
                "fields": self.fields,
                "labels": self.label_sets,
                "seeds": [[seed.template.text, dict(seed.words)] for seed in self.seeds],
                "patterns": [pattern.text for pattern in self.patterns],
                "slots": dict(self.slots or {}),
                "candidates": dict(self.candidates or {}),
                "words": [
                    self.words_per_label,
                    self.fit_words,
                    self.word_methods,
                    self.vocabulary,
                ],
                "generated": self.generated,
                "triggers": vars(self.triggers) if self.triggers else None,
                "demonstrations": [self.demonstrations, self.selections, self.orders],
                "calibration": self.calibration,
            }
        )


def shipped_spaces() -> dict[str, Path]:
    """Name to file of the spaces that ship with autoprompt."""
    package = Path(__file__).parent
    # In a wheel they lie inside the package, in a checkout beside it.
    for folder in (package / "search_spaces", package.parent / "search_spaces"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return {}
