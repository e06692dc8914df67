"""LM-BFF's own function turns the template line into the ids that were scored.

It runs from a checkout, `lm-bff` in the directory that `AUTOPROMPT_CONSUMERS` names: its project is
no package.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from consumer import CONSUMERS, found_by
from export_prompts import EXAMPLES, exported, prompt_for

from autoprompt.models.transformer import TransformerModel
from autoprompt.tasks.examples import Example

CODE = """
import ast, logging
import transformers
source, model, folder, texts = *sys.argv[1:4], json.loads(sys.argv[4])
tree = ast.parse(open(source, encoding="utf-8").read())
(function,) = [n for n in tree.body if getattr(n, "name", "") == "tokenize_multipart_input"]
space = {"logger": logging.getLogger(), "pd": None}
exec(compile(ast.Module([function], []), source, "exec"), space)
tokenizer = transformers.AutoTokenizer.from_pretrained(model)
tokenizer._convert_token_to_id = tokenizer.convert_tokens_to_ids  # its name before 5.0
(template,) = open(folder + "/template.txt", encoding="utf-8").read().splitlines()
(mapping,) = open(folder + "/mapping.txt", encoding="utf-8").read().splitlines()
words = eval(mapping)  # as LM-BFF does
found = {"ids": [], "words": {k: tokenizer.tokenize(" " + w) for k, w in words.items()}}
for text in texts:
    ids = space["tokenize_multipart_input"](
        text, max_length=48, tokenizer=tokenizer, prompt=True, template=template,
        label_word_list=[],
    )
    found["ids"].append(ids["input_ids"])
"""


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize(
    "template",
    [
        "{text} It was {mask} .",
        "{text_a} ? {mask} , {text_b}",
        "It is {mask} : {text}",
        "a {mask} film: {text}!",
    ],
)
def test_the_ids(
    family: str,
    template: str,
    family_models: Callable[[str], TransformerModel],
    model_directory: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    source = Path(os.environ.get(CONSUMERS, ""), "lm-bff", "src", "dataset.py")
    if not source.is_file():
        pytest.skip("no checkout of LM-BFF (make consumers)")
    model = family_models(family)
    prompt = prompt_for(model, template)
    folder = exported("lm-bff", prompt, tmp_path / "lines")
    texts = [[example.fields["text"]] for example in EXAMPLES]
    if "text_a" in template:
        texts = [["a good film", "so warm"]]
    names = prompt.template.fields
    examples = [Example(dict(zip(names, text, strict=True))) for text in texts]
    arguments = (source, model_directory(family), folder, json.dumps(texts))
    found = found_by("transformers", CODE, *arguments)
    for ids, encoding in zip(
        found["ids"], model.encoder.encode(prompt.frame, examples), strict=True
    ):
        assert ids[: len(encoding.ids)] == list(encoding.ids)
    assert all(len(tokens) == 1 for tokens in found["words"].values())
