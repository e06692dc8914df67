"""Ways to come to one set of weights from several trainings: over seeds, or over folds.

Trainings that begin from the same weights end in one basin, so that the mean of their weights is a
model as good as their ensemble, and one to ship (model soups, Wortsman et al. 2022). Of LoRA the
two matrices are averaged, each by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from autoprompt.errors import DivergedError, InputError
from autoprompt.objective import Scored
from autoprompt.seeding import derive_seed
from autoprompt.tasks.examples import Example, label_counts
from autoprompt.tuning.lessons import Assignment
from autoprompt.tuning.measuring import DECIDES, measures_of
from autoprompt.tuning.settings import TuningSettings
from autoprompt.tuning.trained import Trained
from autoprompt.tuning.training import Course, Plan


def over_seeds(count: int) -> Plan:
    """Train with several seeds, and average; the best single one is kept where dev prefers it.

    Args:
        count: how many, two at least.

    Raises:
        InputError: `count` is lower.
    """
    if count < 2:
        raise InputError(f"averaging over seeds wants two at least, not {count}")

    def plan(course: Course, settings: TuningSettings, folder: Path) -> Trained:
        start = course.values(settings)
        members = []
        for number in range(count):
            course.put(settings, start)
            course.say(f"Seed {number + 1} of {count}")
            members.append(course.attempt(of_member(settings, number), folder / f"seed-{number}"))
        mean = _mean_of(members)
        best = min(members, key=lambda member: member.after)
        course.put(settings, mean)
        after = course.look()[DECIDES]
        averaged = after <= best.after
        course.put(settings, mean if averaged else best.values)
        return replace(
            best,
            values=mean if averaged else best.values,
            after=min(after, best.after),
            steps=sum(member.steps for member in members),
            seconds=sum(member.seconds for member in members),
            diverged=divergence_of("seed", members),
            details={
                "plan": f"{count} seeds",
                "weights": f"the mean over {_good(members)} seeds"
                if averaged
                else f"those of step {best.step}, of the best of {count} seeds",
                "averaged": averaged,
                f"{DECIDES}_of_each": [member.after for member in members],
                f"{DECIDES}_of_the_mean": after,
            },
        )

    return plan


def over_folds(count: int) -> Plan:
    """Train on all folds but one, stop by that one, for each; and average.

    Train and dev are cut anew. What a fold scores of its own examples, which it was not fitted on
    but stopped by, is what is known of the result: it is `Trained.held_out`. The untuned model is
    measured on the same ones. The mean itself has no such examples left: where even on those that
    most folds were fitted on it is worse than they are on held-out ones, `Trained.weights` says so.

    Args:
        count: how many, two at least.

    Raises:
        InputError: `count` is lower, or, when it runs, a label has fewer examples.
    """
    if count < 2:
        raise InputError(f"folds are two at least, not {count}")

    def plan(course: Course, settings: TuningSettings, folder: Path) -> Trained:
        start = course.values(settings)
        cuts = [folds_of(one, count, settings.seed) for one in course.assignments]
        members, untuned, scored = [], [], []
        for number in range(count):
            course.put(settings, start)
            course.say(f"Fold {number + 1} of {count}")
            own = course.with_examples([cut[number] for cut in cuts])
            at_the_start = own.scores()
            members.append(own.attempt(of_member(settings, number), folder / f"fold-{number}"))
            if not members[-1].failed:  # else the mean has learnt its examples from the others
                untuned.append(at_the_start)
                scored.append(own.scores())
        mean = _mean_of(members)
        course.put(settings, mean)
        everything = [replace(one, dev=(*one.learnt, *one.dev)) for one in course.assignments]
        of_mean = course.with_examples(everything).look()[DECIDES]
        before, after = (
            float(np.mean([measures_of(one)[DECIDES].value for one in _by_task(parts)]))
            for parts in (untuned, scored)
        )
        return replace(
            members[0],
            values=mean,
            before=before,
            after=after,
            step=max(member.step for member in members),
            steps=sum(member.steps for member in members),
            seconds=sum(member.seconds for member in members),
            diverged=divergence_of("fold", members),
            held_out=_by_task(scored),
            held_out_before=_by_task(untuned),
            details={
                "plan": f"{count} folds",
                "weights": f"the mean over {_good(members)} folds"
                + (", which is worse than they are" if of_mean > after else ""),
                f"{DECIDES}_of_the_mean": of_mean,
                "steps_of_each": [member.step for member in members],
                f"{DECIDES}_of_each": [member.after for member in members],
            },
        )

    return plan


def folds_of(one: Assignment, count: int, seed: int) -> list[Assignment]:
    """Train and dev cut into folds, stratified: for each fold an assignment that stops by it.

    Raises:
        InputError: a label has fewer examples than there are folds.
    """
    from sklearn.model_selection import StratifiedKFold

    rows: Sequence[Example] = [*one.learnt, *one.dev]
    fewest = min(label_counts(rows).items(), key=lambda item: item[1])
    if fewest[1] < count:
        raise InputError(
            f"label {fewest[0]!r} has {fewest[1]} examples in train and dev together, too few for "
            f"{count} folds; take fewer folds"
        )
    labels = [str(example.label) for example in rows]
    cut = StratifiedKFold(count, shuffle=True, random_state=derive_seed(seed, "tuning folds"))
    return [
        replace(one, train=tuple(rows[i] for i in fit), dev=tuple(rows[i] for i in held))
        for fit, held in cut.split(np.zeros(len(rows)), labels)
    ]


def of_member(settings: TuningSettings, number: int) -> TuningSettings:
    """The settings of one of several trainings; the first one has the given seed."""
    seed = derive_seed(settings.seed, "member", number) if number else settings.seed
    return replace(settings, seed=seed)


def divergence_of(kind: str, members: Sequence[Trained]) -> str:
    """Which of several trainings diverged, and how; "" for none."""
    return "; ".join(
        f"{kind} {number} of {len(members)}: {member.diverged}"
        for number, member in enumerate(members, start=1)
        if member.diverged
    )


def _mean_of(members: Sequence[Trained]) -> dict[str, torch.Tensor]:
    """The mean of the values of those that did not fail.

    Raises:
        DivergedError: all failed.
    """
    good = [member.values for member in members if not member.failed]
    if not good:
        raise DivergedError(
            f"all {len(members)} trainings diverged before they had helped, the first one so: "
            f"{members[0].diverged}; lower the learning rate, with another --out"
        )
    return {name: torch.stack([values[name] for values in good]).mean(0) for name in good[0]}


def _good(members: Sequence[Trained]) -> str:
    """How many of several trainings are in their mean, for people."""
    good = sum(not member.failed for member in members)
    return str(good) if good == len(members) else f"{good} of {len(members)}"


def _by_task(scored: Sequence[Sequence[Scored]]) -> tuple[Scored, ...]:
    """What folds have scored, given for each fold by task, as one for each task."""
    return tuple(_joined(parts) for parts in zip(*scored, strict=True))


def _joined(parts: Sequence[Scored]) -> Scored:
    return Scored(
        np.concatenate([part.log_probabilities for part in parts]),
        np.concatenate([part.gold for part in parts]),
    )
