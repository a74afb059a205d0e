"""Export: records as a flat table, one line a row, with the labels that came for them."""

from __future__ import annotations

import tempfile
from collections.abc import Container, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pyarrow as pa
from pyarrow import csv, parquet

from modelyard.core.errors import WorkspaceError
from modelyard.core.files import guarded
from modelyard.serving.predictions.record import Chosen, Label, Record
from modelyard.serving.predictions.store import Store

FORMATS = (".parquet", ".csv", ".jsonl")
_PIECE = 2_000
_KINDS: dict[type, str] = {bool: "boolean", int: "whole", float: "number", str: "text"}
_TYPES = {"boolean": pa.bool_(), "whole": pa.int64(), "number": pa.float64(), "text": pa.string()}
_WHOLE = 2**63

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class _Table(Protocol):
    def write_table(self, table: Any) -> None: ...


def export(store: Store, out: Path, chosen: Chosen, *, label: str = "label", labelled: bool = False) -> int:
    """Write records and their labels to a file; return how many lines it has.

    Columns are those of the rows, then the label and ``label_at``, what was answered (``prediction``, ``p_<class>``,
    ``low``, ``high``, ``ood``, ``served_by``), and about the request ``log_id``, ``log_row``, ``log_at`` and the like.
    A name that is taken by a column of the rows gets a ``_`` at its end.

    Parameters
    ----------
    store : Store
        Where they are.
    out : path
        Parquet (``.parquet``), CSV (``.csv``) or JSON lines (``.jsonl``).
    chosen : Chosen
        Which of them.
    label : str
        What the label's column is called.
    labelled : bool
        Whether rows without a label are left out.

    Raises
    ------
    WorkspaceError
        If the file cannot be written, or its name says no format.
    """
    if out.suffix not in FORMATS:
        raise WorkspaceError(f"'{out.name}' says no format.", allowed=f"A name that ends in {', '.join(FORMATS)}.")
    with guarded(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        # Two passes over lines of our own: the columns are known when the last one was seen.
        with tempfile.TemporaryFile(dir=out.parent) as spool:
            sent: dict[str, str] = {}
            ours: dict[str, str] = {}
            count = 0
            for row, more in _lines(store, chosen, label, labelled):
                for columns, line in ((sent, row), (ours, more)):
                    for name, value in line.items():
                        columns[name] = _kind(columns.get(name, ""), value)
                spool.write(_encode((row, more)) + b"\n")
                count += 1
            spool.seek(0)
            names = {name: _free(name, sent) for name in ours}
            columns = sent | {names[name]: kind for name, kind in ours.items()}
            lines = ({**row, **{names[n]: v for n, v in more.items()}} for row, more in map(_decode, spool))
            neighbour = out.with_name(f".{out.name}.part")
            try:
                _write(neighbour, out.suffix, lines, columns)
                neighbour.replace(out)
            finally:
                neighbour.unlink(missing_ok=True)
    return count


def _free(name: str, taken: Container[str]) -> str:
    return name if name not in taken else _free(f"{name}_", taken)


def _lines(store: Store, chosen: Chosen, label: str, labelled: bool) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    records = store.records(chosen)
    while some := list(islice(records, _PIECE)):
        # In order of receipt: the last of a row is the one that counts.
        labels = {(found.id, found.row): found for found in store.labels([record.id for record in some])}
        for record in some:
            for number, (row, answer) in enumerate(zip(record.rows, record.answers, strict=False)):
                found = labels.get((record.id, number))
                if found is not None or not labelled:
                    yield row, _more(record, number, answer, label, found)


def _more(record: Record, number: int, answer: dict[str, Any], name: str, label: Label | None) -> dict[str, Any]:
    bounds = answer.get("interval") or {}
    return {
        name: None if label is None else label.value,
        "label_at": None if label is None or label.at is None else _moment(label.at),
        "prediction": answer.get("prediction"),
        **{f"p_{label_}": chance for label_, chance in (answer.get("probabilities") or {}).items()},
        **{end: bounds[end] for end in ("low", "high") if end in bounds},
        **({"ood": answer["ood"]} if "ood" in answer else {}),
        "served_by": answer.get("served_by"),
        "log_id": record.id,
        "log_row": number,
        "log_at": _moment(record.at),
        "log_model": record.model,
        "log_version": record.version,
        "log_variant": record.variant,
        "log_bundle": record.bundle,
        "log_key": record.key,
        "log_trace": record.trace,
        "log_milliseconds": record.milliseconds,
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _kind(before: str, value: Any) -> str:
    """Return the narrowest kind that holds what a column held so far and one more value."""
    if value is None:
        return before
    now = _KINDS.get(type(value), "text")
    if now == "whole" and not -_WHOLE <= value < _WHOLE:
        now = "number"
    if before in ("", now):
        return now
    return "number" if {before, now} == {"whole", "number"} else "text"


def _write(path: Path, suffix: str, lines: Iterator[dict[str, Any]], columns: dict[str, str]) -> None:
    if suffix == ".jsonl":
        with path.open("wb") as file:
            file.writelines(_encode(line) + b"\n" for line in lines)
        return
    schema = pa.schema([(name, _TYPES[kind or "text"]) for name, kind in columns.items()])
    opened = parquet.ParquetWriter if suffix == ".parquet" else csv.CSVWriter
    with opened(path, schema) as writer:
        _write_table(writer, lines, schema, columns)


def _write_table(writer: _Table, lines: Iterator[dict[str, Any]], schema: Any, columns: dict[str, str]) -> None:
    while some := list(islice(lines, _PIECE)):
        values = [_column([line.get(name) for line in some], kind) for name, kind in columns.items()]
        writer.write_table(pa.table([pa.array(v, t) for v, t in zip(values, schema.types, strict=True)], schema=schema))


def _column(values: Sequence[Any], kind: str) -> Sequence[Any]:
    if kind == "number":
        return [None if value is None else float(value) for value in values]
    if kind == "text":
        return [value if value is None or isinstance(value, str) else _encode(value).decode() for value in values]
    return values
