"""Demonstrations: labelled examples that a prompt shows before the one it asks about."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from autoprompt.errors import UnknownNameError
from autoprompt.pieces import ASSISTANT, DEMONSTRATIONS, USER, Demonstrations, Role, substitute
from autoprompt.seeding import generator
from autoprompt.similarity import TextVectors
from autoprompt.space_content import FIXED_SELECTIONS, ORDERS
from autoprompt.tasks.examples import Example, normalised_texts
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer


class DemonstrationPool:
    """Labelled examples that demonstrations may be chosen from.

    Args:
        examples: of the train split; a label with fewer than are asked for gives what it has.
        labels: the task's labels.
    """

    def __init__(self, examples: Sequence[Example], labels: Sequence[str]) -> None:
        self.by_label = {
            label: [example for example in examples if example.label == label] for label in labels
        }

    def draw(
        self,
        per_label: int,
        seed: int,
        number: int,
        select: str = FIXED_SELECTIONS[0],
        order: str = ORDERS[0],
    ) -> tuple[Example, ...]:
        """The `number`-th choice of `per_label` demonstrations of each label.

        Args:
            per_label: how many of each.
            seed: the run's seed.
            number: which choice.
            select: "random", or "class": the examples most like others of their label (see
                `representative`), where number 0 has the likest ones, number 1 the next ones, and
                so on, round and round. Chance has no part in it.
            order: "mixed" (at random), or "grouped": by label in the task's order, with "class"
                the likest one of a label last.

        Raises:
            UnknownNameError: `select` or `order` is not one of these.
        """
        if select not in FIXED_SELECTIONS:
            raise UnknownNameError("selection of demonstrations", select, FIXED_SELECTIONS)
        if order not in ORDERS:
            raise UnknownNameError("order of demonstrations", order, ORDERS)
        chance = generator(seed, "demonstrations", number)
        drawn: list[Example] = []
        for label, examples in self.by_label.items():
            if select == "class":
                ranked = self.representative[label]
                first, count = per_label * number, min(per_label, len(ranked))
                picks = [ranked[(first + step) % len(ranked)] for step in range(count)]
                drawn += reversed(picks)
            else:
                drawn += [examples[i] for i in chance.permutation(len(examples))[:per_label]]
        if order == "grouped":
            return tuple(drawn)
        return tuple(drawn[i] for i in chance.permutation(len(drawn)))

    @cached_property
    def representative(self) -> dict[str, list[Example]]:
        """Label to its examples, each text once, the nearest to the label's centroid first.

        A text is its TF-IDF vector over words, of length one, with the document frequencies of the
        pool; a label's centroid is the mean of its vectors; near is a high cosine. The order of the
        pool does not matter.
        """
        unique: dict[str, list[Example]] = {}
        for label, examples in self.by_label.items():
            ordered = sorted(examples, key=lambda example: example.key)
            unique[label] = list({normalised_texts(e): e for e in ordered}.values())
        texts = [" ".join(normalised_texts(e)) for group in unique.values() for e in group]
        vectors = TextVectors(texts).own
        found: dict[str, list[Example]] = {}
        start = 0
        for label, group in unique.items():
            if not group:
                found[label] = []
                continue
            own = vectors[start : start + len(group)]
            start += len(group)
            # Rounded, so that equal cosines are equal: then the texts' order decides.
            nearness = np.round(own @ np.asarray(own.mean(axis=0)).ravel(), 9)
            found[label] = [group[i] for i in np.argsort(-nearness, kind="stable")]
        return found


def not_shown(examples: Sequence[Example], demonstrations: Sequence[Example]) -> list[Example]:
    """The examples of which no demonstration gives the text away, as `normalised_texts` counts."""
    shown = {normalised_texts(example) for example in demonstrations}
    return [example for example in examples if normalised_texts(example) not in shown]


def render(
    template: Template,
    examples: Sequence[Example],
    verbalizer: Verbalizer,
    triggers: Sequence[str] = (),
) -> tuple[str, ...]:
    """Each demonstration as text: the template itself, its mask filled with a label's first word.

    Each one is followed by a space, so that the slot's neighbour needs none of its own. Those of a
    chat show what the user says and the assistant answers, in lines of their own, and are followed
    by an empty line.
    """
    words = dict(zip(verbalizer.labels, verbalizer.words, strict=True))
    bare = Template.parse(substitute(template.text, {DEMONSTRATIONS: ""}))
    shown, end = bare.unmarked((USER, ASSISTANT)), "\n\n" if bare.is_chat else " "
    triggers = triggers[len(bare.trigger_counts) - len(shown.trigger_counts) :]  # no system part
    return tuple(
        shown.render(example.fields, words[str(example.label)][0], triggers).strip() + end
        for example in examples
    )


def with_demonstrations(template: Template) -> Template:
    """The template with a place for demonstrations, in front where it names none.

    In a chat that is where the user begins.
    """
    if template.has_demonstrations:
        return template
    if template.is_chat:
        at = template.pieces.index(Role(USER)) + 1
        return Template.of([*template.pieces[:at], Demonstrations(), *template.pieces[at:]])
    return Template.parse(f"{{{DEMONSTRATIONS}}}{template.text}")
