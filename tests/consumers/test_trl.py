"""TRL trains on the completion alone, and tokenizes the rows to what was scored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from consumer import found_by
from export_prompts import EXAMPLES, exported, prompt_for

from autoprompt.models.transformer import TransformerModel

CODE = """
import warnings
warnings.simplefilter("error", UserWarning)
import datasets, torch, transformers
from trl import SFTConfig, SFTTrainer
model, data, out = sys.argv[1:]
rows = datasets.load_dataset("json", data_files=data, split="train", cache_dir=out + "/cache")
tokenizer = transformers.AutoTokenizer.from_pretrained(model)
if tokenizer.pad_token is None:
    tokenizer.pad_token = tokenizer.eos_token
options = SFTConfig(
    output_dir=out, report_to="none", use_cpu=True, max_length=48, max_steps=1, bf16=False,
    per_device_train_batch_size=3, dataset_num_proc=None,
)
trainer = SFTTrainer(model=model, args=options, train_dataset=rows, processing_class=tokenizer)
taken = trainer.train_dataset
found = {"rows": [{k: list(row[k]) for k in ("input_ids", "labels")}
                  for row in taken], "columns": taken.column_names}
trainer.train()
found["loss"] = trainer.state.log_history[-1]["train_loss"]
"""

SMALL_CHAT = "{user:}{text} ? {assistant:}It is {mask}"
SHORT = (EXAMPLES[0], EXAMPLES[2])  # the tiny models read 48 tokens


@pytest.mark.parametrize("template", ["{text} It was {mask}.", SMALL_CHAT])
def test_it_trains_on_the_word(
    template: str,
    family_models: Callable[[str], TransformerModel],
    model_directory: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    family = "qwen2" if template == SMALL_CHAT else "gpt2"
    model = family_models(family)
    prompt = prompt_for(model, template)
    folder = exported("trl", prompt, tmp_path / "rows", examples=SHORT)
    out = tmp_path / "out"
    found = found_by("trl", CODE, model_directory(family), folder / "train.jsonl", out)
    assert found["loss"] > 0
    encodings = model.encoder.encode(prompt.frame, SHORT)
    words = {"negative": "bad", "positive": "great"}
    for row, encoding, example in zip(found["rows"], encodings, SHORT, strict=True):
        word = prompt.tokens.words[words[str(example.label)]]
        ids = [*encoding.ids, *word]
        assert row["input_ids"][: len(ids)] == ids
        learnt = [label for label in row["labels"] if label != -100]
        shown = model.encoder.tokenizer.decode(learnt)
        assert words[str(example.label)] in shown
        assert example.fields["text"] not in shown
