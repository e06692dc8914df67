"""A first search space from a task's fields and label names, for a person to edit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from autoprompt.errors import TaskError, listing, shortened
from autoprompt.pieces import RESERVED, escape, substitute
from autoprompt.spaces import SearchSpace
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer, normalised_word

SINGLE = {
    "seeds": [
        "{TEXT} It was {mask}.",
        "{TEXT} This is about {mask}.",
        "{mask}: {TEXT}",
        "{TEXT} Category: {mask}.",
    ],
    "patterns": ["{TEXT} {stem} {mask}{end}", "{stem} {mask}{end} {TEXT}"],
    "stems": [
        "It was",
        "It is",
        "This is",
        "This is about",
        "All in all, it was",
        "In one word:",
        "Category:",
        "Topic:",
        "Answer:",
        "The answer is",
    ],
    "instructions": [
        "{user:}{task_description} {answer_format}\n\n{TEXT}{assistant:}{mask}",
        "{task_description} {answer_format}\nText: {TEXT}\nAnswer: {mask}",
    ],
    "tasks": ["Which label fits this text best?", "Classify the text."],
}
PAIR = {
    "seeds": [
        "{A}? {mask}, {B}",
        "{A} {mask}. {B}",
        "{A} So, {B}? {mask}.",
        "{A} {B} Answer: {mask}.",
    ],
    "patterns": ["{A}{link} {mask}, {B}", "{A} {B} {stem} {mask}{end}"],
    "stems": ["Answer:", "The answer is", "Together:", "In one word:", "It is"],
    "instructions": [
        "{user:}{task_description} {answer_format}\n\nFirst: {A}\nSecond: {B}{assistant:}{mask}",
        "{task_description} {answer_format}\nFirst: {A}\nSecond: {B}\nAnswer: {mask}",
    ],
    "tasks": ["Which label fits these two texts best?", "Classify the pair of texts."],
}
SLOTS = ("stem", "end", "link", "task_description", "answer_format")
ENDS = [".", "!", ""]
LINKS = ["?", ".", ";"]


def draft_space(name: str, fields: Sequence[str], labels: Sequence[str]) -> str:
    """YAML text of a search space.

    Args:
        name: the task's.
        fields: the task's; with more than two, all are shown in turn.
        labels: each label's own name becomes its first word, underscores read as spaces.

    Raises:
        TaskError: two labels' names give the same word, or a field's name cannot be a slot's.
    """
    for field in fields:
        _check_field(field)
    words = {label: label_word(label) for label in labels}
    forms: dict[str, str] = {}
    for label, word in words.items():
        other = forms.setdefault(normalised_word(word), label)
        if other != label:
            raise TaskError(
                f"the labels {other!r} and {label!r} give the same word {word!r}; give them names "
                f"in task.yaml, as in `labels: {{{_quoted(label)}: name}}`"
            )
    plan = PAIR if len(fields) == 2 else SINGLE
    lines = [
        "# A first search space: the label words and seed prompts are guesses from the names of",
        "# your labels. Put in what an expert would write: the best seed is the baseline to beat.",
        f"name: {_quoted(re.sub(r'[^A-Za-z0-9_-]+', '-', name) or 'task')}",
        f"fields: [{', '.join(_quoted(field) for field in fields)}]",
        f"labels: [{', '.join(_quoted(label) for label in labels)}]",
        "",
        "seeds:                     # scored first; one verbalizer each, one word or more a label",
    ]
    verbalizer = ", ".join(f"{_quoted(label)}: [{_quoted(word)}]" for label, word in words.items())
    for seed in plan["seeds"]:
        lines += [
            f"  - template: {_quoted(_with_fields(seed, fields))}",
            f"    verbalizer: {{{verbalizer}}}",
        ]
    lines += [
        "",
        "templates:                 # what the search may compose",
        "  patterns:",
        *(f"    - {_quoted(_with_fields(pattern, fields))}" for pattern in plan["patterns"]),
        "  slots:",
        f"    stem: [{', '.join(_quoted(stem) for stem in plan['stems'])}]",
        f"    end: [{', '.join(_quoted(end) for end in ENDS)}]",
    ]
    if plan is PAIR:
        lines.append(f"    link: [{', '.join(_quoted(link) for link in LINKS)}]")
    lines += _instructions(plan, fields, verbalizer, list(words.values()))
    lines += [
        "",
        "label_words:               # more words that may stand for a label; the search picks",
        "  per_label: [1, 3]",
        "  search: true",
        "  candidates:",
        *(f"    {_quoted(label)}: [{_quoted(word)}]" for label, word in words.items()),
        "",
        "calibration: [none, contextual, batch]",
    ]
    text = "\n".join(lines) + "\n"
    SearchSpace.parse(text, "the drafted space")  # a draft that does not load would be a trap
    return text


def is_drafted(template: Template, verbalizer: Verbalizer) -> bool:
    """Whether a seed prompt is one that `draft_space` writes: a guess, and no expert's."""
    fields = template.fields
    plan = PAIR if len(fields) == 2 else SINGLE
    texts = [_with_fields(seed, fields) for seed in plan["seeds"]]
    words = tuple((label_word(label),) for label in verbalizer.labels)
    return template.text in texts and verbalizer.words == words


def _instructions(
    plan: Mapping[str, Sequence[str]], fields: Sequence[str], verbalizer: str, words: Sequence[str]
) -> list[str]:
    """Lines for models that do what a text asks for: a chat and plain text, of two slots each."""
    formats = [f"Answer with one of these: {escape(', '.join(words))}.", "Answer with one word."]
    patterns = [_with_fields(pattern, fields) for pattern in plan["instructions"]]
    first = {"task_description": plan["tasks"][0], "answer_format": formats[0]}
    lines = [
        "",
        "instructions:              # for causal and seq2seq models alone; the first is a chat",
        "  seeds:",
    ]
    for pattern in patterns:
        lines += [
            f"    - template: {_quoted(substitute(pattern, first))}",
            f"      verbalizer: {{{verbalizer}}}",
        ]
    return [
        *lines,
        "  patterns:",
        *(f"    - {_quoted(pattern)}" for pattern in patterns),
        "  slots:",
        f"    task_description: [{', '.join(map(_quoted, plan['tasks']))}]",
        f"    answer_format: [{', '.join(map(_quoted, formats))}]",
    ]


def label_word(label: str) -> str:
    """The word that a label's name gives.

    >>> label_word("not_entailment"), label_word("SPAM")
    ('not entailment', 'spam')
    """
    word = " ".join(re.sub(r"[_\-/.]+", " ", label).split())
    return word.lower() if word.isupper() or word.istitle() else word or label


def _check_field(name: str) -> None:
    if not (name.isascii() and name.isidentifier()) or name in (*RESERVED, *SLOTS):
        raise TaskError(
            f"a template cannot show a field called {shortened(name)!r}: a field's name is "
            f"letters, digits and underscores, and none of {listing([*RESERVED, *SLOTS])}; give it "
            f"another in task.yaml, as in `fields: {{text: its_column}}`"
        )


def _with_fields(text: str, fields: Sequence[str]) -> str:
    if len(fields) == 2:
        first, second = fields
        return text.replace("{A}", f"{{{first}}}").replace("{B}", f"{{{second}}}")
    return text.replace("{TEXT}", " ".join(f"{{{field}}}" for field in fields))


def _quoted(text: str) -> str:
    """A YAML double-quoted scalar."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    shown = (char if char.isprintable() else f"\\U{ord(char):08x}" for char in escaped)
    return f'"{"".join(shown)}"'
