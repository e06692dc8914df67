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
    trains = job["kind"] == "training"
    model = PromptForClassification(plm, template, verbalizer, freeze_plm=not trains).eval()

    def loader_of(texts: list[str], labels: list[int], batch: int) -> Any:
        return PromptDataLoader(
            [InputExample(text_a=text, label=n) for text, n in zip(texts, labels, strict=True)],
            template,
            tokenizer=tokenizer,
            tokenizer_wrapper_class=MLMTokenizerWrapper,
            max_seq_length=job["longest"],
            batch_size=batch,
        )

    if trains:
        return _training(model, loader_of, job)

    def scores(texts: list[str]) -> torch.Tensor:
        loader = loader_of(texts, [0] * len(texts), BATCH)
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


def _training(model: Any, loader_of: Any, job: dict[str, Any]) -> tuple[str, Turn]:
    """Its own loop, as its tutorial has it: AdamW, a loss over the labels' words."""
    import torch

    labels = [list(job["words"]).index(label) for label in job["labels"]]
    loader = loader_of(job["texts"], labels, job["batch"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01)
    with torch.no_grad():
        before = [
            float(torch.nn.functional.cross_entropy(model(batch), batch["label"]))
            for batch in loader
        ]

    def turn(_sent: dict[str, Any]) -> dict[str, Any]:
        model.train()
        clock = Clock()
        for batch in loader:
            loss = torch.nn.functional.cross_entropy(model(batch), batch["label"])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return {"seconds": clock.seconds, "numbers": {"losses": before}}

    return f"AdamW, all texts padded to {job['longest']} tokens, encoded before", turn


def _put_names_back() -> None:
    moved.alias("transformers.generation_utils", "transformers.generation")


if __name__ == "__main__":
    serve(prepare)
