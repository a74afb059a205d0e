"""The forecast family on real series and on awkward ones."""

from __future__ import annotations

import builtins
import io
import sys
from datetime import datetime

import numpy as np
import polars as pl
import pytest

from data_sets import load
from modelyard.brief.brief import Brief, DataBrief, ForecastBrief, Validation
from modelyard.core.errors import FamilyError, MissingExtra
from modelyard.data.dataset import Dataset, Parts, Split
from modelyard.data.profile import Profile
from modelyard.data.read import read_data
from modelyard.data.schema import Column, Schema
from modelyard.data.splitting import split
from modelyard.families.fitted import Blend
from modelyard.families.forecast.forecast import Forecast

FAMILY = Forecast()
NONE = np.zeros(0, dtype=np.int64)
BRIEF = Brief(task="forecast", data=DataBrief(label="y", group="series", time="at"))
M4 = Brief(task="forecast", data=DataBrief(label="value", group="series", time="date"), validation=Validation(folds=3))


def table(series: dict[str, tuple[list[datetime], list[float]]]) -> Dataset:
    columns = (
        Column("series", "category", "group", "string"),
        Column("at", "date", "time", "datetime"),
        Column("y", "number", "label", "float"),
    )
    rows = [(name, at, y) for name, (times, values) in series.items() for at, y in zip(times, values, strict=True)]
    kinds = {"series": pl.String, "at": pl.Datetime("us"), "y": pl.Float64}
    return Dataset(pl.DataFrame(rows, schema=kinds, orient="row"), Schema(columns, "forecast"), "f" * 64)


def whole(data: Dataset) -> Parts:
    return Parts(data, None, Split("rolling", "", np.arange(len(data)), NONE, ()))


def months(n: int, start: datetime = datetime(2018, 1, 1)) -> list[datetime]:
    return pl.datetime_range(start, datetime(2060, 1, 1), "1mo", eager=True)[:n].to_list()


def fit(data: Dataset, method: str = "seasonal_naive", horizon: int = 6):
    brief = Brief(task="forecast", model=method, forecast=ForecastBrief(horizon=horizon))
    (candidate,) = FAMILY.candidates(brief, Profile(0, ()), data)
    return FAMILY.fit(candidate, whole(data), 0)


def ask(fitted, name: str, *times: datetime) -> list[float]:
    rows = table({name: (list(times), [0.0] * len(times))})
    return FAMILY.predict(fitted, rows)[:, 0].tolist()


def blended(*members):
    return Blend(tuple((fitted, 1 / len(members)) for fitted in members), "identity", 1.0, (0.0,))


def arrays_of(export) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(export.files["forecast.npz"]), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def m4():
    frame = load("m4_sample").filter(pl.col("freq").is_in(["weekly", "monthly", "quarterly", "yearly"]))
    return split(read_data(frame, M4), M4)


@pytest.fixture(scope="module")
def fitted(m4):
    wanted = ("autoces", "autotheta", "seasonal_naive")
    offered = FAMILY.candidates(M4, Profile(0, ()), m4.development)
    return {one.name: FAMILY.fit(one, m4.blind(), 0) for one in offered if one.name in wanted}


def mase(m4, raw) -> float:
    return float(np.mean(np.abs(raw[:, 0] - m4.test.truth()) / m4.test.extras["scale"]))


def test_the_blend_beats_the_seasonal_naive_on_untouched_rows_of_m4(m4, fitted):
    naive = mase(m4, m4.test.extras["naive"][:, None])
    both = np.mean([FAMILY.predict(fitted[name], m4.test) for name in ("autoces", "autotheta")], axis=0)
    assert mase(m4, both) < 0.95 * naive


def test_our_seasonal_naive_is_the_one_the_split_measures_against(m4, fitted):
    assert mase(m4, FAMILY.predict(fitted["seasonal_naive"], m4.test)) == pytest.approx(
        mase(m4, m4.test.extras["naive"][:, None])
    )


def test_intervals_hold_the_untouched_rows_of_m4(m4, fitted):
    blend = blended(fitted["autoces"], fitted["autotheta"])
    arrays = arrays_of(FAMILY.export(blend, m4.development))
    place = {
        (name, time): (i, j)
        for i, (name, times) in enumerate(zip(arrays["series"], arrays["times"], strict=True))
        for j, time in enumerate(times)
    }
    asked = zip(m4.test.frame["series"], m4.test.frame["date"].dt.epoch("us"), strict=True)
    at = np.array([place[pair] for pair in asked])
    truth = m4.test.truth()
    # The errors of one series go together, so these are 16 draws more than 180: hence the room left.
    for coverage, least, most in ((80, 0.62, 0.98), (95, 0.85, 1.0)):
        low, high = (arrays[f"{side}_{coverage}"][at[:, 0], at[:, 1]] for side in ("low", "high"))
        assert least <= np.mean((truth >= low) & (truth <= high)) <= most


def test_the_export_is_the_blend_and_its_bytes_never_change(m4, fitted):
    blend = blended(fitted["autoces"], fitted["seasonal_naive"])
    export = FAMILY.export(blend, m4.development)
    assert export.files == FAMILY.export(blend, m4.development).files
    assert [m["weight"] for m in export.facts["members"]] == [0.5, 0.5]
    arrays = arrays_of(export)
    s, h = arrays["mean"].shape
    assert arrays["series"].shape == (s,)
    assert arrays["times"].shape == (s, h) == arrays["low_80"].shape
    assert arrays["times"].dtype == np.int64
    assert (arrays["times"][:, 0] > arrays["last"]).all()
    assert (np.diff(arrays["times"], axis=1) > 0).all()
    means = [one.arrays["mean"][:, :h] for one, _ in blend.members]
    assert np.allclose(arrays["mean"], (means[0] + means[1]) / 2)


def test_a_series_has_no_interval_beyond_its_own_horizon(m4, fitted):
    arrays = arrays_of(FAMILY.export(blended(fitted["autoces"]), m4.development))
    yearly = [i for i, name in enumerate(arrays["series"]) if name.startswith("Y")]
    assert np.isfinite(arrays["low_80"][yearly, :6]).all()
    assert np.isnan(arrays["low_80"][yearly, 6:]).all()


@pytest.mark.parametrize("method", ["seasonal_naive", "autoces", "autotheta", "autoets"])
@pytest.mark.parametrize(
    "values",
    [
        [5.0] * 40,
        [0.0] * 40,
        [1.0, 2.0],
        [7.0],
        [-3.0 * i for i in range(40)],
        [0.0, 0.0, 0.0, 9.0] * 10,
        [1e-12 * (i % 5) for i in range(40)],
        [1e12 + i for i in range(40)],
    ],
    ids=["constant", "zero", "two rows", "one row", "negative", "intermittent", "tiny", "huge"],
)
def test_awkward_series_are_forecast_with_finite_numbers(method, values):
    data = table({"odd": (months(len(values)), values), "plain": (months(40), [float(i % 12) for i in range(40)])})
    found = fit(data, method)
    assert np.isfinite(found.arrays["mean"]).all()
    if len(set(values)) == 1:
        assert found.arrays["mean"][0].tolist() == [values[0]] * 6


def test_what_stands_in_is_counted():
    data = table({"short": (months(3), [1.0, 2.0, 3.0]), "flat": (months(30), [4.0] * 30)})
    assert fit(data, "autoces").facts["stand_ins"] == 2
    assert fit(data, "seasonal_naive").facts["stand_ins"] == 0


def test_missing_months_keep_the_season_in_step():
    season = [10.0, 20.0, 30.0, 40.0] * 12
    times = pl.datetime_range(datetime(2010, 1, 1), datetime(2030, 1, 1), "1q", eager=True)[:48].to_list()
    kept = [i for i in range(48) if i not in (5, 17, 30)]
    data = table({"a": ([times[i] for i in kept], [season[i] for i in kept])})
    found = fit(data, horizon=4)
    assert ask(found, "a", datetime(2022, 1, 1), datetime(2022, 7, 1)) == [10.0, 30.0]


def test_where_rows_are_missing_the_forecast_reaches_further():
    times = months(40)
    kept = [t for i, t in enumerate(times) if i % 3]
    found = fit(table({"a": (kept, [float(i) for i in range(len(kept))])}), horizon=4)
    assert found.arrays["times"].shape[1] == 6


def test_rows_it_cannot_answer_are_refused_with_what_it_can():
    found = fit(table({"a": (months(24), [float(i) for i in range(24)])}))
    with pytest.raises(FamilyError, match="'b' was not learnt from"):
        ask(found, "b", datetime(2020, 1, 1))
    for when in (datetime(2019, 12, 1), datetime(2021, 1, 1)):
        with pytest.raises(FamilyError, match="after 2019-12-01, up to 2020-06-01"):
            ask(found, "a", when)


def test_two_rows_of_one_moment_are_refused():
    data = table({"a": ([*months(12), datetime(2018, 3, 1)], [1.0] * 13)})
    with pytest.raises(FamilyError, match="two rows of the same time"):
        fit(data)


def test_no_rhythm_at_all_is_refused():
    with pytest.raises(FamilyError, match="No series has two rows"):
        fit(table({"a": (months(1), [1.0]), "b": (months(1), [2.0])}))


def test_a_single_series_needs_no_series_column():
    frame = pl.DataFrame({"year": [float(y) for y in range(1980, 2000)], "y": [float(y) for y in range(20)]})
    columns = (Column("year", "number", "time", "integer"), Column("y", "number", "label", "float"))
    data = Dataset(frame, Schema(columns, "forecast"), "f" * 64)
    found = fit(data, horizon=3)
    rows = Dataset(pl.DataFrame({"year": [2001.0]}), data.schema, "")
    assert FAMILY.predict(found, rows).tolist() == [[19.0]]
    with pytest.raises(FamilyError, match="after 1999, up to 2002"):
        FAMILY.predict(found, Dataset(pl.DataFrame({"year": [2010.0]}), data.schema, ""))


def test_rows_in_any_order_give_the_same_fit():
    data = table({n: (months(30), [float((i * 7) % 12 + k) for i in range(30)]) for k, n in enumerate("ab")})
    shuffled = data.take(np.random.default_rng(0).permutation(len(data)))
    one, other = fit(data, "autotheta"), fit(shuffled, "autotheta")
    assert np.array_equal(one.arrays["mean"], other.arrays["mean"])


def test_without_statsforecast_the_seasonal_naive_still_forecasts(monkeypatch):
    data = table({"a": (months(24), [float(i) for i in range(24)])})
    for name in [name for name in sys.modules if name.split(".")[0] == "statsforecast"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    monkeypatch.setattr("modelyard.families.forecast.forecast.has", lambda module: module != "statsforecast")
    assert [one.name for one in FAMILY.candidates(BRIEF, Profile(0, ()), data)] == ["seasonal_naive"]
    with pytest.raises(MissingExtra, match=r"AutoETS.*\n.*modelyard\[forecast\]"):
        FAMILY.candidates(Brief(task="forecast", model="AutoETS"), Profile(0, ()), data)


def test_nothing_is_imported_until_a_method_needs_it(monkeypatch):
    data = table({"a": (months(24), [float(i) for i in range(24)])})
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        assert not name.startswith("statsforecast")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert np.isfinite(fit(data).arrays["mean"]).all()
