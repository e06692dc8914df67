"""OpenPrompt 1.0.1: `PromptDataLoader` and `PromptForClassification` with a manual verbalizer."""

from __future__ import annotations

from typing import Any

from experiments.bench.peers import moved
from experiments.bench.serving import Clock, Turn, serve

BATCH = 32


def prepare(job: dict[str, Any], _dtype: str) -> tuple[str, Turn]:
    """See `serving.serve`."""
    import torch
    import transformers

    _put_names_back()
    from openprompt import PromptDataLoader, PromptForClassification
    from openprompt.data_utils import InputExample
    from openprompt.plms.mlm import MLMTokenizerWrapper
    from openprompt.prompts import ManualTemplate, ManualVerbalizer

    tokenizer = transformers.BertTokenizer.from_pretrained(job["model"])
    plm = transformers.BertForMaskedLM.from_pretrained(job["model"])
    text = job["template"].replace("{mask}", '{"mask"}')
    template = ManualTemplate(tokenizer, text.replace("{text}", '{"placeholder":"text_a"}'))
    verbalizer = ManualVerbalizer(
        tokenizer, classes=list(job["words"]), label_words=[[w] for w in job["words"].values()]
    )
    model = PromptForClassification(plm, template, verbalizer, freeze_plm=True).eval()

    def scores(texts: list[str]) -> torch.Tensor:
        loader = PromptDataLoader(
            [InputExample(text_a=text, label=0) for text in texts],
            template,
            tokenizer=tokenizer,
            tokenizer_wrapper_class=MLMTokenizerWrapper,
            max_seq_length=job["longest"],
            batch_size=BATCH,
        )
        with torch.no_grad():
            return torch.cat([model(batch) for batch in loader])

    def turn(_sent: dict[str, Any]) -> dict[str, Any]:
        clock = Clock()
        found = scores(job["texts"])
        predictions = found.argmax(1)
        return {
            "seconds": clock.seconds,
            "numbers": {
                "predictions": predictions.tolist(),
                "margins": (found[:, 0] - found[:, 1]).tolist(),
            },
        }

    scores(job["texts"][:BATCH])
    return (
        f"batches of {BATCH}, all texts padded to {job['longest']} tokens, "
        "slow tokenizer (it takes no other)",
        turn,
    )


def _put_names_back() -> None:
    moved.alias("transformers.generation_utils", "transformers.generation")


if __name__ == "__main__":
    serve(prepare)
