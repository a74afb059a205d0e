"""Labels that come later, over HTTP and as a file; what is kept out of the log; what the log's verbs write."""

from __future__ import annotations

import json
import os
from contextlib import closing
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles import ROW, bundle, make
from modelyard.brief.brief import LogBrief
from modelyard.cli.main import main
from modelyard.core.errors import RowError, ServingError, WorkspaceError
from modelyard.flow.loader import parse_keep
from modelyard.serving.app import App
from modelyard.serving.log import PredictionLog, read_log
from modelyard.serving.predictions import predictions
from modelyard.serving.predictions.label_check import LabelCheck
from modelyard.serving.predictions.load import Keep, load
from modelyard.serving.predictions.predictions import Predictions
from modelyard.serving.predictions.record import Chosen, Entry
from modelyard.serving.predictions.store import open_store
from modelyard.serving.predictions.withhold import Withheld, secret
from modelyard.serving.terms import Terms
from prediction_logs import label, log_of, record
from test_serving_app import Client, problem


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    home = tmp_path_factory.mktemp("bundles")
    return {task: bundle(home / task, task) for task in ("binary", "multiclass", "regression", "forecast")}


@pytest.fixture
def client(made, tmp_path):
    client = Client(App(made["binary"], log=PredictionLog(tmp_path)))
    yield client
    client.app.close()


def stored(folder):
    log = Predictions(folder)
    with closing(log.open()) as store:
        load(log, store)
        ids = [r.id for r in store.records(_ALL)]
        return ids, store.labels([*ids, "later"])


_ALL = Chosen()


def test_labels_come_one_or_many_at_a_time_and_twice_is_once(client, tmp_path):
    one = client.predict(ROW).json()["id"]
    two = client.predict({"instances": [ROW, ROW]}).json()["id"]
    answer = client.send("POST", "/v1/labels", json={"id": one, "label": 1, "at": "2026-03-01T12:00:00Z"})
    assert (answer.status_code, answer.json()) == (202, {"labels": 1})
    many = {"labels": [{"id": two, "label": 0}, {"id": two, "row": 1, "label": "1"}, {"id": "later", "label": 0}]}
    for _ in range(2):
        assert client.send("POST", "/v1/labels", json=many).json() == {"labels": 3}
    assert client.send("POST", "/v1/labels", json={"id": one, "label": 0}).status_code == 202
    ids, labels = stored(tmp_path)
    assert ids == [one, two]
    assert [(f.id, f.row, f.value) for f in labels] == [
        (one, 0, 1), (two, 0, 0), (two, 1, 1), ("later", 0, 0), (one, 0, 0),
    ]  # fmt: skip
    assert labels[0].at == 1772366400.0


def test_what_is_no_label_of_the_model_is_refused_with_its_place(client, tmp_path):
    sent = [
        {"id": "a", "label": 2},
        {"label": 1},
        {"id": "b", "label": None, "row": -1},
        7,
        {"id": "c", "label": 1, "x/y": 2},
    ]
    found = problem(client.send("POST", "/v1/labels", json={"labels": sent}), 422)["errors"]
    assert [e["pointer"] for e in found] == [
        "/labels/0/label", "/labels/1/id", "/labels/2/row", "/labels/2/label", "/labels/3", "/labels/4/x~1y",
    ]  # fmt: skip
    assert found[0]["allowed"] == "One of: 0, 1."
    twice = problem(client.send("POST", "/v1/labels", json={"labels": [{"id": "a", "label": i} for i in (0, 1)]}), 422)
    assert twice["errors"][0]["pointer"] == "/labels/1/label"
    assert problem(client.send("POST", "/v1/labels", json={"id": "a", "label": 1, "at": "soon"}), 422)
    for body in ([], {"labels": []}, {"labels": [{"id": "a", "label": 1}], "more": 1}):
        problem(client.send("POST", "/v1/labels", json=body), 400)
    problem(client.send("POST", "/v1/labels", content=b"{", headers={"content-type": "application/json"}), 400)
    problem(client.send("GET", "/v1/labels"), 405)
    assert stored(tmp_path)[1] == []


def test_labels_of_no_prediction_are_refused_where_that_is_chosen(made, tmp_path):
    client = Client(App(made["binary"], log=PredictionLog(tmp_path), terms=Terms(refuse_labels=True)))
    name = client.predict(ROW).json()["id"]
    both = {"labels": [{"id": name, "label": 1}, {"id": "later", "label": 1}]}
    found = problem(client.send("POST", "/v1/labels", json=both), 422)
    assert [e["pointer"] for e in found["errors"]] == ["/labels/1/id"]
    assert client.send("POST", "/v1/labels", json={"id": name, "label": 1}).status_code == 202
    client.app.close()
    assert len(stored(tmp_path)[1]) == 1  # and it is known once it was loaded
    assert client.send("POST", "/v1/labels", json={"id": name, "label": 0}).status_code == 202
    client.app.close()


def test_the_store_is_opened_once_for_all_requests_with_labels(made, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(predictions, "open_store", lambda place: opened.append(place) or open_store(place))
    client = Client(App(made["binary"], log=PredictionLog(tmp_path), terms=Terms(refuse_labels=True)))
    name = client.predict(ROW).json()["id"]
    for _ in range(5):
        assert client.send("POST", "/v1/labels", json={"id": name, "label": 1}).status_code == 202
    assert len(opened) == 1
    client.app.close()


def test_labels_that_cannot_be_written_are_not_acknowledged(client, monkeypatch):
    monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "no space left")))
    answer = client.send("POST", "/v1/labels", json={"id": "a", "label": 1})
    monkeypatch.undo()
    assert problem(answer, 503)
    assert answer.headers["retry-after"] == "5"


@given(value=st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())))
def test_any_value_is_a_label_or_a_row_error(made, value):
    for task in made:
        check = LabelCheck(made[task])
        try:
            found = check({"id": "a", "label": value}, "", received=0.0).value
        except RowError:
            continue
        if made[task].classes:
            assert found in made[task].classes
            assert type(found) is type(made[task].classes[0])
        else:
            assert found == float(value)
            assert isinstance(found, float)


def test_columns_are_hashed_or_dropped_before_they_reach_the_disk(made, tmp_path):
    brief = replace(made["binary"].manifest.brief, log=LogBrief(hash=("city", "unread"), drop=("age",)))
    served = replace(made["binary"], manifest=replace(made["binary"].manifest, brief=brief))
    log = PredictionLog(tmp_path / "log")
    client = Client(App(served, log=log, terms=Terms(withheld=Withheld(key=tmp_path / "key"))))
    secretive = {**ROW, "city": "Timbuktu-on-sea", "age": 47.125}
    for _ in range(2):
        assert client.predict(secretive).status_code == 200
    log.close()
    content = b"".join(path.read_bytes() for path in (tmp_path / "log").iterdir())
    assert b"Timbuktu" not in content
    records = list(read_log(tmp_path / "log"))
    assert records[0].withheld == ("age", "city")
    assert records[0].rows == records[1].rows
    assert set(records[0].rows[0]) == set(ROW) - {"age"}
    assert records[0].rows[0]["city"].startswith("hmac:")
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0


def test_hashes_join_equal_values_of_a_column_under_one_secret_alone(made, tmp_path):
    def hashed(value, key, column="city"):
        withhold = Withheld((column,), (), tmp_path / key).of(made["binary"])
        return withhold(Entry.of(record(0, rows=[{column: value}]))).record().rows[0][column]

    assert hashed("a", "one") == hashed("a", "one") != hashed("b", "one")
    assert hashed("a", "one") != hashed("a", "two")
    assert hashed(1, "one") == hashed(1.0, "one") == hashed("1", "one") != hashed(True, "one")
    assert hashed("a", "one") != hashed("a", "one", "age")
    assert hashed(None, "one") is None
    (tmp_path / "short").write_text("abc")
    with pytest.raises(ServingError, match="no secret"):
        secret(tmp_path / "short")
    with pytest.raises(ServingError, match="'citty'") as raised:
        Withheld(("citty",), ()).of(made["binary"])
    assert "city" in raised.value.do
    with pytest.raises(ServingError, match="there is no key"):
        Withheld(("city",), ()).of(made["binary"])


def test_fields_the_schema_does_not_know_are_not_written(made, tmp_path):
    log = PredictionLog(tmp_path)
    client = Client(App(made["binary"], log=log, terms=Terms(unknown="ignore")))
    for body in ({**ROW, "passport": "C01X00T47"}, {"instances": [{**ROW, "passport": "C01X00T47"}] * 2}):
        assert client.predict(body).status_code == 200
    log.close()
    assert [set(row) for r in read_log(tmp_path) for row in r.rows] == [set(ROW)] * 3


def run(*words) -> int:
    with pytest.raises(SystemExit) as raised:
        main([str(word) for word in words])
    return raised.value.code


def test_labels_of_a_file_and_what_is_exported(tmp_path, capsys):
    folder = make(tmp_path / "bundle")
    log_of(
        tmp_path / "log",
        record(0, rows=[{"x": 1, "city": "Ulm"}, {"x": 2.5}], answers=[{"prediction": 1, "served_by": "model"}] * 2),
        record(1, rows=[{"x": "hmac:00", "label": "its own"}], version="2"),
        record(2, at=2e9, model="other"),
    )
    (tmp_path / "labels.csv").write_text("id,label,row\nr0,1,0\nr0,0,1\nr9,1,0\n")
    where = ("--log", tmp_path / "log")
    assert run("labels", folder, tmp_path / "labels.csv", *where) == 0
    assert "3 labels; 1 ids are of no prediction" in capsys.readouterr().out
    assert run("labels", folder, tmp_path / "labels.csv", "--refuse-unknown", *where) == 1
    assert "'r9'" in capsys.readouterr().err
    (tmp_path / "bad.csv").write_text("id,label\nr0,1\nr1,maybe\n")
    assert run("labels", folder, tmp_path / "bad.csv", *where) == 1
    assert "row 2" in capsys.readouterr().err
    pl.DataFrame({"id": ["r0"], "label": [0], "at": ["2026-01-02"]}).write_parquet(tmp_path / "again.parquet")
    assert run("labels", folder, tmp_path / "again.parquet", *where, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"labels": 1, "without_prediction": 0}
    for name in ("all.parquet", "all.csv", "all.jsonl"):
        assert run("log", "export", "-o", tmp_path / name, "--name", "m", *where) == 0
    table = pl.read_parquet(tmp_path / "all.parquet")
    assert table.height == 3
    assert table["x"].to_list() == ["1", "2.5", "hmac:00"]
    assert table["label"].to_list() == [None, None, "its own"]
    assert table["label_"].to_list() == [0, 0, None]  # the first was corrected
    assert table["label_at"].to_list() == ["2026-01-02T00:00:00.000Z", None, None]
    assert table["log_row"].to_list() == [0, 1, 0]
    assert pl.read_csv(tmp_path / "all.csv").columns == table.columns
    assert pl.read_ndjson(tmp_path / "all.jsonl").height == 3
    asked = ("--version", "2", "--since", "2001-01-01", "--until", "2002-01-01", "--variant", "")
    assert run("log", "export", "-o", tmp_path / "some.csv", *asked, *where) == 0
    assert pl.read_csv(tmp_path / "some.csv").height == 1
    assert run("log", "export", "-o", tmp_path / "done.csv", "--labelled", "--label", "left", *where) == 0
    assert pl.read_csv(tmp_path / "done.csv")["left"].to_list() == [0, 0]
    assert run("log", "export", "-o", tmp_path / "all.xlsx", *where) == 1
    assert run("log", "export", "-o", tmp_path / "no.csv", "--name", "none", *where) == 0
    capsys.readouterr()
    assert run("log", "stats", *where, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [(h["model"], h["version"], h["rows"], h["labelled"]) for h in told["held"]] == [
        ("m", "", 2, 2), ("m", "2", 1, 0), ("other", "", 1, 0),
    ]  # fmt: skip
    assert told["labels_without_prediction"] == 1
    assert run("log", "stats", *where) == 0
    assert "wait for their prediction" in capsys.readouterr().out
    assert run("log", "load", "--keep", "1 days", *where) == 0
    assert "holds 1 requests; 2 were removed" in capsys.readouterr().out
    assert run("log", "stats", "--log", tmp_path / "none") == 1


def test_labels_of_numbers_and_of_texts_that_look_like_numbers(tmp_path, made):
    (tmp_path / "labels.csv").write_text("id,label\n17,4.5\n18,5\n")
    log = Predictions(tmp_path / "log")
    log_of(log.folder, record(0))
    from modelyard.flow.labels import send_labels

    send_labels(made["regression"], tmp_path / "labels.csv", log)
    with closing(log.open()) as store:
        assert [(f.id, f.value) for f in store.labels(["17", "18"])] == [("17", 4.5), ("18", 5.0)]


@pytest.mark.parametrize(
    ("text", "keep"),
    [
        ("90 days", Keep(90.0, None)),
        ("10 GB", Keep(None, 10**10)),
        ("1.5 days, 3 MB", Keep(1.5, 3_000_000)),
        ("all", Keep(None, None)),
    ],
)
def test_how_much_is_kept(text, keep):
    assert parse_keep(text) == keep


@pytest.mark.parametrize("text", ["", "days", "-1 days", "nan days", "10", "10 apples"])
def test_how_much_is_kept_is_said_clearly(text):
    with pytest.raises(WorkspaceError, match="does not say"):
        parse_keep(text)


def test_one_label_frame_is_all_or_nothing(tmp_path):
    log, _ = log_of(tmp_path, [label(i) for i in range(50)])
    (path,) = log.files()
    path.write_bytes(path.read_bytes()[:-1])
    with closing(log.open()) as store:
        load(log, store)
        assert store.labels([f"r{i}" for i in range(50)]) == []
