"""Turned splits: most rows find them false, and every row ends in the leaf it ended in before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.families.tabular.forest_graph import turn
from modelyard.families.tabular.inputs import read_inputs
from modelyard.families.tabular.libraries import library
from modelyard.families.tabular.models import load_models
from modelyard.families.tabular.tabular import Tabular
from modelyard.families.turned import straight, turned
from tabular_cases import candidate, frame, parts
from test_tabular_symmetric import walk

SINGLES = st.floats(width=32, allow_nan=False, allow_subnormal=True)


@given(SINGLES, SINGLES)
def test_a_turned_threshold_parts_the_same_numbers(x, threshold):
    x, t = np.float32(x), np.array([threshold], dtype=np.float32)
    if t < np.inf:
        assert straight(turned(t)) == t
        assert (-x <= turned(t)) == (x > t)


@pytest.mark.parametrize("algorithm", ["lightgbm", "xgboost", "catboost"])
def test_trees_are_turned_so_that_most_rows_go_right_and_no_row_ends_elsewhere(algorithm):
    split = parts("regression", frame("regression", strings=False)).blind()
    model = load_models(Tabular().fit(candidate(algorithm, derived=False), split, 0))[0]
    forest = library(algorithm).forest(model.text)
    forest.threshold[forest.roots[:3]] = np.inf, -np.inf, np.finfo(np.float32).max
    inner = forest.feature >= 0
    one = turn(forest, 5)
    right = one.mass[one.right] >= one.mass[one.left]
    assert (right | (one.threshold == np.inf))[inner].all()
    assert not (forest.mass[forest.right] >= forest.mass[forest.left])[inner].all()
    np.testing.assert_allclose(
        (forest.mass[forest.left] + forest.mass[forest.right])[inner], forest.mass[inner], rtol=1e-5
    )
    x = read_inputs(split.development, ()).numbers[:60].copy()
    x[:20][np.random.default_rng(0).random((20, 5)) < 0.3] = np.nan
    x[20:22], x[22:40] = [[np.inf], [-np.inf]], np.random.default_rng(0).choice(forest.threshold[inner], (18, 5))
    np.testing.assert_array_equal(walk(one, np.concatenate([x, -x], axis=1), 1), walk(forest, x, 1))
