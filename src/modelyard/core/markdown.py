"""The Markdown face of a document (GitHub-flavoured: tables, details, Mermaid)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

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
from modelyard.core.inline import Span, clean, spans

if TYPE_CHECKING:
    from modelyard.core.markup import Document

_NOTES = {"good": "", "warn": "**Careful.** ", "bad": "**Problem.** ", "info": ""}


class Face:
    """Renders one document, and keeps its pictures as (file name, SVG) in `figures`."""

    def __init__(self, stem: str) -> None:
        self.stem = stem
        self.figures: list[tuple[str, str]] = []

    def document(self, document: Document) -> str:
        """Return the whole text."""
        parts = [f"# {line(document.title)}"]
        if document.links:
            parts.append(" · ".join(f"[{line(text)}]({quote(clean(stem))}.md)" for text, stem in document.links))
        parts += [self.block(b) for b in (*document.answer, *document.blocks)]
        if document.commands:
            parts += ["## How this was made", fenced("\n".join(document.commands), "sh")]
        return "\n\n".join(p for p in parts if p) + "\n"

    def block(self, block: Block) -> str:
        """Return one block, without blank lines around it."""
        match block:
            case Heading():
                return f"{'#' * block.level} {line(block.text)}"
            case Text():
                return opening(line(block.text))
            case Note():
                return f"> {_NOTES[block.kind]}{opening(line(block.text))}"
            case Facts():
                return "\n".join(f"- **{line(label)}**: {line(value)}" for label, value in block.rows)
            case Table():
                return table(block)
            case Listing():
                return "\n".join(f"- {opening(line(item))}" for item in block.items)
            case Code():
                return fenced(block.text, block.language)
            case Figure():
                name = f"figures/{self.stem}-{len(self.figures) + 1}.svg"
                self.figures.append((name, block.svg))
                return _with_caption(f"![{text(block.alt)}]({quote(name)})", block.caption)
            case Diagram():
                return _with_caption(fenced(mermaid(block), "mermaid"), block.caption)
            case Details():
                inside = "\n\n".join(self.block(b) for b in block.blocks)
                return f"<details>\n<summary>{_html(text(block.title))}</summary>\n\n{inside}\n\n</details>"


def table(block: Table) -> str:
    """Return a table; every row gets as many cells as there are columns."""
    width = len(block.columns)
    rule = ["---:" if a == "r" else ":---" for a in block.alignment()]
    rows = [[line(c) for c in (*row, *([""] * width))[:width]] for row in block.rows]
    lines = [f"| {' | '.join(cells)} |" for cells in ([line(c) for c in block.columns], rule, *rows)]
    return _with_caption("\n".join(lines), block.caption)


def fenced(code: str, language: str) -> str:
    """Return code inside a fence longer than any it holds."""
    code = clean(code)
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{re.sub('[^A-Za-z0-9_+-]', '', language)}\n{code.strip(chr(10))}\n{fence}"


def mermaid(diagram: Diagram) -> str:
    """Return a Mermaid flowchart; texts cannot break out of their quotes."""
    keys = {key: f"n{i}" for i, (key, _) in enumerate(diagram.nodes)}
    lines = ["flowchart TD"]
    lines += [f'  {keys[key]}["{_quoted(label)}"]' for key, label in diagram.nodes]
    for start, end, label in diagram.edges:
        arrow = f'-->|"{_quoted(label)}"|' if label else "-->"
        lines.append(f"  {keys[start]} {arrow} {keys[end]}")
    return "\n".join(lines)


def line(source: str) -> str:
    """Return inline text as one line of Markdown."""
    return "".join(_inline(span) for span in spans(" ".join(source.split())))


def text(source: str) -> str:
    """Return text with nothing in it understood as Markdown or HTML."""
    source = " ".join(clean(source).split())
    kept = r"\[[-+0-9.,%eE ]+\](?![(\[:])"  # an interval: brackets of no link, left readable
    source = re.sub(rf"({kept})|([\\`*\[\]|~$])", lambda m: m[1] or f"\\{m[2]}", source)
    source = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", source)
    source = re.sub(r"&(?=#?\w+;)", "&amp;", source)
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", source)


def opening(source: str) -> str:
    """Keep the first characters of a paragraph from opening a list, a quotation, a heading or a rule."""
    source = re.sub(r"^([#>]|[+-](?=\s|$)|[=-]{2,})", r"\\\1", source)
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", source)


def _inline(span: Span) -> str:
    match span.kind:
        case "code":
            # GitHub's tables split at a bar even inside code, and read the backslash before it.
            return f"`{span.text}`" if "|" not in span.text else f"<code>{_html(text(span.text))}</code>"
        case "bold":
            return f"**{''.join(_inline(s) for s in span.inner)}**"
        case "link":
            return f"[{text(span.text)}]({quote(span.href, safe=':/?#&=@%+,;.~!$-_')})"
        case "text":
            lead = " " if span.text[:1].isspace() else ""
            trail = " " if span.text[-1:].isspace() and span.text.strip() else ""
            return f"{lead}{text(span.text)}{trail}"


def _html(escaped: str) -> str:
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def _quoted(label: str) -> str:
    codes = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "`": "#96;", "\n": "<br/>", "&": "#amp;"}
    return "".join(codes.get(c, c) for c in clean(label))


def _with_caption(body: str, caption: str) -> str:
    return f"{body}\n\n*{line(caption).replace('**', '')}*" if caption else body


def join(blocks: Sequence[Block], stem: str = "figure") -> str:
    """Return blocks alone as Markdown, for texts that are no `Document`, such as a model card."""
    face = Face(stem)
    return "\n\n".join(face.block(b) for b in blocks) + "\n"
