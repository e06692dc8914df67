"""What an audit found: frozen values with a JSON form and words for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from autoprompt.robustness import Spread
from autoprompt.scoring.metrics import Measure, wilson


@dataclass(frozen=True)
class Flips:
    """How many of `n` predictions become another label; `n` is above 0."""

    count: int
    n: int

    @property
    def measure(self) -> Measure:
        """The share that flips, with Wilson's interval."""
        return Measure(self.count / self.n, self.n, *wilson(self.count, self.n))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"count": self.count, **self.measure.to_dict()}

    def __str__(self) -> str:
        share = self.measure
        interval = f"95 % interval {share.low:.1%} to {share.high:.1%}"
        return f"{self.count} of {self.n} examples ({share.value:.1%}, {interval})"


@dataclass(frozen=True)
class Change:
    """A prompt under one change of its wording or its inputs.

    Attributes:
        name: of the change.
        metric: on all examples, changed.
        difference: the metric's value less that of the unchanged prompt.
        flips: among the examples whose input differs; the others cannot flip.
        shift: mean absolute change of the right label's probability, over the same examples.
    """

    name: str
    metric: Measure
    difference: float
    flips: Flips
    shift: float

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        nested = {"metric": self.metric.to_dict(), "flips": self.flips.to_dict()}
        return {**asdict(self), **nested}


@dataclass(frozen=True)
class PairAudit:
    """Two groups exchanged, each example once.

    Attributes:
        groups: the first and the second.
        flips: among the examples that name one of the two at least.
        shifts: label to the mean change of its probability from the first group to the second,
            with a Student interval; over the examples that name one of the two only, and empty
            where there is none.
    """

    groups: tuple[str, str]
    flips: Flips
    shifts: Mapping[str, Measure]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "groups": list(self.groups),
            "flips": self.flips.to_dict(),
            "shifts": {label: value.to_dict() for label, value in self.shifts.items()},
        }


@dataclass(frozen=True)
class FamilyAudit:
    """A family of groups, for example gender.

    Attributes:
        name: of the family.
        flips: examples that flip under one of the exchanges at least, among those that allow one.
            Exchanges of one example are not independent; examples are.
        pairs: each two groups that were compared.
    """

    name: str
    flips: Flips
    pairs: tuple[PairAudit, ...]

    @property
    def compared(self) -> int:
        """How many changed examples were compared with their originals."""
        return sum(pair.flips.n for pair in self.pairs)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "name": self.name,
            "compared": self.compared,
            "flips": self.flips.to_dict(),
            "pairs": [pair.to_dict() for pair in self.pairs],
        }


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        metric: its name.
        unchanged: the prompt as it is, on the examples as they are.
        wordings: one for each other wording of the template.
        spread: of the metric over the wordings, the prompt as it is among them.
        inputs: one for each change of the examples' texts.
        families: the bias audit; a family of which no example names a group is not there.
        share, seed: of the words that were discarded.
        notes: what was left out, and why.
    """

    metric: str
    unchanged: Measure
    wordings: tuple[Change, ...]
    spread: Spread
    inputs: tuple[Change, ...]
    families: tuple[FamilyAudit, ...]
    share: float
    seed: int
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The result in a few sentences."""
        spread = self.spread
        words = [
            f"Over {spread.wordings} wordings of the prompt the {self.metric} lies between "
            f"{spread.low:.3f} and {spread.high:.3f} (as it is: {self.unchanged.value:.3f}; "
            f"standard deviation {spread.deviation:.3f})."
        ]
        worst = min(self.inputs, key=lambda change: change.difference, default=None)
        if worst is not None and worst.difference < 0:
            words.append(
                f"The changed input that does worst is {worst.name!r} ({worst.difference:+.3f})."
            )
        else:
            words.append(f"No changed input lowers the {self.metric}.")
        for family in self.families:
            words.append(
                f"With only the {family.name} terms exchanged, the prediction flips in "
                f"{family.flips}."
            )
        if not self.families:
            words.append("No example names a group of people, so this says nothing about bias.")
        return " ".join(words)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "metric": self.metric,
            "unchanged": self.unchanged.to_dict(),
            "wordings": [change.to_dict() for change in self.wordings],
            "spread": self.spread.to_dict(),
            "inputs": [change.to_dict() for change in self.inputs],
            "families": [family.to_dict() for family in self.families],
            "share": self.share,
            "seed": self.seed,
            "notes": list(self.notes),
            "summary": self.summary,
        }
