"""Drawing train, dev and test, and what a careful reader would notice about them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from autoprompt.errors import TaskError, listing
from autoprompt.seeding import derive_seed, generator
from autoprompt.tasks.examples import Example, label_counts, normalised_texts

IMBALANCE = 3.0
SHOWN = 5  # labels in a message


def split_off(
    examples: Sequence[Example], share: float, seed: int, name: str
) -> tuple[list[Example], list[Example]]:
    """Cut a stratified part off, with scikit-learn's splitter.

    Args:
        examples: labelled, two at least of each label.
        share: of the part that is cut off, between 0 and 1.
        seed: the split's seed.
        name: "dev" or "test"; it names the random numbers and the message.

    Returns:
        The rest and the part, each in the order of `examples`; both have every label, and texts
        that differ only in case or white space stay together.

    Raises:
        TaskError: a label has fewer than two examples, or there are too few examples.
    """
    from sklearn.model_selection import train_test_split

    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        groups[normalised_texts(example)].append(index)
    members = list(groups.values())
    heads = [examples[group[0]] for group in members]
    counts = label_counts(heads)
    rare = [label for label in label_counts(examples) if counts.get(label, 0) < 2]
    part = max(round(share * len(heads)), len(counts))
    if rare or len(heads) - part < len(counts):
        shown = listing([f"{label}: {counts.get(label, 0)}" for label in rare or counts], SHOWN)
        raise TaskError(
            f"cannot split {name} off {len(heads)} different examples: every label needs one in "
            f"both parts ({shown}); add examples or give a {name} file"
        )
    rest, cut = train_test_split(
        range(len(heads)),
        test_size=part,
        random_state=derive_seed(seed, "split", name),
        stratify=[example.label for example in heads],
    )
    # The splitter rounds a rare label's share down to nothing; one of its examples moves over.
    for label in counts.keys() - {heads[i].label for i in cut}:
        cut.append(next(i for i in rest if heads[i].label == label))
        rest.remove(cut[-1])
    kept, gone = (sorted(i for g in side for i in members[g]) for side in (rest, cut))
    return [examples[i] for i in kept], [examples[i] for i in gone]


def draw_k_shot(
    examples: Sequence[Example], k: int, seed: int, allow_fewer: bool = False
) -> tuple[list[Example], list[Example]]:
    """k examples a label for train and k others for dev (LM-BFF, Gao et al. 2021, section 3).

    Args:
        examples: the train file.
        k: examples a label in each of the two splits.
        seed: the draw's seed; train and dev are disjoint: of texts that differ only in case or
            white space, one is drawn at most.
        allow_fewer: halve a label that has fewer than 2k examples instead of refusing it.

    Raises:
        TaskError: a label has fewer than 2k distinct examples (fewer than two, where
            `allow_fewer` is true).
    """
    if k < 1:
        raise TaskError(f"k must be at least 1, not {k}")
    by_label: dict[str, list[Example]] = defaultdict(list)
    seen: set[tuple[str, ...]] = set()
    for example in examples:
        members = by_label[str(example.label)]
        if (key := normalised_texts(example)) not in seen:
            seen.add(key)
            members.append(example)
    train: list[Example] = []
    dev: list[Example] = []
    for label in sorted(by_label):
        pool = by_label[label]
        needed = 2 if allow_fewer else 2 * k
        if len(pool) < needed:
            raise TaskError(
                f"--k-shot {k} needs {needed} distinct examples a label (train and dev), label "
                f"{label!r} has {len(pool)}; "
                + ("add examples" if allow_fewer else "lower k or pass --allow-fewer")
            )
        each = min(k, len(pool) // 2)
        order = generator(seed, "k-shot", label).permutation(len(pool))
        train += [pool[i] for i in order[:each]]
        dev += [pool[i] for i in order[each : 2 * each]]
    return _shuffled(train, seed, "train"), _shuffled(dev, seed, "dev")


def _shuffled(examples: list[Example], seed: int, name: str) -> list[Example]:
    # Labels in turn would bias every block of dev examples that a search looks at first.
    order = generator(seed, "order", name).permutation(len(examples))
    return [examples[i] for i in order]


def shuffled_by_label(examples: Sequence[Example], seed: int) -> list[Example]:
    """A seeded order in which every prefix has nearly the labels' overall shares."""
    by_label: dict[str, list[Example]] = defaultdict(list)
    for example in _shuffled(list(examples), seed, "blocks"):
        by_label[str(example.label)].append(example)
    ranked = [
        ((position + 0.5) / len(members), label, example)
        for label, members in by_label.items()
        for position, example in enumerate(members)
    ]
    return [example for _, _, example in sorted(ranked, key=lambda item: item[:2])]


def observations(splits: Mapping[str, Sequence[Example]]) -> tuple[list[str], list[str]]:
    """What to tell the user about the splits.

    Returns:
        Notes, and leaks: those notes that mean that a score cannot be trusted.
    """
    notes: list[str] = []
    leaks: list[str] = []
    labels_of: dict[tuple[str, ...], set[str | None]] = defaultdict(set)
    homes: dict[tuple[str, ...], set[str]] = defaultdict(set)
    known = {label for examples in splits.values() for label in label_counts(examples)}
    for name, examples in splits.items():
        keys = [normalised_texts(example) for example in examples]
        for key, example in zip(keys, examples, strict=True):
            labels_of[key].add(example.label)
            homes[key].add(name)
        if repeated := len(keys) - len(set(keys)):
            notes.append(f"{name}: {repeated} of {len(keys)} examples repeat another one")
        if empty := sum(not any(text.strip() for text in key) for key in keys):
            notes.append(f"{name}: {empty} examples have no text; they are kept")
        counts = label_counts(examples)
        if absent := sorted(known - counts.keys()):
            notes.append(f"{name}: no example has the label {listing(absent)}")
        if counts and max(counts.values()) >= IMBALANCE * min(counts.values()):
            label, count = next(iter(counts.items()))
            notes.append(
                f"{name}: labels are unbalanced; always answering {label!r} scores "
                f"{count / len(examples):.3f} accuracy, so consider `metric: macro_f1`"
            )
    if torn := sum(len(labels) > 1 for labels in labels_of.values()):
        notes.append(f"{torn} texts stand with two labels or more")
    names = list(splits)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            if shared := sum({first, second} <= home for home in homes.values()):
                leaks.append(f"{shared} texts of {second} stand in {first} too")
    return notes + leaks, leaks
