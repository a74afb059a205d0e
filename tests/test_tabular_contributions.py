"""Contributions: they sum to the calibrated raw score, and belong to the columns that moved it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from modelyard.bundle.contributions import contributions
from modelyard.core.errors import BundleError
from modelyard.encoding.encoding import Encoding
from modelyard.families.tabular.tabular import Tabular
from tabular_cases import LIBRARIES, TASKS, blend, candidate, frame, inputs_of, parts, raw, write


@pytest.mark.parametrize("task", TASKS)
def test_base_and_contributions_sum_to_the_calibrated_raw_score(task, tmp_path):
    split = parts(task)
    members = [Tabular().fit(candidate(name), split.blind(), 0) for name in LIBRARIES]
    scale = 1.0 if task == "regression" else 1.3
    mixed = blend(task, members, scale=scale, offset=0.25)
    exported = Tabular().export(mixed, split.development)
    base, parts_ = contributions(write(exported, tmp_path), exported.facts, inputs_of(split.test))
    score = scale * raw(mixed, split.test) + 0.25
    assert parts_.shape == (len(split.test), score.shape[1], len(split.test.schema.features))
    np.testing.assert_allclose(base + parts_.sum(axis=2), score, rtol=1e-4, atol=1e-5)
    assert np.abs(base - base[0]).max() < 1e-9
    moved = dict(zip(exported.facts["columns"], np.abs(parts_).mean(axis=(0, 1)), strict=True))
    assert moved["plain"] > 3 * moved["counts"]


def test_parts_of_a_date_and_ignored_columns_keep_their_names(tmp_path):
    table = frame("binary", 300).with_columns(
        pl.datetime_range(pl.datetime(2020, 1, 1), pl.datetime(2030, 1, 1), "37h", eager=True)[:300].alias("seen")
    )
    split = parts("binary", table)
    mixed = blend("binary", [Tabular().fit(candidate("xgboost"), split.blind(), 0)])
    exported = Tabular().export(mixed, split.development)
    base, found = contributions(write(exported, tmp_path), exported.facts, inputs_of(split.test))
    assert len(Encoding.of(split.test.schema).numbers) > 6
    assert exported.facts["columns"] == [c.name for c in split.test.schema.features]
    np.testing.assert_allclose(base + found.sum(axis=2), raw(mixed, split.test), rtol=1e-4, atol=1e-5)


def test_a_bundle_without_an_explanation_says_so(tmp_path):
    with pytest.raises(BundleError, match="nothing to explain"):
        contributions(tmp_path, {"columns": []}, {"numbers": np.zeros((1, 1), dtype=np.float32)})
