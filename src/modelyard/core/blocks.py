"""The pieces a document is made of: plain data, rendered by `modelyard.core.markdown` and `modelyard.core.html`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Heading:
    """A section's title; level 2 or 3 (a document's own title is level 1)."""

    text: str
    level: Literal[2, 3] = 2


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; ``**bold**``, `` `code` `` and ``[link](address)`` are understood, all else is escaped."""

    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """A paragraph that must not be missed."""

    kind: Literal["good", "warn", "bad", "info"]
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Label and value, a line each."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Table:
    """A table; cells are understood as `Text` is.

    ``align`` holds "l" or "r" for each column; left out, columns of figures are aligned right.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str = ""
    caption: str = ""

    def alignment(self) -> str:
        """Return "l" or "r" for each column."""
        if self.align:
            return self.align.ljust(len(self.columns), "l")[: len(self.columns)]
        return "".join("r" if self._figures(i) else "l" for i in range(len(self.columns)))

    def _figures(self, column: int) -> bool:
        cells = [row[column].strip() for row in self.rows if column < len(row) and row[column].strip()]
        return bool(cells) and all(cell.lstrip("+-−±$~<> ")[:1].isdigit() or cell in {"-", "–"} for cell in cells)


@dataclass(frozen=True, slots=True)
class Listing:
    """Items, a bullet each."""

    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Code:
    """Text kept as it is."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture as SVG, with what it shows in words for those who cannot see it.

    The SVG is put into the page as it is: draw it with `modelyard.core.charts`, which escapes every text.
    """

    svg: str
    alt: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Diagram:
    """Boxes and arrows: Mermaid in Markdown, SVG in HTML.

    ``nodes`` are (key, text); ``edges`` (key, key, text on the arrow or ""). A line break in a text is kept.
    """

    nodes: Sequence[tuple[str, str]]
    edges: Sequence[tuple[str, str, str]]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Details:
    """Blocks a reader opens when wanted."""

    title: str
    blocks: Sequence[Block]


Block = Heading | Text | Note | Facts | Table | Listing | Code | Figure | Diagram | Details
