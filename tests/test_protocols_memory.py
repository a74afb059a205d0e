"""What a pod asks for holds a server that is sent as many columns as it takes."""

from __future__ import annotations

import http.client
import re
import sys
import threading
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from bundles import table
from modelyard.bundle.load import load_bundle
from modelyard.serving.capacity import capacity
from modelyard.serving.protocols.columnar import ARROW, MOST_ROWS
from serving_client import packed_linear
from test_protocols_columns import FEATURES, arrow
from test_serving_process import server


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_memory_asked_for_holds_as_many_columns_as_are_taken_at_once(tmp_path: Path) -> None:
    packed = packed_linear("binary", tmp_path / "bundle")
    frame = pl.concat([table("binary").frame.select(FEATURES)] * (MOST_ROWS // 300 + 1)).head(MOST_ROWS)
    body = arrow(frame)
    statuses: Counter[int] = Counter()

    def send(address: tuple[str, int]) -> None:
        connection = http.client.HTTPConnection(*address, timeout=60)
        connection.request("POST", "/v1/predict", body, {"Content-Type": ARROW})
        response = connection.getresponse()
        response.read()
        statuses[response.status] += 1
        connection.close()

    with server(tmp_path, packed.path, log=tmp_path / "log") as (process, address):
        calls = [threading.Thread(target=send, args=(address,)) for _ in range(8)]
        for call in calls:
            call.start()
        for call in calls:
            call.join()
        status = Path(f"/proc/{process.pid}/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024
    assert statuses.keys() <= {200, 503}
    assert statuses[200] >= 4
    assert peak < capacity(load_bundle(packed.path), 100.0).mebibytes, f"{peak:.0f} MiB"
