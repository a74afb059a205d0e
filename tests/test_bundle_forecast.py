"""A packed forecast starts after the last row there is, test rows too."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bundles import report
from modelyard.brief.brief import Brief, DataBrief, ForecastBrief, Target
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.pack import pack
from modelyard.core.errors import DataError
from modelyard.data.profile import profile
from modelyard.data.read import read_data
from modelyard.data.splitting import split
from modelyard.families.find import family_named
from modelyard.families.fitted import Blend
from modelyard.flow.evaluate import evaluate_file, evaluation_lines
from modelyard.selection.plan import Plan
from modelyard.training.run import Run

DAYS = 120


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    season = np.sin(np.arange(DAYS) * 2 * np.pi / 7)
    days = [date(2023, 1, 1) + timedelta(days=i) for i in range(DAYS)]
    table = pl.DataFrame(
        {
            "shop": ["north"] * DAYS + ["south"] * DAYS,
            "day": days * 2,
            "sold": np.concatenate([50 + 10 * season, 20 + 5 * season]),
        }
    )
    brief = Brief(
        use_case="sales",
        task="forecast",
        target=(Target("mase", "<=", 0.9),),
        model="seasonal_naive",
        data=DataBrief(label="sold", group="shop", time="day"),
        forecast=ForecastBrief(horizon=7, season=7),
    )
    data = read_data(table, brief)
    parts = split(data, brief)
    assert parts.test is not None
    family = family_named("forecast")
    (candidate,) = family.candidates(brief, profile(parts.development), parts.development)
    fitted = family.fit(candidate, parts.blind(), seed=1)
    blend = Blend(((fitted, 1.0),), "identity", 1.0, (0.0,))
    plan = Plan(
        brief, data.schema, data.fingerprint, len(data), "forecast", "mase", (candidate,), (), (), candidate.cost, (), 1
    )
    answers = blend.answer(fitted.scores)
    run = Run("naive-1", "1", plan, parts.development, blend, answers, (), 0.5, 0.1, {"python": "3.11"}, None, {})
    return pack(run, report(run), parts, tmp_path_factory.mktemp("packed") / "bundle")


def test_forecast_is_packed_from_every_row(packed: Bundle) -> None:
    b = packed
    season = np.sin(np.arange(DAYS) * 2 * np.pi / 7)
    days = [date(2023, 1, 1) + timedelta(days=i) for i in range(DAYS)]
    known = b.runtime.known()  # type: ignore[attr-defined]
    assert known["day"].min() == datetime(2023, 1, 1) + timedelta(days=DAYS)
    assert known.height == b.manifest.facts["parity"]["rows"] == 14
    examples = json.loads((b.path / "examples.json").read_bytes())
    assert {(e["shop"], datetime.fromisoformat(e["day"])) for e in examples} <= set(known.iter_rows())
    # The series repeat exactly, so the last season is the next one.
    week = [{"shop": "south", "day": str(days[-1] + timedelta(days=i + 1))} for i in range(7)]
    np.testing.assert_allclose(b.predict(week), 20 + 5 * season[-7:], atol=1e-9)
    assert b.interval(week).shape == (7, 2)


def test_a_target_a_bundle_cannot_measure_is_undecided_and_said_so(packed: Bundle, tmp_path: Path) -> None:
    labelled(packed).write_csv(tmp_path / "later.csv")
    found = evaluate_file(packed, tmp_path / "later.csv")
    assert found.target_met == "inconclusive"
    assert "lacks the earlier rows" in evaluation_lines(found)[-1]


def test_a_row_that_was_not_forecast_is_named_by_file_and_row(packed: Bundle, tmp_path: Path) -> None:
    rows = labelled(packed).with_row_index()
    odd = rows.with_columns(
        sold=pl.when(pl.col("index") > 0).then("sold"),  # a row without a label counts too
        shop=pl.when(pl.col("index") == 9).then(pl.lit("east")).otherwise("shop"),
    )
    odd.drop("index").write_csv(tmp_path / "odd.csv")
    with pytest.raises(DataError) as caught:
        evaluate_file(packed, tmp_path / "odd.csv")
    assert caught.value.where == f"{tmp_path / 'odd.csv'}, row 10, column 'shop'"
    assert "schema" not in (caught.value.do or "")


def labelled(bundle: Bundle) -> pl.DataFrame:
    """Return every series and time the bundle answers, with a label."""
    known: pl.DataFrame = bundle.runtime.known()  # type: ignore[attr-defined]
    return known.with_columns(sold=pl.lit(30.0))
