"""Text inside a block: what is bold, code or a link, and the escaping that keeps all else mere text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape as _escape
from typing import Literal
from urllib.parse import urlsplit

_PATTERN = re.compile(
    r"\\(?P<kept>[*`\[])"
    r"|`(?P<code>[^`\n]+)`"
    r"|\*\*(?P<bold>(?=\S)(?:[^*]|\*(?!\*))+?(?<=\S))\*\*"
    r"|\[(?P<text>[^\[\]\n]+)\]\((?P<href>[^()\s<>\"'`*]+)\)"
)
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of text in one style; `href` is set for links, `inner` holds what a bold one is made of."""

    kind: Literal["text", "code", "bold", "link"]
    text: str
    href: str = ""
    inner: tuple[Span, ...] = ()


def spans(text: str) -> tuple[Span, ...]:
    """Read ``**bold**``, `` `code` `` and ``[link](address)``; a backslash before ``*``, `` ` `` or ``[`` keeps it.

    Only addresses that cannot run anything become links: relative ones, http, https and mailto.
    """
    found: list[Span] = []
    position = 0
    text = clean(text)
    for match in _PATTERN.finditer(text):
        span = _span(match)
        if span is None:
            continue
        if match.start() > position:
            found.append(Span("text", text[position : match.start()]))
        found.append(span)
        position = match.end()
    if position < len(text):
        found.append(Span("text", text[position:]))
    return tuple(found)


def _span(match: re.Match[str]) -> Span | None:
    if match["kept"]:
        return Span("text", match["kept"])
    if match["code"]:
        return Span("code", match["code"])
    if match["bold"]:
        return Span("bold", match["bold"], inner=spans(match["bold"]))
    return Span("link", match["text"], match["href"]) if safe(match["href"]) else None


def safe(href: str) -> bool:
    """Say whether an address may become a link."""
    try:
        parts = urlsplit(href)
    except ValueError:
        return False
    if parts.scheme:
        return parts.scheme in {"http", "https", "mailto"}
    return not href.startswith(("//", "\\"))


def literal(text: object) -> str:
    """Return text, such as a column's name, so that a block shows it as it is, stars and brackets too."""
    return re.sub(r"([*`\[])", r"\\\1", str(text))


def plain(text: str) -> str:
    """Return what a reader sees, without the marks."""
    return "".join(plain(s.text) if s.kind == "bold" else s.text for s in spans(text))


def clean(text: object) -> str:
    """Return text with what XML cannot hold, or what turns the reading direction, shown as U+FFFD."""
    return _FORBIDDEN.sub("\ufffd", str(text))


def escape(text: object) -> str:
    """Return text for HTML, SVG and their attributes."""
    return _escape(clean(text), quote=True)
