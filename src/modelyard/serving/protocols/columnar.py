"""Columnar bodies: Arrow and Parquet in, checked column by column, and the answer's columns out.

What a body may grow to is told before it is unpacked: compressed bytes and dictionaries can stand for far more.

References
----------
Apache Arrow columnar format, "IPC streaming format" and "Message.fbs"; media types of the IANA registry:
application/vnd.apache.arrow.stream, application/vnd.apache.parquet.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

import polars as pl

from modelyard.core.errors import Problem
from modelyard.serving.problem import HttpProblem, bad_fields

ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
MEDIA_TYPES = {ARROW: ARROW, PARQUET: PARQUET, "application/x-parquet": PARQUET}
"""What bodies may be sent as, and which of the two that is."""
BODY_LIMIT = 8 * 2**20
MOST_ROWS = 20_000
_UNPACKED = 32 * 2**20
"""Bytes the columns may take once unpacked: what a pod asks for (see `capacity`) hangs on these three."""
# pyarrow raises Python's own errors too, and polars panics over some.
_NOT_READ = (
    OSError, ValueError, TypeError, KeyError, OverflowError, NotImplementedError, struct.error, UnicodeError,
    pl.exceptions.PolarsError, pl.exceptions.PanicException,
)  # fmt: skip
_DICTIONARY, _BATCH = 2, 3
"""Headers of messages that carry values, in Message.fbs."""


def read_columns(body: bytes, media_type: str) -> pl.DataFrame:
    """Return the table of an Arrow stream or a Parquet file.

    Parameters
    ----------
    body : bytes
        The whole of it.
    media_type : str
        `ARROW` or `PARQUET`.

    Raises
    ------
    HttpProblem
        400 if it is damaged or holds no row, 413 if it unpacks to too much, 422 for a column of no plain values.
    """
    import pyarrow as pa

    try:
        table = _parquet(body) if media_type == PARQUET else _arrow(body)
        table.validate(full=True)  # pyarrow trusts offsets that lie, until it is told not to
        if len(set(table.column_names)) < table.num_columns:
            raise HttpProblem(400, "Two columns of the body have the same name.")
        _check_size(table)
        frame = pl.DataFrame(pl.from_arrow(table))
    except (pa.ArrowException, *_NOT_READ) as error:
        name = "a Parquet file" if media_type == PARQUET else "an Arrow stream"
        raise HttpProblem(400, f"The body cannot be read as {name}: {_first_line(error)}.") from None
    if not frame.height:
        raise HttpProblem(400, "The body holds no row.")
    return frame


def write_columns(frame: pl.DataFrame, media_type: str, about: Mapping[str, str]) -> bytes:
    """Return a table as an Arrow stream or a Parquet file, with facts about it in its metadata.

    Parameters
    ----------
    frame : polars.DataFrame
        The answers.
    media_type : str
        `ARROW` or `PARQUET`.
    about : mapping of str to str
        Id, model, bundle: entries of the schema's metadata.
    """
    import pyarrow as pa
    from pyarrow import parquet

    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).replace_schema_metadata(dict(about))
    into = io.BytesIO()
    if media_type == PARQUET:
        parquet.write_table(table, into, compression="zstd")
    else:
        with pa.ipc.new_stream(into, table.schema) as writer:
            writer.write_table(table)
    return into.getvalue()


def _parquet(body: bytes) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    source = pa.BufferReader(body)
    file = parquet.ParquetFile(source)
    schema, facts = file.schema_arrow, file.metadata
    groups = [facts.row_group(i) for i in range(facts.num_row_groups)]
    _check(sum(g.num_rows for g in groups), sum(g.total_byte_size for g in groups))
    # Texts come as they are stored, a dictionary: what they would take in full is reckoned first.
    texts = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    return parquet.ParquetFile(source, read_dictionary=texts).read()


def _arrow(body: bytes) -> Any:
    import pyarrow as pa
    from pyarrow import ipc

    for message in ipc.MessageReader.open_stream(pa.BufferReader(body)):
        if message.metadata is not None and _compressed(message.metadata.to_pybytes()):
            raise HttpProblem(400, "The buffers of the Arrow stream are compressed; send them as they are, or Parquet.")
    batches, rows = [], 0
    for batch in ipc.open_stream(pa.BufferReader(body)):
        batches.append(batch)
        rows += batch.num_rows
        _check(rows, 0)
    return pa.Table.from_batches(batches)


def _compressed(message: bytes) -> bool:
    """Say whether a message's buffers are compressed: pyarrow tells nobody, and unpacks whatever size they claim."""

    def entry(table: int, number: int) -> int:
        fields = table - struct.unpack_from("<i", message, table)[0]
        place = 4 + 2 * number
        if place >= struct.unpack_from("<H", message, fields)[0]:
            return 0
        offset: int = struct.unpack_from("<H", message, fields + place)[0]
        return table + offset if offset else 0

    def follow(place: int) -> int:
        return place + int(struct.unpack_from("<I", message, place)[0])

    root = follow(0)
    kind, header = entry(root, 1), entry(root, 2)
    if not kind or not header or message[kind] not in (_DICTIONARY, _BATCH):
        return False
    batch = follow(header)
    if message[kind] == _DICTIONARY:
        held = entry(batch, 1)
        if not held:
            return False
        batch = follow(held)
    return entry(batch, 3) != 0


def _check_size(table: Any) -> None:
    import pyarrow as pa
    from pyarrow import compute

    kinds = pa.types
    plain = (
        kinds.is_boolean, kinds.is_integer, kinds.is_floating, kinds.is_decimal, kinds.is_string, kinds.is_large_string,
        kinds.is_date, kinds.is_timestamp, kinds.is_null,
    )  # fmt: skip
    size = 0
    odd: list[Problem] = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if kinds.is_dictionary(kind) and (kinds.is_string(kind.value_type) or kinds.is_large_string(kind.value_type)):
            for chunk in column.chunks:
                size += compute.sum(compute.take(compute.binary_length(chunk.dictionary), chunk.indices)).as_py() or 0
        elif any(fits(kind) for fits in plain):
            size += column.nbytes
        else:
            odd.append(
                Problem(
                    f"/{name}", f"'{name}' holds {kind}, which is not read", "Numbers, text, true and false, dates."
                )
            )
    if odd:
        raise bad_fields(odd)
    _check(table.num_rows, size)


def _check(rows: int, size: int) -> None:
    if rows > MOST_ROWS:
        raise HttpProblem(413, f"The body has more than {MOST_ROWS:,} rows; send it in parts.")
    if size > _UNPACKED:
        raise HttpProblem(413, f"The body unpacks to more than {_UNPACKED // 2**20} MiB; send it in parts.")


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
