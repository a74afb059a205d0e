"""Charts: valid, finite, inside their frame, and with labels that never touch, whatever they are given."""

from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.core.axes import figures, log_ticks, short, spread, ticks, width
from modelyard.core.charts import Series, bars, heatmap, histogram, lines

ANY = st.floats(allow_nan=True, allow_infinity=True)
VALUES = st.lists(ANY, min_size=1, max_size=12)
SPACE = "{http://www.w3.org/2000/svg}"


def checked(svg: str) -> ET.Element:
    """Parse a chart; every coordinate must be finite and every text's anchor inside the frame."""
    root = ET.fromstring(svg)
    _, _, wide, tall = map(float, root.get("viewBox", "").split())
    for element in root.iter():
        coordinates = [element.get(k, "") for k in ("x", "y", "width", "height", "d", "cx", "cy", "transform")]
        assert not re.search(r"nan|inf", " ".join(coordinates))
    for text in root.iter(f"{SPACE}text"):
        if text.get("x") != "0":
            assert -1 <= float(text.get("x", "")) <= wide + 1
            assert -1 <= float(text.get("y", "")) <= tall + 1
    return root


@settings(deadline=None, max_examples=150)
@given(VALUES, st.booleans(), st.booleans(), st.sampled_from(["line", "points"]))
def test_lines_draw_whatever_they_are_given(values: list[float], diagonal: bool, log_x: bool, kind: str) -> None:
    xs = list(range(len(values)))
    low, high = [v - 1 for v in values], [v + 1 for v in values]
    series = [Series("a", values, xs, kind=kind), Series("b" * 40, xs, values, low, high, kind)]
    checked(lines(series, x="x", y="y", title="t", diagonal=diagonal and not log_x, log_x=log_x))


@settings(deadline=None, max_examples=100)
@given(VALUES, st.booleans(), st.one_of(st.none(), ANY))
def test_bars_draw_whatever_they_are_given(values: list[float], zero: bool, reference: float | None) -> None:
    names = [f"level {i}" for i in range(len(values))]
    checked(bars(names, values, low=[v - 1 for v in values], high=values, x="x", reference=reference, zero=zero))


@settings(deadline=None, max_examples=100)
@given(VALUES, st.text(max_size=30))
def test_heatmaps_and_histograms_draw_whatever_they_are_given(values: list[float], name: str) -> None:
    names = [f"{name}{i}" for i in range(len(values))]
    checked(heatmap(names, names, [values] * len(values), x="x", y="y", by="row"))
    checked(histogram([float(i) for i in range(len(values) + 1)], {"a": values, "b": values}, x="x"))


@given(st.floats(-1e12, 1e12), st.floats(1e-6, 1e12), st.integers(2, 8))
def test_ticks_are_round_and_reach_over_the_data(low: float, span: float, count: int) -> None:
    high = low + span
    found = ticks(low, high, count)
    slack = (abs(low) + span) * 1e-6
    assert found[0] <= low + slack
    assert found[-1] >= high - slack
    assert 2 <= len(found) <= 2 * count + 4
    if span > abs(low) * 1e-6:
        assert len(set(figures(found))) == len(found), "two ticks read the same"


@given(st.floats(1e-9, 1e9), st.floats(1.01, 1e9))
def test_log_ticks_reach_over_the_data(low: float, ratio: float) -> None:
    found = log_ticks(low, low * ratio)
    assert found == sorted(found)
    assert found[0] <= low * 1.001
    assert found[-1] >= low * ratio * 0.999
    assert len(found) <= 10


@given(st.lists(st.floats(0, 100), min_size=1, max_size=9))
def test_names_beside_lines_never_touch(places: list[float]) -> None:
    moved = spread(places, 10.0, 0.0, 100.0)
    ordered = sorted(moved)
    assert all(b - a >= 9.99 for a, b in itertools.pairwise(ordered))
    assert ordered[0] >= 0
    assert ordered[-1] <= 100.001


def test_figures_below_an_axis_never_touch() -> None:
    root = checked(lines([Series("", [0, 123_456_789.0], [0, 1])], x="rows", y="y"))
    row = [t for t in root.iter(f"{SPACE}text") if t.get("class") == "m k"]
    ends = [(float(t.get("x", "")), width(t.text or "") / 2) for t in row]
    assert len(ends) >= 2
    assert all(a + ha < b - hb for (a, ha), (b, hb) in itertools.pairwise(ends))


@settings(deadline=None, max_examples=40)
@given(VALUES, ANY, st.booleans())
def test_a_reference_is_drawn_where_it_can_be(values: list[float], place: float, log_x: bool) -> None:
    svg = lines([Series("", range(1, len(values) + 1), values)], x="x", y="y", log_x=log_x, reference=(place, "limit"))
    assert ("limit</text>" in svg) == (math.isfinite(place) and (place > 0 or not log_x))
    checked(svg)


def test_a_reference_stands_at_its_value_and_clear_of_the_points() -> None:
    for y, above in (([0.0, 0.0, 0.0, 9.0], True), ([9.0, 9.0, 9.0, 0.0], False)):
        root = checked(lines([Series("", [0, 1, 2, 4], y, kind="points")], x="x", y="y", reference=(2.0, "limit")))
        dashed = next(p.get("d", "") for p in root.iter(f"{SPACE}path") if p.get("stroke-dasharray"))
        spots = [float(c.get("cx", "")) for c in root.iter(f"{SPACE}circle")]
        assert float(re.match(r"M([\d.]+)", dashed)[1]) == pytest.approx(spots[2], abs=0.2)
        (text,) = (t for t in root.iter(f"{SPACE}text") if t.text == "limit")
        heights = [float(c.get("cy", "")) for c in root.iter(f"{SPACE}circle")]
        assert (float(text.get("y", "")) < sum(heights) / 4) is above


def test_bars_are_as_long_as_their_values() -> None:
    root = checked(bars(["a", "b", "c"], [1.0, 2.0, -1.0]))
    spans = [
        re.match(r"M([\d.]+) [\d.]+H([\d.]+)", p.get("d", "")) for p in root.iter(f"{SPACE}path") if p.get("opacity")
    ]
    one, two, minus = (float(m[2]) - float(m[1]) for m in spans if m)
    assert two == pytest.approx(2 * one, abs=0.3)
    assert minus == pytest.approx(one, abs=0.3)


def test_a_long_line_keeps_its_spike() -> None:
    y = [0.0] * 10_000
    y[5_003] = 7.0
    root = checked(lines([Series("", list(range(10_000)), y)], x="x", y="y"))
    path = max((p.get("d", "") for p in root.iter(f"{SPACE}path")), key=len)
    heights = [float(v) for v in re.findall(r" ([\d.]+)", path)]
    assert len(heights) < 300
    assert min(heights) < max(heights) - 150


@pytest.mark.parametrize(
    ("value", "text"), [(0.8261, "0.826"), (12.34, "12.3"), (1234.5, "1,234"), (0.0, "0"), (math.nan, "–"), (3.0, "3")]
)
def test_values_are_written_with_three_figures(value: float, text: str) -> None:
    assert short(value) == text


def test_a_crowded_heatmap_shortens_its_figures() -> None:
    names = [f"a rather long class {i}" for i in range(8)]
    texts = [t.text for t in checked(heatmap(names, names, [[4212.0] * 8] * 8, x="x", y="y")).iter(f"{SPACE}text")]
    assert texts.count("4.2k") == 64
