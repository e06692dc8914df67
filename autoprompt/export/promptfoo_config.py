"""`promptfoo`: a configuration with its prompt and tests, one for each labelled example.

The prompt is a Nunjucks template. The provider is the one thing to fill in: promptfoo's `echo`
stands there, which answers with the prompt itself. Read by promptfoo 0.123.1.
"""

from __future__ import annotations

import csv
import io
import json

import yaml

from autoprompt.export.material import Files, Material
from autoprompt.export.text_format import ORIGIN, TextFormat
from autoprompt.export.text_forms import (
    form_of,
    jinja,
    messages_of,
    plain_question,
    words_of,
)
from autoprompt.pieces import Field, Literal

CONFIG = "promptfooconfig.yaml"


class PromptfooConfig(TextFormat):
    """`promptfooconfig.yaml`, the prompt, and `tests.csv`."""

    name = "promptfoo"
    reader = "promptfoo"
    wants_examples = True

    def check(self, material: Material) -> None:
        """Refuse what is no question with an answer."""
        plain_question(self.name, material, "its providers write text")

    def files(self, material: Material) -> Files:
        """The configuration and what it names."""
        prompt = material.prompt
        words = dict(zip(prompt.verbalizer.labels, words_of(prompt), strict=True))
        if prompt.template.is_chat:
            name, text = "prompt.json", chat_json(material)
        else:
            name, text = "prompt.txt", jinja(form_of(prompt).before)
        fields = prompt.template.fields
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow([*fields, "__expected"])
        for example in material.examples:
            expected = f"starts-with:{words[str(example.label)]}"
            texts = (example.fields[field] for field in fields)
            writer.writerow([*map(_as_text, texts), expected])
        config = {
            "description": f"{material.name}, found by autoprompt",
            "prompts": [{"id": f"file://{name}", "label": prompt.digest}],
            "providers": ["echo"],
            # The space before a word is the model's to write; it is no part of the answer.
            "defaultTest": {"options": {"transform": "output.trim()"}},
            "tests": "file://tests.csv",
            "metadata": {"origin": material.origin.to_dict()},
        }
        return {
            CONFIG: yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=10_000),
            name: text,
            "tests.csv": table.getvalue(),
            ORIGIN: self.origin(material),
        }


def _as_text(text: str) -> str:
    """A text as promptfoo must be given it: it renders the values of variables as templates too."""
    return text.replace("{", "{{ '{' }}") if "{" in text else text


def chat_json(material: Material) -> str:
    """The messages as JSON in which each content is an expression, so that quotes stay valid."""
    parts = []
    *said, (_, answer) = messages_of(material.prompt)
    if answer.before:
        said.append(("assistant", answer))
    for role, form in said:
        texts = [
            json.dumps(piece.text) if isinstance(piece, Literal) else piece.name
            for piece in form.before
            if isinstance(piece, Literal | Field)
        ]
        parts.append(f'{{"role": "{role}", "content": {{{{ ({" + ".join(texts)}) | dump }}}}}}')
    return "[" + ",\n ".join(parts) + "]\n"
