"""J2: many templates times many verbalizers on one set of examples."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoprompt.models.protocol import LanguageModel
from autoprompt.prompts import Frame
from autoprompt.scoring.label_scores import label_scores
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.seeding import generator
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer
from experiments.bench import naive


@dataclass(frozen=True)
class Job:
    """Templates, verbalizers and examples; words are single tokens for the model."""

    templates: Sequence[Template]
    verbalizers: Sequence[Verbalizer]
    examples: Sequence[Example]


def make_job(
    model: LanguageModel,
    space: SearchSpace,
    examples: Sequence[Example],
    templates: int,
    verbalizers: int,
    seed: int,
) -> Job:
    """Draw different templates and verbalizers from a space."""
    chance = generator(seed, "bench")
    drawn: dict[str, Template] = {}
    while len(drawn) < templates:
        pattern = space.patterns[chance.integers(len(space.patterns))]
        options = {name: int(chance.integers(len(space.slots[name]))) for name in pattern.slots}
        template = space.compose(pattern, options)
        drawn.setdefault(template.text, template)
    frames = [Frame(template) for template in drawn.values()]
    words = {
        label: [w for w in known if all(len(model.encoder.word_ids(f, w)) == 1 for f in frames)]
        for label, known in space.label_candidates().items()
    }
    made: dict[Verbalizer, None] = {}
    while len(made) < verbalizers:
        count = int(chance.integers(1, 4))
        picks = {
            label: [known[i] for i in chance.permutation(len(known))[:count]]
            for label, known in words.items()
        }
        made.setdefault(Verbalizer.of(picks, space.labels))
    return Job(list(drawn.values()), list(made), examples)


def factorised(model: LanguageModel, job: Job) -> tuple[float, list[np.ndarray]]:
    """Seconds for all pairs, and the predictions of the pairs, template by template."""
    started = time.perf_counter()
    words = [word for verbalizer in job.verbalizers for word in verbalizer.all_words]
    scorer = WordScorer(model, words)
    predictions = []
    for template in job.templates:
        frame = Frame(template)
        scores = scorer.scores(frame, job.examples)
        for verbalizer in job.verbalizers:
            columns = scorer.columns(frame, verbalizer)
            found = label_scores(scores, columns, verbalizer.aggregation)
            predictions.append(found.argmax(axis=1))
    return time.perf_counter() - started, predictions


def compare(model: Any, job: Job, pairs: int, repeats: int, seed: int) -> dict[str, Any]:
    """Prompt evaluations per second of both ways, measured in turns; medians and the ratio.

    Args:
        model: a `MaskedLanguageModel`.
        job: what to score.
        pairs: how many pairs the naive loop runs in each turn; all pairs cost it the same, so
            its rate needs not all of them.
        repeats: turns.
        seed: of the draw of pairs.
    """
    chance = generator(seed, "pairs")
    fast, slow, agreed, compared = [], [], 0, 0
    every = len(job.templates) * len(job.verbalizers)
    for _ in range(repeats):
        seconds, predictions = factorised(model, job)
        fast.append(every / seconds)
        drawn = chance.permutation(every)[:pairs]
        started = time.perf_counter()
        for pair in drawn:
            template, verbalizer = divmod(int(pair), len(job.verbalizers))
            found = naive.predictions(
                model.module,
                model.encoder.tokenizer,
                job.templates[template],
                job.verbalizers[verbalizer],
                job.examples,
            )
            agreed += int((np.array(found) == predictions[pair]).sum())
            compared += len(found)
        slow.append(pairs / (time.perf_counter() - started))
    return {
        "job": f"J2 {len(job.templates)} templates x {len(job.verbalizers)} verbalizers "
        f"x {len(job.examples)} examples",
        "naive_per_second": statistics.median(slow),
        "ours_per_second": statistics.median(fast),
        "ratio": statistics.median(f / s for f, s in zip(fast, slow, strict=True)),
        "same_predictions": agreed / compared,
        "repeats": repeats,
        "naive_pairs_per_repeat": pairs,
    }
