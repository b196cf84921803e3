"""Line charts as SVG text, readable on light and on dark paper; the same input, the same bytes."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from html import escape

# Each stands out from white and from black by at least 3.5 to 1.
COLOURS = ("#2f81c7", "#c8690a", "#3f9142", "#b35bb5")
INK = "#768390"

_WIDTH, _HEIGHT = 380, 250  # Of a panel, its axes and words included.
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 24, 34, 40


@dataclasses.dataclass(frozen=True)
class Panel:
    """One pair of axes: `lines` are points `(x values from 0, y values)` by name."""

    x: str
    y: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most so many round numbers that reach from `low` or below to `high` or above."""
    if not high > low:
        low, high = low - 0.5, low + 0.5
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in itertools.count():
        step = power * (1, 2, 5)[factor % 3] * 10.0 ** (factor // 3)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < most:
            return [float(f"{k * step:.12g}") for k in range(first, last + 1)]
    raise AssertionError


def number(value: float) -> str:
    """A tick's words: `0.25`, `15,000`."""
    return f"{value:,.10g}" if abs(value) < 1e9 else f"{value:.3g}"


def svg(panels: Sequence[Panel], title: str = "") -> str:
    """The panels in a row as an SVG file of `title`, their lines named above."""
    width = _WIDTH * len(panels)
    body = [_panel(panel, _WIDTH * k) for k, panel in enumerate(panels)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" '
        f'width="{width}" height="{_HEIGHT}" font-family="sans-serif" font-size="12" '
        f'fill="{INK}" role="img">'
    )
    return "\n".join([head, f"<title>{escape(title)}</title>", *body, "</svg>"]) + "\n"


def _panel(panel: Panel, left: int) -> str:
    points = [pair for xs, ys in panel.lines.values() for pair in zip(xs, ys, strict=True)]
    end = max(x for x, _ in points)
    across = [x for x in ticks(0, end, 6) if x <= end]
    up = ticks(min(y for _, y in points), max(y for _, y in points))
    x0, x1 = left + _LEFT, left + _WIDTH - _RIGHT
    y0, y1 = _HEIGHT - _BOTTOM, _TOP

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            x0 + x / end * (x1 - x0),
            y0 + (y - up[0]) / (up[-1] - up[0]) * (y1 - y0),
        )

    parts = []
    for value in up:
        y = at(0, value)[1]
        parts.append(
            f'<path d="M{x0} {y:.1f}H{x1}" stroke="{INK}" stroke-opacity="0.3"/>'
            f'<text x="{x0 - 6}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>'
        )
    for value in across:
        x = at(value, 0)[0]
        parts.append(
            f'<path d="M{x:.1f} {y0}v5" stroke="{INK}"/>'
            f'<text x="{x:.1f}" y="{y0 + 18}" text-anchor="middle">{number(value)}</text>'
        )
    parts.append(f'<path d="M{x0} {y1}V{y0}H{x1}" fill="none" stroke="{INK}"/>')
    middle = (y0 + y1) / 2
    parts.append(
        f'<text x="{(x0 + x1) / 2:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">'
        f"{escape(panel.x)}</text>"
        f'<text x="{left + 12}" y="{middle:.1f}" text-anchor="middle" '
        f'transform="rotate(-90 {left + 12} {middle:.1f})">{escape(panel.y)}</text>'
    )
    named = x0
    for colour, (name, (xs, ys)) in zip(COLOURS, panel.lines.items(), strict=False):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*p) for p in zip(xs, ys, strict=True)))
        # A mark on each point of a short line; of a single point it is all there is.
        dots = [point.split(",") for point in path.split()] if len(xs) <= 25 else []
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
            + "".join(f'<circle cx="{x}" cy="{y}" r="2.4" fill="{colour}"/>' for x, y in dots)
            + f'<path d="M{named} 16h18" stroke="{colour}" stroke-width="3"/>'
            f'<text x="{named + 24}" y="20">{escape(name)}</text>'
        )
        named += 44 + 7 * len(name)
    return "\n".join(parts)
