"""Writing the model card from measured numbers."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import yaml

from experiments.embedded.accuracy import DRAWS, TRIALS
from experiments.embedded.card_texts import INTRODUCTIONS, LIMITS, REPRODUCING
from experiments.embedded.compare import (
    Figures,
    cloze_table,
    few_shot_table,
    open_table,
    table,
    zero_shot_table,
)
from experiments.embedded.recipe import Masking, Recipe

EARLIER = Path(__file__).parent / "earlier.json"


def shape_section(recipe: Recipe, progress: dict[str, Any], notes: str) -> str:
    """Describe vocabulary, shape and training, and add the notes on this run."""
    shape, training = recipe.model, recipe.training
    kind = "uncased WordPiece" if recipe.masking else "cased byte-level BPE"
    state = (
        ""
        if progress["step"] >= progress["steps"]
        else f"\n**An early checkpoint of an unfinished run (step {progress['step']:,}"
        f" of {progress['steps']:,}).**\n"
    )
    decay = round(training.decay_share * progress["steps"])
    thinned = ", ".join(name for name, one in recipe.sources.items() if one.kept_in_decay < 1)
    facts = [
        f"Vocabulary: {recipe.vocabulary.size:,} {kind} entries, learned from a "
        f"sample of about {recipe.vocabulary.megabytes:g} million characters of the corpus.",
        f"Shape: {shape.layers} layers, {shape.hidden} hidden units, {shape.heads} heads, "
        f"feed-forward width {shape.feed_forward}, {recipe.packing.row_length} positions, tied "
        f"embeddings; {progress['parameters']:,} parameters.",
        _objective(recipe.masking),
        f"Training: {progress['step']:,} steps of {training.rows} rows of "
        f"{recipe.packing.row_length} tokens, {progress['tokens'] / 1e6:,.0f} million tokens seen "
        f"(padding not counted) in {progress['seconds'] / 60:.1f} minutes; bfloat16 products, "
        "AdamW.",
        f"Learning rate: peak {training.peak_lr:g}, warm-up of {training.warmup_steps} steps, "
        f"then constant, then a decay over the last {decay:,} steps (WSD; Hu et "
        f"al. 2024), in which these are thinned: {thinned}.",
    ]
    bullets = "\n".join(
        textwrap.fill(fact, 99, initial_indent="- ", subsequent_indent="  ") for fact in facts
    )
    remarks = f"\n{notes}" if notes else ""
    return f"{state}\n## Model and training\n\n{bullets}\n{remarks}"


def _objective(masking: Masking | None) -> str:
    if masking is None:
        return "Objective: the next token of running text."
    return (
        "Objective: masked language modelling with dynamic masking (Liu et al. 2019) of whole "
        f"words, {masking.rate:.0%} of words on average and {masking.frequent_rate:.0%} of the "
        f"{masking.frequent} most frequent ones."
    )


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
    held = sum(entry["held_out_documents"] for entry in counts["sources"].values())
    repeated = sum(entry["repeated_documents"] for entry in counts["sources"].values())
    listed = table(["source", "licence", "attribution", "million tokens in a pass"], rows)
    return f"""
## Data

{listed}
The text itself is not part of this package; no labels were used.

Overlap with the evaluation tasks: every line that shares a run of {counts["overlap_words"]} words
(lowercased) with any split of {", ".join(counts["tasks"])} or of the package's sample tasks
({counts["task_runs"]:,} distinct runs) is dropped at packing; texts of fewer words cannot be found
so. Of {lines:,} lines read, {dropped:,} were dropped: lines that share 10 words with measuring data
had already been left out when the corpus was collected. {held:,} documents are held out for the
loss below; {repeated:,} more were to be, and stand in the training text as well.
"""


LOSSES = {
    "masked": "Masked-LM loss (nats) on held-out documents, 15% of words masked, all "
    "shown as `[MASK]`",
    "causal": "Loss (nats) on held-out documents",
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
    return f"\n## Results\n\n{_losses(figures, earlier)}{text}"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 99, break_on_hyphens=False, break_long_words=False)


def _losses(figures: Figures, earlier: Figures | None) -> str:
    """The table of held-out losses, where they were measured.

    Beside the earlier model's nats a word: its tokens are others, the documents are the same.
    """
    held_out = figures.get("held_out")
    if not held_out:
        return ""
    before = (earlier or {}).get("held_out")
    entries = {**held_out["sources"], "all": held_out}
    known = {**before["sources"], "all": before} if before else {}
    rows = [
        [name, f"{entry['loss']:.3f}", f"{entry['masked']:,}", f"{entry['loss a word']:.3f}"]
        + ([f"{known[name]['loss a word']:.3f}" if name in known else "-"] if before else [])
        for name, entry in entries.items()
    ]
    header = ["source", "loss a token", "tokens", "loss a word"]
    header += ["earlier model, loss a word"] if before else []
    about = f"{LOSSES[figures['family']]}; perplexity over all: {held_out['perplexity']:.1f}."
    return f"{_wrapped(about)}\n\n{table(header, rows)}\n"


def earlier_figures(path: Path = EARLIER) -> Figures:
    """The figures of the model that was shipped before, as `evaluate --json` wrote them."""
    (figures,) = json.loads(path.read_text(encoding="utf-8")).values()
    found: Figures = figures
    return found


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
            INTRODUCTIONS[recipe.objective],
            shape_section(recipe, progress, notes),
            data_section(counts, described),
            results_section(figures, earlier),
            LIMITS[recipe.objective],
            REPRODUCING,
        ]
    )
    path.write_text(text, encoding="utf-8")
