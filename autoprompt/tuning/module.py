"""The module that is trained: a language model with the loss of its label words at the mask.

The score that is trained is the score that a prediction has: the same encoder, the same pass
through the model (without padding where it can be, the head at the mask alone), the same words,
aggregation and calibration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from autoprompt.models.gradients import LabelLoss
from autoprompt.models.transformer import TransformerModel
from autoprompt.tuning.lessons import Batch, Part
from autoprompt.tuning.texts import TextBatch


class TunedModule(torch.nn.Module):
    """A language model that says how wrong it is.

    Args:
        model: its module is this one's only child.
        losses: of each task.
        mlm_weight: of the auxiliary loss.
    """

    def __init__(
        self, model: TransformerModel, losses: Sequence[LabelLoss], mlm_weight: float = 0.0
    ) -> None:
        super().__init__()
        self.module = model.module
        self._model = model
        self._losses = tuple(losses)
        self._mlm_weight = mlm_weight

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The mean loss of a batch."""
        examples = sum(len(part.targets) for part in batch.parts)
        shares = [self._part_loss(part) * (len(part.targets) / examples) for part in batch.parts]
        loss = torch.stack(shares).sum()
        if batch.texts is not None:
            loss = loss + self._mlm_weight * self._text_loss(batch.texts)
        return {"loss": loss}

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that are trained, by name; one that stands in two places counts once."""
        return {name: each for name, each in self.named_parameters() if each.requires_grad}

    def _part_loss(self, part: Part) -> torch.Tensor:
        loss = self._losses[part.task]
        scores = self._model.label_scores(part.variants, loss, relative=True)
        return loss.expected(scores, part.targets.to(scores.device))

    def _text_loss(self, texts: TextBatch) -> torch.Tensor:
        logits: Any = self._model.mask_logits(texts.encodings)
        targets = texts.targets.to(logits.device)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
