"""P-values on counts agree with scipy's, and hold what they promise without drift."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import special, stats

from modelyard.data.significance import (
    benjamini_hochberg,
    beyond,
    chi_squared,
    chi_squared_tail,
    kolmogorov,
    ks,
)

COUNTS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=30)


@given(x=st.floats(0, 20))
def test_kolmogorov_tail(x):
    assert kolmogorov(x) == pytest.approx(special.kolmogorov(x), rel=1e-9, abs=1e-14)


@given(x=st.floats(0, 5000), degrees=st.integers(1, 1000))
def test_chi_squared_tail(x, degrees):
    assert chi_squared_tail(x, degrees) == pytest.approx(stats.chi2.sf(x, degrees), rel=1e-7, abs=1e-13)


@given(counts=COUNTS)
def test_chi_squared_is_scipys(counts):
    a, b = np.array(counts, dtype=np.float64).T
    assume(a.sum() > 0 and b.sum() > 0 and ((a + b) > 0).sum() > 1)
    both = np.stack([a, b])[:, (a + b) > 0]
    expected = stats.chi2_contingency(both, correction=both.shape[1] == 2)
    exact = both.shape[1] == 2 and expected.expected_freq.min() < 5
    p_value = stats.fisher_exact(both.astype(int)).pvalue if exact else expected.pvalue
    assert chi_squared(a, b) == pytest.approx((expected.statistic, p_value), rel=1e-7, abs=1e-12)


@given(rows=st.integers(1, 60), missing=st.integers(0, 300), data=st.data())
def test_two_categories_are_exact_where_counts_are_small(rows, missing, data):
    now = data.draw(st.integers(0, rows))
    table = np.array([[float(missing), 4_000.0 - missing], [float(now), float(rows - now)]])
    assume(table[:, 0].sum() > 0 and rows * missing < 4_000)
    assert chi_squared(*table)[1] == pytest.approx(stats.fisher_exact(table.astype(int)).pvalue, rel=1e-6)


def test_two_rows_prove_little():
    # Both of two rows lack what 7.4 % of the reference lack: a chance of 0.0055, of which chi-squared made 0.0003.
    assert chi_squared(np.array([74.0, 926.0]), np.array([2.0, 0.0]))[1] == pytest.approx(0.0057, abs=2e-4)


@given(counts=COUNTS)
def test_ks_is_scipys_on_the_binned_values(counts):
    a, b = np.array(counts).T
    assume(a.sum() > 0 and b.sum() > 0)
    places = np.arange(len(a))
    expected = stats.ks_2samp(np.repeat(places, b), np.repeat(places, a), method="asymp")
    distance, p = ks(a.astype(float), b.astype(float))
    assert distance == pytest.approx(expected.statistic, abs=1e-12)
    n, m = a.sum(), b.sum()
    assert p == pytest.approx(special.kolmogorov(np.sqrt(n * m / (n + m)) * distance), abs=1e-12)
    # scipy corrects for small samples, which makes its p-value the smaller one: ours never alarms earlier.
    assert p >= expected.pvalue - 0.02


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=40), q=st.floats(0.001, 0.5))
def test_benjamini_hochberg_is_scipys(p_values, q):
    adjusted = stats.false_discovery_control(p_values)
    # Left out where rounding decides.
    assume(all(abs(a - q) > 1e-12 for a in adjusted))
    assert benjamini_hochberg(p_values, q) == [bool(a <= q) for a in adjusted]


def test_no_values_no_evidence():
    nothing, some = np.zeros(3), np.array([1.0, 2.0, 3.0])
    assert ks(some, nothing)[1] == chi_squared(some, nothing)[1] == 1.0
    assert chi_squared(np.array([5.0]), np.array([9.0])) == (0.0, 1.0)
    assert benjamini_hochberg([], 0.01) == []


@pytest.mark.parametrize(("window", "reference"), [(50, 200), (400, 100)])
def test_chance_of_passing_the_range(window, reference):
    random = np.random.default_rng(7)
    draws = random.random((4000, window + reference))
    passed = (draws[:, :window] > draws[:, window:].max(axis=1, keepdims=True)).sum(axis=1)
    for count in (1, 2, 3):
        assert (passed >= count).mean() == pytest.approx(beyond(count, window, reference), abs=0.025)
    assert beyond(0, window, reference) == pytest.approx(1.0)
