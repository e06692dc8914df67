"""PEFT loads the adapter, and the model with it gives the prompt's word scores."""

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
import peft, torch, transformers
model, adapter, kind = sys.argv[1:4]
rests, words = json.loads(sys.argv[4]), json.loads(sys.argv[5])
loader = {"masked": "MaskedLM", "causal": "CausalLM", "seq2seq": "Seq2SeqLM"}[kind]
base = getattr(transformers, "AutoModelFor" + loader).from_pretrained(model, dtype="float32")
tuned = peft.PeftModel.from_pretrained(base, adapter).eval()
tokenizer = transformers.AutoTokenizer.from_pretrained(model)
count = tuned.active_peft_config.num_virtual_tokens
found = {"count": count, "task": str(tuned.active_peft_config.task_type), "scores": []}
for rest in rests:
    ids = tokenizer(rest, add_special_tokens=False, return_tensors="pt")["input_ids"]
    asked = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    at = -1
    if kind == "masked":
        at = count + ids[0].tolist().index(tokenizer.mask_token_id)
    if kind == "seq2seq":
        asks = [base.config.decoder_start_token_id, tokenizer.convert_tokens_to_ids("<extra_id_0>")]
        asked["decoder_input_ids"] = torch.tensor([asks])
    with torch.no_grad():
        logits = tuned(**asked).logits[0, at]
    found["scores"].append(logits[words].double().log_softmax(-1).tolist())
"""


@pytest.mark.parametrize(
    ("family", "template"),
    [
        ("bert", "It is a film review : {text} It was {mask}."),
        ("roberta", "Review: {text} It was {mask}."),
        ("gpt2", "Review: {text} It was {mask}"),
        ("llama", "Is it good?\n{text}\nIt was {mask}"),
        ("t5", "A review: {text} It was {mask}."),
        ("bert", "{trigger:2} {text} It was {mask}."),
    ],
)
def test_the_label_scores(
    family: str,
    template: str,
    family_models: Callable[[str], TransformerModel],
    model_directory: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    model = family_models(family)
    triggers = [model.encoder.text_ids(" story movie")[-2:]] if "trigger" in template else ()
    prompt = prompt_for(model, template, triggers=triggers)
    folder = exported("peft", prompt, tmp_path / "adapter", model)
    rest = (folder / "rest.txt").read_text(encoding="utf-8").removesuffix("\n")
    texts = [example.fields["text"] for example in EXAMPLES]
    rests = [rest.replace("{text}", text) for text in texts]
    words = [prompt.tokens.words[word][0] for word in ("bad", "great")]
    kind = model.identity.family
    found = found_by(
        "peft", CODE, model_directory(family), folder, kind, json.dumps(rests), json.dumps(words)
    )
    front = model.encoder.encode(prompt.frame, EXAMPLES[:1])[0]
    assert 0 < found["count"] < len(front.ids)
    assert found["task"].endswith(
        {"masked": "FEATURE_EXTRACTION", "causal": "CAUSAL_LM", "seq2seq": "SEQ_2_SEQ_LM"}[kind]
    )
    np.testing.assert_allclose(found["scores"], label_scores(prompt, model, texts), atol=2e-4)
