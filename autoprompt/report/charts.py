"""Drawings as SVG, with colours from the page's style so that they are right in the dark too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from autoprompt.report.findings import Bin, Point

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 34


def history_chart(points: Sequence[Point]) -> Markup:
    """Values by trial, the best so far as a line; dropped and failed trials are ticks below."""
    values = [point.value for point in points if point.value is not None]
    if not values:
        return Markup("")
    # A hopeless trial must not press all others into one line: the axis ends at the tenth part.
    floor = sorted(values)[len(values) // 10]
    low, high = floor, max(values)
    pad = (high - low) * 0.08 or 0.05
    low, high = low - pad, high + pad
    last = max(points[-1].trial, 1)

    def x(trial: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * trial / last

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - max(value, low)) / (high - low)

    parts = [_axis(low, high, y)]
    line: list[str] = []
    for point in points:
        if point.best is not None:  # in steps: between two trials nothing changes
            across, up = f"{x(point.trial):.1f}", f"{y(point.best):.1f}"
            line.append(f"H{across}V{up}" if line else f"M{across} {up}")
        told = escape(f"trial {point.trial}, {point.state}: {point.template}")
        if point.value is None:
            here, below = f"{x(point.trial):.1f}", HEIGHT - BOTTOM
            parts.append(
                f'<line class="tick" x1="{here}" x2="{here}" y1="{below + 2}" y2="{below + 8}">'
                f"<title>{told}</title></line>"
            )
            continue
        told = escape(f"trial {point.trial}: {point.value:.4f}, {point.template}")
        kind = "seed" if point.is_seed else "dot"
        parts.append(
            f'<circle class="{kind}" cx="{x(point.trial):.1f}" cy="{y(point.value):.1f}" '
            f'r="{4.5 if point.is_seed else 3.2}"><title>{told}</title></circle>'
        )
    parts.insert(1, f'<path class="best" d="{" ".join(line)}"/>')
    for trial in sorted({0, last // 2, last}):
        parts.append(
            f'<text class="tell" x="{x(trial):.1f}" y="{HEIGHT - 8}" text-anchor="'
            f'{"end" if trial == last else "middle"}">{trial}</text>'
        )
    title = f"Value of each trial; the best is {max(values):.4f}"
    return _svg("".join(parts), WIDTH, HEIGHT, title)


def reliability_chart(bins: Sequence[Bin]) -> Markup:
    """Share of right predictions by confidence, beside the diagonal of a calibrated prompt."""
    size, left, bottom = 320, 44, 34

    def x(value: float) -> float:
        return left + (size - left - 8) * value

    def y(value: float) -> float:
        return 8 + (size - 8 - bottom) * (1 - value)

    parts = []
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(
            f'<line class="grid" x1="{x(0)}" x2="{x(1)}" y1="{y(value)}" y2="{y(value)}"/>'
            f'<text class="tell" x="{left - 6}" y="{y(value) + 4}" text-anchor="end">'
            f'{value:g}</text><text class="tell" x="{x(value)}" y="{size - 12}" '
            f'text-anchor="middle">{value:g}</text>'
        )
    parts.append(f'<line class="diagonal" x1="{x(0)}" y1="{y(0)}" x2="{x(1)}" y2="{y(1)}"/>')
    for one in bins:
        told = escape(f"confidence {one.confidence:.2f}: {one.right:.2f} right (n={one.n})")
        centre = x(one.confidence)
        parts.append(
            f'<line class="range" x1="{centre:.1f}" x2="{centre:.1f}" '
            f'y1="{y(one.right_low):.1f}" y2="{y(one.right_high):.1f}"/>'
            f'<circle class="dot" cx="{centre:.1f}" cy="{y(one.right):.1f}" '
            f'r="{4 + min(one.n, 100) ** 0.5 * 0.7:.1f}"><title>{told}</title></circle>'
        )
    return _svg("".join(parts), size, size, "Share of right predictions by confidence")


def interval_chart(rows: Mapping[str, Mapping[str, float]], metric: str) -> Markup:
    """Values with their 95 % intervals, one a line: name to `value`, `low` and `high`."""
    width, left, line = 720, 132, 34
    low = min(row["low"] for row in rows.values())
    high = max(row["high"] for row in rows.values())
    low, high = max(-1.0, low - 0.03), min(1.0, high + 0.03)

    def x(value: float) -> float:
        return left + (width - left - 24) * (value - low) / ((high - low) or 1)

    height = line * len(rows) + 30
    parts = []
    for value in ticks(low, high):
        parts.append(
            f'<line class="grid" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="4" '
            f'y2="{height - 24}"/><text class="tell" x="{x(value):.1f}" y="{height - 8}" '
            f'text-anchor="middle">{value:g}</text>'
        )
    for number, (name, row) in enumerate(rows.items()):
        centre = 4 + line * (number + 0.5)
        kind = "dot" if number == 0 else "seed"
        parts.append(
            f'<text class="name" x="0" y="{centre + 5:.1f}">{escape(name)}</text>'
            f'<line class="range {kind}" x1="{x(row["low"]):.1f}" x2="{x(row["high"]):.1f}" '
            f'y1="{centre}" y2="{centre}"/>'
            f'<circle class="{kind}" cx="{x(row["value"]):.1f}" cy="{centre}" r="6"/>'
        )
    return _svg("".join(parts), width, height, f"{metric} on test with 95 % intervals")


def ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers between two bounds.

    >>> ticks(0.32, 0.88)
    [0.4, 0.6, 0.8]
    """
    size = (high - low) / 3
    power = 10.0 ** math.floor(math.log10(size))
    step = max(factor * power for factor in (1, 2, 5) if factor * power <= size)
    first = math.ceil(low / step)
    return [round(step * n, 10) for n in range(first, math.floor(high / step) + 1)]


def _axis(low: float, high: float, y: object) -> str:
    assert callable(y)
    parts = []
    for value in ticks(low, high):
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" '
            f'y2="{y(value):.1f}"/><text class="tell" x="{LEFT - 6}" y="{y(value) + 4:.1f}" '
            f'text-anchor="end">{value:g}</text>'
        )
    return "".join(parts)


def _svg(inside: str, width: int, height: int, title: str) -> Markup:
    return Markup(
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f"{inside}</svg>"
    )
