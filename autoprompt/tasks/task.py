"""A task: its splits, labels and metric, loaded from a directory or a single file."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autoprompt.errors import TaskError, UnknownNameError, listing
from autoprompt.files import digest
from autoprompt.tasks.columns import Columns, read_description
from autoprompt.tasks.examples import Example, label_counts, split_digest
from autoprompt.tasks.reading import READERS, read_rows
from autoprompt.tasks.splits import draw_k_shot, observations, shuffled_by_label, split_off

SAMPLES = Path(__file__).parent / "samples"
TEST_SHARE = 0.25
DEV_SHARE = 0.33


@dataclass(frozen=True)
class Task:
    """A set of examples with its labels and metric.

    Attributes:
        name: for people.
        labels: the labels' names in a fixed order; index i is label i everywhere.
        metric: the selection metric, one of `columns.METRICS`.
        train, dev, test: labelled examples. Train fits, dev selects, test is read once.
        notes: what a careful reader would notice about the splits.
        drawn: the splits that are not whole files, but were drawn from one.
        columns: of its files: which ones hold texts and label, and how labels are named.
    """

    name: str
    fields: tuple[str, ...]
    labels: tuple[str, ...]
    metric: str
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    notes: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()
    columns: Columns = field(default_factory=Columns)

    @property
    def splits(self) -> dict[str, tuple[Example, ...]]:
        """Split name to examples."""
        return {"train": self.train, "dev": self.dev, "test": self.test}

    def digests(self) -> dict[str, str]:
        """Split name to digest: what a result was measured on."""
        return {name: split_digest(examples) for name, examples in self.splits.items()}

    def fingerprint(self) -> str:
        """One digest of everything that a run depends on, the order of examples included."""
        rows = [[[*e.key, e.label] for e in examples] for examples in self.splits.values()]
        return digest([self.labels, self.metric, rows])

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        k_shot: int | None = None,
        seed: int = 0,
        columns: Columns | None = None,
        encoding: str = "utf-8",
        strict: bool = False,
        allow_fewer: bool = False,
    ) -> Task:
        """Load a task.

        Args:
            path: a directory with `train`, `dev` and `test` files (dev and test may be missing:
                they are split off, stratified), a single file (all three are split off it), or
                the name of a sample task. A `task.yaml` in the same place describes it.
            k_shot: draw k examples a label for train and k others for dev from the train file;
                a dev file is then left unused.
            seed: of every draw.
            columns: what they name overrides `task.yaml` and guessing.
            encoding: of text files.
            strict: refuse texts that stand in two splits.
            allow_fewer: let `k_shot` take less of a label that is too small.

        Raises:
            TaskError: see the message.
        """
        found = _locate(Path(path))
        files = _files_of(found)
        folder = found if found.is_dir() else found.parent
        columns = _described(columns or Columns(), folder / "task.yaml")
        rows = {split: read_rows(file, encoding) for split, file in files.items()}
        raw: dict[str, list[Example]] = {}
        for split, file in files.items():
            columns = columns.completed(list(rows[split][0].values), str(file))
            raw[split] = [columns.example(row) for row in rows[split]]
        spellings = columns.spelling_notes([row for part in rows.values() for row in part])
        train, dev, test = _arrange(raw, k_shot, seed, allow_fewer, str(found))
        labels = _labels_of(columns, train, {"dev": dev, "test": test}, str(found))
        notes, leaks = observations({"train": train, "dev": dev, "test": test})
        if strict and leaks:
            raise TaskError(f"{found}: {'; '.join(leaks)}; drop them, or leave --strict out")
        return cls(
            name=columns.name or (found.stem if found.is_file() else found.resolve().name),
            fields=tuple(columns.fields),
            labels=labels,
            metric=columns.metric,
            train=tuple(train),
            dev=tuple(shuffled_by_label(dev, seed)),
            test=tuple(test),
            drawn=_drawn(files, k_shot),
            notes=tuple(spellings + notes),
            columns=Columns(columns.fields, columns.label, columns.labels),
        )

    def with_metric(self, metric: str) -> Task:
        """This task with another selection metric."""
        return replace(self, metric=metric)


def load_examples(
    path: Path,
    columns: Columns,
    labelled: bool,
    encoding: str = "utf-8",
    wanted: Sequence[str] = (),
    known: Columns | None = None,
) -> list[Example]:
    """The examples of one file, for scoring and predicting.

    Args:
        path: a data file.
        columns: as far as they are known; a `task.yaml` beside the file fills the rest.
        labelled: whether the label column must be there.
        encoding: of text files.
        wanted: the fields that are needed; columns of these names need no guessing.
        known: the columns of earlier data; what has the same names here needs no guessing.
    """
    if not (columns.fields and columns.label):
        columns = _described(columns, path.parent / "task.yaml")
    rows = read_rows(path, encoding)
    header = list(rows[0].values)
    columns = columns.recalled(known or Columns(), header, wanted)
    columns = columns.completed(header, str(path), labelled)
    return [columns.example(row, labelled) for row in rows]


def sample_tasks() -> list[str]:
    """The names of the tasks that ship with autoprompt."""
    return sorted(child.name for child in SAMPLES.iterdir() if child.is_dir())


def _described(columns: Columns, description: Path) -> Columns:
    return columns.over(read_description(description)) if description.is_file() else columns


def _locate(path: Path) -> Path:
    if os.path.exists(path):  # unlike Path.exists, never raises: a name may be too long
        return path
    samples = sample_tasks()
    if len(path.parts) == 1 and path.name in samples:
        return SAMPLES / path.name
    if len(path.parts) == 1 and not path.suffix:
        raise UnknownNameError("task (no such path, and no sample task)", str(path), samples)
    raise TaskError(
        f"{path} does not exist; give a directory, a data file, or a sample task's name"
    )


def _files_of(path: Path) -> dict[str, Path]:
    """Split name to file; a single file stands for "train"."""
    if path.is_file():
        return {"train": path}
    files: dict[str, Path] = {}
    for split in ("train", "dev", "test"):
        found = [path / f"{split}{suffix}" for suffix in READERS]
        found = [file for file in found if file.is_file()]
        if len(found) > 1:
            raise TaskError(f"{path}: two files for {split}: {listing([f.name for f in found])}")
        if found:
            files[split] = found[0]
    if "train" not in files:
        raise TaskError(
            f"{path} has no train file; expected one of "
            f"{', '.join('train' + suffix for suffix in READERS)}"
        )
    return files


def _drawn(files: dict[str, Path], k_shot: int | None) -> tuple[str, ...]:
    parts = [name for name in ("dev", "test") if name not in files]
    if k_shot is not None and "dev" not in parts:
        parts.insert(0, "dev")
    return ("train", *parts) if parts else ()


def _arrange(
    raw: dict[str, list[Example]], k_shot: int | None, seed: int, allow_fewer: bool, where: str
) -> tuple[list[Example], list[Example], list[Example]]:
    train = raw["train"]
    if len(label_counts(train)) < 2:
        only = next(iter(label_counts(train)), None)
        raise TaskError(
            f"{where}: all train examples have the label {only!r}; a task needs two labels at "
            f"least: add examples of another label"
        )
    if "test" in raw:
        test = raw["test"]
    else:
        train, test = split_off(train, TEST_SHARE, seed, "test")
    if k_shot is not None:
        train, dev = draw_k_shot(train, k_shot, seed, allow_fewer)
    elif "dev" in raw:
        dev = raw["dev"]
    else:
        train, dev = split_off(train, DEV_SHARE, seed, "dev")
    return train, dev, test


def _labels_of(
    columns: Columns,
    train: Sequence[Example],
    others: dict[str, Sequence[Example]],
    where: str,
) -> tuple[str, ...]:
    seen = label_counts(train)
    labels = tuple(dict.fromkeys(columns.labels.values())) or tuple(sorted(seen))
    if missing := [label for label in labels if label not in seen]:
        raise TaskError(
            f"{where}: no train example has the label {listing(missing)}; "
            f"add some, or take the label out of task.yaml"
        )
    for name, examples in others.items():
        if unknown := [label for label in label_counts(examples) if label not in labels]:
            raise TaskError(
                f"{where}: {name} has labels that train lacks: {listing(unknown)}; "
                f"train has {listing(labels)}"
            )
    return labels
