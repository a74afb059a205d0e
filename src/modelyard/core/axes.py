"""What every chart is drawn with: scales with nice ticks, text whose width is known, and lean SVG."""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modelyard.core.inline import clean, escape

SIZE = 12.5
"""Height of a chart's text in its own units; at the width of a phone it is still read."""
LINE = 16.0
_SHOWN = 1.12  # times its own units where there is room: text of 14 pixels
_LEAST = 1e-290  # below this, a share of a difference may be zero
_LIMIT = 1e150  # beyond this, a difference of two values may overflow

_INKS = ("#2563c9", "#c2571a", "#12806a", "#8a4fc4", "#93700c", "#b83263")
_DARK_INKS = ("#7fb0ff", "#f0985c", "#4cc3a5", "#c39bf2", "#d9b44a", "#f08bb0")
INKS = len(_INKS)
STYLE = (
    f".chart{{font:{SIZE}px system-ui,-apple-system,'Segoe UI',Roboto,Arial,sans-serif}}"
    ".chart text{fill:#24292f;font-variant-numeric:tabular-nums}.chart .m{fill:#5f6672}.chart .c{fill:currentColor}"
    ".chart .b{font-weight:600}.chart .e{text-anchor:end}.chart .k{text-anchor:middle}"
    ".chart .g{stroke:#e6e8eb}.chart .a{stroke:#aab0b9}.chart .z{stroke:#5f6672}.chart .paper{fill:#fff}"
    ".chart .box{fill:#f6f7f8;stroke:#b6bcc4}.chart .halo{stroke:#fff}"
    + "".join(f".chart .s{i}{{color:{c}}}" for i, c in enumerate(_INKS))
    + "@media screen and (prefers-color-scheme:dark){.chart text{fill:#e3e6ea}.chart .m{fill:#9aa3af}"
    ".chart .c{fill:currentColor}.chart .g{stroke:#2a3037}.chart .a{stroke:#59616c}.chart .z{stroke:#9aa3af}"
    ".chart .paper{fill:#14171b}.chart .box{fill:#1c2026;stroke:#4a525d}.chart .halo{stroke:#14171b}"
    + "".join(f".chart .s{i}{{color:{c}}}" for i, c in enumerate(_DARK_INKS))
    + "}"
)
"""Style of every chart: inside each file of its own, once in a page that holds many."""


class Canvas:
    """Collects the elements of one SVG."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.parts: list[str] = []

    def text(self, x: float, y: float, text: object, kind: str = "", room: float | None = None) -> None:
        """Set text at a baseline; where it is wider than its room it is shortened, and a tooltip holds it whole."""
        whole = clean(text)
        shown = whole if room is None else shorten(whole, room)
        tip = f"<title>{escape(whole)}</title>" if shown != whole else ""
        name = f' class="{kind}"' if kind else ""
        self.parts.append(f'<text x="{n(x)}" y="{n(y)}"{name}>{escape(shown)}{tip}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str, extra: str = "") -> None:
        """Draw a straight line."""
        self.parts.append(f'<path class="{kind}" d="M{n(x1)} {n(y1)}L{n(x2)} {n(y2)}"{extra}/>')

    def add(self, element: str) -> None:
        """Add an element as it is."""
        self.parts.append(element)

    def svg(self, least: float = 0.0) -> str:
        """Return the picture, a file of its own or a part of a page; below `least` pixels a page lets it scroll."""
        w, h = n(self.width), n(self.height)
        size = f'width="{n(self.width * _SHOWN)}" height="{n(self.height * _SHOWN)}"'
        floor = f' style="min-width:{n(least)}px"' if least else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {w} {h}" {size}{floor}>'
            f'<style>{STYLE}</style><rect class="paper" width="{w}" height="{h}"/>{"".join(self.parts)}</svg>'
        )


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to places along one side of a plot."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value, kept within the plot."""
        low, high, value = (_log(v) if self.log else v for v in (self.low, self.high, held(value)))
        share = min(1.0, max(0.0, (value - low) / (high - low)))
        return self.start + share * (self.end - self.start)


def n(value: float) -> str:
    """Return a coordinate with one decimal at most: a tenth of a pixel is not seen, its bytes are."""
    return f"{value + 0.0 if abs(value) >= 0.05 else 0.0:.1f}".removesuffix(".0")


def held(value: float) -> float:
    """Return a value kept where arithmetic cannot overflow."""
    return min(_LIMIT, max(-_LIMIT, value))


def finite(*several: Iterable[float] | None) -> list[float]:
    """Return every finite value of several sequences."""
    return [held(float(v)) for values in several if values is not None for v in values if math.isfinite(v)]


def widened(low: float, high: float) -> tuple[float, float]:
    """Return a range, or one around its middle where it holds a single value."""
    low, high = min(low, high), max(low, high)
    pad = 0.0 if high - low > max(abs(low) * 1e-12, _LEAST) else abs(low) * 0.1 if abs(low) > _LEAST else 1.0
    return low - pad, high + pad


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` round values that reach over [low, high], both ends included."""
    low, high = widened(low, high)
    rough = (high - low) / max(1, count)
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    found = [i * step for i in range(first, last + 1)]
    return found if len(found) > 1 and found[-1] > found[0] else [low, high]


def log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten that reach over [low, high], and 2 and 5 between them where there are few."""
    first, last = math.floor(_log(low) + 1e-9), math.ceil(_log(high) - 1e-9)
    last = max(last, first + 1)
    stride = max(1, math.ceil((last - first) / 6))
    powers = list(range(first, last + stride, stride))
    marks = (1, 2, 5) if last - first <= 2 else (1,)
    found = [m * 10.0**p for p in powers for m in marks if p < powers[-1] or m == 1]
    start = max((i for i, t in enumerate(found) if t <= low * 1.000001), default=0)
    end = next((i for i, t in enumerate(found) if t >= high * 0.999999 and i > start), len(found) - 1)
    return found[start : end + 1]


def figures(values: Sequence[float]) -> list[str]:
    """Return ticks as text, all with the same number of decimals."""
    gaps = [b - a for a, b in itertools.pairwise(values) if b > a]
    step, top = min(gaps, default=1.0), max((abs(v) for v in values), default=0.0)
    if top >= 1e15 or (0 < top < 1e-4):
        return [f"{v:.3g}" for v in values]
    for limit, unit in ((1e9, "B"), (1e6, "M")):
        if top >= limit:
            return [f"{v / limit:,.{_decimals(step / limit)}f}{unit if v else ''}" for v in values]
    return [f"{v:,.{_decimals(step)}f}".replace("-0", "0") if v == 0 else f"{v:,.{_decimals(step)}f}" for v in values]


def short(value: float) -> str:
    """Return one value with about three figures."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 1e6 or 0 < size < 1e-4:
        return f"{value:.3g}"
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.{3 if size < 1 else 2 if size < 10 else 1}f}"


def width(text: str, size: float = SIZE) -> float:
    """Return about how wide text is: no font is at hand, so each letter counts what the wider fonts give it."""
    return size * sum(_letter(c) for c in text)


def shorten(text: str, room: float) -> str:
    """Return text cut to a width, with an ellipsis where it was cut."""
    if width(text) <= room:
        return text
    while text and width(text + "…") > room:
        text = text[:-1]
    return text.rstrip() + "…"


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move places apart until none is nearer than `gap` to the next, keeping their order and bounds."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    gap = min(gap, (high - low) / max(1, len(places) - 1)) if len(places) > 1 else gap
    moved = list(places)
    floor = low
    for i in order:
        moved[i] = max(floor, moved[i])
        floor = moved[i] + gap
    ceiling = high
    for i in reversed(order):
        moved[i] = min(ceiling, moved[i])
        ceiling = moved[i] - gap
    return moved


def _letter(c: str) -> float:
    if unicodedata.combining(c):
        return 0.0
    if unicodedata.east_asian_width(c) in "WF":
        return 1.05
    if c in "iljI.,:;'|!()[] ftr-":
        return 0.4
    return 0.85 if c in "mwMW@%—…" else 0.7 if c.isupper() else 0.62


def _decimals(step: float) -> int:
    if not step > 0:
        return 0
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return min(8, digits + (1 if abs(step * 10**digits - round(step * 10**digits)) > 1e-6 else 0))


def _log(value: float) -> float:
    return math.log10(max(value, 1e-300))
