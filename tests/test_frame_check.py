"""A table checked by columns is refused where its rows are, in the same words, and typed alike."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles import FEATURES, ROW, schema
from modelyard.core.errors import RowError
from modelyard.data.frame_check import check_frame
from modelyard.data.schema import Column, Schema

SCHEMA = schema("binary")
CODES = (
    Column("ward", "category", "feature", "integer", missing=0.1, distinct=3, levels=("1", "2")),
    Column("dose", "category", "feature", "float", missing=0.1, distinct=2, levels=("1.0", "2.5")),
)
LIMITS: dict[str, dict[str, Any]] = {
    "age": {"minimum": 0.0, "maximum": 50.0},
    "income": {"maximum": 1.5},
    "city": {"allowed": ("Oslo", "7", "True", "0.5")},
    "joined": {"minimum": -86_400.0 * 365, "maximum": 86_400.0 * 365 * 55},
    "ward": {"allowed": ("1", "2", "7.5")},
    "dose": {"allowed": ("1.0", "2.5")},
}
LIMITED = Schema(tuple(replace(c, **LIMITS.get(c.name, {})) for c in (*FEATURES, *CODES)), "regression")
"""What the brief allows of every kind of column that it may limit."""
NUMBERS = st.floats(width=32) | st.integers(-(2**40), 2**40) | st.just(None)
COLUMNS: dict[str, list[st.SearchStrategy[Any]]] = {
    "age": [st.floats() | st.none(), st.integers(0, 99), st.text(max_size=3), st.booleans() | st.none()],
    "income": [st.floats() | st.none(), st.integers(0, 99) | st.none(), st.text(max_size=3)],
    "city": [st.text(max_size=4) | st.none(), st.booleans() | st.none(), st.integers(0, 9) | st.none()],
    "member": [st.booleans() | st.none(), st.integers(0, 2) | st.none(), st.sampled_from([0.0, 1.0, 0.5, None])],
    "joined": [
        st.dates(date(1900, 1, 1), date(2100, 1, 1)) | st.none(),
        st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)) | st.none(),
        st.sampled_from(["2024-03-09", "2024-03-09T10:00:00+02:00", "9/3/24", "2024-02-31", "", None]),
        st.integers(0, 9),
    ],
}
LEVELS = [
    st.integers(0, 3) | st.none(),
    st.sampled_from([1.0, 2.0, 2.5, 7.5, -0.0, None]),
    st.sampled_from(["1", "01", "1.0", " 1", "+1", "2.5", "2.50", "1e0", "7.5", "x", "", None]),
    st.booleans(),
]
LIMITED_COLUMNS = COLUMNS | {"city": [*COLUMNS["city"], *LEVELS], "ward": LEVELS, "dose": LEVELS}


@st.composite
def tables(draw: st.DrawFn, columns: dict[str, list[st.SearchStrategy[Any]]] = COLUMNS) -> pl.DataFrame:
    rows = draw(st.integers(1, 5))
    held = {}
    for name, kinds in columns.items():
        if draw(st.integers(0, 9)):
            held[name] = draw(st.lists(draw(st.sampled_from(kinds)), min_size=rows, max_size=rows))
    if not draw(st.integers(0, 9)):
        held["agee"] = [1] * rows
    return pl.DataFrame(held or {"age": [1.0] * rows})


@settings(max_examples=150, deadline=None)
@given(table=tables())
def test_a_table_is_refused_where_its_rows_are(table: pl.DataFrame) -> None:
    held_to_its_rows(SCHEMA, table)


@settings(max_examples=300, deadline=None)
@given(table=tables(LIMITED_COLUMNS))
def test_a_table_is_refused_where_its_rows_are_beyond_what_the_brief_allows(table: pl.DataFrame) -> None:
    held_to_its_rows(LIMITED, table)


def held_to_its_rows(schema: Schema, table: pl.DataFrame) -> None:
    """Hold a table's check to that of its rows."""
    expected: dict[str, str] = {}
    typed = []
    for i, row in enumerate(table.to_dicts()):
        try:
            typed.append(schema.check_row(row, pointer=f"/{i}"))
        except RowError as error:
            expected |= {p.pointer: p.what for p in error.problems}
    try:
        found = check_frame(schema, table)
    except RowError as error:
        for problem in error.problems:
            whole = problem.pointer.count("/") == 1  # a column that is absent or unknown is told once, not by row
            told = expected[f"/0{problem.pointer}" if whole else problem.pointer]
            assert problem.what == told
        told = {p.pointer if p.pointer.count("/") == 2 else f"/0{p.pointer}" for p in error.problems}
        columns = {p.pointer[1:] for p in error.problems if p.pointer.count("/") == 1}
        assert told >= {p for p in expected if p.split("/")[2] not in columns}
    else:
        assert not expected
        assert found.to_dicts() == typed


def test_columns_of_a_text_file_are_read_as_a_file_is() -> None:
    table = pl.DataFrame(
        {"age": ["41", "x", "1e999"], "income": ["5.5", None, "7"], "city": ["Oslo", None, "7"],
         "member": ["TRUE", "0", "maybe"], "joined": ["2024-03-09", None, "3/4/24"]}
    )  # fmt: skip
    with pytest.raises(RowError) as caught:
        check_frame(SCHEMA, table, text=True)
    assert [p.pointer for p in caught.value.problems] == ["/1/age", "/2/age", "/2/member", "/2/joined"]
    typed = check_frame(SCHEMA, table.head(1), text=True)
    assert typed.to_dicts() == [SCHEMA.check_row({**ROW, "income": 5.5})]


def test_a_category_of_numbers_is_written_as_the_table_it_was_learnt_from() -> None:
    column = Column("code", "category", "feature", "float", distinct=2, levels=("1.0", "2.0"))
    made = Schema((column, *FEATURES[:1]), "regression")
    for values in ([1, 2], [1.0, 2.0], ["1.0", "2.0"]):
        assert check_frame(made, pl.DataFrame({"code": values, "age": [1, 2]}))["code"].to_list() == ["1.0", "2.0"]
    with pytest.raises(RowError, match="not a string"):
        check_frame(made, pl.DataFrame({"code": [1.0, float("inf")], "age": [1, 2]}))


def test_a_text_file_s_values_are_refused_by_what_they_stand_for() -> None:
    columns = {
        "age": ["41", "51", "x"],
        "income": ["1.50", "nan", "2e0"],
        "city": ["Oslo", "7", "Rome"],
        "member": ["TRUE"] * 3,
        "joined": ["2024-12-18", "1968-01-01", None],
        "ward": ["01", "3", None],
    }
    with pytest.raises(RowError) as caught:
        check_frame(LIMITED, pl.DataFrame(columns), text=True)
    assert [(p.pointer, p.what) for p in caught.value.problems] == [
        ("/1/age", "'age': 51.0 is more than 50"),
        ("/1/joined", "'joined': '1968-01-01' is before 1969-01-01"),
        ("/1/ward", "'ward': '3' is not an allowed level"),
        ("/2/age", "'age': 'x' is not a finite number"),
        ("/2/income", "'income': 2.0 is more than 1.5"),
        ("/2/city", "'city': 'Rome' is not an allowed level"),
    ]
    assert check_frame(LIMITED, pl.DataFrame(columns).head(1), text=True)["ward"].to_list() == ["1"]


def test_columns_of_lists_are_named_and_what_may_be_missing_may_be_absent() -> None:
    table = pl.DataFrame({"age": [41], "member": [True], "city": [["Oslo"]]})
    with pytest.raises(RowError) as caught:
        check_frame(SCHEMA, table)
    assert [p.pointer for p in caught.value.problems] == ["/city"]
    assert check_frame(SCHEMA, table.drop("city")).to_dicts() == [SCHEMA.check_row({"age": 41, "member": True})]


def test_no_more_problems_are_listed_than_asked_for() -> None:
    strict = Schema(tuple(replace(c, missing=0.0) for c in FEATURES), "regression")
    with pytest.raises(RowError) as caught:
        check_frame(strict, pl.DataFrame({c.name: [None] * 50 for c in FEATURES}), most=7)
    assert len(caught.value.problems) == 7
    assert caught.value.problems[0].pointer == "/0/age"
