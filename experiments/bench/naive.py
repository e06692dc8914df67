"""The side "naive": the loops that one writes first, with plain transformers.

Batches of 32 in the order of the data, padded to the longest of the batch, logits at all
positions, `no_grad`, float32; one pass over the examples for each pair of template and verbalizer
and for each candidate trigger; the gradient through all weights. It knows nothing of the product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from experiments.bench.serving import Clock, Turn, UnavailableError, serve

BATCH = 32
Words = dict[str, list[str]]  # label to its words, single tokens


def label_log_probabilities(
    model: Any, tokenizer: Any, template: str, words: Words, texts: Sequence[str]
) -> torch.Tensor:
    """Log-probabilities of the labels' words at the mask.

    Args:
        model: a masked language model of transformers.
        tokenizer: its tokenizer.
        template: with `{text}` and `{mask}`.
        words: of each label.
        texts: one for each example.

    Returns:
        Shape `(texts, labels)`: the log of the summed probability of a label's words.
    """
    columns = [tokenizer.convert_tokens_to_ids(own) for own in words.values()]
    found = []
    for start in range(0, len(texts), BATCH):
        inputs = tokenizer(
            [filled(template, text, tokenizer.mask_token) for text in texts[start : start + BATCH]],
            padding=True,
            truncation=True,
            return_tensors="pt",
        )
        with torch.no_grad():
            logits = model(**inputs).logits
        at_mask = logits[inputs["input_ids"] == tokenizer.mask_token_id]
        logs = at_mask.log_softmax(dim=-1)
        found.append(torch.stack([logs[:, ids].logsumexp(-1) for ids in columns], dim=1))
    return torch.cat(found)


def filled(template: str, text: str, mask: str) -> str:
    """A template with its text and its mask."""
    return template.replace("{mask}", mask).replace("{text}", text)


# -- triggers -----------------------------------------------------------------------------------


class TriggerLoop:
    """One step of a trigger search: linearise, then score each candidate exactly.

    Args:
        model: a language model of transformers.
        rows: ids of each example, with anything at the trigger positions.
        triggers: the trigger positions of each example.
        reads: the position of each example whose logits predict the word.
        gold: the right word's id for each example.
        pad: the padding id.
    """

    def __init__(
        self,
        model: Any,
        rows: Sequence[Sequence[int]],
        triggers: Sequence[Sequence[int]],
        reads: Sequence[int],
        gold: Sequence[int],
        pad: int,
    ) -> None:
        self.model = model
        longest = max(len(row) for row in rows)
        self.ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
        self.attention = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        self.triggers = torch.tensor(triggers)
        self.reads = torch.tensor(reads)
        self.gold = torch.tensor(gold)
        self.examples = torch.arange(len(rows))

    def with_tokens(self, tokens: Sequence[int]) -> torch.Tensor:
        """The ids of all examples with some trigger tokens."""
        ids = self.ids.clone()
        ids[self.examples[:, None], self.triggers] = torch.tensor(tokens)
        return ids

    def promises(self, tokens: Sequence[int]) -> torch.Tensor:
        """By how much each swap lowers the loss, to first order: `(triggers, vocabulary)`."""
        table = self.model.get_input_embeddings().weight
        embedded = self.model.get_input_embeddings()(self.with_tokens(tokens))
        embedded.retain_grad()
        self.model.zero_grad()
        logits = self.model(inputs_embeds=embedded, attention_mask=self.attention).logits
        self._losses(logits).mean().backward()
        gradients = embedded.grad[self.examples[:, None], self.triggers].sum(0)
        with torch.no_grad():
            scores = gradients @ table.T
            return scores.gather(1, torch.tensor(tokens)[:, None]) - scores

    def loss(self, tokens: Sequence[int]) -> float:
        """The mean loss with some trigger tokens."""
        ids = self.with_tokens(tokens)
        with torch.no_grad():
            logits = self.model(input_ids=ids, attention_mask=self.attention).logits
            return float(self._losses(logits).mean())

    def losses_at_once(self, candidates: Sequence[Sequence[int]]) -> list[float]:
        """The losses of many candidates on one example, in batches of 32."""
        found: list[float] = []
        for start in range(0, len(candidates), BATCH):
            part = torch.tensor(candidates[start : start + BATCH])
            ids = self.ids.repeat(len(part), 1)
            ids[:, self.triggers[0]] = part
            with torch.no_grad():
                logits = self.model(input_ids=ids).logits
            at_word = logits[:, int(self.reads[0])].float().log_softmax(-1)
            found += (-at_word[:, int(self.gold[0])]).tolist()
        return found

    def _losses(self, logits: torch.Tensor) -> torch.Tensor:
        at_word = logits[self.examples, self.reads].log_softmax(-1)
        return -at_word[self.examples, self.gold]


def proposals(promises: torch.Tensor, tokens: Sequence[int], count: int) -> list[list[int]]:
    """The candidates with the single swaps that promise most."""
    found = []
    for flat in promises.flatten().topk(count).indices.tolist():
        position, token = divmod(flat, promises.shape[1])
        candidate = list(tokens)
        candidate[position] = token
        found.append(candidate)
    return found


# -- the jobs -----------------------------------------------------------------------------------


def prepare(job: dict[str, Any], dtype: str) -> tuple[str, Turn]:
    """See `serving.serve`."""
    import transformers

    if dtype != "float32":
        raise UnavailableError(f"the naive loop runs in float32, not in {dtype}")
    family = "AutoModelForCausalLM" if job["kind"] == "causal" else "AutoModelForMaskedLM"
    model = getattr(transformers, family).from_pretrained(job["model"], dtype="float32").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["model"])
    turns: dict[str, Callable[[Any, Any, dict[str, Any]], tuple[str, Turn]]] = {
        "score": _score,
        "factorised": _factorised,
        "trigger": _trigger,
        "causal": _causal,
        "training": _training,
    }
    return turns[job["kind"]](model, tokenizer, job)


def _score(model: Any, tokenizer: Any, job: dict[str, Any]) -> tuple[str, Turn]:
    words = {label: [word] for label, word in job["words"].items()}

    def turn(_sent: dict[str, Any]) -> dict[str, Any]:
        clock = Clock()
        logs = label_log_probabilities(model, tokenizer, job["template"], words, job["texts"])
        predictions = logs.argmax(1)
        return {
            "seconds": clock.seconds,
            "numbers": {
                "predictions": predictions.tolist(),
                "margins": (logs[:, 0] - logs[:, 1]).tolist(),
            },
        }

    label_log_probabilities(model, tokenizer, job["template"], words, job["texts"][:BATCH])
    return f"batches of {BATCH}, padded to the longest of each", turn


def _factorised(model: Any, tokenizer: Any, job: dict[str, Any]) -> tuple[str, Turn]:
    """Times the sampled pairs: each pair costs one pass over the examples."""

    def turn(_sent: dict[str, Any]) -> dict[str, Any]:
        clock = Clock()
        predictions = []
        for template, verbalizer in job["pairs"]:
            logs = label_log_probabilities(
                model,
                tokenizer,
                job["templates"][template],
                job["verbalizers"][verbalizer],
                job["texts"],
            )
            predictions += logs.argmax(1).tolist()
        every = len(job["templates"]) * len(job["verbalizers"])
        return {
            "seconds": clock.seconds * every / len(job["pairs"]),
            "numbers": {"predictions": predictions},
        }

    label_log_probabilities(
        model, tokenizer, job["templates"][0], job["verbalizers"][0], job["texts"][:BATCH]
    )
    sample = f"timed on {len(job['pairs'])} pairs a turn and scaled"
    return f"one pass a pair, batches of {BATCH}; {sample}", turn


def _trigger(model: Any, tokenizer: Any, job: dict[str, Any]) -> tuple[str, Turn]:
    """Times the gradient and some of the candidates: each costs one pass over the examples."""
    loop = TriggerLoop(model, *masked_rows(tokenizer, job), tokenizer.pad_token_id)

    def turn(sent: dict[str, Any]) -> dict[str, Any]:
        clock = Clock()
        promises = loop.promises(job["start"])
        candidates = proposals(promises, job["start"], job["candidates"])
        first = clock.seconds
        for candidate in [job["start"], *candidates][: job["sampled"]]:
            loop.loss(candidate)
        each = (clock.seconds - first) / job["sampled"]
        found: dict[str, Any] = {"seconds": first + each * (1 + job["candidates"])}
        if sent["check"]:
            losses = [loop.loss(candidate) for candidate in job["checked"]]
            found["numbers"] = _numbers(promises, losses, job)
        return found

    loop.loss(job["start"])
    return (
        f"one pass a candidate, padded to the longest; timed on {job['sampled']} of "
        f"{1 + job['candidates']} candidates and scaled"
    ), turn


def _causal(model: Any, tokenizer: Any, job: dict[str, Any]) -> tuple[str, Turn]:
    before, after = (tokenizer(job[name])["input_ids"] for name in ("before", "after"))
    row = [*before, *job["start"], *after]
    at = list(range(len(before), len(before) + len(job["start"])))
    gold = tokenizer(job["target"])["input_ids"]
    loop = TriggerLoop(model, [row], [at], [len(row) - 1], gold, 0)

    def turn(sent: dict[str, Any]) -> dict[str, Any]:
        clock = Clock()
        promises = loop.promises(job["start"])
        candidates = proposals(promises, job["start"], job["candidates"])
        loop.losses_at_once(candidates)
        found: dict[str, Any] = {"seconds": clock.seconds}
        if sent["check"]:
            found["numbers"] = _numbers(promises, loop.losses_at_once(job["checked"]), job)
        return found

    loop.loss(job["start"])
    return f"no cache, batches of {BATCH} candidates, logits at all positions", turn


def _training(model: Any, tokenizer: Any, job: dict[str, Any]) -> tuple[str, Turn]:
    """Each turn trains on: AdamW, dropout as configured, logits at all positions."""
    ids = tokenizer.convert_tokens_to_ids(list(job["words"].values()))
    labels = list(job["words"])
    gold = torch.tensor([labels.index(label) for label in job["labels"]])
    filled_texts = [filled(job["template"], text, tokenizer.mask_token) for text in job["texts"]]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01)

    def loss_of(start: int) -> torch.Tensor:
        rows = slice(start, start + job["batch"])
        inputs = tokenizer(filled_texts[rows], padding=True, truncation=True, return_tensors="pt")
        logits = model(**inputs).logits
        at_mask = logits[inputs["input_ids"] == tokenizer.mask_token_id]
        return torch.nn.functional.cross_entropy(at_mask[:, ids], gold[rows])

    with torch.no_grad():
        before = [float(loss_of(start)) for start in range(0, len(gold), job["batch"])]

    def turn(_sent: dict[str, Any]) -> dict[str, Any]:
        model.train()
        clock = Clock()
        for start in range(0, len(gold), job["batch"]):
            loss = loss_of(start)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return {"seconds": clock.seconds, "numbers": {"losses": before}}

    return "AdamW, padded to the longest of each batch, logits at all positions", turn


def masked_rows(tokenizer: Any, job: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """Ids, trigger positions, mask positions and right words of a trigger job's examples."""
    head, tail = job["template"].split("{triggers}")
    words = tokenizer.convert_tokens_to_ids(list(job["words"].values()))
    labels = list(job["words"])
    rows, triggers, reads, gold = [], [], [], []
    for text, label in zip(job["texts"], job["labels"], strict=True):
        parts = [filled(part, text, tokenizer.mask_token) for part in (head, tail)]
        before, after = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in parts)
        before = [tokenizer.cls_token_id, *before]
        rows.append([*before, *job["start"], *after, tokenizer.sep_token_id])
        triggers.append(list(range(len(before), len(before) + len(job["start"]))))
        reads.append(rows[-1].index(tokenizer.mask_token_id))
        gold.append(words[labels.index(label)])
    return rows, triggers, reads, gold


def _numbers(
    promises: torch.Tensor, losses: list[float], job: dict[str, Any]
) -> dict[str, list[float]]:
    """What other sides must find too: losses of fixed candidates, promises of fixed swaps."""
    return {"losses": losses, "promises": promises[:, job["tokens"]].flatten().tolist()}


if __name__ == "__main__":
    serve(prepare)
