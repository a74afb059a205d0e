"""How unusual a row is: even over rows like those of development, and never lower for what is stranger."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles import CITIES, ROW, schema, table
from modelyard.core.canonical import from_json, pretty_json
from modelyard.encoding.encoding import Encoding
from modelyard.uncertainty.novelty import Novelty, novelty

SCHEMA = schema("regression")
ENCODING = Encoding.of(SCHEMA)


def learn(frame: pl.DataFrame, seed: int = 0, groups: np.ndarray | None = None) -> Novelty:
    found = novelty(ENCODING, *ENCODING.frame(frame), seed, groups)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def seen() -> Novelty:
    return learn(table("regression", 2000).frame)


def score(seen: Novelty, *rows: dict[str, Any]) -> list[float]:
    checked = [SCHEMA.check_row(row) for row in rows]
    return seen(*ENCODING.rows(checked)).tolist()


def test_scores_of_rows_like_those_of_development_are_even(seen: Novelty) -> None:
    found = seen(*ENCODING.frame(table("regression", 4000, seed=1).frame))
    assert 0 <= found.min() <= found.max() <= 1
    # Kolmogorov-Smirnov distance of two samples: passed by chance alone once in a thousand.
    gap = np.abs(np.sort(found) - (np.arange(4000) + 0.5) / 4000).max()
    assert gap < 1.95 * np.sqrt(1 / 2000 + 1 / 4000)


def test_levels_seen_once_do_not_make_every_new_row_unusual() -> None:
    def crowded(seed: int) -> pl.DataFrame:
        frame = table("regression", 1500, seed).frame
        names = np.random.default_rng(seed).integers(0, 3000, 1500)
        return frame.with_columns(pl.Series("city", [f"place {i}" for i in names]))

    found = learn(crowded(0))(*ENCODING.frame(crowded(1)))
    # A row measured by itself has never an unseen level: here most new rows have one.
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


def test_rows_of_a_group_do_not_vouch_for_each_other() -> None:
    frame = table("regression", 1500).frame
    groups = np.repeat(np.arange(150), 10)
    named = frame.with_columns(pl.Series("city", [f"home of {g}" for g in groups]))
    new = table("regression", 1500, 1).frame.with_columns(pl.lit("home of another").alias("city"))
    encoded = ENCODING.frame(new)
    assert np.mean(learn(named, groups=groups)(*encoded)) < 0.6
    assert np.mean(learn(named)(*encoded)) > 0.75


@settings(deadline=None)
@given(st.floats(0, 1e30), st.floats(0, 1e30), st.sampled_from([-1, 1]))
def test_further_out_is_never_less_unusual(seen: Novelty, one: float, other: float, side: int) -> None:
    middle, (near, far) = 45_000.0, sorted((one, other))
    low, high = score(seen, {**ROW, "income": middle + side * near}, {**ROW, "income": middle + side * far})
    assert low <= high


def test_what_was_never_seen_is_more_unusual_than_anything_seen(seen: Novelty) -> None:
    known = score(seen, *({**ROW, "city": city} for city in (*CITIES, None)))
    (unseen,) = score(seen, {**ROW, "city": "Atlantis"})
    assert unseen >= max(known)
    usual, far, old, off = score(
        seen, ROW, {**ROW, "income": 1e9}, {**ROW, "joined": "1900-01-01"}, {**ROW, "income": -1e9, "city": "Atlantis"}
    )
    assert usual < 0.9 < min(far, old) <= off == 1.0


def test_missing_where_never_missing_counts_as_unseen(seen: Novelty) -> None:
    numbers, strings = ENCODING.rows([SCHEMA.check_row(ROW)])
    usual = seen.surprise(numbers, strings)
    numbers[0, [i for i, n in enumerate(ENCODING.numbers) if n.column == "age"]] = np.nan
    assert seen.surprise(numbers, strings)[0] >= usual[0] + (seen.unseen - 2) / 5


def test_one_row_scores_as_in_a_table_and_as_read_back(seen: Novelty) -> None:
    numbers, strings = ENCODING.frame(table("regression", 500, seed=4).frame)
    whole = seen(numbers, strings)
    assert [seen(numbers[i : i + 1], strings[i : i + 1])[0] for i in range(500)] == whole.tolist()
    again = from_json(pretty_json(seen), Novelty)
    assert again == seen
    assert again(numbers, strings).tolist() == whole.tolist()


def test_constant_empty_and_absent_columns() -> None:
    frame = table("regression", 40).frame.with_columns(
        pl.lit(3.0).alias("age"),
        pl.lit(None, dtype=pl.Float64).alias("income"),
        pl.lit(None, dtype=pl.String).alias("city"),
        pl.lit(True).alias("member"),
        pl.lit(datetime(2024, 1, 1)).alias("joined"),
    )
    found = learn(frame)
    encoded = ENCODING.frame(frame)
    assert found(*encoded).tolist() == [0.0] * 40
    odd = frame.head(1).with_columns(pl.lit(3.5).alias("age"))
    assert found(*ENCODING.frame(odd)).tolist() == [1.0]
    bare = Encoding.of(replace(SCHEMA, columns=SCHEMA.columns[-1:]))
    assert novelty(bare, *bare.frame(frame), 0) is None


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_handful_of_rows_is_enough(rows: int) -> None:
    frame = table("regression", rows).frame
    found = learn(frame)(*ENCODING.frame(table("regression", 50, 1).frame))
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()


def test_the_same_rows_give_the_same_record() -> None:
    frame = table("regression", 300).frame
    assert pretty_json(learn(frame)) == pretty_json(learn(frame))


@settings(deadline=None)
@given(
    st.one_of(st.none(), st.floats(-3e38, 3e38)),
    st.one_of(st.none(), st.sampled_from(CITIES), st.text(max_size=5)),
    st.integers(-(10**9), 10**9),
)
def test_the_short_way_of_one_row_gives_what_a_table_gives(
    seen: Novelty, income: float | None, city: str | None, age: int
) -> None:
    row = SCHEMA.check_row({**ROW, "income": income, "city": city, "age": age})
    (one,), (other, _) = seen(*ENCODING.rows([row])), seen(*ENCODING.rows([row, row]))
    assert one == other
