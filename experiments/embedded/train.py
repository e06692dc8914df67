"""Training of a masked or a causal language model, resumable at any moment.

The learning rate warms up, stays, and decays (WSD; Hu et al. 2024, MiniCPM; the 1 - sqrt decay
of Haegele et al. 2024).  The order of rows is drawn from the seed and the number of the pass, the
masks from the seed and the step, so that a run that was stopped ends, on a processor, with the
weights of one that was not.  And the number of steps may be changed at any time before the decay,
by the recipe or by ``--minutes``, and the run goes on from its checkpoint with the new schedule.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from experiments.embedded.batches import PAD, Masker, load_rows, special_ids
from experiments.embedded.model import causal_loss, masked_loss, new_model
from experiments.embedded.recipe import Recipe, Training, read_recipe

CHECKPOINT = "checkpoint.pt"


def learning_rate(step: int, steps: int, training: Training) -> float:
    """Return the learning rate of a step of ``steps``: linear warm-up, constant, 1 - sqrt decay."""
    if step < training.warmup_steps:
        return training.peak_lr * (step + 1) / training.warmup_steps
    decay = training.decay_share * steps
    into_decay = step - (steps - decay)
    if into_decay <= 0:
        return training.peak_lr
    left = 1.0 - math.sqrt(min(1.0, into_decay / decay))
    return training.final_lr + (training.peak_lr - training.final_lr) * left


@dataclass
class Progress:
    """How far the run is; saved with every checkpoint."""

    steps: int
    """Of the whole run."""
    step: int = 0
    pass_number: int = 0
    next_row: int = 0
    decaying: bool = False
    """Whether the current pass belongs to the decay."""
    tokens: int = 0
    """Tokens seen, without padding."""
    seconds: float = 0.0
    """Wall time spent training, over all runs."""

    def constant_steps(self, training: Training) -> float:
        """The step at which the learning rate begins to decay."""
        return (1 - training.decay_share) * self.steps


def fingerprint(recipe: Recipe, work: Path) -> str:
    """A digest of what a run cannot change on its way: its rows, and its recipe but the steps."""
    settings = asdict(recipe)
    settings["training"] = {
        name: value
        for name, value in settings["training"].items()
        if name not in ("steps", "checkpoint_seconds", "log_steps", "compile")
    }
    found = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    with (work / "train.npz").open("rb") as stream:
        found.update(hashlib.file_digest(stream, "sha256").digest())
    return found.hexdigest()


class RowStream:
    """Endless batches of rows; the order of every pass follows from the seed alone.

    While the learning rate decays, sources with a ``kept_in_decay`` below one are thinned, so that
    the run ends on the text that is closest to its use (as in Hu et al. 2024).
    """

    def __init__(self, recipe: Recipe, path: Path, device: str) -> None:
        """Hold all rows of a file on a device."""
        rows = load_rows(path)
        self.recipe = recipe
        self.source = rows.source
        self.ids = torch.from_numpy(rows.ids.astype(np.int32)).to(device)
        self._key: tuple[int, bool] | None = None
        self._order = torch.empty(0)

    def order_of_pass(self, number: int, decaying: bool) -> torch.Tensor:
        """Return the rows' numbers in the order of a pass (kept until another is asked for)."""
        if self._key != (number, decaying):
            random = np.random.default_rng([self.recipe.seed, number])
            order = random.permutation(len(self.source))
            if decaying:
                shares = np.array([source.kept_in_decay for source in self.recipe.sources.values()])
                order = order[random.random(len(order)) < shares[self.source[order]]]
            self._order = torch.from_numpy(order).to(self.ids.device)
            self._key = (number, decaying)
        return self._order

    def take(self, progress: Progress, count: int) -> torch.Tensor:
        """Return ids, int64 (count, row length), and move the progress on.

        The few rows left at the end of a pass are skipped; the decay begins a pass of its own.
        """
        decaying = progress.step >= progress.constant_steps(self.recipe.training)
        order = self.order_of_pass(progress.pass_number, progress.decaying)
        if progress.next_row + count > len(order) or decaying != progress.decaying:
            progress.pass_number += 1
            progress.next_row = 0
            progress.decaying = decaying
            order = self.order_of_pass(progress.pass_number, decaying)
        if count > len(order):
            raise ValueError(f"a step takes {count} rows, and there are only {len(order)}")
        part = order[progress.next_row : progress.next_row + count]
        progress.next_row += count
        return self.ids[part].long()


class Trainer:
    """One training run below a work directory."""

    def __init__(self, recipe: Recipe, work: Path, device: str) -> None:
        """Load the packed data and set up an untrained model."""
        self.recipe = recipe
        self.work = work
        self.device = device
        tokenizer = Tokenizer.from_file(str(work / "tokenizer" / "tokenizer.json"))
        vocabulary = tokenizer.get_vocab_size()
        self.stream = RowStream(recipe, work / "train.npz", device)
        self.masker = None
        if recipe.masking is not None:
            counts = torch.bincount(self.stream.ids.flatten(), minlength=vocabulary).cpu().numpy()
            self.masker = Masker(counts, recipe.masking, special_ids(tokenizer), device)
        self.model = new_model(recipe, vocabulary).to(device)
        self.optimizer = new_optimizer(self.model, recipe.training)
        self.progress = Progress(recipe.training.steps)
        self.made_of = fingerprint(recipe, work)
        self.stopping = False
        loss = masked_loss if recipe.masking is not None else causal_loss
        self.loss = torch.compile(loss) if recipe.training.compile else loss

    def resume(self) -> None:
        """Continue from the checkpoint of the work directory, if there is one."""
        path = self.work / CHECKPOINT
        if path.exists():
            stored: dict[str, Any] = torch.load(path, weights_only=True, map_location=self.device)
            if stored["made_of"] != self.made_of:
                raise ValueError(f"{path} was trained on another recipe or other data")
            self.model.load_state_dict(stored["model"])
            self.optimizer.load_state_dict(stored["optimizer"])
            self.progress = Progress(**stored["progress"])
            if not self.progress.decaying:
                self.progress.steps = self.recipe.training.steps

    def begin_with(self, folder: Path) -> None:
        """Take the weights of a model folder that has this run's shape and tokenizer."""
        own = json.loads((self.work / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8"))
        if own != json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")):
            raise ValueError(
                f"{folder} has another tokenizer; copy it to {self.work / 'tokenizer'}"
            )
        self.model.load_state_dict(type(self.model).from_pretrained(folder).state_dict())

    def save(self) -> None:
        """Write the checkpoint; the former one stays whole until the new one is complete."""
        path = self.work / CHECKPOINT
        partial = path.with_suffix(".partial")
        torch.save(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "progress": vars(self.progress),
                "made_of": self.made_of,
            },
            partial,
        )
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(partial, path)

    def batch_loss(self) -> torch.Tensor:
        """The loss of the next rows, masked anew where the model is a masked one."""
        training = self.recipe.training
        ids = self.stream.take(self.progress, training.rows)
        self.progress.tokens += int((ids != PAD).sum())
        if self.masker is None:
            return self.loss(self.model, ids)
        random = torch.Generator(self.device)
        random.manual_seed(self.recipe.seed * 1_000_003 + self.progress.step)
        slots = int(ids.numel() * self.masker.masking.rate)
        return self.loss(self.model, self.masker(ids, slots, random))

    def one_step(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Train on one batch; return the loss in nats and the gradient norm before clipping."""
        training = self.recipe.training
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.progress.step, self.progress.steps, training)
        loss = self.batch_loss()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), training.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.progress.step += 1
        return loss.detach(), norm

    def stop(self, *_: object) -> None:
        """Ask the run to save and end after the current step (a signal handler)."""
        self.stopping = True

    def run(self, minutes: float | None = None) -> None:
        """Train to the last step, logging and saving on the way.

        With ``minutes`` of wall time, the decay begins when its share of them is left.
        """
        training = self.recipe.training
        if not self.progress.decaying:
            if minutes is not None:
                self._end_after(self.progress.seconds / (60 * minutes))
            elif self.progress.step > math.ceil(self.progress.constant_steps(training)):
                raise ValueError(
                    f"step {self.progress.step} is reached, later than a run of "
                    f"{self.progress.steps} steps begins to decay; raise `steps`"
                )
        began = saved = time.monotonic()
        before = self.progress.seconds
        window: list[tuple[torch.Tensor, torch.Tensor]] = []
        window_start, window_tokens = began, self.progress.tokens
        while self.progress.step < self.progress.steps and not self.stopping:
            window.append(self.one_step())
            now = time.monotonic()
            self.progress.seconds = before + now - began
            if minutes is not None and not self.progress.decaying:
                self._end_after(self.progress.seconds / (60 * minutes))
            if self.progress.step % training.log_steps == 0:
                speed = (self.progress.tokens - window_tokens) / (now - window_start)
                self._log(window, speed)
                window = []
                window_start, window_tokens = now, self.progress.tokens
            if now - saved > training.checkpoint_seconds:
                self.save()
                saved = now
        self.save()

    def _end_after(self, used: float) -> None:
        """Set the number of steps so that the decay begins when all but its share is used."""
        held = 1 - self.recipe.training.decay_share
        if used >= held:
            self.progress.steps = math.floor(self.progress.step / held)
        else:
            self.progress.steps = max(self.progress.steps, math.ceil(self.progress.step / held) + 9)

    def _log(self, window: list[tuple[torch.Tensor, torch.Tensor]], speed: float) -> None:
        loss, norm = (torch.stack(list(part)).mean().item() for part in zip(*window, strict=True))
        rate = learning_rate(self.progress.step, self.progress.steps, self.recipe.training)
        record = {
            "step": self.progress.step,
            "loss": round(loss, 4),
            "norm": round(norm, 3),
            "lr": round(rate, 7),
            "tokens": self.progress.tokens,
            "tokens_per_second": round(speed),
            "pass": self.progress.pass_number,
            "minutes": round(self.progress.seconds / 60, 2),
        }
        print(json.dumps(record), flush=True)


def new_optimizer(model: torch.nn.Module, training: Training) -> torch.optim.Optimizer:
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
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--start", type=Path, metavar="FOLDER", help="a model to go on from")
    parser.add_argument("--minutes", type=float, help="of wall time, instead of the recipe's steps")
    arguments = parser.parse_args()
    recipe = read_recipe(arguments.config)
    trainer = Trainer(recipe, arguments.work, arguments.device)
    if arguments.start:
        trainer.begin_with(arguments.start)
    trainer.resume()
    signal.signal(signal.SIGTERM, trainer.stop)
    signal.signal(signal.SIGINT, trainer.stop)
    trainer.run(arguments.minutes)


if __name__ == "__main__":
    main()
