"""Weights of classes a brief asks for: what they are refused for, what they change in fits, and what they leave."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import yaml

from modelyard.brief.brief import Brief, DataBrief
from modelyard.brief.read import read_brief
from modelyard.brief.write import brief_text
from modelyard.core.errors import BriefError
from modelyard.data.read import read_data
from modelyard.families.tabular.tabular import Tabular
from modelyard.selection.select import select
from modelyard.selection.show import plan_lines
from tabular_cases import LIBRARIES, candidate, frame, parts


def asking(weights: object) -> Brief:
    return read_brief({"data": {"label": "label", "class_weights": weights}})


@pytest.mark.parametrize(
    ("weights", "read"), [({"yes": 5, "1": "50%"}, {"yes": 5.0, "1": 0.5}), ("Balanced", "balanced")]
)
def test_a_brief_says_what_classes_weigh(weights, read):
    asked = asking(weights)
    assert asked.data.class_weights == read
    assert read_brief(yaml.safe_load(brief_text(asked, {}))) == asked


@pytest.mark.parametrize(
    ("weights", "what"),
    [
        ("even", "must be classes with numbers"),
        (["yes"], "must be classes with numbers"),
        ({"yes": 0}, "'data.class_weights.yes' is out of range"),
        ({"yes": "much"}, "'data.class_weights.yes' must be a number"),
        ({"yes": 1e7}, "'data.class_weights.yes' is out of range"),
    ],
)
def test_weights_that_are_none_are_refused(weights, what):
    with pytest.raises(BriefError, match=what):
        asking(weights)


@pytest.mark.parametrize(
    ("task", "what", "hint"),
    [
        ("binary", "The label has no class 'yess'.", "Did you mean 'yes'?"),
        ("regression", "The label holds numbers, which have no classes to weigh.", "data.weight"),
    ],
)
def test_classes_that_are_not_there_are_refused(task, what, hint):
    with pytest.raises(BriefError, match=what) as caught:
        read_data(frame(task), Brief(data=DataBrief(label="label", class_weights={"yess": 2.0})))
    assert hint in str(caught.value)


@pytest.mark.parametrize("algorithm", LIBRARIES)
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_class_weighs_as_rows_of_that_weight_do_and_keeps_its_share(task, algorithm):
    weights = {"binary": {"no": 1.0, "yes": 5.0}, "multiclass": {"high": 4.0, "low": 1.0, "mid": 0.5}}[task]
    table = frame(task, 600, strings=False)
    split = parts(task, table).blind()
    weighted = parts(task, table.with_columns(w=pl.col("label").replace_strict(weights)), weight="w").blind()
    asked = [weights[name] for name in split.development.schema.classes]
    of_class = Tabular().fit(candidate(algorithm, derived=False, class_weights=asked), split, 0).scores
    of_rows = Tabular().fit(candidate(algorithm, derived=False), weighted, 0).scores
    moved = (of_rows - of_class)[np.isfinite(of_class).all(axis=1)]
    expected = np.log(asked[1] / asked[0]) if task == "binary" else np.log(asked)
    if task == "multiclass":  # scores of several classes tell by their differences
        moved, expected = moved - moved[:, :1], expected - expected[0]
    # Shares are smoothed by half a row, which is another part of rows that weigh otherwise.
    np.testing.assert_allclose(moved, np.broadcast_to(expected, moved.shape), rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("weights", "parameters"), [("balanced", {"balanced": True}), ({"yes": 5.0}, {"class_weights": [1.0, 5.0]})]
)
def test_every_candidate_is_fitted_with_the_weights_and_the_plan_says_so(weights, parameters):
    table = frame("binary", 900).with_columns(
        pl.when(pl.int_range(900) % 10 == 0).then(pl.lit("yes")).otherwise(pl.lit("no")).alias("label")
    )
    plan = select(asking(weights), read_data(table, asking(weights)))
    assert len(plan.candidates) > 1
    for one in plan.candidates:
        assert one.parameters.items() >= parameters.items()
        assert "balanced" not in one.space
    said = "classes weigh: yes 5, others 1" if isinstance(weights, dict) else "all classes weigh the same"
    assert f"in every fit {said}" in " ".join(" ".join(plan_lines(plan, "stratified")).split())
