"""Reading the corpus: compressed text, one paragraph a line, a blank line between documents."""

from __future__ import annotations

import html
import lzma
import re
from collections.abc import Iterator
from pathlib import Path

Document = list[str]

_SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"'”’)])|(?<=[.!?][\"'”’)]{2}))\s+(?=\S)")


def read_documents(path: Path, lines_are_documents: bool = False) -> Iterator[Document]:
    """Yield the documents of one ``.txt.xz`` file as lists of non-empty lines.

    HTML entities are resolved (twice: some reviews were escaped twice).  With
    ``lines_are_documents`` every line is its own document.
    """
    document: Document = []
    with lzma.open(path, "rt", encoding="utf-8") as stream:
        for raw in stream:
            line = raw.strip()
            if "&" in line:
                line = html.unescape(html.unescape(line))
            if line:
                document.append(line)
            if document and (lines_are_documents or not line):
                yield document
                document = []
    if document:
        yield document


def source_path(corpus: Path, name: str) -> Path:
    """Return the file that holds the named source."""
    return corpus / f"{name}.txt.xz"


def split_sentences(line: str) -> list[str]:
    """Cut a paragraph after sentence-final punctuation; abbreviations may be cut too."""
    return [part for part in _SENTENCE_END.split(line) if part]
