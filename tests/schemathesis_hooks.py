"""What Schemathesis sends where the document says bytes: bodies that are nearly right, and bytes that are not."""

from __future__ import annotations

import io
import json
import os

import pyarrow as pa
import schemathesis
from hypothesis import strategies as st
from pyarrow import parquet

from modelyard.serving.protocols.columnar import ARROW, PARQUET


def _arrow(rows: list[dict]) -> bytes:
    table, into = pa.Table.from_pylist(rows), io.BytesIO()
    with pa.ipc.new_stream(into, table.schema) as writer:
        writer.write_table(table)
    return into.getvalue()


def _parquet(rows: list[dict]) -> bytes:
    into = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), into)
    return into.getvalue()


row = json.loads(os.environ["EXAMPLE_ROW"])
changes = st.dictionaries(st.sampled_from(list(row)), st.none() | st.integers(0, 99), max_size=1)
rows = st.builds(lambda count, changed: count * [{**row, **changed}], st.integers(0, 3), changes)
schemathesis.openapi.media_type(ARROW, rows.map(_arrow) | st.binary(max_size=50))
schemathesis.openapi.media_type(PARQUET, rows.map(_parquet) | st.binary(max_size=50))
schemathesis.openapi.media_type("application/octet-stream", st.binary(max_size=50))
