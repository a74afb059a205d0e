"""A network from plan to bundle: packed with trees within parity, explained, and replayed to the same bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import modelyard
from modelyard.brief.brief import Brief, Budget, DataBrief, Validation
from modelyard.families.fitted import Cost
from modelyard.training.recipe import read_recipe, write_recipe

pytest.importorskip("torch", reason="torch is not installed: make test-nets")


def table(rows: int = 700) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    x, z = rng.normal(size=(2, rows))
    colour = rng.choice(["red", "green", "blue"], rows)
    label = np.sin(2 * x) * z + (x > 0.3) * (colour == "red") + rng.normal(0, 0.3, rows)
    holes = [None if gone else float(v) for gone, v in zip(rng.random(rows) < 0.1, z, strict=True)]
    return pl.DataFrame({"x": x, "z": holes, "colour": colour, "y": label})


def test_trees_and_a_network_pack_into_one_graph_and_replay_to_the_same_bundle(tmp_path):
    table().write_parquet(tmp_path / "t.parquet")
    brief = Brief(
        use_case="t",
        data=DataBrief(path=str(tmp_path / "t.parquet"), label="y"),
        budget=Budget(240.0, 0),
        validation=Validation(folds=3),
    )
    data = modelyard.read_data(None, brief)
    parts = modelyard.split(data, brief)
    plan = modelyard.select(brief, data, parts=parts)
    offered = {one.name: one for one in plan.candidates}
    assert plan.candidates[-1].name == "mlp"
    assert "deep tabular" not in {one.title for one in plan.left_out}
    small = {**offered["mlp"].parameters, "rounds": 25, "width": 16}
    net = replace(offered["mlp"], parameters=small, cost=Cost(0.1, 1.0))
    plan = replace(plan, candidates=(replace(offered["lightgbm"], cost=Cost(0.1, 1.0)), net))

    run = modelyard.train(plan, parts, folder=tmp_path / "run", name="blend-0000-20260101-r")
    assert {fitted.candidate.name for fitted, _ in run.blend.members} == {"lightgbm", "mlp"}
    bundle = modelyard.pack(run, modelyard.evaluate(run, parts.test), parts, tmp_path / "bundle")
    parity = bundle.manifest.facts["parity"]
    assert parity["rows"] > 0
    assert parity["largest"] <= parity["limit"]

    rows = parts.test.frame.head(20).drop("y").to_dicts()
    moved = bundle.explain(rows)
    answers = bundle.predict(rows)
    bases = answers - np.array([sum(row.values()) for row in moved])
    np.testing.assert_allclose(bases, bases[0], atol=1e-4)

    (tmp_path / "rows.json").write_text(json.dumps(rows))
    program = (
        "import json, pathlib, sys, modelyard; "
        "bundle = modelyard.load_bundle(sys.argv[1]); rows = json.loads(pathlib.Path(sys.argv[2]).read_text()); "
        "bundle.explain(rows); assert 'torch' not in sys.modules; print(json.dumps(bundle.predict(rows).tolist()))"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "bundle"), str(tmp_path / "rows.json")]
    without_torch = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    np.testing.assert_array_equal(json.loads(without_torch), answers)

    write_recipe(run, tmp_path / "run")
    again = modelyard.train(plan, parts, replay=read_recipe(tmp_path / "run" / "recipe.json"), name=run.name)
    twin = modelyard.pack(again, modelyard.evaluate(again, parts.test), parts, tmp_path / "twin")
    assert twin.manifest.files["model.onnx"] == bundle.manifest.files["model.onnx"]
