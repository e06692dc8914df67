"""An ensemble of prompts, and one model distilled from it (PET, Schick and Schütze 2021).

Each member is a prompt, tuned on the labelled examples or not. Their predictions are brought to the
temperature that suits each on dev, where PET softens all alike, and mixed by weights fitted on dev;
the mixture labels unlabelled texts, softly; and one model is trained on these and the labelled
examples, through one prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoprompt.errors import InputError, ModelError, listing
from autoprompt.objective import Scored, gold_indices, predict
from autoprompt.prompts import Prompt
from autoprompt.scoring.label_scores import Floats, log_softmax
from autoprompt.scoring.metrics import Ints
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.tasks.examples import Example, split_digest
from autoprompt.tuning.lessons import Assignment
from autoprompt.tuning.measuring import DECIDES, at_temperature, best_inverse_temperature
from autoprompt.tuning.plans import divergence_of, of_member
from autoprompt.tuning.settings import TuningSettings
from autoprompt.tuning.trained import Trained
from autoprompt.tuning.training import Course, Plan

PRIOR = 1.0  # examples' worth of belief that all members are equally good
ROUNDS = 200


@dataclass(frozen=True)
class Ensemble:
    """What is distilled.

    Attributes:
        prompts: of the members, two at least, with the same labels.
        tuned: whether each member is tuned before.
        unlabelled: texts that the mixture labels.
    """

    prompts: tuple[Prompt, ...]
    tuned: bool
    unlabelled: tuple[Example, ...]

    def __post_init__(self) -> None:
        if len(self.prompts) < 2:
            raise InputError(
                "an ensemble wants two prompts at least; name a run with more finalists, or leave "
                "it out"
            )
        if not self.unlabelled:
            raise InputError("an ensemble is distilled on unlabelled texts; give some")
        labels, given = self.prompts[0].verbalizer.labels, self.unlabelled[0].fields
        for prompt in self.prompts:
            if prompt.verbalizer.labels != labels:
                raise InputError("the prompts of an ensemble have different labels")
            if missing := [name for name in prompt.template.fields if name not in given]:
                raise InputError(
                    f"the unlabelled texts have no field {missing[0]!r}, which the template "
                    f"{prompt.shown!r} has; name its column as the task's data does"
                )

    @property
    def name(self) -> str:
        """What the result depends on."""
        members = ", ".join(prompt.digest for prompt in self.prompts)
        kind = "tuned" if self.tuned else "plain"
        return f"ensemble of {kind} {members} on {split_digest(self.unlabelled)}"

    def plan(self) -> Plan:
        """Members, weights, distillation, for one task."""

        def run(course: Course, settings: TuningSettings, folder: Path) -> Trained:
            (task,) = course.assignments
            self._check(task.prompt, settings)
            start = course.values(settings)
            on_dev, on_texts, members = [], [], []
            gold = gold_indices(task.dev, task.prompt.verbalizer.labels)
            for number, prompt in enumerate(self.prompts):
                course.say(f"Member {number + 1} of {len(self.prompts)}: {prompt.shown}")
                course.put(settings, start)
                if self.tuned:
                    own = course.with_examples([replace(task, prompt=prompt)])
                    place = folder / f"member-{number}"
                    members.append(own.attempt(of_member(settings, number), place))
                said = Scored(_predicted(course, prompt, task.dev), gold)
                inverse = min(best_inverse_temperature(said), 1.0)
                on_dev.append(at_temperature(said, inverse).log_probabilities)
                on_texts.append(log_softmax(_predicted(course, prompt, self.unlabelled) * inverse))
            weights = mixture_weights(np.stack(on_dev), gold)
            course.say(f"Weights of the members: {', '.join(f'{w:.2f}' for w in weights)}")
            taught, targets = self._taught(task, mixed(np.stack(on_texts), weights))
            course.put(settings, start)
            student = course.with_examples([taught], [targets])
            trained = student.train(settings, folder / "student")
            mixture = mixed(np.stack(on_dev), weights)
            told = [divergence_of("member", members), trained.diverged]
            return replace(
                trained,
                steps=trained.steps + sum(member.steps for member in members),
                seconds=trained.seconds + sum(member.seconds for member in members),
                diverged="; ".join(filter(None, told)),
                details={
                    "plan": "ensemble, distilled",
                    "weights": f"those of step {trained.step} of the student",
                    "members": [
                        {
                            "prompt": prompt.digest,
                            "template": prompt.shown,
                            "weight": float(weight),
                            DECIDES: cross_entropy(own, gold),
                        }
                        for prompt, weight, own in zip(self.prompts, weights, on_dev, strict=True)
                    ],
                    "tuned": self.tuned,
                    "cross_entropy": cross_entropy(mixture, gold),
                    "accuracy": float((mixture.argmax(1) == gold).mean()),
                    "unlabelled": len(self.unlabelled),
                },
            )

        return run

    def _check(self, own: Prompt, settings: TuningSettings) -> None:
        """Refuse a method that would train some members' words and not others'."""
        words = {word for prompt in self.prompts for word in prompt.verbalizer.all_words}
        strange = sorted(words - {*own.verbalizer.all_words})
        if settings.method == "head" and self.tuned and strange:
            raise ModelError(
                f"method 'head' trains the label words' rows of one prompt, and other prompts of "
                f"the ensemble have other words ({listing(strange, 3)}); choose another method, or "
                f"strategy 'p', which tunes no members"
            )

    def _taught(self, task: Assignment, predicted: Floats) -> tuple[Assignment, Any]:
        """The student's examples with their labels' probabilities."""
        labels = task.prompt.verbalizer.labels
        soft = np.exp(predicted)
        named = [
            Example(example.fields, labels[int(row.argmax())])
            for example, row in zip(self.unlabelled, soft, strict=True)
        ]
        hard = np.eye(len(labels))[gold_indices(task.train, labels)]
        both = replace(task, train=(*task.train, *named))
        # Those that the prompt shows are not learnt, and their rows go with them.
        kept = {id(example) for example in both.learnt}
        rows = [row for row, example in enumerate(both.train) if id(example) in kept]
        return both, np.concatenate([hard, soft])[rows]


def mixture_weights(log_probabilities: Floats, gold: Ints, prior: float = PRIOR) -> Floats:
    """Weights of a mixture of predictions, by expectation maximisation.

    Args:
        log_probabilities: shape `(members, examples, labels)`.
        gold: shape `(examples,)`.
        prior: examples' worth of belief that all members are equal, spread over them.

    Returns:
        Shape `(members,)`; they add up to 1.

    >>> sure, unsure = np.log([[0.9, 0.1]]), np.log([[0.5, 0.5]])
    >>> mixture_weights(np.stack([sure, unsure]), np.array([0]), prior=2.0).round(2).tolist()
    [0.58, 0.42]
    """
    likelihoods = np.exp(log_probabilities[:, np.arange(len(gold)), gold])  # (members, examples)
    members = len(likelihoods)
    weights: Floats = np.full(members, 1 / members)
    for _ in range(ROUNDS):
        shares = weights[:, None] * likelihoods
        shares /= np.maximum(shares.sum(0), 1e-300)
        counts = shares.sum(1) + prior / members
        weights = counts / counts.sum()
    return weights


def mixed(log_probabilities: Floats, weights: Floats) -> Floats:
    """Log-probabilities of the mixture: shape `(examples, labels)`."""
    found: Floats = np.log(np.einsum("m,mel->el", weights, np.exp(log_probabilities)) + 1e-12)
    return found


def cross_entropy(log_probabilities: Floats, gold: Ints) -> float:
    """The mean over examples of -log p(gold)."""
    return float(-log_probabilities[np.arange(len(gold)), gold].mean())


def _predicted(course: Course, prompt: Prompt, examples: Sequence[Example]) -> Floats:
    scorer = WordScorer(course.model, prompt.verbalizer.all_words, relative=True)
    return predict(prompt, scorer, examples)
