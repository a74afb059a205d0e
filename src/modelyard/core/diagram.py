"""Boxes and arrows as SVG, laid out in layers from the top down.

References
----------
Sugiyama, Tagawa, Toda (1981), "Methods for visual understanding of hierarchical system structures": cycles are
broken, nodes layered by longest path, long arrows threaded through every layer they cross, each layer ordered by the
means of its neighbours.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, field

from modelyard.core.axes import LINE, Canvas, n, shorten, width
from modelyard.core.blocks import Diagram
from modelyard.core.inline import clean

_GAP, _STORY, _ROOM, _SWEEPS = 18.0, 40.0, 152.0, 8
_ASIDE = 16.0  # an arrow that goes back up stands beside those that go down


@dataclass(slots=True, eq=False)
class _Spot:
    """A box, the words on an arrow, or the place where a long arrow crosses a layer."""

    lines: list[str]
    kind: str
    width: float
    height: float
    layer: int = 0
    x: float = 0.0
    y: float = 0.0
    up: list[_Spot] = field(default_factory=list)
    down: list[_Spot] = field(default_factory=list)


def draw(diagram: Diagram) -> str:
    """Return a diagram as SVG; a few dozen boxes stay legible."""
    boxes = {key: _box(text) for key, text in diagram.nodes}
    if not boxes:
        return Canvas(120.0, 1.0).svg()
    arrows = _arrows(diagram, boxes)
    words = {i: _words(label) for i, (_, _, label) in enumerate(diagram.edges) if label.strip()}
    _layer(boxes, arrows, words)
    layers, paths = _thread(list(boxes.values()), arrows, words)
    _order(layers)
    wide = _place(layers)
    return _svg(layers, paths, wide)


def _arrows(diagram: Diagram, boxes: dict[str, _Spot]) -> list[tuple[int, _Spot, _Spot, bool]]:
    """Return (number, upper, lower, whether it was turned): arrows that close a circle are turned for the layout."""
    ahead: dict[str, list[int]] = defaultdict(list)
    for i, (start, end, _) in enumerate(diagram.edges):
        if start in boxes and end in boxes and start != end:
            ahead[start].append(i)
    turned: set[int] = set()
    done: set[str] = set()

    def visit(key: str, above: tuple[str, ...]) -> None:
        for i in ahead[key]:
            end = diagram.edges[i][1]
            if end in above:
                turned.add(i)
            elif end not in done:
                visit(end, (*above, end))
        done.add(key)

    for root in boxes:
        if root not in done:
            visit(root, (root,))
    found = []
    for i in sorted(i for several in ahead.values() for i in several):
        start, end, _ = diagram.edges[i]
        pair = (end, start) if i in turned else (start, end)
        found.append((i, boxes[pair[0]], boxes[pair[1]], i in turned))
    return found


def _layer(boxes: dict[str, _Spot], arrows: list[tuple[int, _Spot, _Spot, bool]], words: dict[int, _Spot]) -> None:
    for _ in range(len(boxes) + 1):
        for i, upper, lower, _turned in arrows:
            lower.layer = max(lower.layer, upper.layer + (2 if i in words else 1))


def _thread(
    boxes: list[_Spot], arrows: list[tuple[int, _Spot, _Spot, bool]], words: dict[int, _Spot]
) -> tuple[list[list[_Spot]], list[tuple[list[_Spot], bool]]]:
    """Give every arrow a spot on each layer it crosses, its words on the middle one."""
    layers: list[list[_Spot]] = [[] for _ in range(max((b.layer for b in boxes), default=0) + 1)]
    for box in boxes:
        layers[box.layer].append(box)
    paths = []
    for i, upper, lower, turned in arrows:
        path = [upper]
        crossed = range(upper.layer + 1, lower.layer)
        for layer in crossed:
            label = words.get(i) if layer == (upper.layer + lower.layer) // 2 else None
            spot = label or _Spot([], "bend", 8.0, 0.0)
            spot.layer = layer
            layers[layer].append(spot)
            path.append(spot)
        path.append(lower)
        for a, b in itertools.pairwise(path):
            a.down.append(b)
            b.up.append(a)
        paths.append((path, turned))
    return layers, paths


def _order(layers: list[list[_Spot]]) -> None:
    """Order each layer by where its neighbours stand, down and up in turn, and keep the order with fewest crossings."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    for sweep in range(_SWEEPS):
        downwards = sweep % 2 == 0
        for layer in layers if downwards else reversed(layers):
            rank = {s: i / max(1, len(row) - 1) for row in layers for i, s in enumerate(row)}

            def mean(spot: _Spot, rank: dict[_Spot, float] = rank, downwards: bool = downwards) -> float:
                near = spot.up if downwards else spot.down
                return sum(rank[s] for s in near) / len(near) if near else rank[spot]

            layer.sort(key=mean)
        now = _crossings(layers)
        if now < fewest:
            best, fewest = [list(layer) for layer in layers], now
    for layer, kept in zip(layers, best, strict=True):
        layer[:] = kept


def _crossings(layers: list[list[_Spot]]) -> int:
    total = 0
    for upper, lower in itertools.pairwise(layers):
        place = {s: i for i, s in enumerate(lower)}
        pairs = [(i, place[t]) for i, s in enumerate(upper) for t in s.down if t in place]
        total += sum((a - c) * (b - d) < 0 for i, (a, b) in enumerate(pairs) for c, d in pairs[i + 1 :])
    return total


def _place(layers: list[list[_Spot]]) -> float:
    """Give every spot its place: near its neighbours, never over another. Return the width taken."""
    y = 2.0
    for layer in layers:
        tall = max(s.height for s in layer)
        for s in layer:
            s.y = y + tall / 2
        y += tall + (_STORY if any(s.kind == "box" for s in layer) else _STORY * 0.6)
        x = -(sum(s.width for s in layer) + _GAP * (len(layer) - 1)) / 2
        for s in layer:
            s.x, x = x + s.width / 2, x + s.width + _GAP
    for sweep in range(2 * _SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            _settle(layer, sweep % 2 == 0)
    left = min(s.x - s.width / 2 for layer in layers for s in layer)
    right = max(s.x + s.width / 2 for layer in layers for s in layer)
    for layer in layers:
        for s in layer:
            s.x += 2.0 - left
    return right - left + 4.0


def _settle(layer: list[_Spot], downwards: bool) -> None:
    """Move spots towards the mean of their neighbours, as blocks where they would touch (pool adjacent violators)."""
    offsets, offset = [], 0.0
    for i, s in enumerate(layer):
        offset += 0.0 if i == 0 else layer[i - 1].width / 2 + _GAP + s.width / 2
        offsets.append(offset)
    blocks: list[list[float]] = []
    for s, shift in zip(layer, offsets, strict=True):
        near = (s.up if downwards else s.down) or [s]
        wish = sum(t.x for t in near) / len(near) - shift
        blocks.append([wish, 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, m), (b, k) = blocks[-2], blocks.pop()
            blocks[-1] = [(a * m + b * k) / (m + k), m + k]
    wishes = [wish for wish, count in blocks for _ in range(int(count))]
    for s, shift, wish in zip(layer, offsets, wishes, strict=True):
        s.x = wish + shift


def _svg(layers: list[list[_Spot]], paths: list[tuple[list[_Spot], bool]], wide: float) -> str:
    tall = max(s.y + s.height / 2 for layer in layers for s in layer) + 2
    canvas = Canvas(max(wide, 120.0), tall)
    for path, turned in paths:
        canvas.add(_arrow(path, turned))
    for layer in layers:
        for s in layer:
            if s.kind == "box":
                canvas.add(
                    f'<rect class="box" x="{n(s.x - s.width / 2)}" y="{n(s.y - s.height / 2)}" width="{n(s.width)}" '
                    f'height="{n(s.height)}" rx="6"/>'
                )
            for i, text in enumerate(s.lines):
                baseline = s.y + (i - (len(s.lines) - 1) / 2) * LINE + 4.3
                canvas.text(s.x, baseline, text, "k" if s.kind == "box" else "m k")
    return canvas.svg(least=wide * 0.8 if wide > 420 else 0.0)


def _arrow(path: list[_Spot], turned: bool) -> str:
    """Draw an arrow as a smooth line through its spots, broken where its words stand."""
    pieces, head = [], ""
    for number, (a, b) in enumerate(itertools.pairwise(path)):
        first, last = number == 0, number == len(path) - 2
        x1, x2 = a.x + (_ASIDE if turned and first else 0), b.x + (_ASIDE if turned and last else 0)
        y1, y2 = a.y + a.height / 2, b.y - b.height / 2
        if turned and first:
            head, y1 = f"M{n(x1 - 4)} {n(y1 + 7)}h8l-4 -7z", y1 + 7
        elif last and not turned:
            head, y2 = f"M{n(x2 - 4)} {n(y2 - 7)}h8l-4 7z", y2 - 7
        middle = (y1 + y2) / 2
        pieces.append(f"M{n(x1)} {n(y1)}C{n(x1)} {n(middle)} {n(x2)} {n(middle)} {n(x2)} {n(y2)}")
    return f'<g class="m"><path class="z" d="{"".join(pieces)}" fill="none"/><path class="m" d="{head}"/></g>'


def _box(text: str) -> _Spot:
    lines = [part for row in clean(text).split("\n") for part in _wrap(row)]
    lines = lines[:6] if len(lines) <= 6 else [*lines[:5], shorten(lines[5] + "…", _ROOM)]
    wide = max((width(part) for part in lines), default=0.0)
    return _Spot(lines, "box", max(56.0, wide + 20), len(lines) * LINE + 14)


def _words(label: str) -> _Spot:
    lines = _wrap(" ".join(clean(label).split()))[:2]
    return _Spot(lines, "words", max(width(part) for part in lines) + 6, len(lines) * LINE)


def _wrap(text: str) -> list[str]:
    rows = [""]
    for word in text.split():
        joined = f"{rows[-1]} {word}".strip()
        if width(joined) <= _ROOM or not rows[-1]:
            rows[-1] = joined
        else:
            rows.append(word)
    return [shorten(row, _ROOM) for row in rows]
