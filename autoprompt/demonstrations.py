"""Demonstrations: labelled examples that a prompt shows before the one it asks about."""

from __future__ import annotations

from collections.abc import Sequence

from autoprompt.seeding import generator
from autoprompt.tasks.examples import Example
from autoprompt.templates import (
    ASSISTANT,
    DEMONSTRATIONS,
    USER,
    Demonstrations,
    Role,
    Template,
    substitute,
)
from autoprompt.verbalizers import Verbalizer


def draw(
    examples: Sequence[Example], labels: Sequence[str], per_label: int, seed: int, number: int
) -> tuple[Example, ...]:
    """The `number`-th draw of `per_label` demonstrations of each label, in mixed order.

    Args:
        examples: the train split; a label with fewer examples gives what it has.
        labels: the task's labels.
        per_label: how many of each.
        seed: the run's seed.
        number: which draw.
    """
    chance = generator(seed, "demonstrations", number)
    drawn: list[Example] = []
    for label in labels:
        pool = [example for example in examples if example.label == label]
        picks = chance.permutation(len(pool))[:per_label]
        drawn += [pool[i] for i in picks]
    return tuple(drawn[i] for i in chance.permutation(len(drawn)))


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
