"""Names: every text becomes a label a cluster takes, and two use cases do not share one."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelyard.core.names import slug

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
KANA_AND_HAN = st.text(st.characters(min_codepoint=0x3042, max_codepoint=0x9FA5, categories=["Lo"]), min_size=1)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Who leaves?", "who-leaves"),
        ("30-day readmission", "30-day-readmission"),
        ("Größe & Straße", "grosse-strasse"),
        ("Où est-ce ?", "ou-est-ce"),
        ("a" * 50, "a" * 50),
    ],
)
def test_latin_texts_keep_their_words(text: str, name: str) -> None:
    assert slug(text) == name


@pytest.mark.parametrize(
    ("text", "head"), [("収入", "model"), ("Łódź sales", "odz-sales"), ("../..", "model"), ("", "model")]
)
def test_what_is_lost_is_kept_as_digits(text: str, head: str) -> None:
    assert re.fullmatch(rf"{head}-[0-9a-f]{{6}}", slug(text))


@given(st.text())
@example("a" * 43 + " b" * 20)
@example("ⅷ ﬃ ² ½ İ")
@example("\udcff")
def test_every_text_gives_a_label(text: str) -> None:
    name = slug(text)
    assert LABEL.fullmatch(name)
    assert len(name) <= 50
    assert slug(text) == name == slug(name)
    assert slug(unicodedata.normalize("NFD", text)) == slug(unicodedata.normalize("NFC", text))


@given(KANA_AND_HAN, KANA_AND_HAN)
@example("収入", "収支")
@example("患者 2024", "会員 2024")
def test_texts_that_lose_letters_keep_two_names(one: str, other: str) -> None:
    same = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    assert (slug(one) == slug(other)) == same


def test_long_texts_that_end_differently_keep_two_names() -> None:
    assert slug("word " * 20 + "a") != slug("word " * 20 + "b")
