"""Columns kept out of the prediction log: no protocol, answer or error brings them to a disk by another way."""

from __future__ import annotations

import logging
import struct
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec
import polars as pl
import pytest

from bundles import ROW, bundle
from modelyard.bundle import explanation
from modelyard.bundle.bundle import Bundle
from modelyard.serving.app import App
from modelyard.serving.log import PredictionLog
from modelyard.serving.predictions.load import load
from modelyard.serving.predictions.predictions import Predictions
from modelyard.serving.predictions.record import Record
from modelyard.serving.predictions.withhold import Withheld
from modelyard.serving.protocols.columnar import ARROW, PARQUET
from modelyard.serving.protocols.explainer import _Loaded
from modelyard.serving.terms import Terms
from serving_client import Client
from test_protocols_columns import arrow, file
from test_protocols_explain import asked, packed, reviewed  # noqa: F401  # fixtures
from test_protocols_rows import tensors

CITY, INCOME = "Timbuktu-on-sea", 47_125.375
SECRET = {**ROW, "city": CITY, "income": INCOME, "joined": "2024-03-09T00:00:00"}
CSV = "age,income,city,member,joined\n" + f"41,{INCOME},{CITY},true,2024-03-09\n"
FRAME = pl.DataFrame([SECRET])


def app_of(served: Bundle, folder: Path) -> App:
    withheld = Withheld(("city",), ("income",), folder / "key")
    return App(served, log=PredictionLog(folder / "log"), terms=Terms(withheld=withheld))


def on_disk(folder: Path) -> tuple[list[Record], bytes]:
    """Return the records, and every byte there was of them: of the files, and of the store they are loaded into."""
    log = Predictions(folder / "log")
    held = [path.read_bytes() for path in log.files()]
    with closing(log.open()) as store:
        load(log, store)
    return list(log.records()), b"".join([*held, *(path.read_bytes() for path in log.folder.iterdir())])


@pytest.mark.parametrize("form", ["row", "rows", "tensors", "csv", "records", "arrow", "parquet"])
def test_every_protocol_keeps_them_out(reviewed: Bundle, tmp_path: Path, form: str) -> None:  # noqa: F811
    path, sent = {
        "row": ("/v1/predict", {"json": SECRET}),
        "rows": ("/v1/predict", {"json": {"instances": [SECRET]}}),
        "tensors": (f"/v2/models/{reviewed.manifest.name}/infer", {"json": {"inputs": tensors([SECRET])}}),
        "csv": ("/invocations", {"content": CSV, "headers": {"content-type": "text/csv"}}),
        "records": ("/invocations", {"json": {"dataframe_records": [SECRET]}}),
        "arrow": ("/v1/predict", {"content": arrow(FRAME), "headers": {"content-type": ARROW}}),
        "parquet": ("/v1/predict", {"content": file(FRAME), "headers": {"content-type": PARQUET}}),
    }[form]
    client = Client(app_of(reviewed, tmp_path))
    assert client.send("POST", path, **sent).status_code == 200
    client.app.close()
    (record,), content = on_disk(tmp_path)
    (row,) = record.rows
    assert record.withheld == ("city", "income")
    assert row.keys() == ROW.keys() - {"income"}
    assert row["city"].startswith("hmac:")
    for secret in (CITY.encode(), str(INCOME).encode(), struct.pack(">d", INCOME)):
        assert secret not in content


def test_explanations_and_reasons_say_nothing_of_them(reviewed: Bundle, tmp_path: Path) -> None:  # noqa: F811
    rows = [{**SECRET, "age": age, "income": income} for age in (20, 50, 89) for income in (100.25, INCOME, None)]
    (answer,) = asked(app_of(reviewed, tmp_path), ("/v1/explain", {"instances": rows}))
    told = answer.json()["predictions"]
    (record,), content = on_disk(tmp_path)
    adverse = [one for one in told if "reasons" in one]
    columns = [set(reason["columns"]) for one in adverse for reason in one["reasons"]]
    assert any(names & {"city", "income"} for names in columns)  # callers are told all of it
    assert any(not names & {"city", "income"} for names in columns)
    for one, kept in zip(told, record.answers, strict=True):
        assert kept == {
            name: [r for r in value if not {"city", "income"} & {*r["columns"]}] if name == "reasons" else value
            for name, value in one.items()
            if name != "explanation"
        }
        for name in ("city", "income"):
            moved = one["explanation"]["contributions"][name]
            assert moved == 0.0 or struct.pack(">d", moved) not in content


def test_without_withheld_columns_they_are_logged_whole(reviewed: Bundle, tmp_path: Path) -> None:  # noqa: F811
    (answer,) = asked(App(reviewed, log=PredictionLog(tmp_path / "log")), ("/v1/explain", SECRET))
    (record,), _ = on_disk(tmp_path)
    assert record.answers[0]["explanation"] == answer.json()["explanation"]


def test_what_was_cached_is_logged_as_any_answer(tmp_path: Path) -> None:
    made = bundle(tmp_path / "bundle", "binary")
    client = Client(app_of(made, tmp_path))
    assert client.post("/v1/predict", SECRET).json()["served_by"] == "model"
    client.app.router.stable.bundle.runtime.run = _broken  # type: ignore[attr-defined]
    assert client.post("/v1/predict", {"instances": [SECRET]}).json()["predictions"][0]["served_by"] == "cached"
    client.app.close()
    records, content = on_disk(tmp_path)
    assert [record.answers[0]["served_by"] for record in records] == ["model", "cached"]
    assert CITY.encode() not in content


def _broken(*_: object) -> None:
    raise ValueError(f"cannot read '{CITY}' and {INCOME}")


class _Broken:
    """A runtime whose errors quote the rows."""

    def rows(self, rows: object) -> None:
        _broken()

    frame = rows


def test_errors_are_told_without_their_messages(tmp_path: Path, caplog, monkeypatch) -> None:
    made = bundle(tmp_path / "bundle", "binary")
    app = App(replace(made, runtime=_Broken()))
    client = Client.__new__(Client)
    client.app = app
    caplog.set_level(logging.DEBUG)
    assert client.post("/v1/predict", SECRET).status_code == 503
    headers = {"content-type": ARROW}
    assert client.send("POST", "/v1/predict", content=arrow(FRAME), headers=headers).status_code == 503
    app.add("/failing", _broken)  # type: ignore[arg-type]
    assert client.post("/failing", SECRET).status_code == 500
    monkeypatch.setattr(explanation, "explanations", _broken)
    failed = _Loaded(made.path, made.hash)(msgspec.msgpack.encode([ROW]))["failed"]
    for text, times in ((caplog.text, 3), (failed, 1)):
        assert text.count("in _broken") == text.count(": ValueError\n") + text.startswith("ValueError\n") == times
        assert CITY not in text
        assert str(INCOME) not in text
