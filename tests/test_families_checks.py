"""The conformance suite passes our families, and each of its checks catches a family that breaks it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import polars as pl
import pytest

from modelyard.brief.brief import Brief, DataBrief, ForecastBrief, Validation
from modelyard.bundle.runtimes.arrays import ArraysRuntime
from modelyard.bundle.runtimes.onnx import OnnxRuntime
from modelyard.core.errors import FamilyError
from modelyard.data.profile import profile
from modelyard.data.read import read_data
from modelyard.data.splitting import split
from modelyard.encoding.encoding import Encoding
from modelyard.families.checks import CHECKS, Case, check_candidates, check_family
from modelyard.families.find import family_named
from modelyard.families.fitted import Export


def monthly(series: int = 3, months: int = 60) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    t = np.arange(months)
    times = pl.datetime_range(datetime(2015, 1, 1), datetime(2030, 1, 1), "1mo", eager=True)[:months]
    return pl.concat(
        pl.DataFrame(
            {
                "shop": [f"s{i}"] * months,
                "month": times,
                "region": ["north", "south"][i % 2],
                "sales": 100 + 10 * i + t + 15 * np.sin(2 * np.pi * t / 12) + rng.normal(0, 3, months),
            }
        )
        for i in range(series)
    )


def mixed(task: str, rows: int = 180) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    age, city = rng.normal(50, 10, rows), rng.choice(["Bergen", "Oslo", "Tromsø"], rows)
    score = (age - 50) / 10 + (city == "Oslo") + rng.normal(0, 0.5, rows)
    label = {
        "binary": np.where(score > 0.3, "yes", "no"),
        "multiclass": np.digitize(score, [-0.5, 0.5]).astype(str),
        "regression": 7.25 * score + 0.001,
    }[task]
    frame = pl.DataFrame({"age": age, "city": city, "active": rng.random(rows) < 0.5, "label": label})
    return frame.with_columns(pl.when(pl.int_range(rows) % 11 == 0).then(None).otherwise(pl.col("age")).alias("age"))


def asked(task: str) -> tuple[Brief, pl.DataFrame]:
    if task == "forecast":
        data = DataBrief(label="sales", group="shop", time="month")
        return Brief(
            task="forecast", data=data, forecast=ForecastBrief(horizon=4), validation=Validation(folds=3)
        ), monthly()
    return Brief(task=task, data=DataBrief(label="label"), validation=Validation(folds=3)), mixed(task)


def parts_of(brief: Brief, frame: pl.DataFrame):
    return split(read_data(frame, brief), brief)


def run_export(export: Export, rows) -> np.ndarray:
    """Run an export as a bundle does, and shape its answers as a blend's."""
    schema = rows.schema
    if export.runtime == "arrays":
        return ArraysRuntime(export.files["forecast.npz"], schema).frame(rows.frame)[:, 0]
    encoding = Encoding.of(schema, moments=export.moments)
    graph = OnnxRuntime(export.files["model.onnx"], encoding, max(1, len(schema.classes)))
    found = graph.frame(rows.frame).astype(np.float64)
    return found[:, 0] if not schema.classes else found[:, 1] if len(schema.classes) == 2 else found


@pytest.fixture(scope="module")
def forecasts():
    brief, frame = asked("forecast")
    return brief, parts_of(brief, frame)


@pytest.mark.parametrize("name", ["seasonal_naive", "autoces", "autotheta", "autoets"])
def test_the_forecast_family_conforms(forecasts, name):
    brief, parts = forecasts
    check_family(family_named("forecast"), brief, parts, run_export, names=frozenset({name}))


TASKS = ("binary", "multiclass", "regression")
ORDINARY = {("binary", "lightgbm"), ("multiclass", "linear"), ("regression", "xgboost")}
EVERY = [
    pytest.param(task, name, marks=() if (task, name) in ORDINARY else pytest.mark.slow)
    for task in TASKS
    for name in ("linear", "lightgbm", "xgboost", "catboost")
]


@pytest.mark.parametrize(("task", "name"), EVERY)
def test_the_tabular_family_conforms(task, name):
    brief, frame = asked(task)
    parts = parts_of(brief, frame)
    family = family_named("tabular")
    offered = [one.name for one in family.candidates(brief, profile(parts.development), parts.development)]
    if name not in offered:
        pytest.skip(f"{name} is not offered for {task}: {offered}")
    # float32 on both sides, so in units of the label's deviation for a number
    tolerance = 1e-5 * (1.0 if task != "regression" else float(np.std(parts.development.truth())))
    check_family(family, brief, parts, run_export, tolerance=tolerance, names=frozenset({name}))


class Broken:
    """The forecast family with one method put out of order."""

    def __init__(self, **changed):
        self._sound = family_named("forecast")
        self._changed = changed

    def __getattr__(self, name):
        if name in self._changed:
            return lambda *args, **kwargs: self._changed[name](self._sound, *args, **kwargs)
        return getattr(self._sound, name)


def peeks(sound, candidate, parts, seed, watch=None, rounds=None):
    fitted = sound.fit(candidate, parts, seed, watch, rounds)
    truth = parts.development.truth()[:, None]
    return replace(fitted, scores=np.where(np.isnan(fitted.scores), np.nan, 0.9 * fitted.scores + 0.1 * truth))


def spoils_rows(sound, candidate, parts, seed, watch=None, rounds=None):
    fold = parts.split.folds[0]
    fold.train[:] = np.sort(fold.train)[::-1]
    return sound.fit(candidate, parts, seed, watch, rounds)


def rolls_dice(sound, candidate, parts, seed, watch=None, rounds=None):
    fitted = sound.fit(candidate, parts, seed, watch, rounds)
    return replace(fitted, scores=fitted.scores + np.random.default_rng().normal(size=fitted.scores.shape))


def fills_gaps(sound, candidate, parts, seed, watch=None, rounds=None):
    fitted = sound.fit(candidate, parts, seed, watch, rounds)
    return replace(fitted, scores=np.nan_to_num(fitted.scores))


def forgets_rounds(sound, candidate, parts, seed, watch=None, rounds=None):
    fitted = sound.fit(candidate, parts, seed, watch)
    return fitted if rounds is None else replace(fitted, scores=fitted.scores * 2)


def looks_away(sound, candidate, parts, seed, watch=None, rounds=None):
    return sound.fit(candidate, parts, seed, None, rounds)


def keeps_objects(sound, candidate, parts, seed, watch=None, rounds=None):
    fitted = sound.fit(candidate, parts, seed, watch, rounds)
    return replace(fitted, arrays={**fitted.arrays, "names": np.array([object()], dtype=object)})


def needs_company(sound, fitted, rows):
    return sound.predict(fitted, rows) + len(rows)


def counts_rows(sound, fitted, rows):
    return sound.predict(fitted, rows) + np.arange(len(rows))[:, None]


def dislikes_gaps(sound, fitted, rows):
    if rows.frame["region"].null_count():
        raise KeyError("region")
    return sound.predict(fitted, rows)


def rounds_off(sound, blend, data):
    members = tuple((replace(f, arrays={**f.arrays, "mean": f.arrays["mean"].round()}), w) for f, w in blend.members)
    return sound.export(replace(blend, members=members), data)


def twins(sound, brief, seen, data):
    return sound.candidates(brief, seen, data)[-1:] * 2


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"fit": peeks}, "do not depend on the labels"),
        ({"fit": spoils_rows}, "leaves the folds as they are"),
        ({"fit": rolls_dice}, "the same seed gives the same scores"),
        ({"fit": fills_gaps}, "a row no fold scores has none"),
        ({"fit": forgets_rounds}, "replayed rounds give the same scores"),
        ({"fit": looks_away}, "the watch is called after each fold"),
        ({"fit": keeps_objects}, "no Python objects"),
        ({"predict": needs_company}, "a row alone is answered"),
        ({"predict": counts_rows}, "order of rows"),
        ({"predict": dislikes_gaps}, "missing values are answered"),
        ({"export": rounds_off}, "the export answers as the blend does"),
        ({"candidates": twins}, "different names"),
    ],
)
def test_each_check_catches_the_family_that_breaks_it(changed, said):
    brief, frame = asked("forecast")
    parts = parts_of(brief, frame)
    with pytest.raises(FamilyError, match=said):
        check_family(Broken(**changed), brief, parts, run_export, names=frozenset({"seasonal_naive"}))


def test_checks_can_be_run_one_by_one(forecasts):
    brief, parts = forecasts
    family = family_named("forecast")
    candidate = check_candidates(family, brief, parts, profile(parts.development))[-1]
    case = Case(family, brief, parts, candidate, family.fit(candidate, parts.blind(), 1), run_export, 1e-5)
    for check in CHECKS:
        check(case)
