"""Rows made to catch a packed model out: what they hold; every kind of member passes them, and a fault does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from bundles import ROW, bundle, table
from modelyard.bundle.adversarial import UNSEEN, adversarial
from modelyard.bundle.parity import check_parity, coarseness, graph_thresholds
from modelyard.bundle.runtimes.onnx import OnnxRuntime
from modelyard.core.errors import GateFailed, RowError
from modelyard.encoding.encoding import Encoding
from modelyard.families.tabular import lightgbm_trees
from modelyard.families.tabular.labels import loss_parameters
from modelyard.families.tabular.tabular import Tabular
from modelyard.metrics.find import metric
from tabular_cases import LIBRARIES, TASKS, blend, candidate, parts, raw
from test_tabular_losses import METRICS, blended, divided

CASES = (*TASKS, *METRICS)


def test_hard_values_stand_where_models_part() -> None:
    data = table("binary")
    points = {"income": np.array([1e4, 5e4], dtype=np.float32), "joined.days": np.array([19_500.25], dtype=np.float32)}
    made = adversarial(data, points, 4_000, np.random.default_rng(0))
    assert made.frame.schema == data.frame.schema
    assert made.frame.equals(adversarial(data, points, 4_000, np.random.default_rng(0)).frame)
    income = set(made.frame["income"].to_list())
    for point in points["income"]:
        single, double = np.nextafter(point, np.float32(np.inf)), np.nextafter(np.float64(point), -np.inf)
        assert {float(point), float(single), float(double)} <= income
    ages = made.frame["age"].drop_nulls().to_numpy()
    assert {2.0**63, -(2.0**53) - 2, 1e39, 5e-324, float(np.finfo(np.float64).max)} <= set(ages.tolist())
    assert (np.signbit(ages) & (ages == 0)).any()
    assert np.isfinite(ages).all()
    assert {UNSEEN, "Bergen ", "Bergen\0", "bERGEN", None} <= set(made.frame["city"].to_list())
    days = made.frame["joined"].drop_nulls()
    assert (days.min(), days.max()) == (datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999))
    near = (days - (datetime(1970, 1, 1) + timedelta(days=19_500.25))).abs()
    assert int((near <= timedelta(minutes=5)).sum()) > 50
    # Most rows stay near real ones, so that splits far down a tree are reached.
    same = pl.select(made.frame["age"].is_in(data.frame["age"].implode())).to_series().mean()
    assert isinstance(same, float)
    assert same > 0.5


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_member_answers_hard_rows_as_its_library_does(case: str) -> None:
    split = divided(case, 400) if case in METRICS else parts(case)
    given = loss_parameters(metric(case)) if case in METRICS else {}
    members = [Tabular().fit(candidate(name, **given), split.blind(), 0) for name in LIBRARIES]
    data = split.development
    encoding = Encoding.of(data.schema, moments=True)
    deviation = 1.0 if data.schema.classes else float(data.truth().std())
    for chosen in (*([one] for one in members), members):
        mixed = blended(chosen, case) if case in METRICS else blend(case, chosen)
        graph = Tabular().export(mixed, data).files["model.onnx"]
        runtime = OnnxRuntime(graph, encoding, max(1, len(data.schema.classes)))
        facts = check_parity(
            runtime,
            lambda rows, mixed=mixed: mixed.answer(raw(mixed, rows)),
            data,
            deviation,
            graph_thresholds(graph, encoding),
            0,
        )
        assert facts["adversarial"] > facts["missing"] > 0


def test_the_exponential_of_a_large_score_is_as_near_as_float32_holds_it() -> None:
    """A sum of logarithms in float32 alone is off by several of its steps, and its exponential by tens."""
    split = divided("poisson_deviance", 400)
    given = loss_parameters(metric("poisson_deviance"))
    fitted = Tabular().fit(candidate("linear", **given), split.blind(), 0)
    mixed, data = replace(blended([fitted], "poisson_deviance"), scale=40.0), split.development
    runtime = OnnxRuntime(Tabular().export(mixed, data).files["model.onnx"], Encoding.of(data.schema, moments=True), 1)
    expected = mixed.answer(raw(mixed, data))
    assert np.log(expected).max() > 30
    assert np.abs(runtime.frame(data.frame)[:, 0] / expected - 1).max() < np.finfo(np.float32).eps


def test_an_exponential_is_held_to_the_steps_of_what_it_is_taken_of() -> None:
    """A label that is mostly zero has a small deviation and, in a few rows, large answers."""
    scores = np.linspace(-20, 80, 10_001)
    beside = np.nextafter(scores.astype(np.float32), np.float32(np.inf)).astype(np.float64)
    answers, apart = np.exp(scores), np.exp(beside) - np.exp(scores)
    assert (apart <= coarseness(answers[:, None], logarithm=True)).all()
    assert (apart > coarseness(answers[:, None])).any()
    assert (coarseness(answers[:, None], logarithm=True) <= 1e-4 * answers).all()
    assert np.isfinite(coarseness(np.zeros((1, 1)), logarithm=True)).all()


def test_a_graph_that_takes_the_least_numbers_at_their_word_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """LightGBM reads what is nearer to 0 than 1e-35 as 0; no real row of most tables shows whether the graph does."""
    split = parts("binary")
    data, encoding = split.development, Encoding.of(split.development.schema, moments=True)
    mixed = blend("binary", [Tabular().fit(candidate("lightgbm"), split.blind(), 0)])
    monkeypatch.setattr(lightgbm_trees, "_beside_zero", lambda threshold: threshold)
    graph = Tabular().export(mixed, data).files["model.onnx"]
    runtime = OnnxRuntime(graph, encoding, 2)
    with pytest.raises(GateFailed, match="a row of values hard to answer"):
        check_parity(runtime, lambda rows: mixed.answer(raw(mixed, rows)), data, 1.0, {}, 0)


def test_one_row_with_half_a_character_is_refused_and_not_answered_by_an_accident(tmp_path) -> None:
    packed = bundle(tmp_path / "b")
    with pytest.raises(RowError, match="half a surrogate pair"):
        packed.predict({**ROW, "city": "\ud800"})
    packed.predict({**ROW, "city": "Troms\u00f8\0"})
