"""A person goes through a run: its finalists, and where winner and best seed disagree.

All that is shown is of the selection data. What they say becomes `Feedback`; nothing of the run is
changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from autoprompt.errors import InputError
from autoprompt.feedback import Feedback
from autoprompt.finished_runs import FinishedRun, Judged
from autoprompt.prompts import Prompt
from autoprompt.space_content import SeedPrompt
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

PROMPT_ANSWERS = {
    "a": "accept",
    "r": "reject",
    "e": "edit",
    "w": "ban words",
    "s": "skip",
    "q": "stop",
}
EXAMPLE_ANSWERS = {"k": "the label is right", "l": "relabel", "s": "skip", "q": "stop"}


class Talk(Protocol):
    """How a person is asked."""

    def tell(self, text: str) -> None:
        """Show a text."""
        ...

    def choose(self, question: str, answers: Sequence[str]) -> str:
        """One of the answers."""
        ...

    def write(self, question: str, default: str) -> str:
        """A text; the default where they write nothing."""
        ...


class Stopped(Exception):  # noqa: N818 (it is no error: the person has had enough)
    """The person stops; what was said so far counts."""


@dataclass
class Said:
    """What was said so far."""

    seeds: list[SeedPrompt] = field(default_factory=list)
    banned_templates: list[str] = field(default_factory=list)
    banned_words: list[str] = field(default_factory=list)
    labels: list[Example] = field(default_factory=list)

    def feedback(self) -> Feedback:
        """All of it, each once."""
        return Feedback(
            tuple(self.seeds),
            tuple(dict.fromkeys(self.banned_templates)),
            tuple(dict.fromkeys(self.banned_words)),
            tuple(self.labels),
        )


def review(run: FinishedRun, talk: Talk, most: int = 20) -> Feedback:
    """Ask a person about a run.

    Args:
        run: the run.
        talk: how they are asked.
        most: examples to ask about, at most.
    """
    said = Said()
    try:
        finalists = list(_finalists(run))
        for number, prompt in enumerate(finalists, start=1):
            _about_prompt(run, prompt, f"Prompt {number} of {len(finalists)}", talk, said)
        rows = disputed(run)[:most]
        for number, row in enumerate(rows, start=1):
            _about_example(run, row, f"Example {number} of {len(rows)}", talk, said)
    except Stopped:
        talk.tell("Stopped; what was said so far is kept.")
    return said.feedback()


def disputed(run: FinishedRun) -> list[Judged]:
    """Where winner and best seed disagree, then where both are wrong, the surest first."""

    def of(row: Judged) -> tuple[str, str, float]:
        assert row.winner is not None
        assert row.baseline is not None
        sides = [max(found, key=found.__getitem__) for found in (row.winner, row.baseline)]
        return sides[0], sides[1], row.winner[sides[0]] + row.baseline[sides[1]]

    both = [row for row in run.selection if row.winner and row.baseline]
    differing = [row for row in both if of(row)[0] != of(row)[1]]
    wrong = [row for row in both if of(row)[0] == of(row)[1] != row.example.label]
    return [
        *sorted(differing, key=lambda row: -of(row)[2]),
        *sorted(wrong, key=lambda row: -of(row)[2]),
    ]


def _finalists(run: FinishedRun) -> Iterator[Prompt]:
    """The winner, then the others that no expert wrote, the best first."""

    def value(prompt: Prompt) -> float:
        return -float(prompt.scores.get("selection", {}).get(run.metric, {}).get("value", 0.0))

    yield run.best
    others = [prompt for prompt in run.prompts.values() if len(prompt.lineage) > 1]
    yield from sorted((p for p in others if p.digest != run.best.digest), key=value)


def _about_prompt(run: FinishedRun, prompt: Prompt, head: str, talk: Talk, said: Said) -> None:
    found = prompt.scores.get("selection", {}).get(run.metric)
    score = f"{run.metric} {found['value']:.3f} on the selection data" if found else "not scored"
    role = ", the winner" if prompt.digest == run.verdict["winner_prompt"] else ""
    talk.tell(f"\n{head}{role}: {score}\n  {prompt.shown}\n  {prompt.verbalizer}")
    answer = _answer(talk, "What of it?", PROMPT_ANSWERS)
    if answer == "a":
        said.seeds.append(_seed_of(prompt, talk))
    elif answer == "r":
        said.banned_templates.append(prompt.template.text)
    elif answer == "e":
        said.seeds.append(_edited(prompt, talk))
    elif answer == "w":
        words = talk.write("Words to ban, with commas", "")
        said.banned_words += [word.strip() for word in words.split(",") if word.strip()]


def _seed_of(prompt: Prompt, talk: Talk) -> SeedPrompt:
    words = {
        label: tuple(group)
        for label, group in zip(prompt.verbalizer.labels, prompt.verbalizer.words, strict=True)
    }
    if prompt.triggers:
        talk.tell("  (its trigger tokens are searched anew: a seed has the places alone)")
    return SeedPrompt(prompt.template, words)


def _edited(prompt: Prompt, talk: Talk) -> SeedPrompt:
    """A prompt as the person writes it; asked again until it is one."""
    template, words = prompt.template.text, prompt.verbalizer.as_dict()
    while True:
        template = talk.write("Template", template)
        words = {
            label: [
                word.strip()
                for word in talk.write(f"Words of {label}, with commas", ", ".join(group)).split(
                    ","
                )
            ]
            for label, group in words.items()
        }
        try:
            parsed = Template.parse(template)
            parsed.check_fields(prompt.template.fields)
            Verbalizer.of(words)
        except InputError as error:
            talk.tell(f"  {error}")
            continue
        return SeedPrompt(parsed, {label: tuple(group) for label, group in words.items()})


def _about_example(run: FinishedRun, row: Judged, head: str, talk: Talk, said: Said) -> None:
    texts = "\n".join(
        f"  {name}: {text}" if len(row.example.fields) > 1 else f"  {text}"
        for name, text in row.example.fields.items()
    )
    sides = []
    for name, found in (("winner", row.winner), ("best seed", row.baseline)):
        if found and not (name == "best seed" and run.kept_seed):
            label = max(found, key=found.__getitem__)
            sides.append(f"{name}: {label} ({found[label]:.2f})")
    talk.tell(f"\n{head} ({row.split})\n{texts}\n  label: {row.example.label}; {'; '.join(sides)}")
    answer = _answer(talk, "What of the label?", EXAMPLE_ANSWERS)
    if answer == "l":
        label = talk.choose(f"The right one ({', '.join(run.labels)})", run.labels)
        if label != row.example.label:
            said.labels.append(Example(row.example.fields, label))


def _answer(talk: Talk, question: str, answers: dict[str, str]) -> str:
    told = ", ".join(f"{key} {meaning}" for key, meaning in answers.items())
    answer = talk.choose(f"{question} ({told})", list(answers))
    if answer == "q":
        raise Stopped
    return answer
