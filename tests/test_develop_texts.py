"""A table with texts and dates, from the brief to a served and watched bundle."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modelyard as my
from modelyard.brief.brief import Budget, DataBrief
from modelyard.bundle.bundle import Bundle
from modelyard.encoding.encoding import MOST_CHARACTERS, Encoding, NumberInput
from modelyard.flow.develop import Development, develop
from modelyard.serving.app import App
from modelyard.serving.schemas import row_schema
from tabular_cases import frame, with_texts


@dataclass
class Done:
    """A finished run, and its rows."""

    development: Development
    rows: pl.DataFrame

    @property
    def bundle(self) -> Bundle:
        return self.development.bundle


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    rows = with_texts(frame("binary", 500)).drop("huge", "tiny")
    moments = [datetime(2024, 2, 28, 22) + timedelta(hours=7 * i) for i in range(rows.height)]
    rows = rows.with_columns(seen=pl.Series(moments))
    asked = my.Brief(task="binary", data=DataBrief(label="label", positive="yes"), budget=Budget(seconds=4, trials=1))
    return Done(develop(asked, rows, workspace=tmp_path_factory.mktemp("texts")), rows)


def send(app: App, method: str, path: str, body: object = None) -> httpx.Response:
    async def once() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://model") as client:
            return await client.request(method, path, json=body)

    return asyncio.run(once())


def plain(row: dict[str, object]) -> dict[str, object]:
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items() if k != "label"}


def test_the_packed_model_reads_texts_and_its_files_are_whole(done: Done) -> None:
    assert done.bundle.manifest.encoding.texts == ("note", "title")
    assert my.load_bundle(done.bundle.path).manifest.facts["parity"]["largest"] <= 1e-5
    moved = done.bundle.explain(done.rows.head(40))
    assert {"note", "title", "seen"} <= set(moved[0])
    assert np.mean([abs(row["note"]) for row in moved]) > 0.01


def test_the_server_answers_texts_as_json(done: Done) -> None:
    app = App(done.bundle)
    app.warm()
    rows = [plain(row) for row in done.rows.head(6).rows(named=True)]
    rows[0]["note"] = None
    rows[1]["note"] = "東京 \N{GRINNING FACE} never seen words"
    expected = done.bundle.predict_proba(rows)
    for row, chance in zip(rows, expected, strict=True):
        answered = send(app, "POST", "/v1/predict", row)
        assert answered.status_code == 200, answered.text
        assert answered.json()["probabilities"]["yes"] == pytest.approx(chance[1], abs=1e-6)
    refused = send(app, "POST", "/v1/predict", rows[2] | {"title": None})
    assert refused.status_code == 422  # a title was never missing
    assert f"first {MOST_CHARACTERS:,} characters" in json.dumps(row_schema(done.bundle))


def test_nobodys_text_leaves_with_the_bundle(done: Done) -> None:
    texts = {text for text in done.rows["note"].drop_nulls() if len(text) > 40}
    for file in done.bundle.path.rglob("*.json"):
        held = file.read_text(encoding="utf-8")
        assert not [text for text in texts if text in held], file


def test_drift_of_a_text_is_that_of_its_words(done: Done) -> None:
    assert not [a for a in my.watch(done.bundle, done.rows) if a.column in ("note", "title")]
    longer = done.rows.with_columns(note=pl.concat_str("note", "note", "note", separator=" "))
    raised = [a.kind for a in my.watch(done.bundle, longer) if a.column == "note"]
    assert "drift" in raised


def test_documents_name_the_texts(done: Done) -> None:
    said = "".join(
        path.read_text(encoding="utf-8") for path in done.development.deliverables.values() if path.is_file()
    )
    assert "note" in said
    assert "2 texts" in said


PARTS = ("days", "year", "month", "day", "weekday", "hour")
DATES = Encoding(tuple(NumberInput("at", part) for part in PARTS), ())


@settings(max_examples=300, deadline=None)
@given(st.lists(st.datetimes(datetime(1800, 1, 1), datetime(2200, 12, 31)), min_size=1, max_size=5))
def test_parts_of_dates_are_those_of_the_calendar(moments: list[datetime]) -> None:
    found = DATES.frame(pl.DataFrame({"at": pl.Series([*moments, None], dtype=pl.Datetime("us"))}))[0]
    np.testing.assert_array_equal(found, DATES.rows([*({"at": m} for m in moments), {}])[0])
    expected = [
        [np.float32((m - datetime(1970, 1, 1)) / timedelta(days=1)), m.year, m.month, m.day, m.isoweekday(), m.hour]
        for m in moments
    ]
    np.testing.assert_array_equal(found[:-1], np.array(expected, dtype=np.float32))
    assert np.isnan(found[-1]).all()
