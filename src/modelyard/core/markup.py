"""One document, two faces: Markdown for review and HTML for people, from the same blocks."""

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
    """A table; cells are understood as `Text` is. ``align`` holds "l" or "r" for each column."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str = ""
    caption: str = ""


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
    """A picture as SVG, with what it shows in words for those who cannot see it."""

    svg: str
    alt: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Diagram:
    """Boxes and arrows: Mermaid in Markdown, SVG in HTML.

    ``nodes`` are (key, text); ``edges`` (key, key, text on the arrow or "").
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


@dataclass(frozen=True, slots=True)
class Document:
    """A document: its title, the answer in one screen, the evidence, and where to go on.

    Attributes
    ----------
    title : str
        Its title.
    answer : sequence of blocks
        The answer in one screen.
    blocks : sequence of blocks
        Evidence, then details.
    commands : sequence of str
        The commands that made it.
    links : sequence of (text, file stem)
        Other documents of the run; each face links to the same face.
    """

    title: str
    answer: Sequence[Block]
    blocks: Sequence[Block]
    commands: Sequence[str] = ()
    links: Sequence[tuple[str, str]] = ()
