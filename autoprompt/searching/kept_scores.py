"""Per-example scores of finished trials: in the run directory, and for other hosts in the study."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from autoprompt.objective import Scored
from autoprompt.runs import RunDirectory
from autoprompt.scoring.label_scores import Floats
from autoprompt.searching.records import SCORES, in_parts, joined

MOST_BYTES = 2**27  # of unpacked scores: who wrote them may mean ill


class KeptScores:
    """Keeps scores on the selection data, by prompt.

    Args:
        run: the run directory; None where it is on another host.
        examples: digest of the selection data.
        shared: whether they are kept in the study too, for workers that do not see the directory.
    """

    def __init__(self, run: RunDirectory | None, examples: str, shared: bool) -> None:
        self._run = run
        self._examples = examples
        self._shared = shared
        self._in_study: dict[str, Mapping[str, Any]] = {}

    def keep(self, digest: str, scored: Scored) -> dict[str, Any]:
        """Write a prompt's scores; returns the attributes that its trial is to have."""
        if self._run is not None:
            self._run.write_scores(digest, scored.log_probabilities, self._examples)
        return in_parts(SCORES, packed(scored.log_probabilities)) if self._shared else {}

    def heard(self, digest: str, attributes: Mapping[str, Any]) -> None:
        """Note where the scores of another worker's trial are.

        Args:
            digest: of its prompt.
            attributes: of the trial.
        """
        if SCORES not in attributes:
            return
        self._in_study[digest] = attributes
        if self._run is not None and self._run.read_scores(digest) is None:
            found = unpacked(joined(attributes, SCORES))
            if found is not None:
                self._run.write_scores(digest, found, self._examples)

    def read(self, digest: str) -> Floats | None:
        """A prompt's scores, shape `(examples, labels)`; None where they are lost."""
        found = self._run.read_scores(digest) if self._run is not None else None
        if found is None and digest in self._in_study:
            found = unpacked(joined(self._in_study[digest], SCORES))
        return found


def packed(scores: Floats) -> str:
    """Scores as text, bit by bit the same when unpacked."""
    buffer = io.BytesIO()
    np.save(buffer, scores, allow_pickle=False)
    return base64.b64encode(zlib.compress(buffer.getvalue())).decode("ascii")


def unpacked(text: Any) -> Floats | None:
    """The scores of a text; None where it is damaged."""
    try:
        inflating = zlib.decompressobj()
        content = inflating.decompress(base64.b64decode(text, validate=True), MOST_BYTES)
        if not inflating.eof:
            return None
        stream = io.BytesIO(content)
        if np.lib.format.read_magic(stream) != (1, 0):
            return None
        shape, by_column, dtype = np.lib.format.read_array_header_1_0(stream)
        # The header is not believed: what it asks for must be there.
        if len(shape) != 2 or dtype.kind != "f" or by_column:
            return None
        found: Floats = np.frombuffer(stream.read(), dtype).reshape(shape).copy()
    except (ValueError, TypeError, EOFError, zlib.error):
        return None
    return found
