"""The mean or its logarithm: chosen by out-of-fold squared error, one for all members, replayed, packed, explained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from modelyard.brief.brief import Brief, Budget, DataBrief, Validation
from modelyard.data.read import read_data
from modelyard.data.splitting import split
from modelyard.families.tabular.portfolio import logarithm
from modelyard.families.tabular.tabular import Tabular
from modelyard.selection.document import architecture_document
from modelyard.selection.select import select
from modelyard.training.calibration import fit_calibration
from modelyard.training.document import training_document
from modelyard.training.loss import Loss
from modelyard.training.recipe import read_recipe, write_recipe
from modelyard.training.train import train
from tabular_cases import PARAMETERS, raw, run_graph, session

ROWS = 1_200


def table(answer):
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, 4))
    return pl.DataFrame({**{f"x{i}": x[:, i] for i in range(4)}, "y": answer(x, random)})


def product(x, random):
    effects = 0.9 * np.abs(x[:, 0]) + 0.7 * np.sin(2 * x[:, 1]) + 0.5 * (x[:, 2] > 0) + 0.3 * np.cos(2 * x[:, 3])
    return np.exp(1.0 + effects) * random.gamma(20.0, 1 / 20.0, ROWS)


def total(x, random):
    return 30.0 + x @ [4.0, 3.0, 2.0, 1.0] + random.normal(0, 1.0, ROWS)


def wide_total(x, random):
    return np.maximum(0.0, total(3.0 * x, random))


def trained(frame, tmp_path, *, replay=None, **asked):
    path = tmp_path / "t.parquet"
    frame.write_parquet(path)
    asked = {"budget": Budget(600.0, 0), "validation": Validation(folds=4), **asked}
    brief = Brief(use_case="t", data=DataBrief(path=str(path), label="y"), **asked)
    data = read_data(None, brief)
    parts = split(data, brief)
    plan = select(brief, data, parts=parts)
    quick = [c for c in plan.candidates if c.name in ("lightgbm", "catboost", "linear")]
    quick = [replace(c, parameters={**c.parameters, **PARAMETERS[c.parameters["algorithm"]]}) for c in quick]
    return train(replace(plan, candidates=tuple(quick)), parts, replay=replay), parts


@pytest.fixture(scope="module")
def multiplied(tmp_path_factory):
    return trained(table(product), tmp_path_factory.mktemp("product"))


def test_effects_that_multiply_are_learnt_as_logarithms_by_every_member(multiplied):
    run, parts = multiplied
    assert run.blend.link == "log"
    assert {one.candidate.parameters["loss"] for one, _ in run.blend.members} == {"tweedie"}
    scored = {entry.name: entry for entry in run.leaderboard if np.isfinite(entry.score)}
    first = next(name for name in scored if name.startswith("lightgbm") and name.endswith("-log"))
    usual = first.removesuffix("-log")
    assert {"linear-log", "catboost-log", usual} <= set(scored)
    assert scored[first].score < scored[usual].score  # both in the label's unit
    assert scored[usual].why.startswith("put aside: learning the logarithm of the mean takes over 0.2%")
    assert run.answers.min() > 0
    error = np.sqrt(np.mean(np.square(run.answers - parts.development.truth())))
    assert run.score == pytest.approx(error)
    assert run.score <= min(entry.score for entry in scored.values()) * 1.01
    text = training_document(run, parts).markdown()
    assert "Members learn the logarithm of the mean" in text
    assert "deviance" not in text.split("## Blend and calibration")[1].split("\n## ")[0]
    factored = replace(run, blend=replace(run.blend, offset=(0.5,)))
    assert "times 1.649: the factor of least squared error" in training_document(factored, parts).markdown()
    drawn = architecture_document(factored.plan, factored).markdown().split("## Candidates")[0]
    assert "shift 0.5" in drawn
    assert "exponential" in drawn


def test_the_graph_answers_as_the_members_do(multiplied):
    run, parts = multiplied
    made = Tabular().export(run.blend, parts.development)
    expected = run.blend.answer(raw(run.blend, parts.test))
    found = run_graph(session(made), parts.test)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * parts.development.truth().std())


def test_a_recipe_gives_the_same_model(multiplied, tmp_path):
    run, _ = multiplied
    write_recipe(run, tmp_path)
    again, parts = trained(table(product), tmp_path, replay=read_recipe(tmp_path / "recipe.json"))
    assert (again.blend.link, again.blend.offset) == (run.blend.link, run.blend.offset)
    one, other = (Tabular().export(blend, parts.development).files["model.onnx"] for blend in (run.blend, again.blend))
    assert one == other


def test_effects_that_add_are_learnt_as_they_are(tmp_path):
    run, _ = trained(table(wide_total), tmp_path)
    assert run.blend.link == "identity"
    why = {entry.name: entry.why for entry in run.leaderboard}
    aside = next(why[name] for name in why if name.startswith("lightgbm") and name.endswith("-log"))
    assert aside.startswith("put aside after 2 of 4 folds: it takes -")
    assert not {"linear-log", "catboost-log"} & set(why)


def test_the_other_way_is_only_tried_where_it_means_something(tmp_path):
    assert logarithm(np.array([0.0, 1.0, 5.0])) is not None
    assert logarithm(np.array([-1e-9, 1.0, 5.0])) is None
    assert logarithm(np.array([99.0, 100.0, 101.0])) is None
    assert logarithm(np.zeros(3)) is None
    for frame, asked in ((table(total), {}), (table(product), {"metric": "mae"})):
        run, _ = trained(frame, tmp_path, **asked)
        assert not [entry for entry in run.leaderboard if entry.name.endswith("-log")]


def test_a_calibrated_logarithm_has_the_factor_of_least_squares():
    random = np.random.default_rng(0)
    scores = random.normal(size=(500, 1))
    truth = 3.0 * np.exp(scores[:, 0]) + random.normal(0, 0.1, 500)
    loss = Loss("squared_error", truth, random.uniform(0.5, 1.5, 500), link="log")
    found = fit_calibration(scores, loss)
    best = loss(found(scores))
    assert found.scale == 1.0
    assert found.offset[0] == pytest.approx(np.log(3.0), abs=0.01)
    for factor in (0.999, 1.001):
        assert best < loss(found(scores) + np.log(factor))
