"""`dspy`: the state of a `dspy.Predict`, as its `load` reads it.

DSPy writes the messages itself, from instructions and fields; the prompt's own words go into the
instructions, so the text that a model sees is not the one that was scored. That is for causal
models that follow instructions; others are refused. The signature that it is loaded into must have
the same fields in the same order: the prompt's, then `label`. Read by DSPy 3.4.1.
"""

from __future__ import annotations

import json

from autoprompt.export.material import Files, Material
from autoprompt.export.text_format import TextFormat
from autoprompt.export.text_forms import (
    plain_question,
    words_of,
)
from autoprompt.pieces import Field, Literal, Mask
from autoprompt.templates import Template

OUTPUT = "label"


class DspyPredict(TextFormat):
    """One JSON file."""

    name = "dspy"
    reader = "dspy.Predict"
    suffix = ".json"

    def check(self, material: Material) -> None:
        """Refuse what an instruction cannot say."""
        plain_question(self.name, material, "DSPy asks models that follow instructions")

    def files(self, material: Material) -> Files:
        """The state."""
        prompt = material.prompt
        words = dict(zip(prompt.verbalizer.labels, words_of(prompt), strict=True))
        fields = prompt.template.fields
        state = {
            "traces": [],
            "train": [],
            "demos": [
                {
                    **{name: example.fields[name] for name in fields},
                    OUTPUT: words[str(example.label)],
                }
                for example in prompt.demonstrations
            ],
            "signature": {
                "instructions": instructions(prompt.template, list(words.values())),
                "fields": [
                    *(
                        {"prefix": f"{_title(name)}:", "description": f"${{{name}}}"}
                        for name in fields
                    ),
                    {
                        "prefix": f"{_title(OUTPUT)}:",
                        "description": f"exactly one of: {', '.join(words.values())}",
                    },
                ],
            },
            "lm": None,
            "metadata": {"dependency_versions": {}, "origin": material.origin.to_dict()},
        }
        return {"": json.dumps(state, indent=2, ensure_ascii=False) + "\n"}


def instructions(template: Template, words: list[str]) -> str:
    """The template as an instruction: its words, with the fields by name.

    >>> instructions(Template.parse("{text} It was {mask}."), ["bad", "good"])
    'Complete the text with one of these words: bad, good.\\n\\n[text] It was [label].'
    """
    parts = []
    for piece in template.unmarked().pieces:
        if isinstance(piece, Literal):
            parts.append(piece.text)
        elif isinstance(piece, Field):
            parts.append(f"[{piece.name}]")
        elif isinstance(piece, Mask):
            parts.append(f"[{OUTPUT}]")
    return f"Complete the text with one of these words: {', '.join(words)}.\n\n{''.join(parts)}"


def _title(name: str) -> str:
    return name.replace("_", " ").title()
