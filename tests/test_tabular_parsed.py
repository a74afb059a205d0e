"""Parsed: a text is read once while it is kept, and what is kept is bounded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from modelyard.families.tabular import parsed
from modelyard.families.tabular.parsed import Parsed


def test_a_text_is_read_once_while_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsed, "CHARACTERS", 10)
    read: list[str] = []
    ask = Parsed(lambda text: read.append(text) or text.upper())
    assert [ask(text) for text in ("aaaa", "bbbb", "aaaa", "cccc", "aaaa")] == ["AAAA", "BBBB", "AAAA", "CCCC", "AAAA"]
    assert read == ["aaaa", "bbbb", "cccc"]
    assert ask("bbbb") == "BBBB"  # the longest unasked of three went
    assert read[-1] == "bbbb"
    assert ask("a text beyond all bounds") == ask("a text beyond all bounds")
    assert read.count("a text beyond all bounds") == 1


def test_threads_may_ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsed, "CHARACTERS", 100)
    ask = Parsed(str.upper)
    texts = [f"text {i % 40}" for i in range(2_000)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, texts)) == [text.upper() for text in texts]
