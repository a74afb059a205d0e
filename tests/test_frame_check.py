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


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    rows = draw(st.integers(1, 5))
    held = {}
    for name, kinds in COLUMNS.items():
        if draw(st.integers(0, 9)):
            held[name] = draw(st.lists(draw(st.sampled_from(kinds)), min_size=rows, max_size=rows))
    if not draw(st.integers(0, 9)):
        held["agee"] = [1] * rows
    return pl.DataFrame(held or {"age": [1.0] * rows})


@settings(max_examples=150, deadline=None)
@given(table=tables())
def test_a_table_is_refused_where_its_rows_are(table: pl.DataFrame) -> None:
    expected: dict[str, str] = {}
    typed = []
    for i, row in enumerate(table.to_dicts()):
        try:
            typed.append(SCHEMA.check_row(row, pointer=f"/{i}"))
        except RowError as error:
            expected |= {p.pointer: p.what for p in error.problems}
    try:
        found = check_frame(SCHEMA, table)
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
