"""The moment itself as a feature: taken where a level drifts, put aside where a season turns, else without effect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from modelyard.brief.brief import Brief, Budget, DataBrief, Validation
from modelyard.data.read import read_data
from modelyard.data.splitting import split
from modelyard.families.find import family_named
from modelyard.selection.select import select
from modelyard.training import elapsed as module
from modelyard.training.train import train
from tabular_cases import PARAMETERS

ROWS = 900


def table(level):
    random = np.random.default_rng(0)
    x, time = random.normal(size=ROWS), np.arange(ROWS) // 3
    return pl.DataFrame({"x": x, "time": time, "y": level(time) + x + random.normal(0, 0.3, ROWS)})


def trained(frame, tmp_path, **brief):
    path = tmp_path / "t.parquet"
    frame.write_parquet(path)
    asked = Brief(
        use_case="t", data=DataBrief(path=str(path), label="y", time="time"), budget=Budget(600.0, 0), **brief
    )
    data = read_data(None, asked)
    parts = split(data, asked)
    plan = select(asked, data, parts=parts)
    quick = [c for c in plan.candidates if c.name in ("lightgbm", "catboost", "linear")]
    quick = [replace(c, parameters={**c.parameters, **PARAMETERS[c.parameters["algorithm"]]}) for c in quick]
    return train(replace(plan, candidates=tuple(quick)), parts), parts


def names(run):
    return {entry.name for entry in run.leaderboard if np.isfinite(entry.score)}


def test_a_level_that_drifts_is_followed(tmp_path):
    run, _ = trained(table(lambda time: 4.0 * time / time.max()), tmp_path)
    assert {"lightgbm-elapsed", "catboost-elapsed"} < names(run)
    assert any(one.candidate.parameters.get("elapsed") for one, _ in run.blend.members)


def test_a_season_that_turns_is_not_and_then_the_moment_changes_no_answer(tmp_path):
    run, parts = trained(table(lambda time: 3.0 * np.sign(np.sin(time / 15.0))), tmp_path)
    assert {"lightgbm-elapsed", "catboost-elapsed"} < names(run)
    assert not any(one.candidate.parameters.get("elapsed") for one, _ in run.blend.members)
    aside = [entry.why for entry in run.leaderboard if entry.name.endswith("-elapsed")]
    assert set(aside) == {"put aside: the moment as a feature does not take 2% off the loss"}
    rows = parts.development
    moved = replace(rows, frame=rows.frame.with_columns(time=pl.col("time") + 1_000))
    family = family_named("tabular")
    for one, _ in run.blend.members:
        np.testing.assert_array_equal(family.predict(one, rows), family.predict(one, moved))


def test_nothing_is_tried_where_rows_are_not_scored_forward(tmp_path):
    run, _ = trained(table(lambda time: 4.0 * time / time.max()), tmp_path, validation=Validation("random"))
    assert not any(name.endswith(module.MARK) for name in names(run))


def test_what_gains_too_little_is_on_the_leaderboard_and_in_no_blend(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WORTH", 0.99)
    run, _ = trained(table(lambda time: 4.0 * time / time.max()), tmp_path)
    assert {"lightgbm-elapsed", "catboost-elapsed"} < names(run)
    assert not any(one.candidate.parameters.get("elapsed") for one, _ in run.blend.members)
