"""A forecast is judged by step, by series and by its intervals, all on rows that came after."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import modelyard as my
from modelyard.core.canonical import canonical_json
from modelyard.evaluation.document import evaluation_document
from modelyard.evaluation.report import Report
from modelyard.evaluation.store import load_report, save_report
from modelyard.metrics.intervals import wilson
from modelyard.selection.plan import Plan


@pytest.fixture(scope="module")
def judged() -> tuple[Report, Plan]:
    return judge(12)


def judge(series: int, model: str | None = None, noisy: int = 72) -> tuple[Report, Plan]:
    random, rows = np.random.default_rng(3), []
    months = pl.datetime_range(pl.datetime(2015, 1, 1), pl.datetime(2020, 12, 1), "1mo", eager=True)
    for k in range(series):
        level = 50 + np.round(10 * np.sin(np.arange(72) * 2 * np.pi / 12), 6)
        level += random.normal(size=72) * (1 + k / 4) * (np.arange(72) < noisy)
        rows.append(pl.DataFrame({"shop": [f"s{k:02}"] * 72, "month": months, "sold": level}))
    brief = my.read_brief(
        {
            "use_case": "sales",
            "task": "forecast",
            **({} if model is None else {"model": model}),
            "data": {"label": "sold", "group": "shop", "time": "month"},
            "forecast": {"horizon": 6},
            "budget": {"seconds": 60, "trials": 0},
        }
    )
    data = my.read_data(pl.concat(rows), brief)
    parts = my.split(data, brief)
    run = my.train(my.select(brief, data), parts)
    assert parts.test is not None
    return my.evaluate(run, parts.test, resamples=100), run.plan


def test_steps_and_series_add_up_to_the_estimate(judged: tuple[Report, Plan]) -> None:
    report, _ = judged
    found = report.forecasts
    assert found is not None
    assert [s.step for s in found.by_step] == [1, 2, 3, 4, 5, 6]
    assert np.mean([s.error for s in found.by_step]) == pytest.approx(report.estimate.value)
    assert found.series == 12
    assert found.worst[0].error >= found.worst[-1].error >= found.best[-1].error >= found.best[0].error
    assert all(one.n == 6 for one in (*found.best, *found.worst))
    assert len(found.picture.truth) == len(found.picture.forecast) == 6
    assert len(found.picture.past) == 18


@pytest.mark.parametrize(("series", "more"), [(7, False), (10, False), (11, True)])
def test_no_series_is_shown_twice_and_dots_stand_for_some(series: int, more: bool) -> None:
    report, plan = judge(series, "seasonal_naive")
    found = report.forecasts
    assert found is not None
    names = [one.series for one in (*found.worst, *found.best)]
    assert len(set(names)) == len(names) == min(series, 10)
    table = evaluation_document(report, (), plan).markdown("3-evaluation").split("## By series")[1].split("##")[0]
    assert ("…" in table) == more
    assert all(table.count(f"| {name} ") == 1 for name in names)


def test_wider_intervals_hold_more_and_about_what_they_promise(judged: tuple[Report, Plan]) -> None:
    found = judged[0].forecasts
    assert found is not None
    assert [c.level for c in found.coverages] == [80, 90, 95]
    shares = [c.share for c in found.coverages]
    assert shares == sorted(shares)
    assert 0.6 < shares[0] < 0.97
    assert all(c.n == 72 and c.low <= c.share <= c.high for c in found.coverages)


def test_where_no_interval_missed_the_low_bound_is_wilsons() -> None:
    report, _ = judge(2, "seasonal_naive", noisy=48)
    assert report.forecasts is not None
    assert len(report.forecasts.coverages) == 3
    for found in report.forecasts.coverages:
        assert (found.low, found.share, found.high) == (pytest.approx(wilson(2, 2)[0]), 1.0, 1.0)


def test_the_document_draws_them_and_the_report_survives_the_disk(judged: tuple[Report, Plan], tmp_path: Path) -> None:
    report, plan = judged
    text = evaluation_document(report, (), plan).markdown("3-evaluation")
    for section in ("By step ahead", "By series", "Intervals", "Bias"):
        assert f"## {section}" in text
    assert canonical_json(load_report(save_report(report, tmp_path / "r.json"))) == canonical_json(report)
