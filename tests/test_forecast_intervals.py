"""Intervals hold what they promise, and are left out where they could not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from modelyard.families.forecast.conformal import COVERAGES, radii


@pytest.mark.parametrize("coverage", COVERAGES)
def test_coverage_holds_over_many_draws(coverage):
    rng = np.random.default_rng(3)
    horizon, draws, covered = 6, 400, 0.0
    steps = np.tile(np.arange(1, horizon + 1), 40)
    for _ in range(draws):
        errors = np.abs(rng.standard_t(4, steps.size)) * np.sqrt(steps)
        coming = np.abs(rng.standard_t(4, horizon)) * np.sqrt(np.arange(1, horizon + 1))
        covered += np.mean(coming <= radii(errors, steps, horizon, coverage))
    # Split conformal: at least the nominal share; at most a little more (1 / (n + 1), and widths that never fall).
    standard_error = np.sqrt(coverage / 100 * (1 - coverage / 100) / (draws * horizon))
    assert coverage / 100 - 3 * standard_error <= covered / draws <= coverage / 100 + 0.04 + 3 * standard_error


@given(
    errors=arrays(np.float64, 60, elements=st.floats(0, 1e6)),
    steps=arrays(np.int64, 60, elements=st.integers(1, 8)),
)
def test_wider_for_more_coverage_and_for_later_steps(errors, steps):
    widths = [radii(errors, steps, 8, coverage) for coverage in COVERAGES]
    for width in widths:
        assert (np.diff(width) >= 0).all()
    assert (widths[0] <= widths[1]).all()


@pytest.mark.parametrize(("coverage", "least"), [(80, 4), (90, 9), (95, 19)])
def test_too_few_past_forecasts_give_no_bound(coverage, least):
    errors, steps = np.ones(least), np.ones(least, dtype=np.int64)
    assert np.isfinite(radii(errors, steps, 3, coverage)).all()
    assert np.isnan(radii(errors[1:], steps[1:], 3, coverage)).all()


def test_errors_that_are_not_known_do_not_count():
    errors = np.array([np.nan] * 50 + [1.0] * 3)
    assert np.isnan(radii(errors, np.ones(53, dtype=np.int64), 2, 80)).all()
