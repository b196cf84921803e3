import re
import xml.etree.ElementTree as ET

import pytest

from modelzoo.measure import plot

SVG = "{http://www.w3.org/2000/svg}"
PANEL = plot.Panel("step", "a & b", {"train": ([10, 20, 40], [1.0, 3.0, 2.0]), "<v>": ([20], [2])})


def shapes(text, name):
    return list(ET.fromstring(text).iter(SVG + name))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.13, 2.3, [0, 0.5, 1, 1.5, 2, 2.5]),
        (0, 64_000, [0, 20_000, 40_000, 60_000, 80_000]),
        (0.991, 0.9972, [0.99, 0.992, 0.994, 0.996, 0.998]),
        (-3, 4, [-4, -2, 0, 2, 4]),
        (0.7, 0.7, [0.2, 0.4, 0.6, 0.8, 1, 1.2]),
    ],
)
def test_ticks_are_round_and_reach_around(low, high, expected):
    assert plot.choose_ticks(low, high) == pytest.approx(expected)


def test_points_lie_where_the_ticks_say():
    text = plot.render_svg([PANEL], "one")
    lines = [
        [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        for line in shapes(text, "polyline")
    ]
    (x10, y1), (x20, y3), (x40, y2) = lines[0]
    assert lines[1] == [(x20, y2)]
    ticks = {t.text: (float(t.get("x")), float(t.get("y"))) for t in shapes(text, "text")}
    assert ticks["10"][0] == x10
    assert ticks["40"][0] == x40
    assert x40 - x20 == pytest.approx(2 * (x20 - x10), abs=0.2)
    assert [ticks[name][1] - 4 for name in ("1", "2", "3")] == pytest.approx([y1, y2, y3])
    assert y1 > y2 > y3  # Up is less in SVG.
    assert {"step", "a & b", "train", "<v>"} < set(ticks)
    assert shapes(text, "title")[0].text == "one"


def test_panels_stand_side_by_side_within_the_picture():
    text = plot.render_svg([PANEL, PANEL, PANEL])
    width = float(ET.fromstring(text).get("width"))
    xs = [float(dot.get("cx")) for dot in shapes(text, "circle")]
    step = width / 3
    assert xs[4:8] == pytest.approx([x + step for x in xs[:4]])
    assert min(xs) > 0 and max(xs) < width


def luminance(colour):
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", [*plot.COLOURS, plot.INK])
def test_colours_are_seen_on_white_and_on_dark_paper(colour):
    own = luminance(colour)
    assert (luminance("#ffffff") + 0.05) / (own + 0.05) > 3.5
    assert (own + 0.05) / (luminance("#0d1117") + 0.05) > 3.5
    assert re.fullmatch("#[0-9a-f]{6}", colour)
