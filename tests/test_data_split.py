"""Splits: what must hold of every division of every table, and the sentence that explains it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from modelyard.brief.brief import Brief, DataBrief, ForecastBrief, Validation
from modelyard.core.errors import SplitError
from modelyard.data.dataset import Dataset, Parts
from modelyard.data.inner import inner
from modelyard.data.read import read_data
from modelyard.data.season import season_length, seasonal_naive, seasonal_scale, usual_horizon
from modelyard.data.splitting import split


def brief(group: bool = False, time: bool = False, seed: int = 0, **validation: Any) -> Brief:
    data = DataBrief(label="y", group="g" if group else None, time="t" if time else None)
    return Brief(data=data, validation=Validation(**validation), seed=seed)


def table(
    rows: int, classes: int = 2, entities: int = 20, moments: int = 30, seed: int = 0, values: bool = False
) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    label = rng.normal(size=rows) if values else np.array([f"c{i}" for i in rng.integers(0, classes, rows)])
    return pl.DataFrame(
        {
            "x": rng.normal(size=rows),
            "g": rng.integers(0, entities, rows),
            "t": rng.integers(0, moments, rows).astype(float) * 3.0,
            "y": label,
        }
    )


tables = st.builds(
    table,
    rows=st.integers(40, 300),
    classes=st.integers(2, 5),
    entities=st.integers(3, 60),
    moments=st.integers(4, 60),
    seed=st.integers(0, 10_000),
    values=st.booleans(),
)
validations = st.fixed_dictionaries(
    {"folds": st.integers(2, 7), "test_fraction": st.sampled_from([None, 0.0, 0.1, 0.25])}
)


def parted(frame: pl.DataFrame, asked: Brief) -> tuple[Dataset, Parts]:
    data = read_data(frame, asked)
    try:
        return data, split(data, asked)
    except SplitError:
        assume(False)
        raise


def check_positions(data: Dataset, parts: Parts) -> None:
    """No row stands in two parts; folds learn from and score development rows, none both ways, none scored twice."""
    made = parts.split
    assert not set(made.development) & set(made.test)
    assert len(set(made.development)) == made.development.size
    assert set(made.development) | set(made.test) <= set(range(len(data)))
    assert (parts.test is None) == (made.test.size == 0)
    assert parts.development.frame.equals(data.frame[made.development])
    scored: list[int] = []
    for fold in made.folds:
        assert fold.train.size
        assert fold.score.size
        assert not set(fold.train) & set(fold.score)
        assert set(fold.train) | set(fold.score) <= set(range(made.development.size))
        scored += fold.score.tolist()
    assert len(scored) == len(set(scored))


@settings(max_examples=60, deadline=None)
@given(tables, validations, st.integers(0, 3))
def test_random_and_stratified_splits_cover_every_row(frame: pl.DataFrame, how: dict[str, Any], seed: int) -> None:
    asked = brief(seed=seed, **how)
    data, parts = parted(frame, asked)
    check_positions(data, parts)
    made = parts.split
    assert made.development.size + made.test.size == len(data)
    assert made.strategy == ("stratified" if data.schema.classes else "random")
    scored = set(np.concatenate([f.score for f in made.folds]).tolist())
    for fold in made.folds:
        assert set(fold.train) == set(range(made.development.size)) - set(fold.score)
    if not data.schema.classes:
        assert scored == set(range(made.development.size))
        return
    truth = np.asarray(parts.development.truth())
    counts = np.bincount(truth, minlength=len(data.schema.classes))
    assert counts.min() >= 1
    assert scored == {i for i in range(truth.size) if counts[truth[i]] > 1}
    for fold in made.folds:
        assert set(truth[fold.train]) == set(truth)
    whole = np.bincount(np.asarray(data.truth()))
    share = (whole - counts) / whole
    wanted = how["test_fraction"] if how["test_fraction"] is not None else 0.2
    assert (np.abs(share - wanted) <= 0.5 / whole + 1e-9)[whole > 1].all()


@settings(max_examples=60, deadline=None)
@given(tables, validations, st.integers(0, 3))
def test_group_splits_never_divide_an_entity(frame: pl.DataFrame, how: dict[str, Any], seed: int) -> None:
    asked = brief(group=True, seed=seed, **how)
    data, parts = parted(frame, asked)
    check_positions(data, parts)
    made, groups = parts.split, data.groups()
    assert groups is not None
    assert made.development.size + made.test.size == len(data)
    assert not set(groups[made.development]) & set(groups[made.test])
    own = groups[made.development]
    truth = np.asarray(parts.development.truth()) if data.schema.classes else np.zeros(own.size)
    for fold in made.folds:
        assert not set(own[fold.train]) & set(own[fold.score])
        assert set(truth[fold.train]) == set(truth)


@settings(max_examples=60, deadline=None)
@given(tables, validations, st.sampled_from([0.0, 3.0, 10.0]))
def test_time_splits_never_learn_from_the_future(frame: pl.DataFrame, how: dict[str, Any], gap: float) -> None:
    asked = brief(time=True, gap=gap, **how)
    data, parts = parted(frame, asked)
    check_positions(data, parts)
    made, times = parts.split, data.times()
    assert times is not None
    assert made.forward
    assert made.gap == gap
    if made.test.size:
        assert times[made.development].max() < times[made.test].min() - gap
        # Without a gap every row is used.
        assert gap or made.development.size + made.test.size == len(data)
    own = times[made.development]
    starts = [own[f.score].min() for f in made.folds]
    assert starts == sorted(starts)
    for fold in made.folds:
        assert own[fold.train].max() < own[fold.score].min() - gap
        assert set(fold.train) == set(np.flatnonzero(own < own[fold.score].min() - gap))


@settings(max_examples=60, deadline=None)
@given(tables, validations, st.sampled_from([0.0, 3.0]), st.integers(0, 3))
def test_group_and_time_splits_keep_both_promises(
    frame: pl.DataFrame, how: dict[str, Any], gap: float, seed: int
) -> None:
    asked = brief(group=True, time=True, gap=gap, seed=seed, **how)
    data, parts = parted(frame, asked)
    check_positions(data, parts)
    made, times, groups = parts.split, data.times(), data.groups()
    assert times is not None
    assert groups is not None
    if made.test.size:
        assert times[made.development].max() < times[made.test].min() - gap
        assert not set(groups[made.development]) & set(groups[made.test])
    lost = len(data) - made.development.size - made.test.size
    assert (f"{lost:,} rows (" in made.reason) == (lost > 0)
    own, when = groups[made.development], times[made.development]
    for fold in made.folds:
        assert when[fold.train].max() < when[fold.score].min() - gap
        assert not set(own[fold.train]) & set(own[fold.score])


@settings(max_examples=25, deadline=None)
@given(tables, st.booleans(), st.booleans(), st.integers(0, 3))
def test_a_seed_decides_everything(frame: pl.DataFrame, group: bool, time: bool, seed: int) -> None:
    asked = brief(group, time, seed)
    _, one = parted(frame, asked)
    _, other = parted(frame, asked)
    assert np.array_equal(one.split.test, other.split.test)
    assert all(np.array_equal(a.train, b.train) for a, b in zip(one.split.folds, other.split.folds, strict=True))


@settings(max_examples=25, deadline=None)
@given(st.booleans(), st.booleans(), st.integers(0, 10_000))
def test_another_seed_makes_another_split(group: bool, values: bool, seed: int) -> None:
    # Sixty entities of a few rows each: ten seeds that all pick the same test part by luck are out of the question.
    frame = table(rows=200, entities=60, seed=seed, values=values)
    tests = {tuple(parted(frame, brief(group, seed=other))[1].split.test) for other in range(10)}
    assert len(tests) > 1


@settings(max_examples=60, deadline=None)
@given(tables, st.booleans(), st.booleans(), st.integers(0, 3), st.sampled_from([0.1, 0.15]))
def test_the_inner_part_is_honest_too(frame: pl.DataFrame, group: bool, time: bool, seed: int, share: float) -> None:
    data = read_data(frame, brief(group, time))
    rows = np.sort(np.random.default_rng(seed).permutation(len(data))[: len(data) * 3 // 4])
    fit, stop = inner(data, rows, share, seed)
    assert sorted([*fit, *stop]) == rows.tolist()
    assert fit.size
    assert stop.size
    again = inner(data, rows, share, seed)
    assert np.array_equal(fit, again[0])
    groups, times = data.groups(), data.times()
    truth = np.asarray(data.truth()) if data.schema.classes else np.zeros(len(data))
    # Where entities or moments are too few to keep every class on both sides, rows are divided at random.
    enough = stop.size >= 20
    if group and enough and groups is not None and len(set(groups[rows])) >= 20:
        assert not set(groups[fit]) & set(groups[stop])
    elif time and not group and enough and times is not None:
        few = len(set(times[rows])) < 8 and len(set(truth)) > 1
        assert few or not set(times[fit]) & set(times[stop])
    assert len(set(truth[fit])) >= min(2, len(set(truth[rows])))


def test_classes_of_few_rows_are_learnt_from_in_every_fold() -> None:
    frame = table(100).with_columns(
        pl.when(pl.int_range(100) == 7).then(pl.lit("one")).when(pl.int_range(100).is_in([3, 50])).then(pl.lit("two"))
        .otherwise("y").alias("y")
    )  # fmt: skip
    data = read_data(frame, brief())
    parts = split(data, brief())
    assert any(f.kind == "rare_class" and "'one'" in f.what for f in parts.development.notes)
    names = parts.development.frame["y"].to_numpy()
    assert (names == "one").sum() == 1
    for fold in parts.split.folds:
        assert {"one", "two"} <= set(names[fold.train])
        assert "one" not in names[fold.score]
    lone = pl.when(pl.int_range(100) == 7).then(pl.lit("rare")).otherwise(pl.lit("b"))
    two = read_data(frame.with_columns(lone.alias("y")), brief())
    with pytest.raises(SplitError, match="Only 1 row of 'y' says 'rare'"):
        split(two, brief())


@pytest.mark.parametrize(
    ("frame", "asked", "says"),
    [
        (table(60, entities=1), brief(group=True), "one entity only"),
        (table(60, moments=1), brief(time=True), "one moment only"),
        (table(60, entities=1), brief(group=True, time=True), "one entity only"),
        (table(60, entities=2), brief(group=True, test_fraction=0.2), "2 entities: too few"),
        (table(60, moments=2), brief(time=True, test_fraction=0.2), "two moments"),
        (table(60), brief(time=True, gap=1000.0), "the gap is too long"),
        (table(60), brief(strategy="group"), "needs a group column"),
        (table(60), brief(group=True, strategy="group_time"), "needs a time column"),
        (table(60), brief(time=True, strategy="rolling"), "for forecasts"),
        (table(60, values=True), brief(strategy="stratified"), "needs classes"),
        (table(8), brief(), "8 rows, too few"),
    ],
)
def test_an_impossible_split_is_refused(frame: pl.DataFrame, asked: Brief, says: str) -> None:
    with pytest.raises(SplitError, match=says) as caught:
        split(read_data(frame, asked), asked)
    assert caught.value.do


def test_fewer_folds_than_asked_are_said() -> None:
    asked = brief(group=True)
    made = split(read_data(table(80, entities=4, seed=3), asked), asked).split
    assert len(made.folds) == 3
    assert "fewer than asked: there are 3 entities" in made.reason
    two = split(read_data(table(80, entities=2), asked), asked).split
    assert two.test.size == 0
    assert "out-of-fold" in two.reason
    timed = brief(time=True)
    made = split(read_data(table(80, moments=4), timed), timed).split
    assert "no more are possible" in made.reason


def test_the_reason_names_columns_folds_and_rows() -> None:
    assert "200 rows (20 %) untouched" in split(read_data(table(1000), brief()), brief()).split.reason
    asked = brief(group=True, time=True, gap=3.0)
    reason = split(read_data(table(1000, entities=300), asked), asked).split.reason
    assert "group by g, forward in t" in reason
    assert "gap 3" in reason
    whole = brief(test_fraction=0)
    assert "no test part" in split(read_data(table(1000), whole), whole).split.reason


def test_of_a_large_table_as_many_folds_are_scored_as_settle_a_choice() -> None:
    def scored(rows: int, asked: Brief, **how: Any) -> int:
        frame = table(rows, **how)
        made = split(read_data(frame, asked), asked).split
        share = sum(len(fold.score) for fold in made.folds) / made.development.size
        whole = 0.83 if made.forward else 0.99
        assert ("of them scored" in made.reason) == (share < whole - 0.05)
        return len(made.folds)

    whole = {"test_fraction": 0.0}
    assert scored(13_000, brief(**whole)) == 4
    assert scored(14_000, brief(**whole)) == 2
    assert scored(14_000, brief(group=True, **whole), entities=3_000) == 2
    assert scored(14_000, brief(**whole), values=True) == 2
    assert scored(14_000, brief(folds=4, **whole)) == 4
    assert scored(14_000, replace(brief(**whole), presets="best")) == 8
    assert scored(10_000, brief(time=True, **whole), values=True) == 5
    assert scored(12_000, brief(time=True, **whole), values=True) == 4
    assert scored(40_000, brief(time=True, **whole), values=True) == 4


def test_of_few_rows_of_all_classes_but_one_more_folds_are_scored() -> None:
    rare = table(20_000).with_columns(
        y=pl.when(pl.int_range(pl.len()) % 40 == 0).then(pl.lit("c1")).otherwise(pl.lit("c0"))
    )
    asked = brief(test_fraction=0.0)
    assert len(split(read_data(rare, asked), asked).split.folds) == 4
    more = pl.concat([rare, rare.with_columns(pl.col("x") + 9.0)])
    assert len(split(read_data(more, asked), asked).split.folds) == 2


def test_windows_scored_of_a_large_table_are_the_last() -> None:
    frame, asked = table(22_000, moments=3_000, values=True), brief(time=True, test_fraction=0.0)
    parts = split(read_data(frame, asked), asked)
    times = parts.development.times()
    assert times is not None
    first, *_, last = parts.split.folds
    assert len(first.train) < len(last.train)
    assert times[last.score].max() == times.max()
    assert 0.3 < len(first.train) / len(times) < 0.4


def test_the_schema_of_the_parts_shows_development_rows_alone() -> None:
    frame = table(400).with_columns(pl.when(pl.col("t") > 70).then(1e6).otherwise("x").alias("x"))
    asked = brief(time=True)
    parts = split(read_data(frame, asked), asked)
    assert parts.development.schema.column("x").high == parts.development.frame["x"].max() < 1e5
    assert parts.test is not None
    assert parts.test.schema == parts.development.schema
    assert parts.test.frame["x"].max() == 1e6
    assert parts.blind().test is None


def test_a_date_gap_is_in_days() -> None:
    frame = table(300).with_columns(t=pl.datetime(2024, 1, 1) + pl.duration(days=pl.col("t").cast(pl.Int64)))
    asked = brief(time=True, gap=5)
    made = split(read_data(frame, asked), asked).split
    assert made.gap == 5 * 86_400
    assert "gap 5 days" in made.reason


def test_entities_tested_are_those_that_cost_least() -> None:
    """Where new entities come late in number, they are tested, and next to no row is lost."""
    rng = np.random.default_rng(0)
    entity = np.repeat(np.arange(200), 5)
    start = rng.uniform(0, 1000, 200)[entity]
    frame = table(1000).with_columns(g=pl.Series(entity), t=pl.Series(start + rng.uniform(0, 5, 1000)))
    asked = brief(group=True, time=True)
    made = split(read_data(frame, asked), asked).split
    assert made.test.size == pytest.approx(100, abs=5)
    assert len(frame) - made.development.size - made.test.size < 20


def test_an_entity_of_most_rows_is_learnt_from() -> None:
    """A fold that would score it learns from few rows, and a test part that holds it leaves few to learn from."""
    large = pl.when(pl.int_range(1000) % 10 < 8).then(-1).otherwise(pl.col("g")).alias("g")
    frame = table(1000, entities=100).with_columns(large)
    asked = brief(group=True)
    data = read_data(frame, asked)
    made = split(data, asked).split
    groups = np.asarray(data.groups())[made.development]
    huge = np.bincount(groups).argmax()
    assert all((groups[fold.train] == huge).any() for fold in made.folds)
    assert len(made.folds) == 7
    assert "1 of them unscored" in made.reason
    both = brief(group=True, time=True)
    forward = split(read_data(frame, both), both).split
    assert forward.development.size > 400


def test_a_last_moment_of_most_rows_is_no_test_part() -> None:
    moments = np.repeat([1.0, 2.0, 3.0], [30, 50, 920])
    frame = table(1000).with_columns(t=pl.Series(moments))
    asked = brief(time=True)
    made = split(read_data(frame, asked), asked).split
    assert made.test.size == 0
    with pytest.raises(SplitError, match="too large a last one"):
        split(read_data(frame, brief(time=True, test_fraction=0.2)), brief(time=True, test_fraction=0.2))


def test_no_window_learns_from_rows_that_weigh_nothing() -> None:
    frame = table(600).sort("t").with_columns(w=pl.when(pl.int_range(600) < 300).then(0.0).otherwise(1.0))
    asked = replace(brief(time=True), data=DataBrief(label="y", time="t", weight="w"))
    parts = split(read_data(frame, asked), asked)
    weights = np.asarray(parts.development.weights())
    assert parts.split.folds
    assert all(weights[fold.train].any() for fold in parts.split.folds)


def series(lengths: dict[str, int], step: str = "1d", seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.concat(
        [
            pl.DataFrame(
                {
                    "g": [name] * n,
                    "t": pl.datetime_range(
                        pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 1).dt.offset_by(f"{n - 1}d"), step, eager=True
                    ),
                    "y": rng.normal(size=n).cumsum(),
                }
            )
            for name, n in lengths.items()
        ]
    )


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(3, 90), min_size=1),
    st.integers(1, 12),
    st.integers(2, 5),
    st.booleans(),
)
def test_rolling_splits_score_what_comes_after(lengths: dict[str, int], horizon: int, folds: int, test: bool) -> None:
    how = Validation(folds=folds, test_fraction=None if test else 0)
    data = DataBrief(label="y", group="g", time="t")
    asked = Brief(task="forecast", data=data, validation=how, forecast=ForecastBrief(horizon))
    held = read_data(series(lengths), asked)
    assume(max(lengths.values()) >= (1 + test) * horizon + 3 and sum(lengths.values()) >= 10)
    parts = split(held, asked)
    check_positions(held, parts)
    made, times, groups = parts.split, held.times(), held.groups()
    assert times is not None
    assert groups is not None
    kept = [g for g, n in enumerate(sorted(lengths)) if lengths[n] - test * horizon - horizon >= 3]
    assert set(groups[made.development]) == set(kept)
    assert any(f.kind == "short_series" for f in parts.development.notes) == (len(kept) < len(lengths))
    for g in kept if test else ():
        own = times[made.test[groups[made.test] == g]]
        assert own.size == horizon
        assert own.min() > times[made.development[groups[made.development] == g]].max()
    own, when = groups[made.development], times[made.development]
    for fold in made.folds:
        for g in set(own[fold.score]):
            scored, learnt = when[fold.score[own[fold.score] == g]], when[fold.train[own[fold.train] == g]]
            assert scored.size == horizon
            assert learnt.max() < scored.min()
    # The newest origin scores every series kept.
    assert set(own[made.folds[-1].score]) == set(kept)


def test_the_naive_figures_of_a_forecast_come_from_development_rows() -> None:
    asked = Brief(task="forecast", data=DataBrief(label="y", group="g", time="t"), forecast=ForecastBrief(horizon=10))
    held = read_data(series({"a": 60, "b": 40}), asked)
    parts = split(held, asked)
    assert parts.test is not None
    past = held.frame.filter(pl.col("g") == "a")["y"].to_numpy()[:50]
    test = parts.test.frame["g"].to_numpy() == "a"
    assert parts.test.extras["scale"][test].tolist() == [np.mean(np.abs(past[7:] - past[:-7]))] * 10
    assert parts.test.extras["naive"][test].tolist() == [*past[-7:], *past[-7:-4]]
    assert parts.development.extras["scale"][0] == parts.test.extras["scale"][0]
    last = parts.split.folds[-1]
    ahead = last.score[parts.development.frame["g"].to_numpy()[last.score] == "a"]
    assert parts.development.extras["naive"][ahead].tolist() == [*past[33:40], *past[33:36]]


def test_a_forecast_without_a_group_is_one_series_and_too_short_is_refused() -> None:
    asked = Brief(task="forecast", data=DataBrief(label="y", time="t"), forecast=ForecastBrief(horizon=7))
    one = read_data(series({"a": 60}).drop("g"), asked)
    assert "over one series" in split(one, asked).split.reason
    short = Brief(task="forecast", data=asked.data, forecast=ForecastBrief(horizon=40))
    with pytest.raises(SplitError, match="too short"):
        split(one, short)
    with pytest.raises(SplitError, match="cannot be validated by a random split"):
        split(one, Brief(task="forecast", data=asked.data, validation=Validation("random")))


@pytest.mark.parametrize(
    ("step", "season", "horizon"),
    [(1, 1, 6), (60, 60, 60), (3600, 24, 48), (86_400, 7, 14), (7 * 86_400, 52, 13), (30.44 * 86_400, 12, 18),
     (91.3 * 86_400, 4, 8), (365.25 * 86_400, 1, 6)],
)  # fmt: skip
def test_a_season_is_read_off_the_spacing(step: float, season: int, horizon: int) -> None:
    times = np.arange(50) * float(step)
    assert season_length(times) == season
    assert usual_horizon(times) == horizon
    assert season_length(times[:1]) == 1


def test_naive_forecasts_of_odd_histories() -> None:
    assert seasonal_naive(np.array([1.0, 2.0, 3.0]), 2, 5).tolist() == [2, 3, 2, 3, 2]
    assert seasonal_naive(np.array([1.0, 2.0]), 7, 3).tolist() == [1, 2, 1]
    assert seasonal_scale(np.array([1.0, 3.0, 1.0, 3.0]), 2) == 2.0  # it repeats exactly: one step back instead
    assert seasonal_scale(np.full(9, 5.0), 7) == 5.0
    assert seasonal_scale(np.zeros(9), 7) == 1.0
