"""What messages are made of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.errors import did_you_mean, listed


@given(st.lists(st.text("abc", min_size=1), max_size=30), st.integers(1, 12))
def test_a_list_names_the_first_and_says_whether_there_are_more(names: list[str], most: int) -> None:
    parts = listed(names, most).split(", ") if names else []
    assert parts == [*names[:most], *(["..."] if len(names) > most else [])]
    assert listed([], most) == ""


def test_the_nearest_word_is_offered_and_none_is_made_up() -> None:
    assert did_you_mean("Incom", ["age", "INCOME"]) == "Did you mean 'INCOME'?"
    assert did_you_mean("xyz", ["age", "income"]) is None
    assert did_you_mean("xyz", []) is None
