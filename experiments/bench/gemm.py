"""The side "GEMM": how fast bare matrix products of a job's shapes are, in its dtype and threads.

A rate is the best of several sizes and turns: what no engine on this machine exceeds by much.
"""

from __future__ import annotations

from typing import Any

import torch

from experiments.bench.serving import Clock, Turn, serve

BODY_ROWS = (512, 1024)  # tokens at once
HEAD_ROWS = (32, 128)  # positions at once
TIMES = 3


def prepare(job: dict[str, Any], dtype: str) -> tuple[str, Turn]:
    """See `serving.serve`."""
    width, vocabulary = job["width"], job["vocabulary"]
    kind = getattr(torch, dtype)
    layer = [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)]

    def turn(_sent: dict[str, Any]) -> dict[str, Any]:
        clock = Clock()
        rates = {
            "body": max(rate(layer, rows, kind) for rows in BODY_ROWS),
            "head": max(rate([(width, vocabulary)], rows, kind) for rows in HEAD_ROWS),
        }
        return {"seconds": clock.seconds, "rates": rates}

    rate(layer, BODY_ROWS[0], kind)
    return "bare products", turn


def rate(shapes: list[tuple[int, int]], rows: int, kind: torch.dtype) -> float:
    """Operations a second of some linear layers one after the other, the best of a few times.

    Args:
        shapes: inputs and outputs of each layer.
        rows: of the input.
        kind: the dtype.
    """
    weights = [torch.randn(outputs, inputs).to(kind) for inputs, outputs in shapes]
    inputs = [torch.randn(rows, width).to(kind) for width, _ in shapes]
    best = float("inf")
    with torch.inference_mode():
        for _ in range(TIMES):
            clock = Clock()
            for given, weight in zip(inputs, weights, strict=True):
                torch.nn.functional.linear(given, weight)
            best = min(best, clock.seconds)
    return sum(2.0 * rows * wide * tall for wide, tall in shapes) / best


if __name__ == "__main__":
    serve(prepare)
