"""Delimited text (CSV and its kin): the separator is found, every record must have as many fields as the header."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias, cast

import polars as pl

from modelyard.core.errors import DataError, listed
from modelyard.data.finding import Finding

NULLS = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None", "?")
"""What a cell of a text file may hold instead of a value."""

Words: TypeAlias = dict[str, Counter[str]]
"""How often which of `NULLS` was read as missing, column by column; the empty cell is no word."""

_SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
_NOT_READ = {":": "a colon", "^": "a caret", "~": "a tilde", "\x01": "the character 0x01", " ": "blanks"}
_SNIFF_BYTES = 1 << 16
_SNIFF_RECORDS = 100
_BLOCK_BYTES = 1 << 22
_UNPACKING = (EOFError, zlib.error, gzip.BadGzipFile)
_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


@dataclass(frozen=True, slots=True)
class Layout:
    """How a text file is written: its separator, its column names, and what was noticed on the way."""

    separator: str
    names: tuple[str, ...]
    notes: tuple[Finding, ...] = ()


def layout(path: Path) -> Layout:
    """Find the separator and read the header.

    Raises
    ------
    DataError
        If the file is empty, not UTF-8, has one column only, or two columns of one name.
    """
    try:
        sample, whole = _sample(path)
    except _UNPACKING as error:
        raise _cut_short(path, error) from None
    if not sample.strip():
        raise DataError("The file is empty.", where=str(path), do="Name a file with a header and at least one row.")
    lines = sample.splitlines(keepends=True)
    # The last line of a cut sample is seldom whole.
    lines = lines if whole or len(lines) < 3 else lines[:-1]
    separator = max(_SEPARATORS, key=lambda s: _agreement(lines, s))
    if _agreement(lines, separator) == 0:
        raise _one_column(path, lines)
    header = [name.strip() for name in next(csv.reader(lines, delimiter=separator))]
    unnamed = [i for i, name in enumerate(header) if not name]
    for i in unnamed:
        header[i] = f"unnamed_{i + 1}"
    double = sorted({name for name in header if header.count(name) > 1}) if len(set(header)) < len(header) else []
    if double:
        raise duplicate_names(double, str(path))
    notes = tuple(
        Finding(
            "unnamed",
            "note",
            header[i],
            f"Column {i + 1} has no name in the header; it is called '{header[i]}' here.",
            "It is often a row number that another program wrote.",
            f"Add {header[i]} to data.drop, or name it in the file.",
        )
        for i in unnamed
    )
    return Layout(separator, tuple(header), notes)


def duplicate_names(names: list[str], where: str) -> DataError:
    """Return the error for columns that share a name."""
    quoted = [f"'{n}'" for n in names]
    return DataError(
        f"Two columns have the same name: {listed(quoted, 5)}.",
        where=where,
        allowed="Every column has a name of its own.",
        do="Rename or remove one of them.",
    )


def read_text(path: Path, form: Layout, words: Words | None = None) -> Iterator[pl.DataFrame]:
    """Read a text file in blocks of some megabytes: every column String, blanks stripped, `NULLS` as null.

    Parameters
    ----------
    path : path
        The file.
    form : Layout
        Of this file.
    words : Words, optional
        Filled with what was read as missing, block by block.

    Raises
    ------
    DataError
        For a record with another number of fields than the header, and for text that is not UTF-8.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    try:
        with _opened(path) as stream:
            reader = arrow_csv.open_csv(
                stream,
                # A block must hold the header, however wide the table is.
                read_options=arrow_csv.ReadOptions(
                    column_names=list(form.names), skip_rows_after_names=1, block_size=_BLOCK_BYTES, use_threads=False
                ),
                parse_options=arrow_csv.ParseOptions(delimiter=form.separator, newlines_in_values=True),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(form.names, pa.large_string()),
                    null_values=[""],  # the words among `NULLS` are looked for, and counted, below
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=True,
                ),
            )
            for batch in reader:
                if batch.num_rows:
                    yield _cleaned(pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch]))), words)
    except _UNPACKING as error:
        raise _cut_short(path, error) from None
    except (pa.ArrowException, OSError) as error:
        raise _explained(path, form, error) from None


def _cleaned(frame: pl.DataFrame, words: Words | None) -> pl.DataFrame:
    """Strip blanks around values, and read `NULLS` as null."""
    blank = _columns(frame, pl.all().str.contains(r"^\s|\s$").any())
    if blank:
        frame = frame.with_columns(pl.col(blank).str.strip_chars())
    holding = _columns(frame, pl.all().is_in(NULLS).any())
    if words is not None:
        for name in holding:
            series = frame[name]
            found = series.filter(series.is_in(NULLS)).to_list()
            words.setdefault(name, Counter()).update(word for word in found if word)
    return frame.with_columns(pl.when(pl.col(holding).is_in(NULLS)).then(None).otherwise(pl.col(holding)).name.keep())


def _columns(frame: pl.DataFrame, condition: pl.Expr) -> list[str]:
    return [name for name, holds in zip(frame.columns, frame.select(condition).row(0), strict=True) if holds]


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path)) if packed else path.open("rb")


def _sample(path: Path) -> tuple[str, bool]:
    with _opened(path) as stream:
        raw = stream.read(_SNIFF_BYTES)
        if raw[:2] in _BOMS:
            raise _not_utf8(path, f"It is written in {_BOMS[raw[:2]]}.")
        # A header of thousands of columns can be longer than the sample.
        while raw.count(b"\n") < 2 and (more := stream.read(_SNIFF_BYTES)):
            raw += more
        whole = not stream.read(1)
    if b"\x00" in raw:
        raise DataError(
            "The file is neither a table in text nor Parquet or Arrow.",
            where=str(path),
            allowed="CSV (UTF-8), Parquet, Arrow and Feather files are read.",
            do="Export the table as one of these.",
        )
    _decoded(path, raw.split(b"\n", 1)[0], 1)
    return raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="replace"), whole


def _decoded(path: Path, line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as bad:
        byte = line[bad.start]
        raise _not_utf8(path, f"Line {number} holds the byte 0x{byte:02X}, as Latin-1 or Windows-1252 would.") from None


def _agreement(lines: list[str], separator: str) -> float:
    """Score a separator: how much of the records agree with the header, then how many fields they have."""
    try:
        counts = [
            len(r) for _, r in zip(range(_SNIFF_RECORDS), csv.reader(lines, delimiter=separator), strict=False) if r
        ]
    except csv.Error:
        return 0.0
    if not counts or counts[0] < 2:
        return 0.0
    return sum(c == counts[0] for c in counts) / len(counts) + min(counts[0], 1000) / 1e6


def _one_column(path: Path, lines: list[str]) -> DataError:
    header = lines[0].strip()
    counts = {
        s: [len(line.split() if s == " " else line.split(s)) for line in lines[:20] if line.strip()] for s in _NOT_READ
    }
    looks = [s for s, c in counts.items() if c[0] > 1 and len(set(c)) == 1]
    guess = f" It looks as if {_NOT_READ[looks[0]]} separates its columns." if looks else ""
    shown = header if len(header) <= 60 else header[:60] + "..."
    return DataError(
        f"The table has a single column, '{shown}'.{guess}",
        where=str(path),
        allowed=f"Columns are separated by {', '.join(_SEPARATORS.values())}.",
        do="Write the file again with commas, or as Parquet.",
    )


def _cut_short(path: Path, error: Exception) -> DataError:
    return DataError(
        "The compressed file is damaged or was cut short.",
        where=f"{path}: {error}",
        do="Write it again from its source.",
    )


def _not_utf8(path: Path, why: str) -> DataError:
    return DataError(
        f"The file is not UTF-8. {why}",
        where=str(path),
        allowed="Text files are read as UTF-8.",
        do="Convert it first, for instance: iconv -f latin1 -t utf-8 OLD > NEW",
    )


def _explained(path: Path, form: Layout, error: Exception) -> DataError:
    """Read the file again, slowly, to say where it goes wrong; this is only done once it has."""
    with _opened(path) as stream:
        lines = (_decoded(path, raw, number).removeprefix("\ufeff") for number, raw in enumerate(stream, start=1))
        records = csv.reader(lines, delimiter=form.separator)
        try:
            before = 0
            for record in records:
                if record and len(record) != len(form.names):
                    have = f"{len(record)} field{'' if len(record) == 1 else 's'}"
                    quote = " A quotation mark may be missing." if records.line_num - before > 50 else ""
                    return DataError(
                        f"Line {before + 1} has {have}, the header has {len(form.names)}.{quote}",
                        where=f"{path}, line {before + 1}",
                        allowed=f"Fields are separated by {_SEPARATORS[form.separator]}; text with one is quoted.",
                        do="Correct the line, or write the file again from its source.",
                    )
                before = records.line_num
        except csv.Error as bad:
            return DataError(f"The text cannot be read: {bad}.", where=f"{path}, line {records.line_num}")
    return DataError("The text cannot be read.", where=f"{path}: {error}", do="Write the file again from its source.")
