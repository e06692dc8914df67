"""Turning the corpus into packed token sequences, without the lines that overlap a task.

Three files are written below the work directory: ``train.npz`` and ``held_out.npz`` (``ids``:
uint16 tokens of all sequences without [CLS] and [SEP]; ``ends``: where each sequence stops;
``source``: the number of its source) and ``counts.json`` (what was read, dropped and kept).
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from experiments.embedded.corpus import Document, read_documents, source_path, split_sentences
from experiments.embedded.overlap import OverlapFilter, task_texts
from experiments.embedded.recipe import Packing, Recipe, Source, read_recipe

BLOCK_LINES = 24
BATCH_BLOCKS = 1500
FEWEST_TOKENS = 3
FEWEST_HELD_OUT_WORDS = 4
FEW_DOCUMENTS = 500


@dataclass
class Counts:
    """What happened to one source; lines and characters as read, sequences and tokens as packed."""

    lines: int = 0
    dropped_lines: int = 0
    characters: int = 0
    held_out_documents: int = 0
    sequences: int = 0
    tokens: int = 0


@dataclass
class Sequences:
    """Growing lists of token sequences with the number of their source."""

    ids: list[np.ndarray] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    source: list[int] = field(default_factory=list)

    def add(self, tokens: list[int], source: int) -> None:
        """Append one sequence of token ids (no special tokens)."""
        self.ids.append(np.array(tokens, dtype=np.uint16))
        self.lengths.append(len(tokens))
        self.source.append(source)

    def save(self, path: Path) -> None:
        """Write the sequences as one ``.npz`` file."""
        np.savez(
            path,
            ids=np.concatenate(self.ids),
            ends=np.cumsum(self.lengths, dtype=np.int64),
            source=np.array(self.source, dtype=np.uint8),
        )


def drop_overlaps(
    documents: list[Document], overlap: OverlapFilter, counts: Counts
) -> list[Document]:
    """Return the documents without the lines that share a run of words with a task."""
    lines = [line for document in documents for line in document]
    shared = iter(overlap.overlapping(lines))
    counts.lines += len(lines)
    counts.characters += sum(map(len, lines))
    kept = [[line for line in document if not next(shared)] for document in documents]
    counts.dropped_lines += len(lines) - sum(map(len, kept))
    return [document for document in kept if document]


def choose_held_out(documents: list[Document], words: int, chooser: random.Random) -> set[int]:
    """Choose whole documents that hold at least the given number of words together.

    Very short documents are never chosen; from a source of few documents only the shorter half
    is, so that a collection of novels does not lose its longest to the measurement.
    """
    sizes = [sum(len(line.split()) for line in document) for document in documents]
    order = [at for at, size in enumerate(sizes) if size >= FEWEST_HELD_OUT_WORDS]
    order.sort(key=lambda at: sizes[at])
    if len(order) < FEW_DOCUMENTS:
        order = order[: max(1, (len(order) + 1) // 2)]
    chooser.shuffle(order)
    chosen: set[int] = set()
    held = 0
    for at in order:
        if held >= words:
            break
        chosen.add(at)
        held += sizes[at]
    return chosen


def blocks_of(documents: list[Document]) -> list[Document]:
    """Cut long documents into blocks of neighbouring lines, the unit that is sampled."""
    return [
        document[start : start + BLOCK_LINES]
        for document in documents
        for start in range(0, len(document), BLOCK_LINES)
    ]


def tokenised(blocks: list[Document], tokenizer: Tokenizer) -> Iterator[list[list[int]]]:
    """Yield every block as a list of sentences, each a list of token ids."""
    for start in range(0, len(blocks), BATCH_BLOCKS):
        part = [
            [sentence for line in block for sentence in split_sentences(line)]
            for block in blocks[start : start + BATCH_BLOCKS]
        ]
        flat = [sentence for sentences in part for sentence in sentences]
        encodings = iter(tokenizer.encode_batch_fast(flat, add_special_tokens=False))
        for sentences in part:
            yield [next(encodings).ids for _ in sentences]


def draw_length(packing: Packing, chooser: random.Random) -> int:
    """Draw a target length in tokens from the bands of the recipe."""
    point = chooser.random()
    for probability, fewest, most in packing.lengths:
        if point < probability:
            return chooser.randint(fewest, most)
        point -= probability
    return packing.lengths[-1][2]


def cut(
    sentences: list[list[int]], packing: Packing, chooser: random.Random
) -> Iterator[list[int]]:
    """Yield sequences of whole sentences (a sentence too long for a row is cut into pieces)."""
    longest = packing.row_length - 2
    target = draw_length(packing, chooser)
    sequence: list[int] = []
    for sentence in filter(None, sentences):
        if sequence and len(sequence) + len(sentence) > target:
            if len(sequence) >= FEWEST_TOKENS:
                yield sequence
            sequence = []
            target = draw_length(packing, chooser)
        rest = sentence
        while len(rest) > longest:
            yield rest[:longest]
            rest = rest[longest:]
        sequence = sequence + rest
    if len(sequence) >= FEWEST_TOKENS:
        yield sequence


class Packer:
    """Packs the sources of a recipe one after another."""

    def __init__(self, recipe: Recipe, tokenizer: Tokenizer, overlap: OverlapFilter) -> None:
        """Start with nothing packed."""
        self.recipe = recipe
        self.tokenizer = tokenizer
        self.overlap = overlap
        self.train = Sequences()
        self.held_out = Sequences()
        self.counts: dict[str, Counts] = {}

    def add_source(self, number: int, name: str, source: Source, path: Path) -> Counts:
        """Read, filter, split off held-out documents, tokenise and cut one source."""
        counts = self.counts[name] = Counts()
        packing = self.recipe.packing
        chooser = random.Random(f"{self.recipe.seed} pack {name}")
        raw = list(read_documents(path, source.lines_are_documents))
        documents = drop_overlaps(raw, self.overlap, counts)
        held = choose_held_out(documents, packing.held_out_words, chooser)
        counts.held_out_documents = len(held)
        self._cut_into(self.held_out, number, [documents[at] for at in sorted(held)], 1, chooser)
        rest = [document for at, document in enumerate(documents) if at not in held]
        before = len(self.train.lengths)
        self._cut_into(self.train, number, rest, source.passes, chooser)
        counts.sequences = len(self.train.lengths) - before
        counts.tokens = sum(self.train.lengths[before:])
        return counts

    def _cut_into(
        self,
        target: Sequences,
        number: int,
        documents: list[Document],
        passes: float,
        chooser: random.Random,
    ) -> None:
        blocks = blocks_of(documents)
        if passes < 1:
            blocks = [block for block in blocks if chooser.random() < passes]
        for sentences in tokenised(blocks, self.tokenizer):
            whole = int(max(passes, 1))
            for _ in range(whole + (passes > 1 and chooser.random() < passes - whole)):
                for sequence in cut(sentences, self.recipe.packing, chooser):
                    target.add(sequence, number)


def write_counts(packer: Packer, path: Path) -> None:
    """Write the counts of every source and the size of the overlap filter."""
    report = {
        "overlap_words": packer.overlap.length,
        "task_runs": len(packer.overlap),
        "sources": {name: vars(counts) for name, counts in packer.counts.items()},
    }
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Pack the corpus below the work directory."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--tasks", type=Path, required=True, help="folder of task files to avoid")
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    recipe = read_recipe(arguments.config)
    tokenizer = Tokenizer.from_file(str(arguments.work / "tokenizer" / "tokenizer.json"))
    overlap = OverlapFilter(task_texts(arguments.tasks), recipe.packing.overlap_words)
    packer = Packer(recipe, tokenizer, overlap)
    for number, (name, source) in enumerate(recipe.sources.items()):
        began = time.monotonic()
        counts = packer.add_source(number, name, source, source_path(arguments.corpus, name))
        print(f"{name}: {counts} in {time.monotonic() - began:.0f} s", flush=True)
    packer.train.save(arguments.work / "train.npz")
    packer.held_out.save(arguments.work / "held_out.npz")
    write_counts(packer, arguments.work / "counts.json")


if __name__ == "__main__":
    main()
