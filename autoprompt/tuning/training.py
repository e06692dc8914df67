"""One training: from a model with a method attached to the weights that were best on dev."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from autoprompt.errors import DivergedError, InputError
from autoprompt.models.transformer import TransformerModel
from autoprompt.objective import Scored
from autoprompt.seeding import derive_seed
from autoprompt.tuning.lessons import Assignment, Collator, Encoded, Lessons
from autoprompt.tuning.measuring import CROSS_ENTROPY, DECIDES, SAME, measures_of, scores_of
from autoprompt.tuning.module import TunedModule
from autoprompt.tuning.processes import check_gpu, is_main, processes
from autoprompt.tuning.settings import TuningSettings
from autoprompt.tuning.texts import TextLessons
from autoprompt.tuning.trained import Trained
from autoprompt.tuning.trainer import (
    PREFIX,
    STATE,
    PromptTrainer,
    newest_whole,
    set_values,
    values_of,
)

TRACKERS = ("tensorboard", "mlflow", "wandb")
STEPS, PATIENCE, NEVER_BETTER = (
    "all steps",
    "no better on dev for a while",
    "never better on dev than at the beginning, which is kept",
)
Say = Callable[[str], None]
Plan = Callable[["Course", TuningSettings, Path], Trained]


def silent(line: str) -> None:
    """Tell nobody."""
    del line


class Course:
    """What trainings of one model share.

    Args:
        model: with a method attached.
        assignments: what is learnt, one at least.
        texts: unlabelled, for the auxiliary loss.
        report_to: trackers, of `TRACKERS`.
        say: takes lines about the progress.
        targets: for each assignment the labels' probabilities of its train examples, where these
            are not simply their labels.
    """

    def __init__(
        self,
        model: TransformerModel,
        assignments: Sequence[Assignment],
        texts: Sequence[str] = (),
        report_to: Sequence[str] = (),
        say: Say = silent,
        targets: Sequence[Any] | None = None,
    ) -> None:
        for one in assignments:
            one.check()
        self.model, self.assignments = model, tuple(assignments)
        self.texts, self.report_to, self.say = tuple(texts), tuple(report_to), say
        self.targets = targets

    def with_examples(
        self, assignments: Sequence[Assignment], targets: Sequence[Any] | None = None
    ) -> Course:
        """The same with other examples."""
        return Course(self.model, assignments, self.texts, self.report_to, self.say, targets)

    def values(self, settings: TuningSettings) -> dict[str, torch.Tensor]:
        """A copy of what is trained, as it is now."""
        return values_of(self._module(settings))

    def put(self, settings: TuningSettings, values: Mapping[str, torch.Tensor]) -> None:
        """Put back what `values` gave."""
        set_values(self._module(settings), values)
        self.model.module.eval()

    def scores(self) -> list[Scored]:
        """For each task its scores on dev."""
        return [scores_of(self.model, one.prompt, one.dev) for one in self.assignments]

    def look(self) -> dict[str, float]:
        """Measures on dev: cross-entropies and metric, the mean over tasks, and of each task.

        Tasks with different metrics have no mean of them.
        """
        found: dict[str, float] = {}
        means = {DECIDES, CROSS_ENTROPY}
        if len(metrics := {one.metric for one in self.assignments}) == 1:
            means |= metrics
        for number, (one, scored) in enumerate(zip(self.assignments, self.scores(), strict=True)):
            measures = measures_of(scored)
            for name in dict.fromkeys((DECIDES, CROSS_ENTROPY, one.metric)):
                value = measures[name].value
                if len(self.assignments) > 1:
                    found[f"{one.name} {number + 1} {name}"] = value
                if name in means:
                    found[name] = found.get(name, 0.0) + value / len(self.assignments)
        return found

    def train(self, settings: TuningSettings, folder: Path) -> Trained:
        """Train from the values that the model has now.

        Args:
            settings: numbers.
            folder: for checkpoints; a training that was interrupted there goes on, and one that
                was finished there is read.

        Returns:
            The best values, which the model has too.

        Raises:
            DivergedError: the loss is not finite, and no checkpoint is better than the beginning.
            ScoringError: the untuned model's scores are not finite.
        """
        trained = self.attempt(settings, folder)
        if trained.failed:
            raise DivergedError(
                f"{trained.diverged}, before any checkpoint was better than the untuned model; "
                f"lower the learning rate ({settings.rate:g}), with another --out"
            )
        return trained

    def attempt(self, settings: TuningSettings, folder: Path) -> Trained:
        """As `train`, but one that diverges before it has helped returns what it began with.

        One of several trainings that fails so does not take the others with it.
        """
        module = self._module(settings)
        if (finished := Trained.saved_in(folder)) is not None:
            set_values(module, finished.values)
            return finished
        trained = self._trained(settings, folder, module)
        if is_main():
            trained.save(folder)
            for path in folder.glob(f"{PREFIX}*"):
                shutil.rmtree(path)
        return trained

    def take_steps(self, settings: TuningSettings, folder: Path) -> None:
        """Take all steps, without a look at dev or a checkpoint."""
        trainer = PromptTrainer(
            self._module(settings),
            self.look,
            args=self._arguments(settings, folder, looks=False),
            train_dataset=self._lessons(settings),
            data_collator=self._collator(settings),
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.run(None)

    def _module(self, settings: TuningSettings) -> TunedModule:
        losses = [one.loss for one in self.assignments]
        return TunedModule(self.model, losses, settings.mlm_weight)

    def _trained(self, settings: TuningSettings, folder: Path, module: TunedModule) -> Trained:
        self.model.module.eval()
        start, before = values_of(module), self.look()[DECIDES]
        self.say(f"At the start: tempered cross-entropy {before:.4f} on dev")
        trainer = PromptTrainer(
            module,
            self.look,
            args=self._arguments(settings, folder),
            train_dataset=self._lessons(settings),
            eval_dataset=list(self.assignments[0].dev),
            data_collator=self._collator(settings),
            callbacks=[
                transformers.EarlyStoppingCallback(settings.patience, SAME),
                _Told(self.say),
            ],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        checkpoint = newest_whole(folder)
        diverged = ""
        try:
            if checkpoint is None or not _has_stopped(checkpoint, settings):
                trainer.run(checkpoint)
            else:
                trainer.take_over(checkpoint)
        except DivergedError as error:
            diverged = str(error)
            trainer._load_best_model()
        self.model.module.eval()
        trainer.accelerator.wait_for_everyone()  # they read checkpoints that are removed next
        state = trainer.state
        after = before if state.best_metric is None else float(state.best_metric)
        helped = state.best_model_checkpoint is not None and after < before - SAME
        if not helped:
            set_values(module, start)
        reason = STEPS if state.global_step >= settings.steps else PATIENCE
        return Trained(
            values=values_of(module),
            before=before,
            after=after if helped else before,
            step=(state.best_global_step or 0) if helped else 0,
            steps=state.global_step,
            reason=diverged or (reason if helped else NEVER_BETTER),
            seconds=trainer.seconds,
            history=tuple(_looks(state.log_history)),
            diverged=diverged,
        )

    def _lessons(self, settings: TuningSettings) -> Lessons:
        sizes = [len(one.learnt) for one in self.assignments]
        return Lessons(sizes, settings.steps, settings.batch, derive_seed(settings.seed, "order"))

    def _collator(self, settings: TuningSettings) -> Collator:
        encoder = self.model.encoder
        targets = self.targets or [None] * len(self.assignments)
        encoded = [
            Encoded(one, encoder, given)
            for one, given in zip(self.assignments, targets, strict=True)
        ]
        texts = TextLessons(self.texts, self.model) if settings.mlm_weight else None
        return Collator(encoded, texts)

    def _arguments(
        self, settings: TuningSettings, folder: Path, looks: bool = True
    ) -> transformers.TrainingArguments:
        workers = processes()
        if settings.batch % workers:
            raise InputError(
                f"a batch of {settings.batch} cannot be shared by {workers} processes; make it a "
                f"multiple of {workers}"
            )
        every = min(settings.evaluate_every, settings.steps)
        seed = derive_seed(settings.seed, "tuning")
        arguments = transformers.TrainingArguments(
            output_dir=str(folder),
            max_steps=settings.steps,
            per_device_train_batch_size=settings.batch // workers,
            learning_rate=settings.rate,
            warmup_steps=round(settings.warmup * settings.steps),
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_gradient,
            lr_scheduler_type="linear",
            optim="adamw_torch_fused",
            seed=seed,
            data_seed=seed,
            train_sampling_strategy="sequential",  # `Lessons` are in order
            eval_strategy="steps" if looks else "no",
            eval_steps=every,
            save_strategy="steps" if looks else "no",
            save_steps=every,
            save_total_limit=2,  # the best one and the newest one
            load_best_model_at_end=looks,
            metric_for_best_model=DECIDES,
            greater_is_better=False,
            restore_callback_states_from_checkpoint=True,
            logging_steps=every,
            report_to=list(self.report_to) or "none",
            run_name=f"{self.assignments[0].name} {settings.method}",
            disable_tqdm=True,
            remove_unused_columns=False,
            label_names=[],
            use_cpu=self.model.module.device.type == "cpu",
            bf16=settings.precision == "bfloat16",
            fp16=settings.precision == "float16",
        )
        if workers == 1:
            check_gpu(self.model.module.device, arguments.device)
        if arguments.n_gpu > 1:  # the model is on one; several want a process each
            arguments._n_gpu = 1
        return arguments


class _Told(transformers.TrainerCallback):
    """Tells of each look at dev."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """See `transformers.TrainerCallback`."""
        del args, control
        shown = ", ".join(
            f"{name.removeprefix('eval_')} {value:.4f}" for name, value in kwargs["metrics"].items()
        )
        self._say(f"Step {state.global_step} of {state.max_steps}: {shown}")


def _has_stopped(checkpoint: Path, settings: TuningSettings) -> bool:
    """Whether training had ended at a checkpoint; only what follows it was interrupted."""
    state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    early = state["stateful_callbacks"]["EarlyStoppingCallback"]
    waited = early["attributes"]["early_stopping_patience_counter"]
    return bool(waited >= settings.patience or state["global_step"] >= settings.steps)


def _looks(history: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """What was measured on dev, from the trainer's log."""
    return [
        {
            "step": float(row["step"]),
            **{
                name.removeprefix("eval_"): float(value)
                for name, value in row.items()
                if name.startswith("eval_")
            },
        }
        for row in history
        if f"eval_{DECIDES}" in row
    ]
