"""Writing the model card from measured numbers."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import yaml

from experiments.embedded.recipe import Recipe

FRONT_MATTER = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: fill-mask
tags: [bert, masked-language-model, prompting]
---
"""

INTRODUCTION = """
# autoprompt embedded masked language model

A small uncased English BERT (Devlin et al. 2019) that ships inside `autoprompt`, so that prompts
can be searched and scored without a download. It was trained from scratch with the recipe in
`experiments/embedded` of the autoprompt repository. It is made for short inputs such as
`a funny, moving film. It was [MASK].`

```python
from transformers import AutoModelForMaskedLM, AutoTokenizer

model = AutoModelForMaskedLM.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
```
"""

LIMITS = """
## Limits

- It is small and briefly trained: it knows few facts, and its zero-shot accuracy is modest.
  It is meant for demonstrations, tests and prompt search on a small machine, not as a substitute
  for a large model.
- English only, lowercased; rare characters become `[UNK]`. Inputs longer than the position table
  cannot be used.
- Every sequence was trained as a single segment. The embedding of the second segment is a copy
  of the first, so pairs of texts work but were never trained as pairs.
- The text holds nineteenth-century novels, encyclopedia articles, textbooks and opinionated
  reviews, and the model reflects their errors, prejudices and coarse language. It should not
  be used to judge people.
- The weights are stored in float16 and load as float32.
"""


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def shape_section(recipe: Recipe, progress: dict[str, Any], notes: str) -> str:
    """Describe vocabulary, shape and training, and add the notes on this run."""
    shape, training, masking = recipe.model, recipe.training, recipe.masking
    state = (
        ""
        if progress["step"] >= training.steps
        else f"\n**An early checkpoint of an unfinished run (step {progress['step']:,}"
        f" of {training.steps:,}).**\n"
    )
    facts = [
        f"Vocabulary: {recipe.vocabulary.size:,} uncased WordPiece entries, learned from a "
        f"sample of about {recipe.vocabulary.megabytes:g} MB of the training text.",
        f"Shape: {shape.layers} layers, {shape.hidden} hidden units, {shape.heads} heads, "
        f"feed-forward width {shape.feed_forward}, {recipe.packing.row_length} positions, tied "
        f"embeddings; {progress['parameters']:,} parameters.",
        "Objective: masked language modelling with dynamic masking (Liu et al. 2019) of whole "
        f"words, {masking.rate:.0%} of words on average and {masking.frequent_rate:.0%} of the "
        f"{masking.frequent} most frequent ones.",
        f"Training: {progress['step']:,} steps of {training.rows} rows of "
        f"{recipe.packing.row_length} tokens, {progress['tokens'] / 1e6:.1f} million tokens seen "
        "(padding not counted); bfloat16 products, AdamW.",
        f"Learning rate: peak {training.peak_lr:g}, warm-up of {training.warmup_steps} steps, "
        f"then constant, then a decay over the last {training.decay_steps:,} steps (WSD; Hu et "
        "al. 2024), in which sources other than reviews are thinned.",
        f"Hardware: {progress['seconds'] / 3600:.2f} hours of wall time on {training.threads} "
        "processor cores that also did other work.",
    ]
    bullets = "\n".join(
        textwrap.fill(fact, 99, initial_indent="- ", subsequent_indent="  ") for fact in facts
    )
    remarks = f"\n{notes}" if notes else ""
    return f"{state}\n## Model and training\n\n{bullets}\n{remarks}"


def data_section(counts: dict[str, Any], sources: dict[str, Any]) -> str:
    """List the sources with licences, attributions and counts."""
    rows = []
    for name, entry in counts["sources"].items():
        about = sources[name]
        rows.append(
            [
                f"[{about['title']}]({about['address']})",
                about["licence"],
                about["attribution"],
                f"{entry['tokens'] / 1e6:.1f}",
            ]
        )
    lines = sum(entry["lines"] for entry in counts["sources"].values())
    dropped = sum(entry["dropped_lines"] for entry in counts["sources"].values())
    table = _table(["source", "licence", "attribution", "million tokens in a pass"], rows)
    return f"""
## Data

{table}
The text itself is not part of this package. Its paragraphs were lowercased, cut at sentence ends
and tokenised; no labels were used.

Overlap with the evaluation tasks: every line that shares a run of {counts["overlap_words"]} words
(lowercased) with any split of the sst2_sent, trec6, agnews or rte data ({counts["task_runs"]:,}
distinct runs) is dropped at packing. Of {lines:,} lines read, {dropped:,} were dropped: lines that
share 10 words with measuring data had already been left out when the corpus was collected.
"""


def results_section(figures: dict[str, Any]) -> str:
    """Report held-out loss, zero-shot accuracies and cloze examples."""
    held_out = figures["held_out"]
    losses = [
        [name, f"{entry['loss']:.3f}", f"{entry['masked']:,}"]
        for name, entry in held_out["sources"].items()
    ]
    losses.append(["all", f"{held_out['loss']:.3f}", f"{held_out['masked']:,}"])
    accuracies = [
        [
            entry["task"],
            f"{entry['n']:,}",
            f"`{entry['prompt']}`",
            f"{entry['majority']:.3f}",
            f"{entry['plain']:.3f}",
            f"{entry['calibrated']:.3f}",
        ]
        for entry in figures["zero_shot"]
    ]
    cloze = [
        [
            f"`{entry['text']}`",
            ", ".join(
                f"{word} ({probability:.2f})"
                for word, probability in zip(entry["words"], entry["probabilities"], strict=True)
            ),
        ]
        for entry in figures["cloze"]
    ]
    header = ["task", "n", "prompt", "majority class", "plain", "calibrated"]
    return f"""
## Results

Masked-LM loss (nats a token) on held-out documents, 15% of words masked, all shown as `[MASK]`;
perplexity over all: {held_out["perplexity"]:.1f}.

{_table(["source", "loss", "masked tokens"], losses)}
Zero-shot accuracy of hand-written prompts on development files (`experiments/embedded/prompts.yaml`
names the label words). *Calibrated* subtracts each label's mean score over the unlabelled inputs
(Zhou et al. 2023). No example was used to choose prompts or words. sentiment, topic and
question_type are the package's own sample tasks.

{_table(header, accuracies)}
Likeliest words (probability):

{_table(["input", "words"], cloze)}"""


def reproduce_section() -> str:
    """Give the commands that repeat the run."""
    return """
## Reproducing

`experiments/embedded/README.md` gives the steps; with the corpus at hand:

```
python -m experiments.embedded.vocabulary --config RECIPE --corpus CORPUS --work WORK
python -m experiments.embedded.pack --config RECIPE --corpus CORPUS --tasks TASKS --work WORK
python -m experiments.embedded.train --config RECIPE --work WORK
python -m experiments.embedded.ship --config RECIPE --work WORK --output FOLDER --task FOLDER ...
```

where `RECIPE` is `experiments/embedded/recipe.yaml`.

## References

- Devlin et al. 2019, BERT: Pre-training of Deep Bidirectional Transformers.
- Liu et al. 2019, RoBERTa: A Robustly Optimized BERT Pretraining Approach.
- Hu et al. 2024, MiniCPM: Unveiling the Potential of Small Language Models.
- Zhou et al. 2023, Batch Calibration: Rethinking Calibration for In-Context Learning.
- Pang and Lee 2004, A Sentimental Education (the movie reviews).
"""


def write_card(
    path: Path,
    recipe: Recipe,
    progress: dict[str, Any],
    figures: dict[str, Any],
    counts: dict[str, Any],
    sources: Path,
    notes: str = "",
) -> None:
    """Write the card of a model from its progress, figures and the counts of packing."""
    described = yaml.safe_load(sources.read_text(encoding="utf-8"))
    text = "".join(
        [
            FRONT_MATTER,
            INTRODUCTION,
            shape_section(recipe, progress, notes),
            data_section(counts, described),
            results_section(figures),
            LIMITS,
            reproduce_section(),
        ]
    )
    path.write_text(text, encoding="utf-8")
