"""Four charts as plain SVG: lines, bars, heatmap, histogram. Light and dark, no script, every text escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from modelyard.core.axes import (
    INKS,
    LINE,
    Canvas,
    Scale,
    figures,
    finite,
    held,
    log_ticks,
    n,
    short,
    spread,
    ticks,
    widened,
    width,
)

_WIDTH = 480.0
_SLOPE = math.sqrt(0.5)
_POINTS = 240  # more than this many points on a line are not seen apart


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one set of points, with its interval where there is one.

    Attributes
    ----------
    name : str
        Written beside its end; a single series needs none.
    x, y : sequence of float
        Of one length; points that are not finite are left out.
    low, high : sequence of float, optional
        Interval of y: a band around a line, whiskers at points.
    kind : {"line", "points"}
        How it is drawn.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    kind: Literal["line", "points"] = "line"


def lines(
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    title: str = "",
    diagonal: bool = False,
    log_x: bool = False,
    reference: tuple[float, str] | None = None,
) -> str:
    """Draw lines or points over two axes.

    Parameters
    ----------
    series : sequence of Series
        Drawn in order, named beside their ends.
    x, y : str
        What the axes show.
    title : str
        Above the plot.
    diagonal : bool
        Draw where x equals y, on equal axes, as a calibration curve wants it.
    log_x : bool
        Logarithmic x axis.
    reference : (float, str), optional
        A value of x to compare with, and its name: a dashed line from top to bottom.

    Returns
    -------
    str
        One SVG element.
    """
    cut = [_points(s, log_x) for s in series]
    marked = [] if reference is None or (log_x and not reference[0] > 0) else finite(reference[:1])
    xs = finite(*(s.x for s in cut), marked) or [1.0 if log_x else 0.0, 10.0 if log_x else 1.0]
    ys = finite(*(v for s in cut for v in (s.y, s.low, s.high))) or [0.0, 1.0]
    if diagonal:
        xs = ys = [*xs, *ys]
    across = log_ticks(min(xs), max(xs)) if log_x else ticks(min(xs), max(xs), 5)
    up = across if diagonal and not log_x else ticks(min(ys), max(ys), 5)
    named = [s.name for s in cut] if len(cut) > 1 else [""]
    right = min(150.0, max((width(name) for name in named), default=0.0) + 14) if any(named) else 12.0
    left = max(width(t) for t in figures(up)) + 10
    top = (LINE + 8 if title else 0) + LINE + 10
    tall = 300.0 if diagonal else 230.0
    end = left + tall if diagonal else _WIDTH - right
    canvas = Canvas(_WIDTH, top + tall + 2 * LINE + 14)
    horizontal = Scale(across[0], across[-1], left, end, log_x)
    vertical = Scale(up[0], up[-1], top + tall, top)
    if title:
        canvas.text(0, LINE, title, "b", _WIDTH)
    canvas.text(0, top - 13, y, "m", _WIDTH)
    _grid(canvas, vertical, up, horizontal)
    _below(canvas, horizontal, across, vertical.start, x)
    if diagonal:
        ends = horizontal(across[0]), vertical(up[0]), horizontal(across[-1]), vertical(up[-1])
        canvas.line(*ends, "z", ' stroke-dasharray="2 4"')
    if marked and reference is not None:
        place = horizontal(marked[0])
        canvas.line(place, vertical.start, place, top, "z", ' stroke-dasharray="3 3"')
        # Where fewer points lie, so that none is written over.
        below = sum(vertical(v) > (top + vertical.start) / 2 for s in cut for v in s.y)
        height = top + 12 if 2 * below > sum(len(s.y) for s in cut) else vertical.start - 6
        if place - left > (end - left) / 2:
            canvas.text(place - 5, height, reference[1], "m e", place - left - 5)
        else:
            canvas.text(place + 5, height, reference[1], "m", end - place - 5)
    for i, s in enumerate(cut):
        canvas.add(f'<g class="s{i % INKS}">{_drawn(s, horizontal, vertical)}</g>')
    if any(named):
        ends_at = [vertical(s.y[-1]) if s.y else vertical.start for s in cut]
        for i, place in enumerate(spread(ends_at, LINE - 1, top + 4, vertical.start)):
            canvas.add(f'<g class="s{i % INKS}">')
            canvas.text(end + 7, place + 4, cut[i].name, "c", max(right, _WIDTH - end) - 7)
            canvas.add("</g>")
    return canvas.svg()


def bars(
    labels: Sequence[str],
    values: Sequence[float],
    *,
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    x: str = "",
    reference: float | None = None,
    zero: bool = True,
) -> str:
    """Draw one horizontal bar for each label, its value at the right.

    Parameters
    ----------
    labels : sequence of str
        From the top down.
    values : sequence of float
        One for each label.
    low, high : sequence of float, optional
        Whiskers.
    x : str
        What the bars show.
    reference : float, optional
        A value to compare with: a dashed line.
    zero : bool
        Bars from zero; False draws points on an axis that need not hold zero.

    Returns
    -------
    str
        One SVG element.
    """
    low, high = low or values, high or values
    seen = finite(values, low, high, [] if reference is None else [reference], [0.0] if zero else []) or [0.0, 1.0]
    least, most = widened(min(seen), max(seen))
    if not zero:
        least, most = least - 0.04 * (most - least), most + 0.04 * (most - least)
    across = [t for t in ticks(least, most, 4) if least <= t <= most] or [least, most]
    shown = [short(v) for v in values]
    left = min(190.0, max((width(t) for t in labels), default=0.0) + 12)
    right = max((width(t) for t in shown), default=0.0) + 14
    step, top = 23.0, 6.0
    bottom = top + step * len(labels)
    canvas = Canvas(_WIDTH, bottom + LINE * (2 if x else 1) + 14)
    scale = Scale(least, most, left + 4, _WIDTH - right)
    for tick in across:
        canvas.line(scale(tick), top, scale(tick), bottom, "g")
    _below(canvas, scale, across, bottom, x, axis=False)
    origin = scale(0.0)
    for i, (label, value, text) in enumerate(zip(labels, values, shown, strict=True)):
        middle = top + step * i + step / 2
        canvas.text(left - 9, middle + 4, label, "e", left - 9)
        canvas.text(_WIDTH, middle + 4, text, "e")
        if not math.isfinite(value):
            continue
        at, marks = scale(value), []
        if zero:
            x1, x2 = min(origin, at), max(origin, at)
            marks.append(f'<path d="M{n(x1)} {n(middle - 6)}H{n(x2)}v12H{n(x1)}z" fill="currentColor" opacity=".72"/>')
        ends = [scale(v) for v in (low[i], high[i]) if math.isfinite(v)]
        if len(ends) == 2 and high[i] > low[i]:
            ink = 'class="z"' if zero else 'stroke="currentColor" opacity=".6"'
            marks.append(f'<path {ink} d="M{n(ends[0])} {n(middle)}H{n(ends[1])}" stroke-width="1.5"/>')
        if not zero:
            marks.append(f'<circle cx="{n(at)}" cy="{n(middle)}" r="3.5" fill="currentColor"/>')
        canvas.add(f'<g class="s0">{"".join(marks)}</g>')
    if zero:
        canvas.line(origin, top, origin, bottom, "a")
    if reference is not None and math.isfinite(reference):
        canvas.line(scale(reference), top, scale(reference), bottom, "z", ' stroke-dasharray="3 3"')
    return canvas.svg()


def heatmap(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float]],
    *,
    x: str,
    y: str,
    by: Literal["all", "row"] = "all",
) -> str:
    """Draw a table of figures, darker where larger.

    Parameters
    ----------
    rows, columns : sequence of str
        Names of rows and columns.
    values : sequence of sequences of float
        ``values[row][column]``.
    x, y : str
        What columns and rows are.
    by : {"all", "row"}
        Whether a cell is as dark as its share of the largest value, or of its row's sum.

    Returns
    -------
    str
        One SVG element.
    """
    left = min(150.0, max([width(t) for t in (*rows, f"{y} ↓")], default=0.0) + 12)
    widest = min(96.0, max((width(t) for t in columns), default=0.0))
    cell = min(92.0, (_WIDTH - left) / max(1, len(columns)))
    tilted = widest > cell - 6
    if tilted:
        cell = min(92.0, (_WIDTH - left - _SLOPE * widest) / max(1, len(columns) - 0.5))
    tall = min(44.0, max(24.0, cell * 0.62))
    top = LINE + 8 + (_SLOPE * widest + 8 if tilted else LINE)
    canvas = Canvas(_WIDTH, top + tall * len(rows) + 4)
    canvas.text(left, LINE - 3, f"{x} →", "m", _WIDTH - left)
    canvas.text(left - 9, top - 8, f"{y} ↓", "m e", left - 9)
    write = next((w for w in (short, _shorter) if all(width(w(v)) <= cell - 4 for row in values for v in row)), None)
    largest = max((abs(v) for v in finite(*values)), default=0.0)
    for j, name in enumerate(columns):
        middle = left + cell * (j + 0.5)
        if tilted:
            canvas.add(f'<g transform="translate({n(middle + 4)} {n(top - 6)}) rotate(-45)">')
            canvas.text(0, 0, name, "", widest + 1)
            canvas.add("</g>")
        else:
            canvas.text(middle, top - 8, name, "k", cell - 6)
    for i, (name, row) in enumerate(zip(rows, values, strict=True)):
        place = top + tall * i
        canvas.text(left - 9, place + tall / 2 + 4, name, "e", left - 9)
        whole = sum(abs(v) for v in finite(row)) if by == "row" else largest
        for j, value in enumerate(row):
            share = abs(held(value)) / whole if whole and math.isfinite(value) else 0.0
            canvas.add(
                f'<rect class="s0" x="{n(left + cell * j + 1)}" y="{n(place + 1)}" width="{n(cell - 2)}" '
                f'height="{n(tall - 2)}" rx="2" fill="currentColor" fill-opacity="{0.04 + 0.54 * share:.2f}"/>'
            )
            if write is not None:
                canvas.text(left + cell * (j + 0.5), place + tall / 2 + 4, write(value), "k")
    return canvas.svg()


def histogram(edges: Sequence[float], counts: Mapping[str, Sequence[float]], *, x: str, y: str = "") -> str:
    """Draw how values are spread, one outline for each name.

    Parameters
    ----------
    edges : sequence of float
        Bin edges, increasing, one more than there are bins.
    counts : mapping of str to sequence of float
        Height of each bin, by name.
    x, y : str
        What is spread, and what the heights are.

    Returns
    -------
    str
        One SVG element.
    """
    up = ticks(0.0, max([0.0, *finite(*counts.values())]), 4)
    across = ticks(edges[0], edges[-1], 6)
    across = [t for t in across if edges[0] <= t <= edges[-1]] or [edges[0], edges[-1]]
    left, right, top, tall = max(width(t) for t in figures(up)) + 10, 12.0, LINE + 12, 200.0
    names = [] if len(counts) == 1 else list(counts)
    canvas = Canvas(_WIDTH, top + tall + 2 * LINE + 14)
    horizontal = Scale(edges[0], edges[-1] if edges[-1] > edges[0] else edges[0] + 1, left, _WIDTH - right)
    vertical = Scale(up[0], up[-1], top + tall, top)
    canvas.text(0, LINE - 2, y, "m", _WIDTH / 2)
    _grid(canvas, vertical, up, horizontal)
    _below(canvas, horizontal, across, vertical.start, x)
    place = _WIDTH - sum(min(110.0, width(name)) + 16 for name in names) + 16
    for i, (name, heights) in enumerate(counts.items()):
        path = f"M{n(horizontal(edges[0]))} {n(vertical.start)}"
        for height, end in zip(heights, edges[1:], strict=True):
            path += f"V{n(vertical(height if math.isfinite(height) else 0.0))}H{n(horizontal(end))}"
        path += f"V{n(vertical.start)}z"
        canvas.add(
            f'<g class="s{i % INKS}"><path d="{path}" fill="currentColor" fill-opacity=".16" stroke="currentColor" '
            f'stroke-width="1.5" stroke-linejoin="round"/>'
        )
        if names:
            canvas.text(place, LINE - 2, name, "c", 110.0)
            place += min(110.0, width(name)) + 16
        canvas.add("</g>")
    return canvas.svg()


def _shorter(value: float) -> str:
    """Return a value with about two figures: 4.2k, 12k, 1.3M."""
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if limit <= abs(value) < 1e9:
            return f"{value / limit:.{1 if abs(value) < 10 * limit else 0}f}{unit}"
    return f"{value:.2g}" if math.isfinite(value) else "–"


def _points(series: Series, log_x: bool) -> Series:
    """Keep points that can be drawn, and of a long line only as many as can be seen apart."""
    low, high = series.low or series.y, series.high or series.y
    rows = [
        tuple(held(float(v)) for v in row)
        for row in zip(series.x, series.y, low, high, strict=True)
        if all(math.isfinite(v) for v in row[:2]) and (row[0] > 0 or not log_x)
    ]
    if len(rows) > _POINTS and series.kind == "line":
        size = len(rows) / (_POINTS / 2)
        kept: set[int] = {0, len(rows) - 1}
        for start in range(_POINTS // 2):
            part = range(int(start * size), max(int(start * size) + 1, int((start + 1) * size)))
            kept |= {min(part, key=lambda i: rows[i][1]), max(part, key=lambda i: rows[i][1])}
        rows = [rows[i] for i in sorted(kept)]
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    spans = series.low is not None and series.high is not None
    return Series(
        series.name, columns[0], columns[1], columns[2] if spans else None, columns[3] if spans else None, series.kind
    )


def _drawn(s: Series, across: Scale, up: Scale) -> str:
    spots = [(across(a), up(b)) for a, b in zip(s.x, s.y, strict=True)]
    parts = []
    if s.low is not None and s.high is not None and s.kind == "line" and len(spots) > 1:
        over = [f"{n(across(a))} {n(up(b))}" for a, b in zip(s.x, s.high, strict=True) if math.isfinite(b)]
        under = [f"{n(across(a))} {n(up(b))}" for a, b in zip(s.x, s.low, strict=True) if math.isfinite(b)]
        if over and under:
            parts.append(f'<path d="M{"L".join([*over, *reversed(under)])}z" fill="currentColor" opacity=".15"/>')
    if s.kind == "points":
        if s.low is not None and s.high is not None:
            whiskers = "".join(
                f"M{n(across(a))} {n(up(b))}V{n(up(c))}"
                for a, b, c in zip(s.x, s.low, s.high, strict=True)
                if math.isfinite(b) and math.isfinite(c)
            )
            parts.append(f'<path d="{whiskers}" stroke="currentColor" stroke-width="1.5" opacity=".6"/>')
        parts += [f'<circle cx="{n(a)}" cy="{n(b)}" r="3.5" fill="currentColor"/>' for a, b in spots]
    elif len(spots) == 1:
        parts.append(f'<circle cx="{n(spots[0][0])}" cy="{n(spots[0][1])}" r="3" fill="currentColor"/>')
    elif spots:
        path = "L".join(f"{n(a)} {n(b)}" for a, b in spots)
        parts.append(f'<path d="M{path}" fill="none" stroke="currentColor" stroke-width="2" stroke-linejoin="round"/>')
    return "".join(parts)


def _grid(canvas: Canvas, up: Scale, values: Sequence[float], across: Scale) -> None:
    for value, text in zip(values, figures(values), strict=True):
        canvas.line(across.start, up(value), across.end, up(value), "g")
        canvas.text(across.start - 6, up(value) + 4, text, "m e")


def _below(canvas: Canvas, scale: Scale, values: Sequence[float], at: float, title: str, axis: bool = True) -> None:
    """Set the x axis' figures, leaving out those that would touch, and its title."""
    if axis:
        canvas.line(scale.start, at, scale.end, at, "a")
    taken = -math.inf
    for value, text in zip(values, figures(values), strict=True):
        half = width(text) / 2
        middle = min(scale(value), canvas.width - half)
        if middle - half < taken + 6:
            continue
        canvas.text(middle, at + LINE, text, "m k")
        taken = middle + half
    if title:
        canvas.text(scale.start, at + 2 * LINE + 4, title, "m", canvas.width - scale.start)
