"""The name of a table's content: SHA-256 over every value, whatever the file format and the chunks it was read in."""

from __future__ import annotations

import hashlib

import polars as pl

_PIECE = 1 << 16


def fingerprint(frame: pl.DataFrame) -> str:
    """Return the SHA-256 of all values, types and names of a table, in hex.

    Two tables agree when their columns, in order, have the same names, kinds of value (integer, number, truth,
    text, date, moment) and values, row by row. Widths of integers, encodings, chunks and compression do not count;
    NaN and the empty string count as missing, as they are read.

    Parameters
    ----------
    frame : polars.DataFrame
        Of plain columns, as `modelyard.data.infer.natural` makes them.
    """
    whole = hashlib.sha256()
    for series in frame.iter_columns():
        whole.update(f"{series.name!r}:{series.dtype}:{series.len()}\n".encode())
        for digest in _column(series):
            whole.update(digest)
    return whole.hexdigest()


def _column(series: pl.Series) -> tuple[bytes, bytes, bytes]:
    """Hash which rows are present, and the values (of texts: lengths and bytes) in one pass of bounded memory."""
    present, values, lengths = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    for start in range(0, series.len(), _PIECE):
        piece = series.slice(start, _PIECE)
        present.update(piece.is_not_null().to_numpy().tobytes())
        filled = piece.drop_nulls()
        if piece.dtype == pl.String:
            lengths.update(filled.str.len_bytes().cast(pl.UInt64).to_numpy().astype("<u8").tobytes())
            values.update("".join(filled.to_list()).encode())
        elif piece.dtype == pl.Float64:
            # 0.0 and -0.0 are one number; adding zero makes them one.
            values.update((filled.to_numpy() + 0.0).astype("<f8").tobytes())
        else:
            values.update(filled.to_physical().cast(pl.Int64).to_numpy().astype("<i8").tobytes())
    return present.digest(), lengths.digest(), values.digest()
