"""One document, two faces: Markdown for review and HTML for people, from the same blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard.core.blocks import (
    Block,
    Code,
    Details,
    Diagram,
    Facts,
    Figure,
    Heading,
    Listing,
    Note,
    Table,
    Text,
)
from modelyard.core.files import write_atomic
from modelyard.core.html import html_page
from modelyard.core.inline import literal
from modelyard.core.markdown import Face

__all__ = [
    "Block", "Code", "Details", "Diagram", "Document", "Facts", "Figure", "Heading", "Listing", "Note", "Table", "Text",
    "literal",
]  # fmt: skip


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

    def markdown(self, stem: str = "figure") -> str:
        """Return the document as GitHub-flavoured Markdown; pictures are named ``figures/{stem}-1.svg`` and so on."""
        return Face(stem).document(self)

    def html(self) -> str:
        """Return the document as one page that needs no other file and runs no script."""
        return html_page(self)

    def write(self, folder: Path, stem: str) -> tuple[Path, Path]:
        """Write both faces, and the Markdown's pictures under ``folder/figures``.

        Parameters
        ----------
        folder : Path
            Made when missing.
        stem : str
            File name without its ending, such as ``"3-evaluation"``.

        Returns
        -------
        (Path, Path)
            The Markdown file and the HTML file.

        Raises
        ------
        WorkspaceError
            If the folder cannot be written.
        """
        face = Face(stem)
        text = face.document(self)
        for name, svg in face.figures:
            write_atomic(folder / name, svg)
        return write_atomic(folder / f"{stem}.md", text), write_atomic(folder / f"{stem}.html", self.html())
