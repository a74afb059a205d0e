"""Malformed bodies on every parser of bodies, and queries: an answer or a problem, never a fault.

A parser meets 1,250 of them, and in the slow suite ten thousand.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
from collections import Counter
from collections.abc import Iterator, Set
from copy import deepcopy
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from bundles import CITIES, ROW, bundle, make_plain
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.load import load_bundle
from modelyard.serving.app import App
from modelyard.serving.guard.access import Access
from modelyard.serving.guard.store import KeyStore
from modelyard.serving.log import PredictionLog
from modelyard.serving.protocols.columnar import ARROW, PARQUET
from modelyard.serving.rollout.decide import MOVES
from modelyard.serving.rollout.live import PATH, Live
from serving_client import packed_linear
from test_protocols_rows import CSV, ROWS, tensors

INFER = "/v2/models/who-leaves/infer"
ODD = [
    None, True, False, 0, -1, 1.5, 2**63, 10**400, 10**4200, 1e308, "", "x" * 300, "\ud800", "NaN", [], {}, [[]],
    {"": {}}, [None], "2024-02-30", "BYTES", "coverage", [[[[[[1]]]]]], {"binary_data_size": 3}, {"coverage": "x"},
]  # fmt: skip
DOCUMENTED = {200, 202, 400, 413, 415, 422, 501, 503}


@pytest.fixture(params=[1_250, pytest.param(10_000, marks=pytest.mark.slow)])
def bodies(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return packed_linear("binary", tmp_path_factory.mktemp("packed") / "bundle")


def call(
    app: App, requests: Iterator[tuple[str, bytes, dict[str, str], bytes]], documented: Set[int] = DOCUMENTED
) -> Counter[int]:
    """Send requests into the application, without a client that would mend them; return how often each status came."""

    async def all_of_them() -> Counter[int]:
        statuses: Counter[int] = Counter()
        for path, body, headers, query in requests:
            scope = {
                "type": "http", "method": "POST", "path": path, "query_string": query,
                "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
            }  # fmt: skip
            sent: list[Any] = []

            async def receive(body: bytes = body) -> dict[str, Any]:
                return {"type": "http.request", "body": body}

            async def send(message: Any, sent: list[Any] = sent) -> None:
                sent.append(message)

            await app(scope, receive, send)
            status = sent[0]["status"]
            assert status in documented, (path, status, body[:2_000], headers, query)
            if "json" in dict(sent[0]["headers"])[b"content-type"].decode():
                json.loads(sent[1]["body"])
            statuses[status] += 1
        return statuses

    return asyncio.run(all_of_them())


def columns() -> pa.Table:
    return pa.Table.from_pylist([{**row, "city": city} for row, city in zip(ROWS, CITIES, strict=True)])


def arrow() -> bytes:
    table, into = columns(), io.BytesIO()
    table = table.set_column(2, "city", table["city"].dictionary_encode())
    with pa.ipc.new_stream(into, table.schema) as writer:
        writer.write_table(table)
    return into.getvalue()


def parquet_file() -> bytes:
    into = io.BytesIO()
    parquet.write_table(columns(), into, compression="snappy")
    return into.getvalue()


def mangled(body: bytes, r: random.Random) -> bytes:
    """Return bytes with a few of them changed, cut, doubled or put elsewhere."""
    held = bytearray(body)
    for _ in range(r.choice((1, 1, 2, 5, 20))):
        at = r.randrange(len(held) + 1)
        kind = r.randrange(6)
        if kind == 0 and held:
            held[at % len(held)] = r.randrange(256)
        elif kind == 1:
            del held[at : at + r.randrange(1, 9)]
        elif kind == 2:
            held[at:at] = r.randbytes(r.randrange(1, 9))
        elif kind == 3 and held:
            held[at % len(held)] ^= 1 << r.randrange(8)
        elif kind == 4:
            held[at:at] = held[max(0, at - r.randrange(1, 40)) : at]
        elif r.random() < 0.2:
            del held[at:]
    return bytes(held)


def misshapen(body: Any, r: random.Random) -> bytes:
    """Return JSON with a few of its values, or keys, exchanged for others."""
    held = deepcopy(body)
    for _ in range(r.choice((1, 1, 2, 4))):
        place, key = held, None
        while isinstance(place, dict | list) and len(place):
            parent = place
            key = r.choice(list(place)) if isinstance(place, dict) else r.randrange(len(place))
            place = place[key]
            if r.random() < 0.25:
                break
        if key is None:
            continue
        if isinstance(parent, dict) and r.random() < 0.3:
            parent[r.choice(["", "age", "data", "horizon", "instances", key + "x"])] = parent.pop(key)
        elif r.random() < 0.2:
            del parent[key]
        else:
            parent[key] = deepcopy(r.choice(ODD))
    return json.dumps(held).encode()


LABEL = {"id": "be2c6a54e11a-00000001", "label": 1, "row": 0, "at": "2026-01-02T03:04:05Z"}
SPLIT = {"columns": list(ROW), "data": [list(row.values()) for row in ROWS]}
JSON_BODIES: dict[str, tuple[str, Any]] = {
    "row": ("/v1/predict", ROW),
    "rows": ("/v1/predict", {"instances": ROWS}),
    "tensors": (
        INFER,
        {"inputs": tensors(ROWS), "outputs": [{"name": "set"}], "parameters": {}},
    ),
    "split": ("/invocations", {"dataframe_split": SPLIT, "params": {"probabilities": True}}),
    "inputs": ("/invocations", {"inputs": {name: [row[name] for row in ROWS] for name in ROW}}),
    "explain": ("/v1/explain", ROW),
    "label": ("/v1/labels", LABEL),
    "labels": ("/v1/labels", {"labels": [LABEL, {"id": "be2c6a54e11a-00000002", "label": "0"}]}),
}
JSON_HEADERS = {"content-type": "application/json"}


def either(body: Any, r: random.Random) -> bytes:
    """Return JSON that is broken as bytes are, or as values are."""
    return mangled(json.dumps(body).encode(), r) if r.random() < 0.5 else misshapen(body, r)


@pytest.mark.parametrize("kind", JSON_BODIES)
def test_json(packed: Bundle, kind: str, bodies: int, tmp_path: Path) -> None:
    path, body = JSON_BODIES[kind]
    r, app = random.Random(kind), App(packed, log=PredictionLog(tmp_path))
    statuses = call(app, ((path, either(body, r), JSON_HEADERS, b"") for _ in range(bodies)))
    app.close()
    assert statuses.keys() >= {202 if path == "/v1/labels" else 200, 400, 422}, statuses


def test_what_moves_rollouts(tmp_path: Path, bodies: int) -> None:
    stable, other = (str(make_plain(tmp_path / str(seed), seed=seed)) for seed in (3, 4))
    keys = KeyStore(tmp_path / "keys.db")
    _, secret = keys.create("anna", ["admin"], by="anna", rate=10**6, burst=10**6)
    app = App(load_bundle(stable), guard=Access(keys=keys.path).guard())
    Live(app, tmp_path / "rollouts", stable)
    plan = {"kind": "canary", "steps": [0.05, 0.5], "look": 60.0, "horizon": 600, "metric": "m", "goal": "lower"}
    asked = [{"candidate": other, "plan": plan}, *({"move": move} for move in MOVES)]
    r, headers = random.Random("rollout"), {**JSON_HEADERS, "authorization": f"Bearer {secret}"}
    sent = ((PATH, either(r.choice(asked), r), headers, b"") for _ in range(bodies))
    statuses = call(app, sent, {200, 400, 404, 409})
    app.close()
    assert statuses.keys() >= {200, 400, 409}, statuses


@pytest.mark.parametrize("number", ["9" * 5_000, "-" + "9" * 5_000, "9" * 400 + ".0", "1e" + "9" * 400, "0" * 10, "-0"])
def test_numbers_no_reader_expects(packed: Bundle, number: str) -> None:
    texts = [json.dumps({**ROW, name: "@"}).replace('"@"', number) for name in ROW]
    call(App(packed), (("/v1/predict", text.encode(), JSON_HEADERS, b"") for text in texts))
    tensor = json.dumps({"inputs": tensors([ROW])}).replace("[1, 1]", f"[{number}]")
    call(App(packed), iter([(INFER, tensor.encode(), JSON_HEADERS, b"")]))


def test_a_horizon(tmp_path: Path, bodies: int) -> None:
    body, r = {"series": ["north", "south"], "horizon": 3}, random.Random("horizon")
    app = App(bundle(tmp_path / "ahead", "forecast"))
    statuses = call(app, (("/v1/predict", misshapen(body, r), JSON_HEADERS, b"") for _ in range(bodies)))
    assert statuses.keys() >= {200, 400, 422}, statuses


def test_binary_tensors(packed: Bundle, bodies: int) -> None:
    r, binary = random.Random("binary"), b"\x04\0\0\0Oslo"
    sent = [t for t in tensors([ROW]) if t["name"] != "city"]
    city = {"name": "city", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(binary)}}
    head = json.dumps({"inputs": [*sent, city], "parameters": {"binary_data_output": True}}).encode()

    def requests() -> Iterator[tuple[str, bytes, dict[str, str], bytes]]:
        for _ in range(bodies):
            broken = r.random() < 0.5
            body = (mangled(head, r) if broken else head) + (binary if broken else mangled(binary, r))
            length = r.choice([str(len(head))] * 8 + ["", "-1", "1e3", str(10**15), "0", "7"])
            headers = {"content-type": "application/octet-stream", "inference-header-content-length": length}
            yield INFER, body, headers, b""

    assert call(App(packed), requests()).keys() >= {200, 400}


@pytest.mark.parametrize(
    ("path", "media_type", "body"),
    [
        ("/invocations", "text/csv", CSV.encode()),
        ("/v1/predict", ARROW, arrow()),
        ("/v1/predict", PARQUET, parquet_file()),
    ],
    ids=["csv", "arrow", "parquet"],
)
def test_tables(packed: Bundle, path: str, media_type: str, body: bytes, bodies: int) -> None:
    r = random.Random(media_type)
    headers = {"content-type": media_type}
    statuses = call(App(packed), ((path, mangled(body, r), headers, b"") for _ in range(bodies)))
    assert statuses.keys() >= {200, 400}, statuses
    assert call(App(packed), iter([(path, body, headers, b"")])) == Counter({200: 1})


NAMES = st.sampled_from(["coverage", "ood", "x", ""])
VALUES = st.sampled_from(["0.9", "nan", "inf", "true", "-1", "1e999", "%ff", "9" * 5_000])
PAIRS = st.lists(st.builds("{}={}".format, NAMES, VALUES), max_size=3).map(lambda pairs: "&".join(pairs).encode())
PATHS = st.sampled_from(["/v1/predict", INFER, "/invocations", "/v1/explain"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.binary(max_size=40) | PAIRS, path=PATHS)
def test_queries(packed: Bundle, query: bytes, path: str) -> None:
    call(App(packed), iter([(path, b'{"inputs": {}}', JSON_HEADERS, query)]))
