"""LM-BFF (princeton-nlp, a checkout): `FewShotDataset` and `BertForPromptFinetuning`."""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from experiments.bench.peers import moved
from experiments.bench.serving import Clock, Turn, serve

BATCH = 32


def prepare(job: dict[str, Any], _dtype: str) -> tuple[str, Turn]:
    """See `serving.serve`."""
    import torch
    import transformers

    sys.path.insert(0, job["checkout"])
    _put_names_back()
    from src.dataset import FewShotDataset
    from src.models import BertForPromptFinetuning

    tokenizer = transformers.BertTokenizerFast.from_pretrained(job["model"])
    tokenizer._convert_token_to_id = tokenizer.convert_tokens_to_ids  # the slow one's name for it
    model = BertForPromptFinetuning.from_pretrained(job["model"]).eval()
    # Checkpoints of its time held the output layer twice over.
    head = model.cls.predictions
    head.decoder.weight, head.decoder.bias = model.bert.embeddings.word_embeddings.weight, head.bias
    ids = tokenizer.convert_tokens_to_ids(list(job["words"].values()))
    model.label_word_list = torch.tensor(ids)

    if job["kind"] == "training":
        return _training(model, tokenizer, FewShotDataset, job)

    def scores(texts: list[str]) -> torch.Tensor:
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), texts)
            dataset = FewShotDataset(_arguments(job, folder), tokenizer, mode="dev")
        loader = torch.utils.data.DataLoader(
            dataset, batch_size=BATCH, collate_fn=transformers.default_data_collator
        )
        found = []
        with torch.no_grad():
            for batch in loader:
                batch.pop("labels")
                found.append(model(**batch)[0])
        return torch.cat(found)

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
    return f"batches of {BATCH}, all texts padded to {job['longest']} tokens, fast tokenizer", turn


def _training(model: Any, tokenizer: Any, dataset_of: Any, job: dict[str, Any]) -> tuple[str, Turn]:
    """Its model's own loss in a plain loop, as its trainer takes the steps."""
    import torch
    import transformers

    with tempfile.TemporaryDirectory() as folder:
        labels = [list(job["words"]).index(label) for label in job["labels"]]
        _write(Path(folder), job["texts"], labels)
        dataset = dataset_of(_arguments(job, folder), tokenizer, mode="dev")
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=job["batch"], collate_fn=transformers.default_data_collator
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01)
    with torch.no_grad():
        before = [float(model(**batch)[0]) for batch in loader]

    def turn(_sent: dict[str, Any]) -> dict[str, Any]:
        model.train()
        clock = Clock()
        for batch in loader:
            model(**batch)[0].backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return {"seconds": clock.seconds, "numbers": {"losses": before}}

    return f"AdamW, all texts padded to {job['longest']} tokens, encoded before", turn


def _arguments(job: dict[str, Any], folder: str) -> SimpleNamespace:
    """Its command line's arguments, as `run.py` has them by default."""
    template = job["template"].replace(" {mask}", "*mask*").replace(" ", "_")
    return SimpleNamespace(
        task_name="sst-2",
        data_dir=folder,
        prompt=True,
        template=f"*cls*{template.replace('{text}', '*sent_0*')}*sep+*",
        template_list=None,
        mapping=repr({str(n): word for n, word in enumerate(job["words"].values())}),
        max_seq_length=job["longest"],
        num_sample=16,
        overwrite_cache=True,
        first_sent_limit=None,
        other_sent_limit=None,
        truncate_head=False,
        gpt3_in_context_head=False,
        gpt3_in_context_tail=False,
    )


def _write(folder: Path, texts: list[str], labels: Sequence[int] = ()) -> None:
    """The files of its SST-2 task; it shows examples of both labels to no one here."""
    train = [["a", "0"], ["b", "1"]]
    known = labels or [0] * len(texts)
    dev = [[text, str(label)] for text, label in zip(texts, known, strict=True)]
    for name, rows in {"train": train, "dev": dev}.items():
        with (folder / f"{name}.tsv").open("w", newline="") as file:
            writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None)
            writer.writerows([["sentence", "label"], *rows])


def _put_names_back() -> None:
    models = "transformers.models"
    moved.alias("transformers.modeling_bert", f"{models}.bert.modeling_bert")
    moved.alias("transformers.modeling_roberta", f"{models}.roberta.modeling_roberta")
    # Only its filter for demonstrations needs sentence embeddings.
    moved.module("sentence_transformers", SentenceTransformer=None, util=None)


if __name__ == "__main__":
    serve(prepare)
