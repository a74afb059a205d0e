"""Documents: two faces of the same blocks, and nothing in a text that can break out of either."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from modelyard.core.charts import Series, bars, lines
from modelyard.core.markdown import mermaid
from modelyard.core.markup import (
    Code,
    Details,
    Diagram,
    Document,
    Facts,
    Figure,
    Heading,
    Listing,
    Note,
    Table,
    Text,
    literal,
)

VOID = {"meta", "br", "path", "rect", "circle"}
NASTY = (
    "</style><script>alert(1)</script>",
    '" onload="x',
    "`|**<b>**|`",
    "[x](javascript:alert(1))",
    "a\n# b\n\n> c",
    "```\nend",
    "&lt;b&gt;",
    "-->",
    "\ud800 \x00 \u202e",
    '"] --> x["',
)
TEXTS = st.one_of(
    st.text(alphabet=st.sampled_from("<>&\"'`*[]()|_#-\n\\:;=/!~$ aé界1"), max_size=30),
    st.text(st.characters(), max_size=20),
    st.sampled_from(NASTY),
)


class Page(HTMLParser):
    """The tags of a page, each checked to close what it opened."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def document(text: str) -> Document:
    """Every kind of block, each holding the text wherever it can."""
    figure = Figure(bars([text, "b"], [1.0, 2.0], x=text), alt=text, caption=text)
    return Document(
        text,
        [Note("good", text), Text(text), Facts([(text, text)])],
        [
            Heading(text),
            Heading(text, 3),
            Table([text, "n"], [[text, "1"], [text]], caption=text),
            Listing([text, text]),
            Code(text, text),
            figure,
            Figure(
                lines([Series(text, [1, 2], [1, 2]), Series("b", [1, 2], [2, 1])], x=text, y=text, title=text), text
            ),
            Diagram([("a", text), ("b", "B"), ("c", "C")], [("a", "b", text), ("b", "a", ""), ("a", "c", "")], text),
            Details(text, [Text(text), Table(["a"], [[text]])]),
        ],
        commands=[text],
        links=[(text, text)],
    )


QUIET = document("quiet")


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(TEXTS.filter(str.strip))
def test_no_text_changes_the_structure_of_a_page(text: str) -> None:
    page, quiet = Page(document(text).html()), Page(QUIET.html())
    assert not page.open
    extra = {"code", "strong", "a", "title", "text", "tspan", "path"}  # a text's own marks, and lines a box needs
    assert [t for t, _ in page.tags if t not in extra] == [t for t, _ in quiet.tags if t not in extra]
    attributes = {name for _, attrs in page.tags for name in attrs}
    assert not [a for a in attributes if a.startswith("on")]
    assert all(re.match(r"(https?:|mailto:|[^:]*($|[/?#]))", str(a["href"])) for a in page.all("a"))
    assert page.all("script") == []


@settings(deadline=None, max_examples=150)
@given(TEXTS.filter(str.strip))
def test_no_text_becomes_html_in_the_markdown(text: str) -> None:
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    source = document(text).markdown()
    tokens = reader.parse(source)
    inner = [child for t in tokens for child in t.children or []]
    html = [t.content for t in (*tokens, *inner) if t.type.startswith("html_")]
    tags = {tag for content in html for tag in re.findall(r"</?(\w+)", content)}
    assert tags <= {"details", "summary", "code"}
    assert sum(t.type == "heading_open" for t in tokens) == sum(
        t.type == "heading_open" for t in reader.parse(QUIET.markdown())
    )
    assert sum(t.type == "table_open" for t in tokens) == 2
    assert sum(t.type == "fence" for t in tokens) == 3
    links = [str(t.attrGet("href")) for t in inner if t.type == "link_open"]
    assert not [h for h in links if re.match(r"(?i)\s*(javascript|data|vbscript):", h)]


@settings(deadline=None, max_examples=200)
@given(TEXTS.filter(lambda t: t == t.strip() and "\n" not in t))
def test_a_literal_text_is_read_back_as_it_was(text: str) -> None:
    from modelyard.core.inline import clean, plain

    assert plain(literal(text)) == clean(text)


@settings(deadline=None, max_examples=100)
@given(TEXTS.filter(str.strip))
def test_a_mermaid_text_stays_inside_its_quotes(text: str) -> None:
    source = mermaid(Diagram([("a", text), ("b", "B")], [("a", "b", text)]))
    assert len(source.split("\n")) == 4
    assert source.split("\n")[1].count('"') == 2


def test_marks_are_understood() -> None:
    page = Document("T", [Text(r"**bold `x`** and `a<b`, [there](https://x.org/a_b), \*not\*")], []).html()
    assert "<strong>bold <code>x</code></strong> and <code>a&lt;b</code>" in page
    assert '<a href="https://x.org/a_b"' in page
    assert "*not*" in page


def test_a_page_stands_alone_and_forbids_scripts() -> None:
    page = Page(document("x").html())
    assert "default-src 'none'" in str(next(m for m in page.all("meta") if m.get("http-equiv"))["content"])
    assert not [a for _, a in page.tags if "src" in a]
    assert page.all("link") == []
    assert len(page.all("h1")) == 1
    assert all(a.get("aria-label") for a in page.all("svg"))
    assert {a["scope"] for a in page.all("th")} == {"col", "row"}
    assert len({a["id"] for _, a in page.tags if "id" in a}) == 3


def test_figures_align_right_and_words_left() -> None:
    table = Table(["name", "value", "interval"], [["a", "1.2", "[1, 2]"], ["b", "< 0.1", ""]])
    assert table.alignment() == "lrl"
    assert Table(["a", "b"], [], align="r").alignment() == "rl"


def test_both_faces_are_written_and_link_to_their_own_kind(tmp_path: Path) -> None:
    made = document("x")
    markdown, html = Document("T", made.answer, made.blocks, links=[("Plan", "1 plan")]).write(tmp_path, "3-evaluation")
    assert "[Plan](1%20plan.md)" in markdown.read_text()
    assert 'href="1%20plan.html"' in html.read_text()
    for name in re.findall(r"\]\((figures/[^)]+)\)", markdown.read_text()):
        picture = ET.fromstring((tmp_path / name).read_text())
        assert picture.tag.endswith("svg")
        assert "prefers-color-scheme" in (tmp_path / name).read_text()
    assert len(list((tmp_path / "figures").iterdir())) == 2


def test_fifty_figures_stay_light() -> None:
    series = [Series(f"s{i}", list(range(2000)), [j % 97 + i for j in range(2000)]) for i in range(3)]
    figure = Figure(lines(series, x="x", y="y"), "many points")
    assert len(Document("T", [], [figure] * 50).html().encode()) < 500_000


def test_a_diagram_draws_every_box_once_and_every_arrow() -> None:
    from modelyard.core.diagram import draw

    nodes = [(str(i), f"step {i}") for i in range(25)]
    edges = [(str(i), str(j), "on" if i % 5 == 0 else "") for i in range(25) for j in (i + 1, i + 3) if j < 25]
    edges += [("24", "0", "again"), ("3", "3", "")]
    svg = ET.fromstring(draw(Diagram(nodes, edges)))
    space = "{http://www.w3.org/2000/svg}"
    boxes = [r for r in svg.iter(f"{space}rect") if r.get("class") == "box"]
    assert len(boxes) == 25
    assert len(list(svg.iter(f"{space}g"))) == len(edges) - 1  # an arrow to itself is not drawn
    places = [tuple(float(b.get(k, "0")) for k in ("x", "y", "width", "height")) for b in boxes]
    for i, (x, y, w, h) in enumerate(places):
        for u, v, a, b in places[i + 1 :]:
            assert x + w <= u or u + a <= x or y + h <= v or v + b <= y, "boxes overlap"


@pytest.mark.parametrize("nodes", [[], [("a", "alone")]])
def test_a_diagram_may_be_small(nodes: list[tuple[str, str]]) -> None:
    assert "<svg" in Document("T", [], [Diagram(nodes, [])]).html()
