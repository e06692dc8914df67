"""Writing the model card from measured numbers."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import yaml

from experiments.embedded.accuracy import DRAWS, TRIALS
from experiments.embedded.compare import (
    Figures,
    cloze_table,
    few_shot_table,
    open_table,
    table,
    zero_shot_table,
)
from experiments.embedded.recipe import Recipe

EARLIER = Path(__file__).parent / "earlier.json"

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
    listed = table(["source", "licence", "attribution", "million tokens in a pass"], rows)
    return f"""
## Data

{listed}
The text itself is not part of this package. Its paragraphs were lowercased, cut at sentence ends
and tokenised; no labels were used.

Overlap with the evaluation tasks: every line that shares a run of {counts["overlap_words"]} words
(lowercased) with any split of the sst2_sent, trec6, agnews or rte data ({counts["task_runs"]:,}
distinct runs) is dropped at packing. Of {lines:,} lines read, {dropped:,} were dropped: lines that
share 10 words with measuring data had already been left out when the corpus was collected.
"""


LOSSES = {
    "masked": "Masked-LM loss (nats a token) on held-out documents, 15% of words masked, all "
    "shown as `[MASK]`",
    "causal": "Loss (nats a token) on held-out documents",
}
CLOZE_SCORES = {
    "masked": "by the log-probability of the word in the gap",
    "causal": "by the log-probability of the whole sentence",
}


def results_section(figures: Figures, earlier: Figures | None = None) -> str:
    """Report held-out loss, cloze, zero-shot and few-shot accuracies, beside an earlier model's.

    Args:
        figures: as `evaluate.measure` returns them.
        earlier: those of the model that was shipped before, or None.
    """
    models = {"this model": figures, **({"earlier model": earlier} if earlier else {})}
    split = figures.get("split", "dev")
    sentences = figures["cloze"]["accuracy"]["all"]["n"]
    compared = (
        f" The earlier model is the one that shipped before ({earlier['parameters']:,} parameters, "
        f"{earlier['vocabulary']:,} vocabulary entries), measured by the same command."
        if earlier
        else ""
    )
    parts = [
        f"Measured by `python -m experiments.embedded.evaluate`.{compared}",
        f"Cloze: {sentences} sentences with one gap, written for this project "
        f"(`experiments/embedded/cloze.yaml`), each with the right word and one to three wrong "
        f"ones, scored {CLOZE_SCORES[figures['family']]}. In brackets the 95% interval (Wilson "
        f"1927). Word frequencies alone give chance.",
        cloze_table(models),
        f"Zero-shot accuracy on {split} files: the mean over all expert prompts of the task's "
        f"search space that the model can read (the range in parentheses); none is picked. "
        f"*Calibrated* takes each label's prior over the scored texts off, unlabelled (Zhou et al. "
        f"2023). question_type, sentiment and topic are the package's sample tasks.",
        zero_shot_table(models),
        f"Few-shot accuracy on {split} files: the default search with {TRIALS} trials, mean over "
        f"the draws {', '.join(map(str, DRAWS))} (the range in parentheses). *Expert* is the "
        f"expert prompt that did best on the few examples, *searched* what the search returned.",
        few_shot_table(models),
        "Likeliest words (probability):",
        open_table(models),
    ]
    text = "\n".join(part if part.startswith("|") else f"{_wrapped(part)}\n" for part in parts)
    return f"\n## Results\n\n{_losses(figures)}{text}"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 99, break_on_hyphens=False, break_long_words=False)


def _losses(figures: Figures) -> str:
    """The table of held-out losses, where they were measured."""
    held_out = figures.get("held_out")
    if not held_out:
        return ""
    rows = [
        [name, f"{entry['loss']:.3f}", f"{entry['masked']:,}"]
        for name, entry in [*held_out["sources"].items(), ("all", held_out)]
    ]
    about = f"{LOSSES[figures['family']]}; perplexity over all: {held_out['perplexity']:.1f}."
    return f"{_wrapped(about)}\n\n{table(['source', 'loss', 'tokens'], rows)}\n"


def earlier_figures(path: Path = EARLIER) -> Figures:
    """The figures of the model that was shipped before, as `evaluate --json` wrote them."""
    (figures,) = json.loads(path.read_text(encoding="utf-8")).values()
    found: Figures = figures
    return found


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
- Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.
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
    """Write the card of a model from its progress, figures and the counts of packing.

    A masked model's figures stand beside those of the one that was shipped before it.
    """
    earlier = earlier_figures() if figures["family"] == "masked" else None
    described = yaml.safe_load(sources.read_text(encoding="utf-8"))
    text = "".join(
        [
            FRONT_MATTER,
            INTRODUCTION,
            shape_section(recipe, progress, notes),
            data_section(counts, described),
            results_section(figures, earlier),
            LIMITS,
            reproduce_section(),
        ]
    )
    path.write_text(text, encoding="utf-8")
