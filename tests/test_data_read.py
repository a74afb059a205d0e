"""Reading: every format gives the same table, and every bad file gives one clear error."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from modelyard.brief.brief import Brief, DataBrief, ForecastBrief, Target
from modelyard.core.errors import BriefError, DataError
from modelyard.data.dataset import Dataset
from modelyard.data.finding import Finding
from modelyard.data.read import read_batches, read_data


def asked(**data: object) -> Brief:
    return Brief(data=DataBrief(label="y", **data))  # type: ignore[arg-type]


def table(rows: int = 60) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "weight kg": rng.normal(70, 9, rows).round(3),
            "visits": rng.integers(0, 9, rows),
            "größe": rng.choice(["klein", "groß", "日本"], rows),
            "smokes": rng.random(rows) < 0.5,
            "seen": pl.Series(["2024-03-09T14:30:00"] * (rows - 1) + ["2024-04-01T00:00:00"]),
            "y": rng.integers(0, 2, rows),
        }
    ).with_columns(pl.when(pl.col("visits") == 3).then(None).otherwise(pl.col("weight kg")).alias("weight kg"))


WRITERS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    "csv": lambda t, p: t.write_csv(p),
    "csv with a byte order mark": lambda t, p: t.write_csv(p, include_bom=True),
    "semicolons": lambda t, p: t.write_csv(p, separator=";"),
    "tabs": lambda t, p: t.write_csv(p, separator="\t"),
    "bars": lambda t, p: t.write_csv(p, separator="|"),
    "gzip": lambda t, p: p.write_bytes(gzip.compress(t.write_csv().encode())),
    "parquet": lambda t, p: t.write_parquet(p, row_group_size=7),
    "feather": lambda t, p: t.write_ipc(p),
    "arrow stream": lambda t, p: t.write_ipc_stream(p),
}


@pytest.mark.parametrize("how", WRITERS)
def test_every_format_gives_the_same_table_and_fingerprint(how: str, tmp_path: Path) -> None:
    WRITERS[how](table(), tmp_path / "t")
    read, held = read_data(tmp_path / "t", asked()), read_data(table(), asked())
    assert read.frame.equals(held.frame)
    assert read.schema == held.schema
    assert read.fingerprint == held.fingerprint
    assert {c.name: c.kind for c in read.schema.columns} == {
        "weight kg": "number", "visits": "number", "größe": "category", "smokes": "boolean", "seen": "date",
        "y": "category",
    }  # fmt: skip
    assert read.schema.classes == ("0", "1")


def test_pandas_and_pyarrow_tables_read_as_polars_ones() -> None:
    held = read_data(table(), asked())
    for other in (table().to_pandas(), table().to_arrow(), table().lazy()):
        assert read_data(other, asked()).frame.equals(held.frame)


def test_reading_does_not_import_pandas(tmp_path: Path) -> None:
    table().write_csv(tmp_path / "t.csv")
    table().write_parquet(tmp_path / "t.parquet")
    code = (
        "import sys\nfrom modelyard.data.read import read_data\nfrom modelyard.brief.brief import *\n"
        "for name in sys.argv[1:]: read_data(name, Brief(data=DataBrief(label='y')))\n"
        "assert 'pandas' not in sys.modules and 'scipy' not in sys.modules"
    )
    paths = [str(tmp_path / "t.csv"), str(tmp_path / "t.parquet")]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_fingerprint_covers_the_last_cell_and_not_the_chunks() -> None:
    big = pl.DataFrame({"x": np.arange(50_000) * 0.5, "c": ["a", "bb"] * 25_000, "y": [0, 1] * 25_000})
    last = big.with_columns(pl.when(pl.int_range(50_000) == 49_999).then(pl.lit("ab")).otherwise("c").alias("c"))
    chunked = pl.concat([big[:17], big[17:30_001], big[30_001:]], rechunk=False)
    one = read_data(big, asked()).fingerprint
    assert one == read_data(chunked, asked()).fingerprint
    assert one != read_data(last, asked()).fingerprint
    assert one != read_data(big.rename({"x": "z"}), asked()).fingerprint
    assert one != read_data(big[::-1], asked()).fingerprint
    # What is dropped is still part of the table that was read.
    assert one == read_data(big, asked(drop=("c",))).fingerprint


def error(source: object, brief: Brief | None = None) -> DataError:
    with pytest.raises(DataError) as caught:
        read_data(source, brief or asked())
    assert caught.value.what
    assert "\n" not in caught.value.what
    return caught.value


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "bad.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("a,y\n", "no rows"),
        ("a,b,y\n1,2,0\n3,4\n5,6,1\n", "Line 3 has 2 fields, the header has 3"),
        ("a,b,y\n1,2,0\n3,4,1,9\n", "Line 3 has 4 fields"),
        ('a,y\n"x\nz",0\n1\n', "Line 4 has 1 field,"),
        ("a:b:y\n1:2:0\n3:4:1\n", "a colon separates"),
        ("a b y\n1 2 0\n3 4 1\n", "blanks separates"),
        ("justone\n1\n2\n", "single column"),
        ("a,a,y\n1,2,0\n3,4,1\n", "same name: 'a'"),
        ("caf\xe9,y\n1,0\n".encode("latin-1"), "not UTF-8. Line 1 holds the byte 0xE9"),
        ("a,y\n1,0\n2,caf\xe9\n".encode("latin-1"), "Line 3"),
        ("a,y\n1,0\n".encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04rest", "spreadsheet"),
        (b"PAR1 and then nothing", "damaged"),
        (b"\x00\x01\x02\x03" * 10, "neither a table"),
    ],
)
def test_a_bad_file_gives_one_clear_error(text: str | bytes, says: str, tmp_path: Path) -> None:
    found = error(written(tmp_path, text))
    assert says in found.what
    assert "bad.csv" in str(found.where)


def test_a_ragged_row_deep_in_a_file_is_named_when_streamed_too(tmp_path: Path) -> None:
    path = written(tmp_path, "a,y\n" + "1,0\n2,1\n" * 40_000 + "3\n" + "1,0\n" * 10)
    assert "Line 80002" in error(path).what
    schema = read_data(pl.DataFrame({"a": [1.0, 2.0, 3.0], "y": [0, 1, 1]}), asked()).schema
    with pytest.raises(DataError, match="Line 80002"):
        list(read_batches(path, schema))


def test_missing_files_folders_and_strange_objects(tmp_path: Path) -> None:
    assert "no such file" in error(tmp_path / "none.csv").what
    assert "folder" in error(tmp_path).what
    assert "not int" in error(3).what
    assert "No table is named" in error(None).what
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(table(5000).write_csv().encode())[:-20_000])
    assert "cut short" in error(packed).what
    good = tmp_path / "t.parquet"
    table().write_parquet(good)
    good.write_bytes(good.read_bytes()[:-30])
    assert "damaged" in error(good).what


def test_columns_of_one_name_are_refused_in_memory_too() -> None:
    frame = table().to_pandas()
    frame.columns = ["a", "a", *frame.columns[2:]]
    assert "same name" in error(frame).what
    assert "same name" in error(pa.table([[1], [2]], names=["y", "y"])).what


def test_a_label_must_be_there_vary_and_be_known() -> None:
    frame = table()
    absent = error(frame, Brief(data=DataBrief(label="visit")))
    assert "'visit' is not in the table" in absent.what
    assert "visits" in str(absent.do)
    assert "every row" in error(frame.with_columns(y=pl.lit(1))).what
    mostly = frame.with_columns(pl.when(pl.int_range(60) < 20).then("y").alias("y"))
    assert "missing in 40 of 60 rows" in error(mostly).what
    some = read_data(frame.with_columns(pl.when(pl.int_range(60) < 50).then("y").alias("y")), asked())
    assert len(some) == 50
    assert some.notes[0].kind == "label_missing"
    assert "10 of 60 rows" in some.notes[0].what


@pytest.mark.parametrize("key", ["group", "time", "weight", "drop", "keep"])
def test_a_misspelt_column_in_the_brief_is_refused(key: str) -> None:
    value = ("visit",) if key in ("drop", "keep") else "visit"
    found = error(table(), asked(**{key: value}))
    assert f"data.{key}" in str(found.where)
    assert "visits" in str(found.do)


def test_contradictions_in_the_brief_are_refused() -> None:
    assert "drops 'y'" in error(table(), asked(drop=("y",))).what
    assert "two roles" in error(table(), asked(group="visits", time="visits")).what
    assert "no class '2'" in error(table(), asked(positive="2")).what
    assert "No column is left" in error(table().select("y", pl.lit(1).alias("one"))).what
    assert "weight is -1" in error(table().with_columns(w=pl.lit(-1)), asked(weight="w")).what


def test_weights_of_nothing_and_a_horizon_beside_classes_are_refused() -> None:
    assert "Every weight is zero" in error(table().with_columns(w=pl.lit(0)), asked(weight="w")).what
    with pytest.raises(BriefError, match="forecast section, and the task is multiclass"):
        label(["a", "b", "c"] * 5, forecast=ForecastBrief(horizon=3))


def test_a_time_that_does_not_parse_is_named_with_its_row() -> None:
    frame = table().with_columns(
        pl.when(pl.int_range(60) == 17).then(pl.lit("09/03/2024")).otherwise("seen").alias("seen")
    )
    found = error(frame, asked(time="seen"))
    assert "'09/03/2024'" in found.what
    assert "row 18" in str(found.where)
    assert "ISO 8601" in str(found.allowed)
    assert "data.time" in str(found.do)
    assert "data.types" in str(error(frame, asked(types={"größe": "number"})).do)
    # Not named as the time, the column is read as it is.
    assert read_data(frame, asked()).schema.column("seen").kind == "category"


def test_infinite_values_are_refused_by_column_and_row(tmp_path: Path) -> None:
    bad = table().with_columns(
        pl.when(pl.int_range(60) == 4).then(float("inf")).otherwise("weight kg").alias("weight kg")
    )
    found = error(bad)
    assert "'weight kg' holds an infinite value" in found.what
    assert "row 5" in str(found.where)
    bad.write_csv(tmp_path / "t.csv")
    assert "row 5" in str(error(tmp_path / "t.csv").where)
    label = table().with_columns(pl.when(pl.int_range(60) == 9).then(float("-inf")).otherwise(1.5).alias("y"))
    assert "row 10" in str(error(label).where)


def test_rows_are_counted_as_the_file_does_even_where_some_are_left_out() -> None:
    at = pl.int_range(60)
    frame = table().with_columns(
        pl.when(at > 2).then("y").alias("y"),
        pl.when(at == 40).then(float("inf")).otherwise("weight kg").alias("weight kg"),
    )
    assert "row 41" in str(error(frame).where)


def test_columns_that_tell_nothing_are_set_aside_and_said() -> None:
    rows = 60
    frame = table(rows).with_columns(
        nothing=pl.lit(None),
        same=pl.lit("x"),
        row=pl.int_range(rows),
        customer_id=pl.int_range(rows) * 7 + 1000,
        code=pl.format("K{}", pl.int_range(rows)),
        remark=pl.lit(
            "the patient came in late and was sent home after a short talk with the nurse on duty that very night again"
        ),
        shape=pl.Series([[1, 2]] * rows),
    )
    read = read_data(frame, asked())
    kinds = {f.column: f.kind for f in read.notes}
    assert kinds == {
        "nothing": "empty", "same": "constant", "row": "id", "customer_id": "id", "code": "id",
        "remark": "constant", "shape": "not_read",
    }  # fmt: skip
    assert {c.name for c in read.schema.columns if c.role == "ignored"} == set(kinds) - {"shape"}
    assert all(f.what and f.means and f.do for f in read.notes)


def test_a_text_is_a_feature_and_said_to_be_one() -> None:
    frame = table(60).with_columns(remark=pl.format("seen by nurse number {} and sent home", pl.int_range(60)))
    read = read_data(frame, asked())
    assert (read.schema.column("remark").kind, read.schema.column("remark").role) == ("text", "feature")
    assert [(f.kind, f.column) for f in read.notes] == [("text", "remark")]
    assert read_data(frame, asked(types={"remark": "id"})).schema.column("remark").role == "ignored"


def test_sensitive_columns_that_are_dropped_stay_for_slices_and_absent_ones_are_said() -> None:
    read = read_data(table(), asked(drop=("smokes",), sensitive=("smokes", "race")))
    smokes = read.schema.column("smokes")
    assert (smokes.role, smokes.sensitive) == ("ignored", True)
    assert smokes not in read.schema.features
    assert [(f.kind, f.column) for f in read.notes] == [("sensitive", "race")]
    assert "smokes" not in read_data(table(), asked(drop=("smokes",))).frame.columns


def kind(
    values: list[object] | str, name: str = "x", folder: Path | None = None, types: dict[str, str] | None = None
) -> str:
    """Return the kind of a column, from memory or (values as one string of cells) from a CSV file."""
    brief = Brief(data=DataBrief(types=types or {}))  # type: ignore[arg-type]
    if isinstance(values, str):
        assert folder is not None
        path = folder / "k.csv"
        path.write_text(f"{name},other\n" + "".join(f"{v},1\n" for v in values.split()))
        return read_data(path, brief).schema.column(name).kind
    return read_data(pl.DataFrame({name: values, "other": 1}), brief).schema.column(name).kind


def test_types_are_inferred_from_text(tmp_path: Path) -> None:
    assert kind("1 2 3", folder=tmp_path) == "number"
    assert kind("1.5 NA ? -2e3 null", folder=tmp_path) == "number"
    assert kind("true FALSE ?", folder=tmp_path) == "boolean"
    assert kind("2024-01-02 2024-02-03", folder=tmp_path) == "date"
    assert kind("00501 10001", folder=tmp_path) == "category"  # a code: its zeros mean something
    assert kind("12345678901234567890 22345678901234567890", folder=tmp_path) == "category"
    assert kind("1 2 abc", folder=tmp_path) == "category"
    assert kind("1 2 3", folder=tmp_path, types={"x": "category"}) == "category"


def test_an_id_is_not_a_measurement() -> None:
    rng = np.random.default_rng(1)
    integers = rng.permutation(100_000)[:200].tolist()
    assert kind(integers, "income") == "number"
    assert kind(integers, "paid") == "number"
    assert kind(integers, "patient_id") == "id"
    assert kind(integers, "customerID") == "id"
    assert kind(rng.normal(size=200).tolist(), "acid") == "number"
    assert kind((rng.integers(0, 40, 200)).tolist(), "user_id") == "number"  # it repeats: an entity, not an id
    assert kind(list(range(1, 201)), "whatever") == "id"
    assert kind(integers, "patient_id", types={"patient_id": "number"}) == "number"


@pytest.mark.parametrize("values", [[1, 2], {"a": 1}, (1, 2), {1, 2}, b"bytes"])
def test_a_column_of_lists_or_the_like_is_left_out_or_refused_where_the_brief_needs_it(values: object) -> None:
    frame = table().to_pandas().assign(odd=[values] * 60)
    read = read_data(frame, asked())
    assert [f.kind for f in read.notes] == ["not_read"]
    assert "odd" not in read.frame.columns
    assert not read_data(frame, asked(drop=("odd",))).notes
    for brief in (
        Brief(data=DataBrief(label="odd")),
        asked(group="odd"),
        asked(time="odd"),
        asked(weight="odd"),
        asked(types={"odd": "number"}),
        asked(keep=("odd",)),
    ):
        assert "'odd' holds" in error(frame, brief).what
    assert "'odd' holds" in error(frame[["odd"]], Brief()).what


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(np.ones(60) * 1j),
        pd.Series(pd.arrays.SparseArray(np.ones(60))),
        pd.Series([2**2000] * 60, dtype=object),
        pa.array([pa.MonthDayNano([1, 2, 3])] * 60),
        pa.UnionArray.from_sparse(pa.array([0] * 60, type=pa.int8()), [pa.array(range(60))]),
    ],
    ids=["complex", "sparse", "huge", "interval", "union"],
)
def test_a_column_of_a_type_that_is_not_known_is_refused_by_its_name(column: object) -> None:
    frame = table()
    whole = (
        frame.to_pandas().assign(odd=column)
        if isinstance(column, pd.Series)
        else frame.to_arrow().append_column("odd", column)
    )
    found = error(whole)
    assert "'odd' holds" in found.what
    assert found.do


def test_integers_too_large_for_a_word_are_not_lost() -> None:
    frame = table().to_pandas().assign(odd=pd.Series([2**200, None] * 30, dtype=object))
    assert read_data(frame, asked()).frame["odd"].to_list() == [2.0**200, None] * 30


def test_what_a_csv_hides_is_said(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f'{i},{i % 3}.5,"{i % 7},25",{i % 2}\n' for i in range(100)) + '100,broken,"3,5",1\n'
    path.write_text(",a,b,y\n" + rows)
    read = read_data(path, asked())
    seen = {f.kind: f for f in read.notes}
    assert "row 101 says 'broken'" in seen["mixed"].what
    assert seen["comma"].column == "b"
    assert seen["unnamed"].column == "unnamed_1"
    assert seen["id"].column == "unnamed_1"


def word_notes(data: Dataset) -> list[Finding]:
    return [f for f in data.notes if f.kind == "missing_word"]


def test_words_read_as_missing_are_said(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    # Quoted, between blanks and in a later block too; the empty cell is no word.
    path.write_text("a,b,gone,y\n" + "1, ?,NA,0\n,?,NA,1\n2,red,NA,1\n" * 200_000 + '3,"NA",NA,0\n')
    read = read_data(path, asked(drop=("gone",)))
    (note,) = word_notes(read)
    assert (note.severity, note.column) == ("note", "b")
    assert note.what == "'b' says '?' in 400,000, 'NA' in 1 rows."
    assert read.frame["b"].null_count() == 400_001
    assert read.schema.column("b").levels == ("red",)
    wide = tmp_path / "w.csv"
    names = [f"c{i}" for i in range(30)]
    wide.write_text(",".join(["y", *names]) + "\n" + "".join(f"{i % 2}," + "NULL," * 29 + f"{i}\n" for i in range(9)))
    (note,) = word_notes(read_data(wide, asked()))
    assert note.column is None
    assert "'c0' says 'NULL' in 9" in note.what
    assert "19 more columns" in note.what
    table().drop_nulls().write_csv(path)
    assert not word_notes(read_data(path, asked()))


def test_a_word_for_missing_is_left_in_a_table_and_said() -> None:
    read = read_data(table().with_columns(c=pl.Series(["?", "red", " NA "] * 20)), asked())
    assert set(read.schema.column("c").levels) == {"?", "red", " NA "}
    assert not read.frame["c"].null_count()
    (note,) = word_notes(read)
    assert (note.column, note.severity) == ("c", "note")
    assert "'?'" in note.what
    assert "red" not in note.what


@pytest.mark.parametrize(
    ("values", "unclear"),
    [
        (["03/04/2024", "12/11/2023"], "03/04/2024"),
        (["3-4-24", "12-11-23"], "3-4-24"),
        (["03.04.2024 14:30", "12.11.2023 9:05"], "03.04.2024 14:30"),
        (["3-Apr-2024", "12 November 2023"], "3-Apr-2024"),
        (["April 3, 2024", "Nov 12, 2023 10:00 PM"], "April 3, 2024"),
        (["2024-04-03"] * 29 + ["2023-02-30"], "2023-02-30"),
        (["2024-04-03", "2023-02-28"], None),
        (["1.2.3", "1.10.12"], None),  # versions
        (["40-47-84", "20-00-00"], None),  # sort codes
        (["3/4", "1/2"], None),
        (["may", "june"], None),
    ],
)
@pytest.mark.parametrize("alike", [True, False])
def test_dates_that_are_not_guessed_are_said(values: list[str], unclear: str | None, alike: bool) -> None:
    # Repeated they are categories, all different (here by blanks) they would be an identifier.
    column = [v if alike else v + " " * i for i, v in enumerate(values * (60 // len(values)))]
    read = read_data(table().with_columns(when=pl.Series(column)), asked())
    notes = [f for f in read.notes if f.column == "when"]
    if unclear is None:
        assert "date_unclear" not in [f.kind for f in notes]
        return
    (note,) = notes
    assert (note.kind, note.severity) == ("date_unclear", "note")
    assert f"'{unclear}" in note.what
    assert ("read as a category" if alike else "left out") in note.means
    assert "ISO 8601" in note.do
    # A column that tells nothing is told so.
    one = read_data(table().with_columns(when=pl.lit(values[0])), asked())
    assert [f.kind for f in one.notes if f.column == "when"] == ["constant"]
    # Where the brief says what it is, nothing is left to say.
    said = read_data(table().with_columns(when=pl.Series(column)), asked(types={"when": "category"}))
    assert "date_unclear" not in [f.kind for f in said.notes]


def test_integers_called_ids_that_repeat_are_categories() -> None:
    rng = np.random.default_rng(0)
    shops = rng.integers(0, 40, 400)
    frame = pl.DataFrame({"shop_id": shops, "shopId": shops, "shops": shops, "paid": shops, "row_id": range(400)})
    frame = frame.with_columns(
        user_id=pl.Series(shops),
        thing_id=pl.Series(np.arange(400) // 2),
        few_id=pl.Series(shops % 9),
        y=pl.Series(shops % 2),
    )
    kinds = {c.name: c.kind for c in read_data(frame, Brief(data=DataBrief(label="y"))).schema.columns}
    assert kinds.pop("row_id") == "id"
    assert {name for name, kind in kinds.items() if kind == "category"} == {"shop_id", "shopId", "y"}


def label(values: list[object], **brief: object) -> Dataset:
    n = len(values)
    frame = pl.DataFrame({"x": np.arange(n) * 1.5, "y": pl.Series(values, strict=False)})
    return read_data(frame, Brief(data=DataBrief(label="y", positive=brief.pop("positive", None)), **brief))  # type: ignore[arg-type]


def test_the_task_and_the_classes_follow_from_the_label() -> None:
    assert label([1, 0] * 5).schema.classes == ("0", "1")
    assert label([True, False] * 5).schema.classes == ("False", "True")
    assert label([1.0, 0.0] * 5).schema.classes == ("0.0", "1.0")
    assert label(["yes", "no"] * 5).schema.classes == ("no", "yes")
    assert label(["no", "won"] * 5).schema.classes == ("no", "won")
    assert label(["b", "b", "a"] * 4).schema.classes == ("b", "a")  # the rarer is positive
    assert label([1, 0] * 5, positive="0").schema.classes == ("1", "0")
    assert label([1, 1, 2] * 5).schema.classes == ("1", "2")  # which of the two means yes, no name says
    assert label([1, 2, 2] * 5).schema.classes == ("2", "1")
    assert label([10, 9, 2] * 5).schema.classes == ("2", "9", "10")
    assert label([0.5, 0.25, 0.75, 1.5]).schema.task == "regression"
    assert label(list(range(30))).schema.task == "regression"
    assert label(list(range(30)) * 2, metric="accuracy").schema.task == "multiclass"
    assert label(list(range(5)) * 3).schema.task == "multiclass"
    assert label(list(range(5)) * 3, task="regression").schema.task == "regression"
    assert label(["a", "b"] * 9).truth().tolist() == [
        1 if label(["a", "b"] * 9).schema.classes[1] == c else 0 for c in ["a", "b"] * 9
    ]
    with pytest.raises(DataError, match="needs numbers"):
        label(["a", "b"] * 5, task="regression")
    with pytest.raises(DataError, match="3 classes"):
        label(["a", "b", "c"] * 5, task="binary")


def series(**extra: object) -> pl.DataFrame:
    days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 2, 9), eager=True)
    return pl.DataFrame(
        {"s": ["a"] * 40 + ["b"] * 40, "t": pl.concat([days, days]), "y": np.arange(80) % 7 * 1.0, **extra}
    )


def test_a_table_of_series_alone_is_a_forecast() -> None:
    roles = asked(group="s", time="t")
    assert read_data(series(), roles).schema.task == "forecast"
    assert read_data(series(kind=["x"] * 40 + ["z"] * 40), roles).schema.task == "forecast"
    assert read_data(series(temperature=np.arange(80.0)), roles).schema.task != "forecast"
    assert (
        read_data(series(temperature=np.arange(80.0)), Brief(data=roles.data, forecast=ForecastBrief(7))).schema.task
        == "forecast"
    )
    metric = Brief(data=roles.data, target=(Target("mase", "<=", 1.0),))
    assert read_data(series(temperature=np.arange(80.0)), metric).schema.task == "forecast"
    shuffled = read_data(series()[np.random.default_rng(0).permutation(80)], roles)
    assert shuffled.frame.equals(read_data(series(), roles).frame)
    assert (
        "two values at one time"
        in error(pl.concat([series(), series()[:1]]), Brief(task="forecast", data=roles.data)).what
    )
    assert "time column" in error(series(), Brief(task="forecast", data=DataBrief(label="y", group="s"))).what


@pytest.mark.parametrize("form", ["csv", "parquet", "feather", "arrow stream"])
def test_streaming_gives_the_same_rows_as_reading(form: str, tmp_path: Path) -> None:
    whole = read_data(table(997), asked())
    WRITERS[form](table(997), tmp_path / "t")
    pieces = list(read_batches(tmp_path / "t", whole.schema, rows=100))
    assert max(p.height for p in pieces) <= 100
    assert pl.concat(pieces).equals(whole.frame)


def test_streaming_names_a_bad_value_by_its_row_in_the_file(tmp_path: Path) -> None:
    schema = read_data(pl.DataFrame({"a": [1.0, 2.0, 3.0], "y": [0, 1, 1]}), asked()).schema
    path = written(tmp_path, "a,b\n" + "1,0\n" * 250 + "x,0\n")
    with pytest.raises(DataError, match="'x', which is not a number") as caught:
        list(read_batches(path, schema, rows=100))
    assert "row 251" in str(caught.value.where)
    with pytest.raises(DataError, match="column is absent: 'a'"):
        list(read_batches(written(tmp_path, "b,c\n1,2\n"), schema))


def test_five_thousand_columns_are_read() -> None:
    rng = np.random.default_rng(0)
    wide = pl.DataFrame(rng.normal(size=(60, 5000)), schema=[f"c{i}" for i in range(5000)])
    read = read_data(wide.with_columns(y=pl.Series(rng.integers(0, 2, 60))), asked())
    assert len(read.schema.features) == 5000
