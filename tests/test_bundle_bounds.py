"""Intervals, sets and scores of packed models: through the library, the command line and HTTP, and in old bundles."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from fastapi.openapi.models import OpenAPI

from bundles import LINKS, ROW, bundle, report, table, trained
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.examples import plain_rows
from modelyard.bundle.load import load_bundle
from modelyard.bundle.pack import pack
from modelyard.bundle.verify import SEAL, seal
from modelyard.cli.main import cli
from modelyard.core.errors import BundleError
from modelyard.families.find import BUILT_IN
from modelyard.serving.app import App
from modelyard.serving.log import PredictionLog, read_log
from modelyard.serving.openapi import docs_page, openapi
from test_serving_app import Client, problem

COVERAGES = (0.8, 0.9, 0.95)
AHEAD = {"shop": "south", "day": "2024-01-03"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    home = tmp_path_factory.mktemp("bounds")
    found = {"forecast": bundle(home / "forecast", "forecast")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BUILT_IN, "stumps", "bundles:Stumps")
        for task in LINKS:
            run, parts = trained(task)
            found[task] = pack(run, report(run), parts, home / task)
    return found


@pytest.fixture(scope="module")
def old(made: dict[str, Bundle], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle as it was packed before there were bounds."""
    folder = tmp_path_factory.mktemp("old") / "bundle"
    shutil.copytree(made["binary"].path, folder)
    (folder / "uncertainty.json").unlink()
    plain = json.loads((folder / "manifest.json").read_bytes())
    del plain["files"]["uncertainty.json"]
    (folder / "manifest.json").write_bytes(json.dumps(plain).encode())
    (folder / SEAL).write_bytes(seal((folder / "manifest.json").read_bytes()))
    return load_bundle(folder)


def test_intervals_of_numbers(made: dict[str, Bundle]) -> None:
    b, frame = made["regression"], table("regression").frame
    assert b.coverages == COVERAGES
    bounds = {c: b.predict_interval(frame, coverage=c) for c in COVERAGES}
    assert all(found.shape == (300, 2) and np.isfinite(found).all() for found in bounds.values())
    for narrow, wide in pairwise(bounds.values()):
        assert ((wide[:, 0] <= narrow[:, 0]) & (narrow[:, 1] <= wide[:, 1])).all()
    for coverage, found in bounds.items():
        truth = frame["spend"].to_numpy()
        assert np.mean((found[:, 0] <= truth) & (truth <= found[:, 1])) >= coverage - 0.06
    rows = plain_rows(frame, b.schema)
    np.testing.assert_array_equal(b.predict_interval(rows), bounds[0.9])
    np.testing.assert_array_equal(b.predict_interval(rows[7]), bounds[0.9][7])


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_sets_of_classes(made: dict[str, Bundle], task: str) -> None:
    b, frame = made[task], table(task).frame
    assert b.coverages == COVERAGES
    sets = {c: b.predict_set(frame, coverage=c) for c in COVERAGES}
    for narrow, wide in pairwise(sets.values()):
        assert all(set(n) <= set(w) for n, w in zip(narrow, wide, strict=True))
    for found in sets.values():
        assert all(answer in one for one, answer in zip(found, b.predict(frame).tolist(), strict=True))
        assert all(set(one) <= set(b.classes) for one in found)
    rows = plain_rows(frame, b.schema)
    assert b.predict_set(rows) == sets[0.9]
    one = b.predict_set(rows[7])
    assert isinstance(one, tuple)
    assert one == sets[0.9][7]
    assert type(one[0]) is type(b.classes[0])


@pytest.mark.parametrize("task", list(LINKS))
def test_scores(made: dict[str, Bundle], task: str) -> None:
    b, frame = made[task], table(task).frame
    scores = b.ood_score(frame)
    assert scores.shape == (300,)
    assert ((scores >= 0) & (scores <= 1)).all()
    rows = plain_rows(frame, b.schema)
    assert b.ood_score(rows).tolist() == scores.tolist()
    assert b.ood_score(rows[7]) == scores[7]
    assert b.ood_score({**ROW, "income": 1e12, "city": "Atlantis", "joined": "1900-01-01"}) == 1.0


def test_a_forecast_has_the_same_door(made: dict[str, Bundle]) -> None:
    b = made["forecast"]
    assert b.coverages == (0.8, 0.95)
    np.testing.assert_array_equal(b.predict_interval(AHEAD, coverage=0.8), b.interval(AHEAD))
    with pytest.raises(BundleError, match=r"coverage 0\.9\.") as caught:
        b.predict_interval(AHEAD)
    assert caught.value.allowed == "Coverages: 0.8, 0.95."
    with pytest.raises(BundleError, match="forecast has no out-of-distribution score"):
        b.ood_score(AHEAD)
    with pytest.raises(BundleError, match="has no sets"):
        b.predict_set(AHEAD)


def test_what_a_model_does_not_have_is_said(made: dict[str, Bundle]) -> None:
    with pytest.raises(BundleError, match="binary model has no intervals") as caught:
        made["binary"].predict_interval(ROW)
    assert caught.value.do == "Use predict_set."
    with pytest.raises(BundleError, match="regression model has no sets"):
        made["regression"].predict_set(ROW)
    for coverage in (0.5, 0.99, 90, math.nan):
        with pytest.raises(BundleError, match="no bounds of coverage"):
            made["regression"].predict_interval(ROW, coverage=coverage)


def test_a_bundle_packed_before_there_were_bounds_still_answers(made: dict[str, Bundle], old: Bundle) -> None:
    assert old.predict(ROW) == made["binary"].predict(ROW)
    assert old.hash != made["binary"].hash
    assert (old.coverages, old.scores_novelty) == ((), False)
    for ask in (old.predict_set, old.ood_score):
        with pytest.raises(BundleError, match="no intervals, sets of classes or out-of-distribution score") as caught:
            ask(ROW)
        assert caught.value.do is not None
        assert "Pack the model again" in caught.value.do
    client = Client(App(old))
    assert client.predict(ROW).status_code == 200
    assert "sets of classes" in problem(client.send("POST", "/v1/predict?coverage=0.9", json=ROW), 400)["detail"]
    assert client.send("GET", "/openapi.json").status_code == 200


def test_the_record_is_covered_by_the_hash(made: dict[str, Bundle], tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(made["regression"].path, folder)
    path = folder / "uncertainty.json"
    path.write_text(path.read_text().replace('"coverage": 0.9,', '"coverage": 0.99,'))
    with pytest.raises(BundleError, match=r"'uncertainty\.json' has SHA-256"):
        load_bundle(folder)


def test_two_packs_of_one_run_hold_the_same_record(made: dict[str, Bundle], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BUILT_IN, "stumps", "bundles:Stumps")
        run, parts = trained("multiclass", name="another")
        again = pack(run, report(run), parts, tmp_path / "bundle")
    assert again.manifest.files["uncertainty.json"] == made["multiclass"].manifest.files["uncertainty.json"]
    assert again.hash == made["multiclass"].hash


@pytest.mark.parametrize(
    ("task", "added"),
    [("regression", ["low", "high", "ood"]), ("multiclass", ["set", "ood"]), ("binary", ["set", "ood"])],
)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_command_adds_columns(
    made: dict[str, Bundle], tmp_path: Path, task: str, added: list[str], ending: str
) -> None:
    b, frame = made[task], table(task).frame
    source, target = tmp_path / "in.parquet", tmp_path / f"out.{ending}"
    frame.drop(b.schema.label.name if b.schema.label else "").write_parquet(source)
    words = ["predict", str(b.path), str(source), "-o", str(target), "--coverage", "0.95", "--ood"]
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    out = pl.read_csv(target) if ending == "csv" else pl.read_parquet(target)
    assert out.columns[-len(added) :] == added
    np.testing.assert_allclose(out["ood"].to_numpy(), b.ood_score(frame))
    if task == "regression":
        np.testing.assert_allclose(out.select("low", "high").to_numpy(), b.predict_interval(frame, 0.95))
    else:
        assert [tuple(json.loads(text)) for text in out["set"].to_list()] == b.predict_set(frame, 0.95)


def test_the_command_refuses_what_there_is_not(made: dict[str, Bundle], tmp_path: Path) -> None:
    table("binary").frame.drop("left").write_parquet(tmp_path / "in.parquet")
    (tmp_path / "ahead.csv").write_text("shop,day\nsouth,2024-01-03\n")
    for task, source, words in (
        ("binary", "in.parquet", ["--coverage", "0.5"]),
        ("forecast", "ahead.csv", ["--ood"]),
        ("forecast", "ahead.csv", ["--coverage", "0.9"]),
    ):
        target = tmp_path / "out.csv"
        where = [str(made[task].path), str(tmp_path / source), "-o", str(target)]
        done = CliRunner().invoke(cli, ["predict", *where, *words])
        assert done.exit_code != 0
        assert not target.exists()
    words = ["predict", str(made["forecast"].path), str(tmp_path / "ahead.csv"), "-o", str(target)]
    assert CliRunner().invoke(cli, [*words, "--coverage", "0.95"]).exit_code == 0
    assert pl.read_csv(target).select("low", "high").row(0) == (46.0, 58.0)


def send(client: Client, body: Any, query: str) -> httpx.Response:
    return client.send("POST", f"/v1/predict?{query}", json=body)


def test_http_adds_what_is_asked(made: dict[str, Bundle]) -> None:
    b = made["regression"]
    client = Client(App(b))
    plain = client.predict(ROW).json()
    answer = send(client, ROW, "coverage=0.95&ood=true").json()
    low, high = b.predict_interval(ROW, 0.95).tolist()
    assert answer["interval"] == {"low": low, "high": high, "coverage": 0.95}
    assert answer["ood"] == b.ood_score(ROW)
    assert {k: v for k, v in answer.items() if k not in ("interval", "ood", "id")} == {
        k: v for k, v in plain.items() if k != "id"
    }
    assert "ood" not in send(client, ROW, "coverage=0.8&ood=false").json()
    b = made["binary"]
    client = Client(App(b))
    rows = [{**ROW, "age": 18 + i} for i in range(60)]
    answer = send(client, {"instances": rows}, "coverage=0.9&ood=1").json()
    assert [tuple(p["set"]["classes"]) for p in answer["predictions"]] == b.predict_set(rows)
    assert [p["ood"] for p in answer["predictions"]] == b.ood_score(rows).tolist()
    ahead = send(Client(App(made["forecast"])), AHEAD, "coverage=0.95").json()
    assert ahead["interval"] == {"low": 46.0, "high": 58.0, "coverage": 0.95}


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "forecast"])
def test_http_describes_what_may_be_asked(made: dict[str, Bundle], task: str) -> None:
    b, row = made[task], AHEAD if task == "forecast" else ROW
    app = App(b)
    client = Client(app)
    document = openapi(b, app.warm())
    asked = {p["name"]: p["schema"] for p in document["paths"]["/v1/predict"]["post"]["parameters"]}
    assert asked["coverage"]["enum"] == list(b.coverages)
    assert ("ood" in asked) == (task != "forecast")
    OpenAPI.model_validate(document)
    for coverage in asked["coverage"]["enum"]:
        query = f"coverage={coverage}" + ("&ood=true" if "ood" in asked else "")
        answer = send(client, row, query).json()
        schema = {"$ref": "#/components/schemas/Answer", "components": document["components"]}
        jsonschema.validate(answer, schema, cls=jsonschema.Draft202012Validator)
    assert "?coverage=" in docs_page(document)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("coverage=0.5", "Coverages: 0.8, 0.9, 0.95."),
        ("coverage=much", "which is no number"),
        ("coverage=", "which is no number"),
        ("coverage=nan", "no bounds of coverage nan"),
        ("ood=maybe", "Allowed: true or false"),
        ("covrage=0.9", "no parameter 'covrage'"),
    ],
)
def test_http_refuses_what_cannot_be_asked(made: dict[str, Bundle], query: str, said: str) -> None:
    assert said in problem(send(Client(App(made["regression"])), ROW, query), 400)["detail"]


def test_a_rule_that_stands_in_has_no_bounds(made: dict[str, Bundle]) -> None:
    b = made["regression"]
    manifest = replace(b.manifest, brief=replace(b.manifest.brief, rule="age * 2"))

    class Broken:
        def rows(self, rows: object) -> None:
            raise ValueError("broken")

    client = Client(App(replace(b, manifest=manifest, runtime=Broken())))  # type: ignore[arg-type]
    answer = send(client, ROW, "coverage=0.9&ood=true").json()
    assert (answer["served_by"], answer["prediction"]) == ("rule", 82.0)
    assert not {"interval", "set", "ood"} & set(answer)


def test_http_says_that_a_forecast_has_no_score(made: dict[str, Bundle]) -> None:
    client = Client(App(made["forecast"]))
    assert "no out-of-distribution score" in problem(send(client, AHEAD, "ood=true"), 400)["detail"]


def test_what_was_told_is_in_the_log(made: dict[str, Bundle], tmp_path: Path) -> None:
    app = App(made["regression"], log=PredictionLog(tmp_path))
    answer = send(Client(app), ROW, "coverage=0.9&ood=true").json()
    app.close()
    (record,) = read_log(tmp_path)
    assert record.answers[0]["interval"] == answer["interval"]
    assert record.answers[0]["ood"] == answer["ood"]
