"""Line charts as SVG text for light and dark backgrounds; equal inputs give equal bytes."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from html import escape

# Each has a contrast of at least 3.5 to 1 with white and with black.
COLOURS = ("#2f81c7", "#c8690a", "#3f9142", "#b35bb5")
INK = "#768390"

_WIDTH, _HEIGHT = 380, 250  # Of a panel, with axes and labels.
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 24, 34, 40


@dataclasses.dataclass(frozen=True)
class Panel:
    """One pair of axes with lines.

    x, y: labels of the axes.
    lines: x values from 0 and y values of each line, by name.
    """

    x: str
    y: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]


def choose_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Returns at most `most` equidistant round numbers that span `low` to `high`."""
    if not high > low:
        low, high = low - 0.5, low + 0.5
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in itertools.count():
        step = power * (1, 2, 5)[factor % 3] * 10.0 ** (factor // 3)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < most:
            return [float(f"{k * step:.12g}") for k in range(first, last + 1)]
    raise AssertionError


def format_number(value: float) -> str:
    """Formats the label of a tick: `0.25`, `15,000`."""
    return f"{value:,.10g}" if abs(value) < 1e9 else f"{value:.3g}"


def render_svg(panels: Sequence[Panel], title: str = "") -> str:
    """Returns an SVG file with the panels in a row, the names of the lines above each."""
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
    across = [x for x in choose_ticks(0, end, 6) if x <= end]
    up = choose_ticks(min(y for _, y in points), max(y for _, y in points))
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
            f'<text x="{x0 - 6}" y="{y + 4:.1f}" text-anchor="end">{format_number(value)}</text>'
        )
    for value in across:
        x = at(value, 0)[0]
        parts.append(
            f'<path d="M{x:.1f} {y0}v5" stroke="{INK}"/>'
            f'<text x="{x:.1f}" y="{y0 + 18}" text-anchor="middle">{format_number(value)}</text>'
        )
    parts.append(f'<path d="M{x0} {y1}V{y0}H{x1}" fill="none" stroke="{INK}"/>')
    middle = (y0 + y1) / 2
    parts.append(
        f'<text x="{(x0 + x1) / 2:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">'
        f"{escape(panel.x)}</text>"
        f'<text x="{left + 12}" y="{middle:.1f}" text-anchor="middle" '
        f'transform="rotate(-90 {left + 12} {middle:.1f})">{escape(panel.y)}</text>'
    )
    label_x = x0
    for colour, (name, (xs, ys)) in zip(COLOURS, panel.lines.items(), strict=False):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*p) for p in zip(xs, ys, strict=True)))
        # Short lines have a mark on each point; a line of one point is only its mark.
        dots = [point.split(",") for point in path.split()] if len(xs) <= 25 else []
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
            + "".join(f'<circle cx="{x}" cy="{y}" r="2.4" fill="{colour}"/>' for x, y in dots)
            + f'<path d="M{label_x} 16h18" stroke="{colour}" stroke-width="3"/>'
            f'<text x="{label_x + 24}" y="20">{escape(name)}</text>'
        )
        label_x += 44 + 7 * len(name)
    return "\n".join(parts)
