"""Charts as SVG text, drawn for a page that styles them by class. Pure.

Every chart is `WIDTH` units wide and scales to its place. Colours are the page's, so that a chart
is right on a light and on a dark ground.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 640
ROW_HEIGHT = 34
LABEL_WIDTH = 190
VALUE_WIDTH = 120
LINES_HEIGHT = 260
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 52, 16, 26, 40
AXIS_BOTTOM = 4
"""Of the line that says what an axis measures, from the lower edge."""
LABEL_CHARACTERS_MAX = 26
POINTS_MAX = 300
"""Points of a line that are drawn; of more, every n-th and the last one."""


@dataclass(frozen=True)
class Bar:
    """A score with its interval."""

    label: str
    value: float
    low: float
    high: float
    is_main: bool = False
    """Whether it is what the chart is about."""


@dataclass(frozen=True)
class Line:
    """A curve."""

    label: str
    points: Sequence[tuple[float, float]]
    """Step and value, in the order of the steps."""
    is_main: bool = False


def bars(title: str, axis: str, found: Sequence[Bar]) -> str:
    """Return values in [0, 1] as bars below each other, each with its interval.

    Args:
        title: What they show.
        axis: What they measure.
        found: In their order.
    """
    left, right = LABEL_WIDTH, WIDTH - VALUE_WIDTH
    height = ROW_HEIGHT * len(found) + MARGIN_BOTTOM
    parts = _grid(left, right, height - MARGIN_BOTTOM, [0.0, 0.25, 0.5, 0.75, 1.0], 0.0, 1.0)
    for index, bar in enumerate(found):
        top = index * ROW_HEIGHT + 7
        middle = top + (ROW_HEIGHT - 14) / 2
        width = max(1.0, (right - left) * bar.value)
        kind = "main" if bar.is_main else "other"
        parts += [
            f'<rect class="bar {kind}" x="{left}" y="{top}" width="{width:.1f}" '
            f'height="{ROW_HEIGHT - 14}" rx="3"/>',
            _whisker(left + (right - left) * bar.low, left + (right - left) * bar.high, middle),
            _text(left - 10, middle + 4, bar.label, "label end" + (" strong" * bar.is_main)),
            _text(right + 10, middle + 4, f"{bar.value:.3f}", "value" + (" strong" * bar.is_main)),
        ]
    parts.append(_text((left + right) / 2, height - AXIS_BOTTOM, axis, "tick middle"))
    return _svg(title, height, parts)


def differences(
    title: str, axis: str, found: Sequence[Bar], *, lower_is_better: bool = False
) -> str:
    """Return differences in [-1, 1] as points with intervals around a line at zero.

    Args:
        title: What they show.
        axis: What they measure.
        found: In their order.
        lower_is_better: Whether a difference below zero is a gain.
    """
    left, right = LABEL_WIDTH, WIDTH - VALUE_WIDTH
    reach = max([0.1, *(max(abs(one.low), abs(one.high)) for one in found)])
    step = _step(2 * reach, 4)
    reach = math.ceil(reach / step) * step
    count = round(reach / step)
    ticks = [index * step for index in range(-count, count + 1)]
    height = ROW_HEIGHT * len(found) + MARGIN_BOTTOM
    parts = _grid(left, right, height - MARGIN_BOTTOM, ticks, -reach, reach)

    def across(value: float) -> float:
        return left + (right - left) * (value + reach) / (2 * reach)

    zero = across(0.0)
    parts.append(_rule(zero, 0, zero, height - MARGIN_BOTTOM, "zero"))
    for index, one in enumerate(found):
        middle = index * ROW_HEIGHT + ROW_HEIGHT / 2
        is_above, is_below = one.low > 0, one.high < 0
        gained, fell = (is_below, is_above) if lower_is_better else (is_above, is_below)
        kind = "gain" if gained else "fall" if fell else "open"
        parts += [
            _whisker(across(one.low), across(one.high), middle),
            f'<circle class="dot {kind}" cx="{across(one.value):.1f}" cy="{middle:.1f}" r="5.5"/>',
            _text(left - 10, middle + 4, one.label, "label end"),
            _text(right + 10, middle + 4, f"{one.value:+.3f}", "value"),
        ]
    parts.append(_text((left + right) / 2, height - AXIS_BOTTOM, axis, "tick middle"))
    return _svg(title, height, parts)


def lines(title: str, found: Sequence[Line], mark: float | None, mark_label: str) -> str:
    """Return curves over steps in one frame.

    Args:
        title: What they show.
        found: At least one point in all.
        mark: Step that is marked by a vertical line; None for none.
        mark_label: What it says.
    """
    points = [point for line in found for point in line.points]
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    last = last if last > first else first + 1
    spread = (high - low) or max(abs(high), 1.0)
    step = _step(spread, 4)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    high = high if high > low else low + step
    bottom, right = LINES_HEIGHT - MARGIN_BOTTOM, WIDTH - MARGIN_RIGHT

    def across(x: float) -> float:
        return MARGIN_LEFT + (right - MARGIN_LEFT) * (x - first) / (last - first)

    def down(y: float) -> float:
        return bottom - (bottom - MARGIN_TOP) * (y - low) / (high - low)

    parts = []
    for index in range(round((high - low) / step) + 1):
        value = low + index * step
        parts += [
            _rule(MARGIN_LEFT, down(value), right, down(value), "grid"),
            _text(MARGIN_LEFT - 8, down(value) + 4, f"{value:.4g}", "tick end"),
        ]
    across_step = max(1.0, _step(last - first, 6))
    value = math.ceil(first / across_step) * across_step
    while value <= last:
        parts.append(_text(across(value), bottom + 18, f"{value:.6g}", "tick middle"))
        value += across_step
    parts.append(
        _text((MARGIN_LEFT + right) / 2, LINES_HEIGHT - AXIS_BOTTOM, "step", "tick middle")
    )
    if mark is not None:
        is_late = mark > (first + last) / 2
        left, kind = (-6, "label end") if is_late else (6, "label")
        parts += [
            _rule(across(mark), MARGIN_TOP, across(mark), bottom, "mark"),
            _text(across(mark) + left, MARGIN_TOP + 12, mark_label, kind),
        ]
    for line in found:
        parts += _curve([(across(x), down(y)) for x, y in thinned(line.points)], line.is_main)
    return _svg(title, LINES_HEIGHT, [*_legend(found), *parts])


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most `POINTS_MAX` points, the first and the last one among them."""
    if len(points) <= POINTS_MAX:
        return list(points)
    last = len(points) - 1
    return [points[index * last // (POINTS_MAX - 1)] for index in range(POINTS_MAX)]


def _curve(points: Sequence[tuple[float, float]], is_main: bool) -> list[str]:
    kind = "main" if is_main else "other"
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts = [f'<polyline class="line {kind}" points="{path}"/>']
    if is_main and len(points) <= 60:
        parts += [f'<circle class="dot main" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points]
    return parts


def _legend(found: Sequence[Line]) -> list[str]:
    parts, left = [], float(MARGIN_LEFT)
    for line in found:
        kind = "main" if line.is_main else "other"
        parts.append(
            f'<rect class="bar {kind}" x="{left:.0f}" y="4" width="14" height="10" rx="2"/>'
        )
        parts.append(_text(left + 20, 13, line.label, "label"))
        left += 40 + 7.5 * len(line.label)
    return parts


def _grid(
    left: float, right: float, bottom: float, ticks: Sequence[float], low: float, high: float
) -> list[str]:
    parts = []
    for tick in ticks:
        x = left + (right - left) * (tick - low) / (high - low)
        parts += [
            _rule(x, 0, x, bottom, "grid"),
            _text(x, bottom + 18, f"{tick:.3g}" if abs(tick) > 1e-9 else "0", "tick middle"),
        ]
    return parts


def _whisker(low: float, high: float, middle: float) -> str:
    path = (
        f"M{low:.1f} {middle:.1f}H{high:.1f}"
        f"M{low:.1f} {middle - 5:.1f}v10M{high:.1f} {middle - 5:.1f}v10"
    )
    # Twice: a wider one in the colour of the ground lets it be seen on a bar.
    return f'<path class="halo" d="{path}"/><path class="whisker" d="{path}"/>'


def _rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    if len(text) > LABEL_CHARACTERS_MAX:
        text = text[: LABEL_CHARACTERS_MAX - 1] + "…"
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    name = escape(title, quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{name}"><title>{name}</title>{"".join(parts)}</svg>'
    )


def _step(spread: float, count: int) -> float:
    """Return a round distance between ticks: 1, 2 or 5 times a power of ten."""
    rough = spread / count
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
