"""DSPy loads the state into a signature with the same fields, and shows the prompt's words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from consumer import found_by
from export_prompts import EXAMPLES, exported, prompt_for

from autoprompt.models.transformer import TransformerModel

CODE = """
import dspy
predict = dspy.Predict("text -> label")
predict.load(sys.argv[1])
class Deaf(dspy.LM):
    def __init__(self):
        super().__init__("none/none")
        self.heard = []
    def forward(self, prompt=None, messages=None, **kwargs):
        self.heard = messages
        raise RuntimeError("no answer")
deaf = Deaf()
try:
    with dspy.context(lm=deaf):
        predict(text="a fine film")
except Exception:  # whatever DSPy makes of the answer that never comes: it has been asked
    pass
found = {
    "instructions": predict.signature.instructions,
    "demos": predict.demos,
    "fields": [f.json_schema_extra["desc"] for f in predict.signature.fields.values()],
    "messages": deaf.heard,
}
"""


def test_the_instructions(family_models: Callable[[str], TransformerModel], tmp_path: Path) -> None:
    model = family_models("gpt2")
    template = "{demonstrations}Is it good? {text} It is {mask}"
    prompt = prompt_for(model, template, demonstrations=EXAMPLES[:2])
    path = exported("dspy", prompt, tmp_path / "predict.json")
    found = found_by("dspy", CODE, path)
    assert "Is it good? [text] It is [label]" in found["instructions"]
    assert found["fields"] == ["${text}", "exactly one of: bad, great"]
    assert [demo["label"] for demo in found["demos"]] == ["great", "bad"]
    assert found["demos"][1]["text"] == EXAMPLES[1].fields["text"]
    said = str([message["content"] for message in found["messages"]])
    assert "Is it good? [text] It is [label]" in said
    assert "a fine film" in said
    assert "a good film" in said
