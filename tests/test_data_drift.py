"""Drift: silent without a change, loud with one; measured by simulation, and by properties that must always hold."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.data.column import Column
from modelyard.data.dataset import Dataset
from modelyard.data.drift import corrected_psi, drift, pooled, psi, tenths
from modelyard.data.profile import ColumnProfile, Profile, profile
from modelyard.data.schema import Schema
from modelyard.data.significance import chi_squared, ks

COUNTS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=2, max_size=40)
SHARES = (0.4, 0.25, 0.15, 0.1, 0.05, 0.03, 0.015, 0.004, 0.001)
NUMBERS, CATEGORIES = 22, 8
REFERENCE_ROWS = 20_000


def counted(number: int, values: np.ndarray, edges: np.ndarray) -> ColumnProfile:
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
    return ColumnProfile(f"n{number}", "number", tuple(edges), (), tuple(counts.tolist()), 0)


class World:
    """Twenty-two numbers and eight categories, some values missing, from which weeks are drawn."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        values = [self.random.normal(size=REFERENCE_ROWS) for _ in range(NUMBERS)]
        self.edges = [np.quantile(v, np.arange(1, 20) / 20) for v in values]
        self.reference = self.profile(values)

    def profile(self, values, shares=SHARES, rows=REFERENCE_ROWS, missing=0.05) -> Profile:
        columns = [counted(i, v, e) for i, (v, e) in enumerate(zip(values, self.edges, strict=True))]
        for i in range(CATEGORIES):
            absent = self.random.binomial(rows, missing)
            levels = self.random.multinomial(rows - absent, shares).tolist()
            # The last level of the draw is one the reference does not list.
            names = tuple("abcdefgh")
            columns.append(ColumnProfile(f"c{i}", "category", (), names, tuple(levels), absent))
        return Profile(rows, tuple(columns))

    def week(self, rows: int, shift: float = 0.0, shares=SHARES, missing=0.05, columns: int = 1) -> Profile:
        values = [self.random.normal(shift if i < columns else 0.0, size=rows) for i in range(NUMBERS)]
        return self.profile(values, shares, rows, missing)


def raised(columns, *verdicts) -> list[str]:
    return [c.name for c in columns if c.verdict in verdicts or c.missing_verdict in verdicts]


@pytest.mark.parametrize("rows", [200, 2_000, 50_000])
def test_years_without_drift_are_silent(rows):
    years, alarms = 2, 0
    for year in range(years):
        world = World(year)
        before = None
        for _ in range(52 if rows < 50_000 else 10):
            week = world.week(rows)
            alarms += len(raised(drift(world.reference, week, before), "watch", "warning", "action"))
            before = week
    assert alarms <= 1  # at most one in two years over thirty columns


def test_the_usual_rules_are_not_silent_on_the_same_weeks():
    # Why the rule is what it is: each half of it alone cries wolf, in these very weeks.
    world = World(0)
    raw = tests = 0
    for _ in range(52):
        columns = drift(world.reference, world.week(200))
        raw += sum(c.values.psi > 0.1 for c in columns)
        tests += sum(c.values.p_value < 0.01 for c in columns)
    assert raw > 10
    assert tests >= 5


@pytest.mark.parametrize("rows", [500, 5_000])
def test_half_a_deviation_is_caught_in_its_first_week(rows):
    caught = 0
    for seed in range(12):
        world = World(seed)
        found = raised(drift(world.reference, world.week(rows, shift=0.5)), "warning", "action")
        caught += "n0" in found
        assert set(found) <= {"n0"}
    assert caught >= 11


def test_a_quarter_of_a_deviation_is_watched_in_its_second_week():
    caught = 0
    for seed in range(12):
        world = World(seed)
        weeks = [world.week(5_000, shift=0.25) for _ in range(2)]
        assert raised(drift(world.reference, weeks[0]), "action") == []
        caught += "n0" in raised(drift(world.reference, weeks[1], weeks[0]), "watch", "warning")
    assert caught >= 11


def test_a_harmless_wobble_of_a_large_window_is_no_alarm():
    world = World(1)
    before = world.week(200_000, shift=0.03, columns=NUMBERS)
    now = world.week(200_000, shift=0.03, columns=NUMBERS)
    columns = drift(world.reference, now, before)
    assert sum(c.values.significant for c in columns) > 10  # a test alone fires on almost every column
    assert raised(columns, "watch", "warning", "action") == []


def test_categories_that_move_and_values_that_go_missing():
    world = World(2)
    moved = (0.2, 0.45, *SHARES[2:])
    assert raised(drift(world.reference, world.week(2_000, shares=moved)), "warning", "action") == [
        f"c{i}" for i in range(CATEGORIES)
    ]
    gone = drift(world.reference, world.week(2_000, missing=0.3))
    assert {c.missing_verdict for c in gone if c.name.startswith("c")} == {"action"}
    assert {c.verdict for c in gone} == {"stable"}
    assert gone[-1].missing_now == pytest.approx(0.3, abs=0.05)


def test_a_level_never_seen_is_drift_of_its_column():
    names = ("a", "b")
    reference = Profile(1000, (ColumnProfile("c", "category", (), names, (600, 400, 0), 0),))
    window = Profile(1000, (ColumnProfile("c", "category", (), names, (500, 300, 200), 0),))
    (column,) = drift(reference, window)
    assert column.verdict == "action"


def wards(random: np.random.Generator, shares: np.ndarray, rows: int, like: Profile | None = None) -> Profile:
    drawn = pl.DataFrame({"ward": random.choice(len(shares), rows, p=shares)}).cast(pl.String)
    return profile(Dataset(drawn, Schema((Column("ward", "category", "feature", "string"),), "binary"), ""), like=like)


@pytest.mark.parametrize("zipf", [False, True])
@pytest.mark.parametrize(
    ("levels", "reference", "window"),
    [(300, 1_275, 225), (300, 10_000, 500), (300, 1_200, 20_000), (1_500, 6_000, 1_000)],
)
def test_many_levels_are_no_drift_by_chance(levels, reference, window, zipf):
    # What is frequent in the reference by luck is rarer afterwards: that alone must raise nothing.
    shares = 1 / np.arange(1, levels + 1) ** zipf
    shares /= shares.sum()
    random = np.random.default_rng(levels + reference)
    judged = []
    for _ in range(60):
        then = wards(random, shares, reference)
        judged += drift(then, wards(random, shares, window, then))
    assert np.mean([c.values.p_value < 0.05 for c in judged]) <= 0.14  # 0.05, and three errors of 60 draws
    assert raised(judged, "warning", "action") == []
    assert abs(np.mean([c.values.corrected for c in judged])) < 0.01


@pytest.mark.parametrize("zipf", [False, True])
def test_one_of_many_levels_that_gains_five_points_is_caught(zipf):
    shares = 1 / np.arange(1, 301) ** zipf
    shares /= shares.sum()
    moved = 0.95 * shares
    moved[150] += 0.05
    random = np.random.default_rng(5)
    caught = 0
    for _ in range(12):
        then = wards(random, shares, 10_000)
        caught += bool(raised(drift(then, wards(random, moved, 2_000, then)), "warning", "action"))
    assert caught == 12


@given(counts=COUNTS)
def test_psi_is_never_negative_and_zero_for_the_same(counts):
    a, b = np.array(counts, dtype=np.float64).T
    assert psi(a, b) >= 0
    assert psi(a, a) == 0
    assert psi(a, b) == pytest.approx(psi(b, a))
    assert corrected_psi(a, b) <= psi(a, b)


@given(counts=COUNTS)
def test_pooling_and_merging_lose_no_row(counts):
    a, b = np.array(counts, dtype=np.float64).T
    for merge in (pooled, tenths):
        c, d = merge(a, b)
        assert len(c) == len(d) <= len(a)
        assert (c.sum(), d.sum()) == (a.sum(), b.sum())
    c, d = pooled(a, b)
    share = (c + d) / max((c + d).sum(), 1)
    # At most the pool of rare ones is still small.
    assert ((share < 0.005) | (share * min(c.sum(), d.sum()) < 5)).sum() <= 1


@given(counts=COUNTS, swaps=st.randoms(use_true_random=False))
def test_the_order_of_levels_does_not_matter(counts, swaps):
    order = list(range(len(counts) - 1))
    swaps.shuffle(order)
    order.append(len(counts) - 1)  # the last stands for every other level

    def column(values):
        return ColumnProfile("c", "category", (), tuple(f"l{i}" for i in range(len(values) - 1)), tuple(values), 0)

    def one(chosen):
        pairs = [counts[i] for i in chosen]
        made = [Profile(sum(v), (column(v),)) for v in zip(*pairs, strict=True)]
        return drift(*made)[0].values

    first, second = one(range(len(counts))), one(order)
    assert first.psi == pytest.approx(second.psi)
    assert first.p_value == pytest.approx(second.p_value)


def test_few_rows_raise_nothing():
    world = World(3)
    assert raised(drift(world.reference, world.week(3)), "watch", "warning", "action") == []


def test_the_tests_keep_their_level_and_the_corrected_index_is_zero_on_average():
    random = np.random.default_rng(0)
    chi2_p, ks_p, index = [], [], []
    for _ in range(2000):
        one, other = (np.bincount(random.integers(0, 20, n), minlength=20).astype(float) for n in (5000, 800))
        chi2_p.append(chi_squared(one, other)[1])
        ks_p.append(ks(one, other)[1])
        index.append(corrected_psi(one, other))
    assert 0.035 < np.mean(np.array(chi2_p) < 0.05) < 0.065
    assert np.mean(np.array(ks_p) < 0.05) < 0.065  # binned: conservative
    assert abs(np.mean(index)) < 0.002
    shifted = np.bincount(np.minimum(random.integers(0, 20, 800) + 3, 19), minlength=20).astype(float)
    assert ks(one, shifted)[1] < 1e-6
    assert corrected_psi(one, shifted) > 0.25


@pytest.mark.parametrize(("one", "other"), [([0, 0], [3, 4]), ([3, 4], [0, 0]), ([0, 0], [0, 0])])
def test_no_rows_on_either_side_are_no_drift(one, other):
    a, b = pooled(np.array(one, dtype=float), np.array(other, dtype=float))
    assert corrected_psi(a, b) == 0.0
    assert np.isfinite(psi(a, b))
