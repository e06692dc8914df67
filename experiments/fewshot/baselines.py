"""Ways without a prompt: TF-IDF, sentence embeddings, and a new head on the whole model.

Each one gets what a tuning gets, train and dev, and a little more: a classifier on features chooses
its one number on dev and is then fitted on both. A new head stops by plain cross-entropy on dev.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from autoprompt.seeding import derive_seed, generator
from autoprompt.tasks.examples import Example

STRENGTHS = (0.1, 1.0, 10.0, 100.0)  # of logistic regression, chosen on dev
ITERATIONS, BATCH, RATE = 20, 16, 2e-5  # SetFit's own (Tunstall et al. 2022)
STEPS, EVERY, PATIENCE = 200, 10, 6  # of standard fine-tuning, as a tuning has them


@dataclass(frozen=True)
class Baseline:
    """What a baseline came to.

    Attributes:
        predictions: label names on the truth.
        parameters: that were trained.
        seconds: of training.
        bytes_to_ship: of its parameters in float32, shared ones aside.
    """

    predictions: list[str]
    parameters: int
    seconds: float
    bytes_to_ship: int


def tf_idf(task: Any, truth: Sequence[Example], _model: str, _seed: int) -> Baseline:
    """Words and pairs of words, weighted; logistic regression."""
    started = time.monotonic()
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    vectorizer.fit([_joined(example) for example in (*task.train, *task.dev)])

    def features(examples: Sequence[Example]) -> Any:
        return vectorizer.transform([_joined(example) for example in examples])

    head = _regression(task, features)
    size = head.coef_.size + head.intercept_.size
    return Baseline(list(head.predict(features(truth))), size, time.monotonic() - started, 4 * size)


def sentence_embedding(task: Any, truth: Sequence[Example], model: str, seed: int) -> Baseline:
    """As SetFit: mean-pooled embeddings, tuned so that equal labels are near; then a regression.

    Pairs of train examples, as many with equal labels as with different ones; the squared
    difference between their cosine and 1 or 0.
    """
    started = time.monotonic()
    tokenizer, body = _loaded(model, "AutoModel")
    chance = generator(seed, "pairs")
    torch.manual_seed(derive_seed(seed, "sentence embedding"))
    pairs = _pairs(task.train, chance)
    optimizer = torch.optim.AdamW(body.parameters(), lr=RATE, weight_decay=0.01)
    steps = len(pairs) // BATCH
    schedule = _linear(optimizer, steps)
    trained: list[torch.nn.Parameter] = []  # a pooler is loaded with the body, and not used
    body.train()
    for step in range(steps):
        part = pairs[step * BATCH : (step + 1) * BATCH]
        first, second = (
            _embedded(tokenizer, body, [task.train[pair[side]] for pair in part]) for side in (0, 1)
        )
        target = torch.tensor([float(pair[2]) for pair in part])
        loss = (torch.cosine_similarity(first, second) - target).square().mean()
        loss.backward()
        trained = [each for each in body.parameters() if each.grad is not None]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    body.eval()

    def features(examples: Sequence[Example]) -> Any:
        with torch.no_grad():
            parts = [
                _embedded(tokenizer, body, examples[start : start + 32])
                for start in range(0, len(examples), 32)
            ]
        return torch.nn.functional.normalize(torch.cat(parts)).numpy()

    head = _regression(task, features)
    size = head.coef_.size + head.intercept_.size + sum(each.numel() for each in trained)
    return Baseline(list(head.predict(features(truth))), size, time.monotonic() - started, 4 * size)


def new_head(task: Any, truth: Sequence[Example], model: str, seed: int) -> Baseline:
    """Standard fine-tuning: no prompt, a new classifier on the first token, all weights trained."""
    started = time.monotonic()
    torch.manual_seed(derive_seed(seed, "new head"))
    tokenizer, classifier = _loaded(
        model, "AutoModelForSequenceClassification", num_labels=len(task.labels)
    )
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=5e-5, weight_decay=0.01)
    schedule = _linear(optimizer, STEPS)
    chance = generator(seed, "order")
    order = itertools.chain.from_iterable(
        chance.permutation(len(task.train)).tolist() for _ in itertools.count()
    )
    best, best_loss, waited = copy.deepcopy(classifier.state_dict()), float("inf"), 0
    for step in range(1, STEPS + 1):
        classifier.train()
        part = [task.train[next(order)] for _ in range(8)]
        logits = classifier(**_inputs(tokenizer, part)).logits
        torch.nn.functional.cross_entropy(logits, _gold(task, part)).backward()
        torch.nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % EVERY == 0:
            loss = torch.nn.functional.cross_entropy(
                _logits(tokenizer, classifier, task.dev), _gold(task, task.dev)
            )
            waited += 1
            if float(loss) < best_loss:
                best, best_loss, waited = copy.deepcopy(classifier.state_dict()), float(loss), 0
            if waited >= PATIENCE:
                break
    classifier.load_state_dict(best)
    found = _logits(tokenizer, classifier, truth).argmax(1).tolist()
    size = sum(p.numel() for p in classifier.parameters())
    names = [task.labels[row] for row in found]
    return Baseline(names, size, time.monotonic() - started, 4 * size)


BASELINES: dict[str, Callable[..., Baseline]] = {
    "standard fine-tuning, new head, no prompt": new_head,
    "sentence embedding, contrastive (as SetFit)": sentence_embedding,
    "TF-IDF + logistic regression": tf_idf,
}


def _regression(task: Any, features: Callable[[Sequence[Example]], Any]) -> Any:
    """Fitted on train with each strength; the best one on dev, fitted on both."""
    fit, judge = features(task.train), features(task.dev)
    labels, other = ([example.label for example in part] for part in (task.train, task.dev))
    scores = [
        LogisticRegression(C=strength, max_iter=1000).fit(fit, labels).score(judge, other)
        for strength in STRENGTHS
    ]
    chosen = STRENGTHS[int(np.argmax(scores))]
    both = features([*task.train, *task.dev])
    return LogisticRegression(C=chosen, max_iter=1000).fit(both, labels + other)


def _pairs(train: Sequence[Example], chance: Any) -> list[tuple[int, int, bool]]:
    found = []
    for _ in range(ITERATIONS):
        for first, example in enumerate(train):
            for equal in (True, False):
                others = [
                    row
                    for row, other in enumerate(train)
                    if row != first and (other.label == example.label) is equal
                ]
                found.append((first, int(chance.choice(others)), equal))
    return [found[row] for row in chance.permutation(len(found))]


def _loaded(model: str, kind: str, **more: Any) -> tuple[Any, Any]:
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    loader = getattr(transformers, kind)
    return tokenizer, loader.from_pretrained(model, dtype="float32", **more)


def _inputs(tokenizer: Any, examples: Sequence[Example]) -> Any:
    columns = list(zip(*(tuple(e.fields.values()) for e in examples), strict=True))
    return tokenizer(*map(list, columns), padding=True, truncation=True, return_tensors="pt")


def _embedded(tokenizer: Any, body: Any, examples: Sequence[Example]) -> torch.Tensor:
    """Mean-pooled states: shape `(examples, width)`."""
    inputs = _inputs(tokenizer, examples)
    states = body(**inputs).last_hidden_state
    taken = inputs["attention_mask"][..., None].to(states.dtype)
    return (states * taken).sum(1) / taken.sum(1)


def _logits(tokenizer: Any, classifier: Any, examples: Sequence[Example]) -> torch.Tensor:
    classifier.eval()
    with torch.no_grad():
        parts = [
            classifier(**_inputs(tokenizer, examples[start : start + 32])).logits
            for start in range(0, len(examples), 32)
        ]
    return torch.cat(parts)


def _gold(task: Any, examples: Sequence[Example]) -> torch.Tensor:
    return torch.tensor([task.labels.index(example.label) for example in examples])


def _linear(optimizer: Any, steps: int) -> Any:
    """A tenth of the steps up, the others down."""
    up = max(steps // 10, 1)
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / up, max(steps - step, 0) / max(steps - up, 1)),
    )


def _joined(example: Example) -> str:
    return " ".join(example.fields.values())
