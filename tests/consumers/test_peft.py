"""PEFT loads the adapter, and the model with it gives the prompt's word scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from consumer import found_by
from export_prompts import EXAMPLES, exported, label_scores, prompt_for

from autoprompt.models.transformer import TransformerModel
from autoprompt.prompts import Prompt

CODE = """
import peft, torch, transformers
LOADERS = {"masked": "MaskedLM", "causal": "CausalLM", "seq2seq": "Seq2SeqLM"}
def scores_of(model, adapter, kind, rests, words):
    loader = getattr(transformers, "AutoModelFor" + LOADERS[kind])
    base = loader.from_pretrained(model, dtype="float32")
    tuned = peft.PeftModel.from_pretrained(base, adapter).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    count = tuned.active_peft_config.num_virtual_tokens
    scores = []
    for rest in rests:
        ids = tokenizer(rest, add_special_tokens=False, return_tensors="pt")["input_ids"]
        asked = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        at = -1
        if kind == "masked":
            at = count + ids[0].tolist().index(tokenizer.mask_token_id)
        if kind == "seq2seq":
            sentinel = tokenizer.convert_tokens_to_ids("<extra_id_0>")
            asks = [base.config.decoder_start_token_id, sentinel]
            asked["decoder_input_ids"] = torch.tensor([asks])
        with torch.no_grad():
            logits = tuned(**asked).logits[0, at]
        scores.append(logits[words].double().log_softmax(-1).tolist())
    return {"count": count, "task": str(tuned.active_peft_config.task_type), "scores": scores}
found = [scores_of(**one) for one in json.loads(sys.argv[1])]
"""
CASES = [
    ("bert", "It is a film review : {text} It was {mask}."),
    ("roberta", "Review: {text} It was {mask}."),
    ("gpt2", "Review: {text} It was {mask}"),
    ("llama", "Is it good?\n{text}\nIt was {mask}"),
    ("t5", "A review: {text} It was {mask}."),
    ("bert", "{trigger:2} {text} It was {mask}."),
]
TEXTS = [example.fields["text"] for example in EXAMPLES]
Models = Callable[[str], TransformerModel]


def prompt_of(model: TransformerModel, template: str) -> Prompt:
    triggers = [model.encoder.text_ids(" story movie")[-2:]] if "trigger" in template else ()
    return prompt_for(model, template, triggers=triggers)


@pytest.fixture(scope="module")
def loaded(
    family_models: Models,
    model_directory: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Any]:
    """What PEFT makes of each case's adapter, all in one process."""
    place = tmp_path_factory.mktemp("adapters")
    asked = []
    for number, (family, template) in enumerate(CASES):
        model = family_models(family)
        prompt = prompt_of(model, template)
        folder = exported("peft", prompt, place / str(number), model)
        rest = (folder / "rest.txt").read_text(encoding="utf-8").removesuffix("\n")
        asked.append(
            {
                "model": str(model_directory(family)),
                "adapter": str(folder),
                "kind": model.identity.family,
                "rests": [rest.replace("{text}", text) for text in TEXTS],
                "words": [prompt.tokens.words[word][0] for word in ("bad", "great")],
            }
        )
    return found_by("peft", CODE, json.dumps(asked))


@pytest.mark.parametrize("number", range(len(CASES)), ids=[" ".join(case) for case in CASES])
def test_the_label_scores(number: int, loaded: list[Any], family_models: Models) -> None:
    family, template = CASES[number]
    model, found = family_models(family), loaded[number]
    prompt, kind = prompt_of(model, template), model.identity.family
    front = model.encoder.encode(prompt.frame, EXAMPLES[:1])[0]
    assert 0 < found["count"] < len(front.ids)
    assert found["task"].endswith(
        {"masked": "FEATURE_EXTRACTION", "causal": "CAUSAL_LM", "seq2seq": "SEQ_2_SEQ_LM"}[kind]
    )
    np.testing.assert_allclose(found["scores"], label_scores(prompt, model, TEXTS), atol=2e-4)
