"""Turning the corpus into rows of token ids, without the lines that overlap a task.

Three files are written below the work directory: ``train.npz`` and ``held_out.npz`` (see ``Rows``)
and ``counts.json`` (what was read, dropped and kept). The sources are packed side by side.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from autoprompt.tasks.task import SAMPLES
from experiments.embedded.batches import Rows, rows_of_sequences, rows_of_stream, special_ids
from experiments.embedded.corpus import Document, read_documents, source_path, split_sentences
from experiments.embedded.overlap import OverlapFilter, task_texts, words_of
from experiments.embedded.recipe import Packing, Recipe, read_recipe
from experiments.embedded.vocabulary import END_OF_TEXT

BLOCK_LINES = 24
BATCH_BLOCKS = 1500
FEWEST_TOKENS = 3
FEWEST_HELD_OUT_WORDS = 4
FEW_DOCUMENTS = 500


@dataclass
class Counts:
    """What happened to one source; lines and characters as read, rows and tokens as packed."""

    lines: int = 0
    dropped_lines: int = 0
    characters: int = 0
    held_out_documents: int = 0
    repeated_documents: int = 0
    """Documents that were to be held out and stand in the rest as well, so that they were not."""
    rows: int = 0
    tokens: int = 0


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


def plain(document: Document) -> str:
    """The words of a document: two that differ in nothing else are the same."""
    return " ".join(words_of(" ".join(document)))


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


def copies(
    documents: list[Document], passes: float, chooser: random.Random
) -> Iterator[list[Document]]:
    """Yield the blocks of each pass; a fraction of a pass is a sample of the blocks."""
    blocks = blocks_of(documents)
    while passes > 0:
        yield [block for block in blocks if passes >= 1 or chooser.random() < passes]
        passes -= 1


class Packer:
    """Packs one source after another."""

    def __init__(self, recipe: Recipe, work: Path, tasks: Path) -> None:
        """Read the tokenizer of the work directory and the tasks to avoid."""
        self.recipe = recipe
        self.tokenizer = Tokenizer.from_file(str(work / "tokenizer" / "tokenizer.json"))
        if not any(tasks.rglob("*.jsonl")):
            raise ValueError(f"no *.jsonl file below {tasks}; name the folder of tasks to avoid")
        texts = itertools.chain(task_texts(tasks), task_texts(SAMPLES))
        self.overlap = OverlapFilter(texts, recipe.packing.overlap_words)

    def pack(self, name: str, corpus: Path) -> tuple[Counts, np.ndarray, np.ndarray]:
        """Read, filter, split off held-out documents and lay out one source.

        Returns the counts and the rows for training and for measuring.
        """
        source, packing = self.recipe.sources[name], self.recipe.packing
        counts = Counts()
        chooser = random.Random(f"{self.recipe.seed} pack {name}")
        raw = list(read_documents(source_path(corpus, name), source.lines_are_documents))
        documents = drop_overlaps(raw, self.overlap, counts)
        held = choose_held_out(documents, packing.held_out_words, chooser)
        rest = [document for at, document in enumerate(documents) if at not in held]
        known = {plain(document) for document in rest}
        kept = [documents[at] for at in sorted(held) if plain(documents[at]) not in known]
        counts.held_out_documents = len(kept)
        counts.repeated_documents = len(held) - len(kept)
        measured = self._rows(kept, 1, chooser)
        train = self._rows(rest, source.passes, chooser)
        counts.rows = len(train)
        counts.tokens = int((train != 0).sum())
        return counts, train, measured

    def _rows(self, documents: list[Document], passes: float, chooser: random.Random) -> np.ndarray:
        if self.recipe.objective == "causal":
            return self._running_text(documents, passes, chooser)
        sequences = [
            np.array(sequence, dtype=np.uint16)
            for blocks in copies(documents, passes, chooser)
            for sentences in tokenised(blocks, self.tokenizer)
            for sequence in cut(sentences, self.recipe.packing, chooser)
        ]
        chooser.shuffle(sequences)
        special = special_ids(self.tokenizer)
        return rows_of_sequences(sequences, self.recipe.packing.row_length, special)

    def _running_text(
        self, documents: list[Document], passes: float, chooser: random.Random
    ) -> np.ndarray:
        end = self.tokenizer.token_to_id(END_OF_TEXT)
        ids: list[np.ndarray] = []
        for blocks in copies(documents, passes, chooser):
            texts = ["\n".join(block) for block in blocks]
            chooser.shuffle(texts)
            for start in range(0, len(texts), BATCH_BLOCKS):
                for encoding in self.tokenizer.encode_batch_fast(
                    texts[start : start + BATCH_BLOCKS]
                ):
                    ids.append(np.array([*encoding.ids, end], dtype=np.uint16))
        return rows_of_stream(np.concatenate(ids), self.recipe.packing.row_length)


_packers: list[Packer] = []
"""The packer of a process of the pool."""


def _begin(recipe: Recipe, work: Path, tasks: Path) -> None:
    _packers[:] = [Packer(recipe, work, tasks)]


def _pack(name: str, corpus: Path) -> tuple[Counts, np.ndarray, np.ndarray]:
    return _packers[0].pack(name, corpus)


def _task_runs() -> int:
    return len(_packers[0].overlap)


def main() -> None:
    """Pack the corpus below the work directory."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--tasks", type=Path, required=True, help="folder of task files to avoid")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    recipe = read_recipe(arguments.config)
    began = time.monotonic()
    names = list(recipe.sources)
    given = (recipe, arguments.work, arguments.tasks)
    with ProcessPoolExecutor(arguments.processes, get_context("spawn"), _begin, given) as pool:
        packed = list(pool.map(_pack, names, [arguments.corpus] * len(names)))
        runs = pool.submit(_task_runs).result()
    for name, (counts, _, _) in zip(names, packed, strict=True):
        print(f"{name}: {counts}", flush=True)
    print(f"packed in {time.monotonic() - began:.0f} s", flush=True)
    for place, file in ((1, "train.npz"), (2, "held_out.npz")):
        rows = [found[place] for found in packed]
        source = np.repeat(np.arange(len(rows), dtype=np.uint8), [len(part) for part in rows])
        Rows(np.concatenate(rows), source).save(arguments.work / file)
    report = {
        "overlap_words": recipe.packing.overlap_words,
        "task_runs": runs,
        "tasks": sorted({path.parent.name for path in arguments.tasks.rglob("*.jsonl")}),
        "sources": {name: vars(found[0]) for name, found in zip(names, packed, strict=True)},
    }
    text = json.dumps(report, indent=2) + "\n"
    (arguments.work / "counts.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
