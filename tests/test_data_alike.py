"""What a split owes to what rows hold alone: shuffled tables give the same parts, and copies of a row stay together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.brief.brief import Brief, DataBrief, Validation
from modelyard.data.alike import copies
from modelyard.data.dataset import Fold, Parts
from modelyard.data.inner import inner
from modelyard.data.read import read_data
from modelyard.data.splitting import split
from modelyard.families.tabular import folds, learning
from modelyard.families.tabular.tables import blocks
from modelyard.families.tabular.tabular import Tabular
from tabular_cases import LIBRARIES, TASKS, candidate
from tabular_cases import frame as mixed_table

HOW = {
    "rows": {},
    "group": {"group": "g"},
    "time": {"time": "t"},
    "group_time": {"group": "g", "time": "t"},
}


def brief(seed: int = 0, gap: float = 0.0, **data: Any) -> Brief:
    return Brief(data=DataBrief(label="label", **data), validation=Validation(folds=3, gap=gap), seed=seed)


def parted(table: pl.DataFrame, asked: Brief) -> Parts:
    return split(read_data(table, asked), asked)


def table(task: str, rows: int = 300, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return mixed_table(task, rows, seed=seed).with_columns(
        g=pl.Series([f"g{i}" for i in rng.integers(0, 40, rows)]), t=pl.Series(rng.integers(0, 60, rows) * 1.0)
    )


def shuffled(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return frame[rng.permutation(frame.height)].select(rng.permutation(frame.columns).tolist())


@pytest.mark.parametrize("how", HOW)
@settings(max_examples=8, deadline=None)
@given(task=st.sampled_from(TASKS), seed=st.integers(0, 99), gap=st.sampled_from([0.0, 3.0]))
def test_a_shuffled_table_is_divided_as_the_table_is(how: str, task: str, seed: int, gap: float) -> None:
    whole = table(task, seed=seed)
    asked = brief(seed, gap if "time" in how else 0.0, **HOW[how])
    one, other = parted(whole, asked), parted(shuffled(whole, seed), asked)
    for a, b in ((one.development, other.development), (one.test, other.test)):
        assert a is not None
        assert b is not None
        assert a.frame.equals(b.frame.select(a.frame.columns))
    assert one.split.reason == other.split.reason
    for a, b in zip(one.split.folds, other.split.folds, strict=True):
        assert a.train.tolist() == b.train.tolist()
        assert a.score.tolist() == b.score.tolist()
        ours, theirs = (inner(p.development, a.train, 0.2, seed) for p in (one, other))
        assert [rows.tolist() for rows in ours] == [rows.tolist() for rows in theirs]


def test_another_seed_divides_otherwise() -> None:
    whole = table("binary")
    assert not parted(whole, brief(0)).development.frame.equals(parted(whole, brief(1)).development.frame)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("algorithm", LIBRARIES)
def test_models_of_a_shuffled_table_are_the_same_to_the_last_bit(algorithm: str, how: str) -> None:
    whole, asked = table("binary"), brief(**HOW[how])
    fits = [Tabular().fit(candidate(algorithm), parted(rows, asked).blind(), 0) for rows in (whole, shuffled(whole, 1))]
    assert fits[0].rounds == fits[1].rounds
    np.testing.assert_array_equal(fits[0].scores, fits[1].scores)
    assert fits[0].texts == fits[1].texts


def copied(task: str, times: int, seed: int) -> pl.DataFrame:
    """A table some rows of which stand in it several times, under ids of their own."""
    whole = table(task, 240, seed).drop("g", "t")
    some = whole.sample(fraction=0.5, seed=seed)
    both = pl.concat([whole, *[some] * (times - 1)])
    return both.with_columns(row_id=pl.Series([f"r{i}" for i in range(both.height)]))


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(TASKS), st.integers(2, 6), st.integers(0, 99))
def test_copies_of_a_row_stand_on_one_side_of_every_division(task: str, times: int, seed: int) -> None:
    parts = parted(copied(task, times, seed), brief(seed))
    data, made = parts.development, parts.split
    assert parts.test is not None
    assert data.copies is not None
    names = [c.name for c in data.schema.columns if c.role == "feature"]

    def apart(*sides: pl.DataFrame) -> bool:
        one, other = (set(side.select(names).rows()) for side in sides)
        return not one & other

    assert data.frame.select(names).is_duplicated().any()
    assert apart(data.frame, parts.test.frame)
    assert 0.1 < len(parts.test) / (len(data) + len(parts.test)) < 0.3
    dealt = blocks(len(data), seed, data.units())
    assert all(apart(data.frame.filter(dealt == k), data.frame.filter(dealt != k)) for k in np.unique(dealt))
    scored: list[int] = []
    for fold in made.folds:
        assert apart(data.frame[fold.train], data.frame[fold.score])
        assert apart(*(data.frame[rows] for rows in inner(data, fold.train, 0.2, seed)))
        scored += fold.score.tolist()
    assert sorted(scored) == list(range(len(data)))


def test_forward_in_time_no_row_sees_the_label_of_its_copy_in_a_mean() -> None:
    rows = copied("binary", 3, 0)
    rng = np.random.default_rng(0)
    whole = parted(rows.with_columns(t=pl.Series(rng.integers(0, 40, rows.height) * 1.0)), brief(time="t"))
    data = whole.development
    assert data.units() is None  # days, not copies, stand on one side of a division
    alike = folds._alike(data)
    assert alike is not None
    names = [c.name for c in data.schema.columns if c.role == "feature"]
    dealt = blocks(len(data), 0, alike)
    sides = [set(data.frame.filter(dealt == k).select(names).rows()) for k in np.unique(dealt)]
    assert all(not one & other for i, one in enumerate(sides) for other in sides[:i])
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "blocks", lambda rows, seed, groups: seen.append(groups) or blocks(rows, seed, groups))
        Tabular().fit(candidate("lightgbm", rounds=2), whole.blind(), 0)
    assert seen
    assert all(groups is not None for groups in seen)


def test_rows_that_repeat_by_chance_are_no_copies() -> None:
    rng = np.random.default_rng(0)
    coarse = pl.DataFrame({f"c{i}": rng.choice(list("abc"), 500) for i in range(4)})
    coarse = coarse.with_columns(label=pl.Series(rng.choice(["yes", "no"], 500)))
    data = read_data(coarse, brief())
    assert data.frame.drop("label").n_unique() < 100
    assert copies(data) is None
    assert copies(read_data(table("binary"), brief())) is None


def test_copies_differ_in_nothing_but_label_and_id() -> None:
    whole = pl.concat([table("regression", 60)] * 2).with_columns(label=pl.int_range(120) * 1.0)
    found = copies(read_data(whole, brief()))
    assert found is not None
    assert found.max() + 1 == 60
    assert (found[:60] == found[60:]).all()


def test_copies_of_a_noisy_table_do_not_make_its_scores_better() -> None:
    """Of a label that is all chance, copies across folds are learnt by heart, and copies kept together are not."""
    rng = np.random.default_rng(0)
    noise = pl.DataFrame({"x": rng.normal(size=400), "z": rng.normal(size=400), "label": rng.choice(["a", "b"], 400)})
    parts = parted(pl.concat([noise] * 3), brief()).blind()
    data = parts.development
    dealt = rng.permutation(len(data)) % 3
    folds = tuple(Fold(np.flatnonzero(dealt != k), np.flatnonzero(dealt == k)) for k in range(3))
    apart = replace(parts, development=replace(data, copies=None), split=replace(parts.split, folds=folds))
    right = []
    for given_ in (parts, apart):
        fitted = Tabular().fit(candidate("lightgbm", leaves=31), given_, 0, rounds=(60, 60, 60))
        right.append(float(np.mean((fitted.scores[:, 0] > 0) == data.truth())))
    assert 0.4 < right[0] < 0.6
    assert right[1] > 0.75
