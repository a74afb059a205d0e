"""Tables wherever they are: files told apart by their first bytes, and pandas, polars and pyarrow objects."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from modelyard.core.errors import DataError
from modelyard.data.delimited import Words, duplicate_names, layout, read_text
from modelyard.data.finding import Finding

Table: TypeAlias = Any
"""A path, or a pandas, polars or pyarrow table; pandas and pyarrow are never imported to find out."""

# pyarrow's errors of a type it does not know are Python's own; polars panics over some.
_NOT_CONVERTED = (
    TypeError,
    ValueError,
    NotImplementedError,
    OverflowError,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
)
_EXCEL = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A table as it is written.

    Attributes
    ----------
    frame : polars.DataFrame
        The table.
    text : bool
        Whether it comes from text, where every value is a string still.
    notes : tuple of Finding
        What was noticed.
    words : Words
        What was read as missing in a text file.
    """

    frame: pl.DataFrame
    text: bool = False
    notes: tuple[Finding, ...] = ()
    words: Words = field(default_factory=dict)


def load(source: Table) -> Loaded:
    """Return a table as it is written.

    Raises
    ------
    DataError
        If there is no such file, or it cannot be read as a table.
    """
    if not isinstance(source, str | Path):
        return Loaded(from_memory(source))
    path = existing(source)
    if form_of(path) == "text":
        form, words = layout(path), Words()
        blocks = list(read_text(path, form, words))
        empty = pl.DataFrame(schema=dict.fromkeys(form.names, pl.String))
        return Loaded(pl.concat(blocks) if blocks else empty, True, form.notes, words)
    return Loaded(_whole(path))


def batches(path: str | Path, rows: int) -> Iterator[tuple[pl.DataFrame, bool]]:
    """Read a file piece by piece, at most `rows` at a time, without holding more than a piece in memory."""
    path = existing(path)
    pieces = read_text(path, layout(path)) if (text := form_of(path) == "text") else arrow_pieces(path, rows)
    for piece in pieces:
        for start in range(0, piece.height, rows):
            yield piece.slice(start, rows), text


def existing(source: str | Path) -> Path:
    """Return the path of a file that is there.

    Raises
    ------
    DataError
        If it is not, or is a folder or empty.
    """
    path = Path(source)
    try:
        size, folder = path.stat().st_size, path.is_dir()
    except OSError as error:
        why = "There is no such file." if isinstance(error, FileNotFoundError) else "The file cannot be read."
        raise DataError(
            why, where=str(path), do="Check the path; paths in a brief are relative to the brief."
        ) from None
    if folder:
        raise DataError("This is a folder, not a file.", where=str(path), do="Name one CSV, Parquet or Arrow file.")
    if not size:
        raise DataError("The file is empty.", where=str(path), do="Name a file with a header and at least one row.")
    return path


def form_of(path: Path) -> str:
    """Return "text", "parquet", "arrow" or "stream", by a file's first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(6)
    except OSError as error:
        raise DataError("The file cannot be read.", where=f"{path}: {error.strerror}") from None
    if head[:4] == b"PAR1":
        return "parquet"
    if head == b"ARROW1":
        return "arrow"
    if head[:4] == b"\xff\xff\xff\xff":
        return "stream"
    if head[:4] in _EXCEL:
        raise DataError(
            "This looks like a spreadsheet or an archive.",
            where=str(path),
            allowed="CSV (UTF-8), Parquet, Arrow and Feather files are read.",
            do="Save the sheet as CSV.",
        )
    return "text"


def _whole(path: Path) -> pl.DataFrame:
    import pyarrow as pa
    from pyarrow import ipc, parquet

    form = form_of(path)
    try:
        if form == "parquet":
            return from_memory(parquet.ParquetFile(path).read(), str(path))
        with pa.OSFile(str(path)) as file:
            reader = ipc.open_file(file) if form == "arrow" else ipc.open_stream(file)
            return from_memory(reader.read_all(), str(path))
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def arrow_pieces(path: Path, rows: int) -> Iterator[pl.DataFrame]:
    """Read a Parquet or Arrow file in pieces, of at most `rows` each where the file allows it."""
    import pyarrow as pa
    from pyarrow import ipc, parquet

    form = form_of(path)
    try:
        if form == "parquet":
            # With pre_buffer, the default, the whole file would be held until its last row.
            pieces = parquet.ParquetFile(path, pre_buffer=False).iter_batches(batch_size=rows)
            for piece in pieces:
                yield from_memory(pa.Table.from_batches([piece]), str(path))
        else:
            with pa.OSFile(str(path)) as file:
                reader = ipc.open_file(file) if form == "arrow" else ipc.open_stream(file)
                count = reader.num_record_batches if form == "arrow" else None
                pieces = (reader.get_batch(i) for i in range(count)) if count is not None else reader
                for piece in pieces:
                    yield from_memory(pa.Table.from_batches([piece]), str(path))
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        "The file is damaged or was cut short.",
        where=f"{path}: {str(error).splitlines()[0]}",
        do="Write it again from its source.",
    )


def from_memory(table: Table, where: str = "the table in memory") -> pl.DataFrame:
    """Return a pandas, polars or pyarrow table as polars.

    Raises
    ------
    DataError
        If it is none of these, or two columns share a name.
    """
    if isinstance(table, pl.LazyFrame):
        table = table.collect()
    if isinstance(table, pl.DataFrame):
        return table
    pandas, arrow = sys.modules.get("pandas"), sys.modules.get("pyarrow")
    if pandas is not None and isinstance(table, pandas.DataFrame):
        _unique([str(c) for c in table.columns], where)
        return pl.DataFrame({str(name): _pandas_series(str(name), column) for name, column in table.items()})
    if arrow is not None and isinstance(table, arrow.RecordBatch):
        table = arrow.Table.from_batches([table])
    if arrow is not None and isinstance(table, arrow.Table):
        _unique(table.column_names, where)
        try:
            return pl.DataFrame(pl.from_arrow(table))
        except _NOT_CONVERTED:
            return pl.DataFrame({name: _arrow_series(name, table[name]) for name in table.column_names})
    raise DataError(
        f"A table was expected, not {type(table).__name__}.",
        where=where,
        allowed="A path, or a pandas, polars or pyarrow table.",
        do="Pass one of these.",
    )


def not_read(name: str, kind: object) -> DataError:
    """Return the error for a column that is needed and holds no single number, text, truth or date a row."""
    return DataError(
        f"'{name}' holds {kind}, which is not read.",
        where=f"column '{name}'",
        allowed="Numbers, text, true and false, dates.",
        do="Turn it into one or more columns of these.",
    )


def _pandas_series(name: str, column: Any) -> pl.Series:
    try:
        if str(column.dtype) == "object":
            return _objects(column.tolist())
        plain: pl.Series = pl.from_pandas(column.reset_index(drop=True).rename(None), nan_to_null=True)
    except _NOT_CONVERTED:
        raise not_read(name, column.dtype) from None
    return plain


def _objects(values: list[Any]) -> pl.Series:
    values = [None if v is None or (isinstance(v, float) and math.isnan(v)) else v for v in values]
    kinds = {type(v) for v in values if v is not None}
    if len(kinds) > 1:  # a mixed column is what its values look like in print
        values = [None if v is None else str(v) for v in values]
    made = pl.Series(values, strict=False)
    if made.null_count() > sum(v is None for v in values):  # integers too large for polars
        return pl.Series([None if v is None else float(v) for v in values])
    return made


def _arrow_series(name: str, column: Any) -> pl.Series:
    try:
        return pl.Series(name, pl.from_arrow(column))
    except _NOT_CONVERTED:
        raise not_read(name, column.type) from None


def _unique(names: list[str], where: str) -> None:
    if len(set(names)) < len(names):
        raise duplicate_names(sorted({n for n in names if names.count(n) > 1}), where)
