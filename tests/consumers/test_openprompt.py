"""OpenPrompt reads the template and the verbalizer, and gives the prompt's label scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from consumer import found_by
from export_prompts import EXAMPLES, exported, label_scores, prompt_for

from autoprompt.models.transformer import TransformerModel

CODE = """
import types, warnings
warnings.simplefilter("ignore")
import transformers
# OpenPrompt looks for a module where transformers no longer has it.
import transformers.generation
sys.modules["transformers.generation_utils"] = transformers.generation
import torch
from openprompt import PromptForClassification, PromptDataLoader
from openprompt.data_utils import InputExample
from openprompt.plms import MLMTokenizerWrapper
from openprompt.prompts import ManualTemplate, ManualVerbalizer
model, folder, rows = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
plm = transformers.AutoModelForMaskedLM.from_pretrained(model).eval()
tokenizer = transformers.BertTokenizer(sys.argv[4])  # it takes slow ones alone
template = ManualTemplate(tokenizer=tokenizer).from_file(folder + "/template.txt")
classes = ["negative", "positive"]
verbalizer = ManualVerbalizer(tokenizer, classes=classes).from_file(folder + "/verbalizer.json")
examples = [InputExample(guid=n, meta=row, **{k: v for k, v in row.items() if k[:5] == "text_"})
            for n, row in enumerate(rows)]
loader = PromptDataLoader(examples, template, tokenizer=tokenizer, batch_size=2, shuffle=False,
                          tokenizer_wrapper_class=MLMTokenizerWrapper, max_seq_length=48)
whole = PromptForClassification(plm, template, verbalizer).eval()
found = {"scores": [], "ids": []}
with torch.no_grad():
    for batch in loader:
        found["scores"] += whole(batch).log_softmax(-1).tolist()
        found["ids"] += batch["input_ids"].tolist()
"""


@pytest.mark.parametrize(
    ("template", "words", "aggregation"),
    [
        ("{text} It was {mask} .", {"negative": ["bad"], "positive": ["great"]}, "logsumexp"),
        ("{mask} news : {text}", {"negative": ["bad", "dull"], "positive": ["great"]}, "mean"),
    ],
)
def test_the_label_scores(
    template: str,
    words: dict[str, list[str]],
    aggregation: str,
    family_models: Callable[[str], TransformerModel],
    model_directory: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    model = family_models("bert")
    prompt = prompt_for(model, template, words, aggregation=aggregation)
    folder = exported("openprompt", prompt, tmp_path / "files")
    texts = [example.fields["text"] for example in EXAMPLES]
    rows = json.dumps([{"text_a": text} for text in texts])
    known = model.encoder.tokenizer.get_vocab()
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(sorted(known, key=known.__getitem__)), encoding="utf-8")
    arguments = (model_directory("bert"), folder, rows, vocabulary)
    found = found_by("openprompt", CODE, *arguments)
    for ids, encoding in zip(
        found["ids"], model.encoder.encode(prompt.frame, EXAMPLES), strict=True
    ):
        assert ids[: len(encoding.ids)] == list(encoding.ids)
    np.testing.assert_allclose(found["scores"], label_scores(prompt, model, texts), atol=2e-4)
