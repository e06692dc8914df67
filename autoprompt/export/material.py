"""What an export is made of: a prompt, where it came from, and labelled examples."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from autoprompt.errors import InputError
from autoprompt.lineage import told
from autoprompt.prediction import Predictor
from autoprompt.prompts import Calibration, Prompt
from autoprompt.runs import RunDirectory
from autoprompt.tasks.examples import Example
from autoprompt.verbalizers import Verbalizer

Files = Mapping[str, str | bytes]  # file name to content; the name "" is the export itself
CALIBRATION, WORDS = "calibration", "words"
DROPPABLE = (CALIBRATION, WORDS)


@dataclass(frozen=True)
class Origin:
    """Where an export came from.

    Attributes:
        prompt: the prompt; its digest, model, lineage, scores and versions are told.
        verdict: of the run that found it, where that is at hand.
        command: that began the run, or "".
        dropped: what was left out by wish.
    """

    prompt: Prompt
    verdict: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    dropped: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        prompt, model = self.prompt, self.prompt.model
        verdict = {
            key: self.verdict[key]
            for key in ("status", "metric", "lift", "low", "high", "p_value", "n")
            if key in self.verdict
        }
        return {
            "exported_by": "autoprompt",
            "prompt": prompt.digest,
            "template": prompt.template.text,
            "verbalizer": prompt.verbalizer.as_dict(),
            "model": dict(vars(model)) if model else None,
            "seed": prompt.seed,
            "lineage": told(prompt.lineage),
            "scores": {split: dict(found) for split, found in prompt.scores.items()},
            "splits": dict(prompt.splits),
            "verdict": verdict or None,
            "command": self.command,
            "versions": dict(prompt.versions),
            "left_out": list(self.dropped),
        }

    def lines(self) -> list[str]:
        """For comments: each a key and its JSON value, on one line whatever the texts hold."""
        return [f"{key}: {json.dumps(value)}" for key, value in self.to_dict().items()]

    @classmethod
    def of(cls, path: str | Path, prompt: Prompt) -> Origin:
        """Of a prompt's file, or of the run directory that holds it."""
        place = Path(path).absolute()
        for folder in (place, *place.parents[:2]):
            run = RunDirectory(folder)
            if not run.verdict.is_file():
                continue
            verdict = _record(run.verdict)
            if verdict.get("winner_prompt") == prompt.digest:
                return cls(prompt, verdict, str(run.read_config().get("command", "")))
            return cls(prompt, {}, str(run.read_config().get("command", "")))
        return cls(prompt)


@dataclass(frozen=True)
class Material:
    """What an exporter is given.

    Attributes:
        prompt: the prompt, without what was left out by wish.
        origin: where it came from.
        predictor: the prompt on its model, for formats that ask for it; else None.
        examples: labelled examples, for formats that ask for them; else none.
        place: where the export will stand.
    """

    prompt: Prompt
    origin: Origin
    place: Path
    predictor: Predictor | None = None
    examples: Sequence[Example] = ()

    @property
    def name(self) -> str:
        """A name for the prompt: letters, digits and underscores."""
        return f"autoprompt_{self.prompt.digest}"

    @property
    def family(self) -> str:
        """Of the model that the prompt was found on; "" where it names none."""
        return self.prompt.model.family if self.prompt.model else ""


class Format(Protocol):
    """A form that a prompt is written in for some other program.

    Attributes:
        name: as the user gives it.
        reader: the program that reads it, for people.
        suffix: of the file that is written; "" where the export is a directory of files.
        wants_examples: whether labelled examples are needed.
    """

    name: str
    reader: str
    suffix: str
    wants_examples: bool

    def wants_model(self, material: Material) -> bool:
        """Whether the prompt's model must be loaded."""
        ...

    def check(self, material: Material) -> None:
        """Refuse what the format cannot carry.

        Raises:
            InputError: the reason, and the way out.
        """
        ...

    def files(self, material: Material) -> Files:
        """The files, by name; the name "" is the export itself.

        Raises:
            InputError: as `check`, where only the writing shows it.
        """
        ...


def without(prompt: Prompt, dropped: Sequence[str]) -> Prompt:
    """A prompt without its calibration, or with the first word of each label alone."""
    if CALIBRATION in dropped:
        prompt = replace(prompt, calibration=Calibration())
    if WORDS in dropped:
        known = prompt.verbalizer
        first = {label: words[:1] for label, words in zip(known.labels, known.words, strict=True)}
        prompt = replace(prompt, verbalizer=Verbalizer.of(first, known.labels, known.aggregation))
    return prompt


def refused(format_name: str, what: str, why: str, way_out: str) -> InputError:
    """The error for a piece that a format cannot carry."""
    return InputError(f"format {format_name!r} cannot carry {what}: {why}; {way_out}")


def _record(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
