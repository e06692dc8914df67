"""Hugging Face's `Trainer`, with our loss, our way to look at dev, and checkpoints one can trust.

A checkpoint holds what is trained, the optimizer, the schedule, the random numbers' state and the
counters; a file named `whole` is written into it last (with the seconds so far). A resumed run goes
on from the newest whole one, and takes the same steps as an uninterrupted one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

from autoprompt.errors import DivergedError, ScoringError
from autoprompt.files import write_atomically
from autoprompt.tuning.module import TunedModule

PREFIX, WHOLE, WEIGHTS = "checkpoint-", "whole", "model.safetensors"
STATE = "trainer_state.json"  # as `transformers` names it
Measures = Mapping[str, float]


class PromptTrainer(transformers.Trainer):
    """Trains a `TunedModule`.

    Args:
        module: what is trained.
        look: measures it on dev: name to value, `DECIDES` among them.
        options: as for `transformers.Trainer`.
    """

    def __init__(self, module: TunedModule, look: Callable[[], Measures], **options: Any) -> None:
        super().__init__(model=module, **options)
        self.tuned = module
        self._look = look
        self._earlier, self._started = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """Of training, those before an interruption included."""
        return self._earlier + time.monotonic() - self._started

    def run(self, checkpoint: Path | None) -> None:
        """Train, from a checkpoint on where there is one."""
        if checkpoint is not None:
            self._earlier = float((checkpoint / WHOLE).read_text())
        self._started = time.monotonic()
        self.train(str(checkpoint) if checkpoint else None)

    def take_over(self, checkpoint: Path) -> None:
        """Have the state and the best weights of a training that had ended at a checkpoint."""
        self._earlier, self._started = float((checkpoint / WHOLE).read_text()), time.monotonic()
        self.state = transformers.TrainerState.load_from_json(str(checkpoint / STATE))
        self._load_best_model()

    def evaluate(self, *_arguments: Any, **_options: Any) -> dict[str, float]:
        """Measure on dev, in float32, as a prediction is made.

        Raises:
            DivergedError: the scores there are not finite: a step since the last look was too wide,
                and no loss has told so yet.
        """
        self.tuned.eval()
        try:
            found = {f"eval_{name}": value for name, value in self._look().items()}
        except ScoringError as error:
            if error.__cause__ is not None:  # it is about memory
                raise
            raise DivergedError(
                f"the scores on dev became NaN or infinite by step {self.state.global_step}"
            ) from error
        self.log(dict(found))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def compute_loss(self, *arguments: Any, **options: Any) -> Any:
        """The loss.

        Raises:
            DivergedError: it is not finite, in this process or another one.
        """
        loss: Any = super().compute_loss(*arguments, **options)
        bad = (~torch.isfinite(loss.detach())).float()
        if self.args.world_size > 1:
            torch.distributed.all_reduce(bad)
        if float(bad):
            raise DivergedError(
                f"the loss became NaN or infinite at step {self.state.global_step + 1}"
            )
        return loss

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        super()._save_checkpoint(*arguments, **options)
        if self.args.world_size > 1:
            torch.distributed.barrier()  # the others' random states are part of it
        if self.args.should_save:
            folder = Path(str(self.args.output_dir)) / f"{PREFIX}{self.state.global_step}"
            write_atomically(folder / WHOLE, f"{self.seconds:.3f}")

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        del state_dict
        if output_dir is not None and self.args.should_save:
            folder = Path(output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            save_file(values_of(self.tuned), folder / WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: Any, model: Any = None) -> None:
        del model
        set_values(self.tuned, load_file(Path(resume_from_checkpoint) / WEIGHTS))

    def _load_best_model(self) -> None:
        if self.state.best_model_checkpoint is not None:
            self._load_from_checkpoint(self.state.best_model_checkpoint)


def values_of(module: TunedModule) -> dict[str, torch.Tensor]:
    """A copy of what is trained, by name, on the CPU."""
    return {
        name: each.detach().cpu().clone().contiguous() for name, each in module.trainable().items()
    }


def set_values(module: TunedModule, values: Mapping[str, torch.Tensor]) -> None:
    """Put back what `values_of` gave."""
    with torch.no_grad():
        for name, each in module.trainable().items():
            each.copy_(values[name])


def newest_whole(folder: Path) -> Path | None:
    """The checkpoint to go on from; None where there is none."""
    whole = [path.parent for path in folder.glob(f"{PREFIX}*/{WHOLE}")]
    return max(whole, key=_step_of, default=None)


def sweep(folder: Path) -> None:
    """Remove the checkpoints that a killed process had half written."""
    for path in folder.glob(f"{PREFIX}*"):
        if not (path / WHOLE).is_file():
            shutil.rmtree(path)


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix(PREFIX))
