"""lm-evaluation-harness reads the task, renders the prompt's text, and gives its label scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from consumer import found_by
from export_prompts import EXAMPLES, exported, label_scores, prompt_for

from autoprompt.models.transformer import TransformerModel

CODE = """
import numpy as np
import lm_eval
from lm_eval.tasks import TaskManager
model, folder, kind = sys.argv[1:]
task = next(p.stem for p in __import__("pathlib").Path(folder).glob("*.yaml"))
manager = TaskManager(include_path=folder, include_defaults=False)
options = {"pretrained": model, "dtype": "float32", "backend": kind}
done = lm_eval.simple_evaluate(
    model="hf", model_args=options, tasks=[task], task_manager=manager, device="cpu", batch_size=2,
    bootstrap_iters=0, log_samples=True,
)
samples = sorted(done["samples"][task], key=lambda sample: sample["doc_id"])
found = {
    "scores": [[float(r[0]) for r in s["filtered_resps"]] for s in samples],
    "contexts": [s["arguments"][0][0] for s in samples],
    "right": [s["acc"] for s in samples],
    "accuracy": done["results"][task]["acc,none"],
    "origin": done["configs"][task]["metadata"]["origin"]["prompt"],
}
"""
WORDS = {
    "negative": [
        "bad",
    ],
    "positive": ["great"],
}
LONGER = {"negative": ["very bad"], "positive": ["very great"]}


@pytest.mark.parametrize(
    ("family", "template", "words"),
    [
        ("gpt2", "{text} It was {mask}.", WORDS),
        ("gpt2", "{{% raw {text}\n\nTopic:\n{mask}", WORDS),
        ("llama", "News: {text} It was {mask}", LONGER),
        ("t5", "{text} It was {mask} .", WORDS),
        ("t5", "{mask} film: {text}", WORDS),
    ],
)
def test_the_label_scores(
    family: str,
    template: str,
    words: dict[str, list[str]],
    family_models: Callable[[str], TransformerModel],
    model_directory: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    model = family_models(family)
    prompt = prompt_for(model, template, words)
    folder = exported("lm-eval", prompt, tmp_path / "task", model)
    kind = "seq2seq" if family == "t5" else "causal"
    found = found_by("lm_eval", CODE, model_directory(family), folder, kind)
    wanted = np.array(label_scores(prompt, model, [example.fields for example in EXAMPLES]))
    tokens = {len(prompt.tokens.words[word]) for group in words.values() for word in group}
    scores = np.array(found["scores"]) / tokens.pop()  # it adds up what the prompt averages
    scores -= np.logaddexp.reduce(scores, axis=1, keepdims=True)
    np.testing.assert_allclose(scores, wanted, atol=2e-4)
    labels = prompt.verbalizer.labels
    right = [
        float(labels[int(row.argmax())] == example.label)
        for row, example in zip(wanted, EXAMPLES, strict=True)
    ]
    assert found["right"] == right
    assert found["accuracy"] == pytest.approx(np.mean(right))
    assert found["origin"] == prompt.digest
    for context, example in zip(found["contexts"], EXAMPLES, strict=True):
        assert example.fields["text"] in context
        assert ("{% raw" in context) == ("raw" in template)
