"""One row or a table of them: the same checks, the same types, the same encoding."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.brief.brief import Brief, DataBrief
from modelyard.core.errors import DataError, RowError
from modelyard.data.dates import parse_date, parse_dates
from modelyard.data.read import read_data
from modelyard.data.rows import typed
from modelyard.data.schema import Schema
from modelyard.encoding.encoding import MISSING, Encoding

TYPES = {"level": "category", "grade": "category"}


def learnt(time: str | None = None) -> Schema:
    """Return a schema with every kind of column; "some" was missing at times, the others never."""
    rng = np.random.default_rng(0)
    n = 200
    frame = pl.DataFrame(
        {
            "x": rng.normal(size=n),
            "some": pl.Series([None if i % 3 == 0 else i * 0.5 for i in range(n)]),
            "ward": rng.choice(["a", "b", "c/d"], n),
            "level": rng.integers(1, 4, n),
            "grade": rng.integers(1, 4, n).astype(float),
            "flag": rng.random(n) < 0.5,
            "when": pl.Series([datetime(2024, 1, 1) + timedelta(hours=int(h)) for h in rng.integers(0, 9000, n)]),
            "born": pl.Series(
                [(datetime(1950, 1, 1) + timedelta(days=int(d))).date() for d in rng.integers(0, 9000, n)]
            ),
            "patient_id": rng.permutation(n * 10)[:n],
            "y": rng.integers(0, 2, n),
        }
    )
    return read_data(frame, Brief(data=DataBrief(label="y", time=time, types=TYPES))).schema  # type: ignore[arg-type]


SCHEMA = learnt()
GOOD = {
    "x": 1, "some": None, "ward": "a", "level": 2, "grade": 2, "flag": True, "when": "2024-05-01T10:30:00+02:00",
    "born": "1950-02-03",
}  # fmt: skip


def problems(row: dict[str, object], **options: object) -> dict[str, str]:
    with pytest.raises(RowError) as caught:
        SCHEMA.check_row(row, **options)  # type: ignore[arg-type]
    return {p.pointer: f"{p.what}. {p.allowed}" for p in caught.value.problems}


def test_a_good_row_becomes_typed() -> None:
    assert SCHEMA.check_row(GOOD) == {
        "x": 1.0, "some": None, "ward": "a", "level": "2", "grade": "2.0", "flag": True,
        "when": datetime(2024, 5, 1, 8, 30), "born": datetime(1950, 2, 3),
    }  # fmt: skip
    row = SCHEMA.check_row({**GOOD, "x": 2**60, "flag": 0, "level": "9", "ward": "never seen", "y": 1, "patient_id": 5})
    assert (row["x"], row["flag"], row["level"], row["ward"]) == (float(2**60), False, "9", "never seen")
    assert "y" not in row
    assert type(SCHEMA.check_row({**GOOD, "x": np.float32(1.5)})["x"]) is float
    assert SCHEMA.check_row({**GOOD, "when": datetime(2024, 5, 1, 10, tzinfo=timezone(timedelta(hours=2)))})[
        "when"
    ] == datetime(2024, 5, 1, 8)


def test_every_bad_field_is_named_with_its_pointer_and_what_was_allowed() -> None:
    bad: dict[str, object] = {
        "x": "1.5", "some": float("inf"), "ward": ["a"], "level": {}, "flag": "yes", "when": "01/05/2024", "wart": 1,
        "born": "1950-02-30",
    }  # fmt: skip
    found = problems(bad, pointer="/instances/3")
    assert set(found) == {f"/instances/3/{name}" for name in [*bad, "grade"]}
    assert "'1.5' is not a finite number" in found["/instances/3/x"]
    assert "A finite number (seen: " in found["/instances/3/x"]
    assert "'grade' is missing" in found["/instances/3/grade"]
    assert "ISO 8601" in found["/instances/3/when"]
    assert "true or false" in found["/instances/3/flag"]
    assert "Did you mean 'ward'" in found["/instances/3/wart"]
    assert "seen: " in found["/instances/3/ward"]


@pytest.mark.parametrize("value", [True, np.True_, "3", [], {}, float("inf"), -float("inf"), 10**400, b"1", 1j])
def test_what_is_no_number_is_refused(value: object) -> None:
    assert set(problems({**GOOD, "x": value})) == {"/x"}


@pytest.mark.parametrize("value", [None, "", float("nan"), pd.NaT])
def test_what_was_never_missing_is_required_and_the_rest_may_be_missing(value: object) -> None:
    for name in ("x", "ward", "flag", "when"):
        assert "is empty" in problems({**GOOD, name: value})[f"/{name}"]
    assert SCHEMA.check_row({**GOOD, "some": value})["some"] is None


def test_unknown_fields_are_refused_or_passed_over() -> None:
    assert set(problems({**GOOD, "a/b~c": 1})) == {"/a~1b~0c"}
    assert SCHEMA.check_row({**GOOD, "other": 1}, unknown="ignore") == SCHEMA.check_row(GOOD)


def test_two_schemas_never_share_a_check() -> None:
    for _ in range(200):  # addresses are used again
        small = read_data(pl.DataFrame({"a": [1.0, 2.0], "y": [0, 1]}), Brief(data=DataBrief(label="y"))).schema
        assert small.check_row({"a": 1}) == {"a": 1.0}
        assert SCHEMA.check_row(GOOD)["x"] == 1.0


def test_a_schema_goes_through_json_and_checks_as_before() -> None:
    from modelyard.core.canonical import canonical_json, from_json

    again = from_json(canonical_json(SCHEMA), Schema)
    assert again == SCHEMA
    assert again.check_row(GOOD) == SCHEMA.check_row(GOOD)


moments = st.datetimes(datetime(1930, 1, 1), datetime(2090, 1, 1))
row_values = st.fixed_dictionaries(
    {
        "x": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**62), 2**62),
        "some": st.none() | st.floats(-1e300, 1e300),
        "ward": st.sampled_from(["a", "b", "c/d", "日本", "unseen"]),
        "level": st.integers(-5, 5),
        "grade": st.integers(-5, 5).map(float),
        "flag": st.booleans(),
        "when": moments,
        "born": moments.map(lambda m: m.replace(hour=0, minute=0, second=0, microsecond=0)),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(row_values, min_size=1, max_size=8), st.sampled_from([None, "when"]))
def test_rows_and_frames_are_encoded_alike_to_the_last_bit(rows: list[dict[str, object]], time: str | None) -> None:
    schema = learnt(time)
    encoding = Encoding.of(schema)
    columns = {n: [r[n] for r in rows] for n in rows[0]}
    columns["x"] = [float(v) for v in columns["x"]]  # type: ignore[arg-type]
    frame = typed(pl.DataFrame(columns, schema_overrides={"some": pl.Float64}), schema)
    checked = [schema.check_row(r) for r in rows]
    assert frame.select([c.name for c in schema.features]).to_dicts() == checked
    numbers, strings = encoding.frame(frame)
    again, texts = encoding.rows(checked)
    assert numbers.dtype == again.dtype == np.float32
    assert numbers.tobytes() == again.tobytes()
    assert strings.tolist() == texts.tolist()
    assert np.isfinite(numbers[:, 0]).all()


def test_the_layout_of_the_encoding() -> None:
    encoding = Encoding.of(SCHEMA)
    assert encoding.strings == ("grade", "level", "ward")
    assert [n.name for n in encoding.numbers] == [
        "born.days", "born.year", "born.month", "born.day", "born.weekday", "flag", "some",
        "when.days", "when.year", "when.month", "when.day", "when.weekday", "when.hour", "x", "when.since.born",
    ]  # fmt: skip
    assert encoding.elapsed == ()
    timed = Encoding.of(learnt("when"))
    kept = ["when.days", "when.month", "when.day", "when.weekday", "when.hour"]
    assert [n.name for n in timed.numbers if n.column == "when"] == kept
    assert [timed.numbers[i].name for i in timed.elapsed] == ["when.days"]
    assert [n.name for n in timed.numbers if n.part == "since"] == ["born.since.when"]
    numbers, strings = encoding.rows([SCHEMA.check_row(GOOD), {}])
    assert numbers[0, [13, 6, 5]].tolist() == [1.0, pytest.approx(float("nan"), nan_ok=True), 1.0]
    assert numbers[0, 7:13].tolist() == [pytest.approx(19844 + 8.5 / 24, abs=0.01), 2024, 5, 1, 3, 8]
    assert np.isnan(numbers[1]).all()
    assert strings[1].tolist() == [MISSING] * 3
    assert encoding.rows([])[0].shape == (0, len(encoding.numbers))


@pytest.mark.parametrize("values", [[1.0, 2.0], {"a": 1.0}, b"bytes"])
@pytest.mark.parametrize("form", ["polars", "pandas", "arrow"])
@pytest.mark.parametrize("column", ["x", "ward", "when", "y"])
def test_a_column_of_lists_or_the_like_is_refused_by_its_name(values: object, form: str, column: str) -> None:
    frame = pl.DataFrame({**{k: [v] * 3 for k, v in GOOD.items()}, "y": [0, 1, 0]}).with_columns(
        pl.Series(column, [values] * 3)
    )
    table = {"polars": frame, "pandas": frame.to_pandas(), "arrow": frame.to_arrow()}[form]
    with pytest.raises(DataError, match=f"'{column}' holds .*, which is not read") as caught:
        typed(table, SCHEMA)
    assert caught.value.do
    # What the schema does not know, or leaves aside, is passed over.
    good = pl.DataFrame({**{k: [v] * 3 for k, v in GOOD.items()}, "more": [values] * 3, "patient_id": [values] * 3})
    assert "patient_id" not in typed(good, SCHEMA).columns


def test_a_table_is_typed_as_the_schema_says() -> None:
    frame = pl.DataFrame({k: [v, v] for k, v in GOOD.items()}, strict=False).with_columns(extra=1, y=pl.Series([0, 1]))
    out = typed(frame, SCHEMA)
    assert "extra" not in out.columns
    assert out["y"].to_list() == ["0", "1"]
    assert out["when"].to_list() == [datetime(2024, 5, 1, 8, 30)] * 2
    assert typed(frame.to_pandas(), SCHEMA).equals(out)
    assert typed(frame.to_arrow(), SCHEMA).equals(out)
    with pytest.raises(DataError, match="absent: 'ward'"):
        typed(frame.drop("ward"), SCHEMA)
    with pytest.raises(DataError, match="a class the model does not know"):
        typed(frame.with_columns(y=pl.lit(7)), SCHEMA)
    with pytest.raises(DataError, match="'abc', which is not a number") as caught:
        typed(frame.with_columns(x=pl.Series(["1", "abc"])), SCHEMA, first_row=11)
    assert "row 12" in str(caught.value.where)
    with pytest.raises(DataError, match="a date, not a number"):
        typed(frame.with_columns(x=pl.lit(datetime(2024, 1, 1))), SCHEMA)
    with pytest.raises(DataError, match="neither true nor false"):
        typed(frame.with_columns(flag=pl.lit(3)), SCHEMA)


@given(st.text(max_size=30) | moments.map(str) | moments.map(lambda m: m.replace(tzinfo=UTC).isoformat()))
def test_a_date_is_read_alike_in_a_row_and_in_a_column(text: str) -> None:
    assert parse_dates(pl.Series("t", [text, None])).to_list() == [parse_date(text), None]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-03-09", datetime(2024, 3, 9)),
        ("2024/3/9", datetime(2024, 3, 9)),
        (" 2024-03-09 14:30 ", datetime(2024, 3, 9, 14, 30)),
        ("2024-03-09T14:30:05.25Z", datetime(2024, 3, 9, 14, 30, 5, 250_000)),
        ("2024-03-09T00:30:00+0130", datetime(2024, 3, 8, 23)),
        ("2024-03-09T23:30:00-01:00", datetime(2024, 3, 10, 0, 30)),
        ("2024-03-09 14:30:05 UTC", datetime(2024, 3, 9, 14, 30, 5)),
        ("2024-03-09 14:30 GMT", datetime(2024, 3, 9, 14, 30)),
        ("20240309T143005", datetime(2024, 3, 9, 14, 30, 5)),
        (" 20240309T143005Z", datetime(2024, 3, 9, 14, 30, 5)),
        ("20240309T253005", None),
        ("2024-03-09 14:30 EST", None),
        ("2024-02-30", None),
        ("2024-03-09T25:00", None),
        ("09/03/2024", None),
        ("20240309", None),
    ],
)
def test_dates_are_iso_8601(text: str, moment: datetime | None) -> None:
    assert parse_date(text) == moment
    assert parse_dates(pl.Series("t", [text])).to_list() == [moment]


def test_a_row_is_checked_from_json_in_microseconds() -> None:
    import timeit

    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {f"n{i}": rng.normal(size=50) for i in range(22)} | {f"c{i}": rng.choice(list("abc"), 50) for i in range(8)}
    ).with_columns(y=pl.Series([0, 1] * 25))
    schema = read_data(frame, Brief(data=DataBrief(label="y"))).schema
    row = json.loads(json.dumps(frame.drop("y").to_dicts()[0]))
    one = min(timeit.repeat(lambda: schema.check_row(row), number=200, repeat=5)) / 200
    # A dictionary look-up and an isfinite a field are the floor: a hundred times that would be a defect.
    floor = min(timeit.repeat(lambda: [row.get(n) == "" for n in row], number=200, repeat=5)) / 200
    assert one < 100 * floor
