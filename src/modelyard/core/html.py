"""The HTML face of a document: one file, no script, nothing from elsewhere, light and dark, phone to paper."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, count
from typing import TYPE_CHECKING
from urllib.parse import quote

from modelyard.core.axes import STYLE
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
from modelyard.core.diagram import draw
from modelyard.core.inline import Span, clean, escape, plain, spans
from modelyard.core.style import PAGE

if TYPE_CHECKING:
    from modelyard.core.markup import Document

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_NOTES = {"good": "Good", "warn": "Careful", "bad": "Problem", "info": "Note"}


def html_page(document: Document) -> str:
    """Return a document as one HTML page."""
    page = _Page()
    answer = page.blocks(document.answer, lead=True)
    body = page.blocks(document.blocks)
    if document.commands:
        body += page.block(Heading("How this was made")) + page.block(Code("\n".join(document.commands), "sh"))
    title = escape(plain(document.title))
    links = "".join(f'<a href="{quote(clean(stem))}.html">{escape(text)}</a>' for text, stem in document.links)
    nav = f'<nav class="docs" aria-label="Documents of this run">{links}</nav>' if links else ""
    contents = "".join(f'<a href="#{key}">{text}</a>' for key, text in page.sections)
    side = f'<nav class="toc" aria-label="On this page">{contents}</nav>' if len(page.sections) > 2 else ""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{title}</title>\n'
        f"<style>{PAGE}{STYLE}</style>\n</head>\n<body>\n{side}\n<main>\n<header>{nav}<h1>{inline(document.title)}</h1></header>\n"
        f'<section class="answer" aria-label="The answer">\n{answer}</section>\n{body}</main>\n</body>\n</html>\n'
    )


class _Page:
    """What must be unique on a page: the keys of its headings."""

    def __init__(self) -> None:
        self.sections: list[tuple[str, str]] = []
        self.keys: set[str] = set()

    def blocks(self, blocks: Sequence[Block], lead: bool = False) -> str:
        """Return blocks in order; the first text of the answer is set larger."""
        first = next((i for i, b in enumerate(blocks) if isinstance(b, Text | Note)), None) if lead else None
        return "".join(self.block(b, lead=i == first) for i, b in enumerate(blocks))

    def block(self, block: Block, lead: bool = False) -> str:
        """Return one block, with a line break after it."""
        return self._block(block, " lead" if lead else "") + "\n"

    def _block(self, block: Block, lead: str) -> str:
        match block:
            case Heading():
                return self._heading(block)
            case Text():
                return f'<p class="lead">{inline(block.text)}</p>' if lead else f"<p>{inline(block.text)}</p>"
            case Note():
                label = f'<span class="hidden">{_NOTES[block.kind]}: </span>'
                return f'<p class="note {block.kind}{lead}" role="note">{label}{inline(block.text)}</p>'
            case Facts():
                rows = "".join(f"<div><dt>{inline(a)}</dt><dd>{inline(b)}</dd></div>" for a, b in block.rows)
                return f"<dl>{rows}</dl>"
            case Table():
                return _table(block)
            case Listing():
                return f"<ul>{''.join(f'<li>{inline(item)}</li>' for item in block.items)}</ul>"
            case Code():
                return f'<pre tabindex="0"><code>{escape(block.text.strip(chr(10)))}</code></pre>'
            case Figure():
                return _figure(block.svg.replace(f"<style>{STYLE}</style>", "", 1), block.alt, block.caption)
            case Diagram():
                return _figure(draw(block), _in_words(block), block.caption)
            case Details():
                title, inside = inline(block.title), self.blocks(block.blocks)
                return f"<details><summary>{title}</summary>\n{inside}</details>"

    def _heading(self, block: Heading) -> str:
        text = plain(block.text)
        stem = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "section"
        key = next(k for k in chain((stem,), (f"{stem}-{n}" for n in count(2))) if k not in self.keys)
        self.keys.add(key)
        if block.level == 2:
            self.sections.append((key, escape(text)))
        return f'<h{block.level} id="{key}">{inline(block.text)}</h{block.level}>'


def inline(source: str) -> str:
    """Return inline text as HTML; whatever is not bold, code or a safe link is escaped."""
    return "".join(_inline(span) for span in spans(source))


def _inline(span: Span) -> str:
    match span.kind:
        case "code":
            return f"<code>{escape(span.text)}</code>"
        case "bold":
            return f"<strong>{''.join(_inline(s) for s in span.inner)}</strong>"
        case "link":
            return f'<a href="{escape(span.href)}" rel="noreferrer">{escape(span.text)}</a>'
        case "text":
            return escape(span.text)


def _table(block: Table) -> str:
    align = block.alignment()
    kinds = ["" if a == "l" else ' class="r"' for a in align]
    head = "".join(f'<th scope="col"{k}>{inline(c)}</th>' for k, c in zip(kinds, block.columns, strict=True))
    width = len(block.columns)
    rows = []
    for row in block.rows:
        cells = (*row, *([""] * width))[:width]
        first = f'<th scope="row"{kinds[0]}>{inline(cells[0])}</th>' if width else ""
        rest = "".join(f"<td{k}>{inline(c)}</td>" for k, c in zip(kinds[1:], cells[1:], strict=True))
        rows.append(f"<tr>{first}{rest}</tr>")
    caption = f"<caption>{inline(block.caption)}</caption>" if block.caption else ""
    name = escape(plain(block.caption)) or "Table"
    return (
        f'<div class="scroll" role="region" aria-label="{name}" tabindex="0"><table>{caption}'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{chr(10).join(rows)}</tbody></table></div>"
    )


def _figure(svg: str, alt: str, caption: str) -> str:
    named = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1)
    below = f"<figcaption>{inline(caption)}</figcaption>" if caption else ""
    return f'<figure><div class="picture">{named}</div>{below}</figure>'


def _in_words(diagram: Diagram) -> str:
    names = {key: " ".join(text.split()) for key, text in diagram.nodes}
    steps = [f"{names[a]} to {names[b]}" + (f" ({label})" if label else "") for a, b, label in diagram.edges]
    return "Diagram: " + "; ".join(steps or list(names.values()))
