"""Training with masked language modelling, resumable at any moment.

The learning rate warms up, stays, and decays (WSD; Hu et al. 2024, MiniCPM; the 1 - sqrt decay
of Haegele et al. 2024).  A step depends only on the recipe, the packed data and the step number:
the order of rows is drawn from the seed and the number of the pass, the masks from the seed and
the step.  So ``steps`` and ``decay_steps`` may be changed in the recipe at any time before the
decay, and the run goes on from its checkpoint with the new schedule.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import BertForMaskedLM

from experiments.embedded.batches import (
    Batch,
    PackedSequences,
    Rows,
    SpecialIds,
    build_rows,
    mask_batch,
    mask_rates,
    special_ids,
)
from experiments.embedded.model import batch_loss, new_model
from experiments.embedded.recipe import Recipe, Training, read_recipe

CHECKPOINT = "checkpoint.pt"


def learning_rate(step: int, training: Training) -> float:
    """Return the learning rate of a step: linear warm-up, constant, 1 - sqrt decay."""
    if step < training.warmup_steps:
        return training.peak_lr * (step + 1) / training.warmup_steps
    into_decay = step - (training.steps - training.decay_steps)
    if into_decay <= 0:
        return training.peak_lr
    left = 1.0 - math.sqrt(min(1.0, into_decay / training.decay_steps))
    return training.final_lr + (training.peak_lr - training.final_lr) * left


@dataclass
class Progress:
    """How far the run is; saved with every checkpoint."""

    step: int = 0
    pass_number: int = 0
    next_row: int = 0
    decaying: bool = False
    """Whether the current pass belongs to the decay."""
    tokens: int = 0
    """Tokens seen, without padding."""
    seconds: float = 0.0
    """Wall time spent training, over all runs."""


class RowStream:
    """Endless batches of rows; the order of every pass follows from the seed alone.

    While the learning rate decays, sources with a ``decay_share`` below one are thinned, so that
    the run ends on the text that is closest to its use (as in Hu et al. 2024).
    """

    def __init__(self, recipe: Recipe, packed: PackedSequences, special: SpecialIds) -> None:
        """Stream the given sequences; rows are laid out when first asked for."""
        self.recipe = recipe
        self.packed = packed
        self.special = special
        self._key: tuple[int, bool] | None = None
        self._rows = Rows(np.zeros((0, 0)), np.zeros((0, 0)))

    def rows_of_pass(self, number: int, decaying: bool) -> Rows:
        """Return all rows of a pass (kept until another pass is asked for)."""
        if self._key != (number, decaying):
            random = np.random.default_rng([self.recipe.seed, number])
            order = random.permutation(len(self.packed))
            if decaying:
                shares = np.array([source.decay_share for source in self.recipe.sources.values()])
                kept = random.random(len(order)) < shares[self.packed.source[order]]
                order = order[kept]
            length = self.recipe.packing.row_length
            self._rows = build_rows(self.packed, order, length, self.special)
            self._key = (number, decaying)
        return self._rows

    def take(self, progress: Progress, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and segments, each (count, row length), and move the progress on.

        The few rows left at the end of a pass are skipped; the decay begins a pass of its own.
        """
        training = self.recipe.training
        decaying = progress.step >= training.steps - training.decay_steps
        rows = self.rows_of_pass(progress.pass_number, progress.decaying)
        if progress.next_row + count > len(rows) or decaying != progress.decaying:
            progress.pass_number += 1
            progress.next_row = 0
            progress.decaying = decaying
            rows = self.rows_of_pass(progress.pass_number, decaying)
        part = slice(progress.next_row, progress.next_row + count)
        progress.next_row += count
        return rows.ids[part], rows.segments[part]


class Trainer:
    """One training run below a work directory."""

    def __init__(self, recipe: Recipe, work: Path) -> None:
        """Load the packed data and set up an untrained model."""
        self.recipe = recipe
        self.work = work
        tokenizer = Tokenizer.from_file(str(work / "tokenizer" / "tokenizer.json"))
        self.special = special_ids(tokenizer)
        packed = PackedSequences(work / "train.npz")
        vocabulary = tokenizer.get_vocab_size()
        counts = np.bincount(packed.ids, minlength=vocabulary)
        self.rates = mask_rates(counts, recipe.masking, self.special)
        self.stream = RowStream(recipe, packed, self.special)
        self.model = new_model(recipe, vocabulary)
        self.optimizer = new_optimizer(self.model, recipe.training)
        self.progress = Progress()
        self.stopping = False
        self.loss = torch.compile(batch_loss) if recipe.training.compile else batch_loss

    def resume(self) -> None:
        """Continue from the checkpoint of the work directory, if there is one."""
        path = self.work / CHECKPOINT
        if path.exists():
            stored: dict[str, Any] = torch.load(path, weights_only=True)
            self.model.load_state_dict(stored["model"])
            self.optimizer.load_state_dict(stored["optimizer"])
            self.progress = Progress(**stored["progress"])

    def save(self) -> None:
        """Write the checkpoint; the former one stays whole until the new one is complete."""
        path = self.work / CHECKPOINT
        partial = path.with_suffix(".partial")
        torch.save(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "progress": vars(self.progress),
            },
            partial,
        )
        os.replace(partial, path)

    def next_batch(self) -> Batch:
        """Take the next rows and mask them."""
        training = self.recipe.training
        random = np.random.default_rng([self.recipe.seed, 1, self.progress.step])
        ids, segments = self.stream.take(self.progress, training.rows)
        self.progress.tokens += int((segments > 0).sum())
        slots = int(ids.size * self.recipe.masking.rate)
        return mask_batch(
            ids, segments, self.rates, slots, self.recipe.masking, self.special, random
        )

    def one_step(self) -> tuple[float, float]:
        """Train on one batch; return the loss in nats and the gradient norm before clipping."""
        rate = learning_rate(self.progress.step, self.recipe.training)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.loss(self.model, self.next_batch())
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.training.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.progress.step += 1
        return float(loss.detach()), float(norm)

    def stop(self, *_: object) -> None:
        """Ask the run to save and end after the current step (a signal handler)."""
        self.stopping = True

    def run(self) -> None:
        """Train to the last step, logging and saving on the way."""
        training = self.recipe.training
        began = saved = time.monotonic()
        before = self.progress.seconds
        window: list[tuple[float, float]] = []
        window_start, window_tokens = began, self.progress.tokens
        while self.progress.step < training.steps and not self.stopping:
            window.append(self.one_step())
            now = time.monotonic()
            self.progress.seconds = before + now - began
            if self.progress.step % training.log_steps == 0:
                speed = (self.progress.tokens - window_tokens) / (now - window_start)
                self._log(window, speed)
                window = []
                window_start, window_tokens = now, self.progress.tokens
            if now - saved > training.checkpoint_seconds:
                self.save()
                saved = now
        self.save()

    def _log(self, window: list[tuple[float, float]], speed: float) -> None:
        loss, norm = np.mean(window, axis=0)
        record = {
            "step": self.progress.step,
            "loss": round(float(loss), 4),
            "norm": round(float(norm), 3),
            "lr": round(learning_rate(self.progress.step, self.recipe.training), 7),
            "tokens": self.progress.tokens,
            "tokens_per_second": round(speed),
            "pass": self.progress.pass_number,
            "minutes": round(self.progress.seconds / 60, 2),
        }
        print(json.dumps(record), flush=True)


def new_optimizer(model: BertForMaskedLM, training: Training) -> torch.optim.Optimizer:
    """Return AdamW that decays matrices only (no biases, no layer-norm weights)."""
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    vectors = [weight for weight in model.parameters() if weight.ndim == 1]
    groups = [
        {"params": matrices, "weight_decay": training.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=training.peak_lr, betas=training.betas, fused=True)


def main() -> None:
    """Train the model below the work directory, from its checkpoint if there is one."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    recipe = read_recipe(arguments.config)
    torch.set_num_threads(recipe.training.threads)
    trainer = Trainer(recipe, arguments.work)
    trainer.resume()
    signal.signal(signal.SIGTERM, trainer.stop)
    trainer.run()


if __name__ == "__main__":
    main()
