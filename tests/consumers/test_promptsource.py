"""PromptSource loads the template, and renders the prompt's text and word."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from consumer import found_by
from export_prompts import EXAMPLES, exported, prompt_for

from autoprompt.export.text_forms import form_of
from autoprompt.models.transformer import TransformerModel
from autoprompt.tasks.columns import Columns

CODE = """
import yaml
from promptsource.templates import Template
document = yaml.load(open(sys.argv[1], encoding="utf-8"), Loader=yaml.FullLoader)
(template,) = document["templates"].values()
found = []
for row in json.loads(sys.argv[2]):
    found.append([template.apply(row), template.get_answer_choices_list(row), template.reference])
"""


@pytest.mark.parametrize("template", ["{text} It was {mask}.", "{{% if %}}\n{text}\nTopic: {mask}"])
def test_the_rendered_text(
    template: str, family_models: Callable[[str], TransformerModel], tmp_path: Path
) -> None:
    columns = Columns({"text": "sentence"}, "label", {"0": "negative", "1": "positive"})
    prompt = replace(prompt_for(family_models("gpt2"), template), columns=columns)
    folder = exported("promptsource", prompt, tmp_path / "templates")
    rows = [
        {"sentence": example.fields["text"], "label": int(example.label == "positive")}
        for example in EXAMPLES
    ]
    found = found_by("promptsource", CODE, folder / "templates.yaml", json.dumps(rows))
    form = form_of(prompt)
    for (rendered, choices, reference), example in zip(found, EXAMPLES, strict=True):
        word = {"negative": "bad", "positive": "great"}[str(example.label)]
        assert rendered == [form.text(example.fields), word]
        assert choices == ["bad", "great"]
        assert prompt.digest in reference
