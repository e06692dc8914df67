"""`promptsource`: a `templates.yaml` with one Jinja template.

PromptSource cuts the rendered text at `|||` into input and target, and strips both; a template of
which that would take something is refused. Its loader rejects keys that it does not know. Read by
PromptSource 0.2.3, which lies in `promptsource/templates/DATASET/templates.yaml`.
"""

from __future__ import annotations

import uuid

import yaml

from autoprompt.errors import InputError
from autoprompt.export.material import Files, Material, refused
from autoprompt.export.text_format import ORIGIN, TextFormat
from autoprompt.export.text_forms import (
    ELSEWHERE,
    answer_last,
    families,
    form_of,
    jinja,
    no_calibration,
    no_chat,
    no_triggers,
    one_word_a_label,
    words_of,
)
from autoprompt.pieces import Literal

BAR = "|||"


class _Tagged(yaml.YAMLObject):
    """An object of PromptSource's, by its tag."""

    yaml_dumper = yaml.SafeDumper

    def __init__(self, **values: object) -> None:
        self.__dict__.update(values)


class _Template(_Tagged):
    yaml_tag = "!Template"


class _TemplateMetadata(_Tagged):
    yaml_tag = "!TemplateMetadata"


class PromptSourceTemplates(TextFormat):
    """`templates.yaml`."""

    name = "promptsource"
    reader = "PromptSource"

    def check(self, material: Material) -> None:
        """Refuse what is no input with a target."""
        prompt = material.prompt
        families(
            self.name, material, ("causal",), "an input and a target are for models that continue"
        )
        no_chat(self.name, prompt)
        no_triggers(self.name, prompt)
        no_calibration(self.name, prompt)
        one_word_a_label(self.name, prompt)
        answer_last(self.name, prompt.template)
        form = form_of(prompt)
        said = "".join(piece.text for piece in form.before if isinstance(piece, Literal))
        if BAR in said or any(BAR in word for word in words_of(prompt)):
            raise refused(self.name, f"{BAR!r} in a text", "it parts input and target", ELSEWHERE)
        first, last = form.before[0], form.before[-1]
        if (isinstance(first, Literal) and first.text != first.text.lstrip()) or (
            isinstance(last, Literal) and last.text != last.text.rstrip()
        ):
            raise refused(self.name, "white space at an end", "it strips the text", ELSEWHERE)

    def files(self, material: Material) -> Files:
        """The template, and where it came from.

        Raises:
            InputError: a label of the data has no name of its own.
        """
        prompt, form = material.prompt, form_of(material.prompt)
        column = prompt.columns.label or "label"
        if not column.isidentifier():
            raise InputError(f"format 'promptsource' cannot carry the label column {column!r}")
        values = {name: value for value, name in prompt.columns.labels.items()}
        raw = [values.get(label, label) for label in prompt.verbalizer.labels]
        names = dict(prompt.columns.fields)
        for name in prompt.template.fields:
            if not (known := names.get(name, name)).isidentifier():
                raise InputError(f"format 'promptsource' cannot carry the column {known!r}")
        pieces = [
            piece if isinstance(piece, Literal) else type(piece)(names.get(piece.name, piece.name))
            for piece in form.before
        ]
        # A number stands in a data set as a number or as its digits.
        index = f"{{{{ answer_choices[{raw!r}.index({column} | string)] }}}}"
        identity = str(uuid.uuid5(uuid.NAMESPACE_URL, prompt.digest))
        template = _Template(
            answer_choices=f" {BAR} ".join(words_of(prompt)),
            id=identity,
            jinja=f"{jinja(pieces)} {BAR}\n{index}",
            metadata=_TemplateMetadata(
                choices_in_prompt=False, metrics=["Accuracy"], original_task=True
            ),
            name=material.name,
            reference="; ".join(material.origin.lines()),
        )
        document = {
            "dataset": material.name,
            "subset": None,
            "templates": {identity: template},
        }
        text = yaml.safe_dump(document, sort_keys=True, allow_unicode=True, width=10_000)
        return {"templates.yaml": text, ORIGIN: self.origin(material)}
