"""Networks: replayed bit for bit, computed without torch, and one more part of the same graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from modelyard.bundle.contributions import contributions
from modelyard.core.errors import MissingExtra
from modelyard.core.optional import need
from modelyard.data.dataset import Parts
from modelyard.encoding.encoding import Encoding
from modelyard.families.checks import CHECKS, Case
from modelyard.families.fitted import Candidate, Fitted
from modelyard.families.tabular import network_training
from modelyard.families.tabular.booster import Request, Sample
from modelyard.families.tabular.inputs import Inputs, find_levels, read_inputs
from modelyard.families.tabular.labels import mean_loss
from modelyard.families.tabular.models import load_models
from modelyard.families.tabular.network import Network, Scaling
from modelyard.families.tabular.probe import Probe
from modelyard.families.tabular.tabular import Tabular
from tabular_cases import (
    TASKS,
    blend,
    brief,
    candidate,
    frame,
    inputs_of,
    parts,
    raw,
    rows_of,
    run_graph,
    session,
    whole,
    write,
)

torch = pytest.importorskip("torch", reason="torch is not installed: make test-nets")
TOLERANCE = 1e-5
NET = {
    "algorithm": "mlp",
    "batch": 32,
    "heads": 3,
    "width": 8,
    "depth": 2,
    "learning_rate": 0.05,
    "dropout": 0.1,
    "weight_decay": 0.02,
    "rounds": 6,
}


def net(**given: object) -> Candidate:
    return replace(candidate("linear"), name="mlp", parameters={**NET, **given})


def same(one: Fitted, other: Fitted) -> bool:
    return (
        one.rounds == other.rounds
        and one.facts == other.facts
        and np.array_equal(one.scores, other.scores, equal_nan=True)
        and one.arrays.keys() == other.arrays.keys()
        and all(np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)
    )


def deviation(split: Parts) -> float:
    data = split.development
    return float(data.truth().std()) if data.schema.task == "regression" else 1.0


def strange(split: Parts) -> object:
    """Rows of extremes, gaps, and levels unseen, empty and missing."""
    data = split.development
    encoding = Encoding.of(data.schema)
    base = data.frame.drop("label").row(0, named=True)
    rows = [base, dict.fromkeys(base)]
    for name in (n.name for n in encoding.numbers):
        rows += [{**base, name: v} for v in (None, 0.0, -0.0, 1e30, -1e30, 3.4e38, -3.4e38, 1e300, 1e-45, -1e-38)]
    for name in encoding.strings:
        rows += [{**base, name: v} for v in (None, "never seen", "RØD", " ", "city 3")]
    return rows_of(data, {name: [row[name] for row in rows] for name in base})


def smooth(rows: int = 1_500) -> pl.DataFrame:
    """Return a label made of a smooth interaction that no line follows."""
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(3, rows))
    return pl.DataFrame({"a": a, "b": b, "c": c, "label": a * b + np.sin(2 * c) + rng.normal(0, 0.1, rows)})


def request(split: Parts, rows: int = 200) -> tuple[Request, tuple[int, ...], Inputs]:
    levels = find_levels(split.development)
    inputs = read_inputs(split.development, levels).take(np.arange(rows))
    y = np.random.default_rng(1).normal(size=rows)
    sample = Sample(network_training.matrix(inputs), y, np.ones(rows), np.zeros((rows, 2)))
    return Request(NET, "squared", np.nan, 2, sample, None, 1, 5, np.inf), tuple(map(len, levels)), inputs


def test_smooth_interactions_are_learnt_where_a_line_sees_nothing():
    split = parts("regression", smooth()).blind()
    truth, ones = split.development.truth(), np.ones(len(split.development))
    line = Tabular().fit(candidate("linear"), split, 0)
    fitted = Tabular().fit(net(heads=4, width=32, learning_rate=0.1, dropout=0.0, rounds=20), split, 0)
    assert mean_loss(fitted.scores, truth, ones) < 0.5 * mean_loss(line.scores, truth, ones)


@pytest.mark.parametrize(
    ("named", "loss", "at"),
    [
        ({"loss": "absolute"}, "absolute", np.nan),
        ({"loss": "quantile", "level": 0.8}, "quantile", 0.8),
        ({"loss": "poisson", "power": 1.0}, "poisson", 1.0),
        ({"loss": "tweedie", "power": 1.5}, "tweedie", 1.5),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_every_loss_of_numbers_is_minimised(named, loss, at):
    drawn = np.random.default_rng(3).poisson(np.exp(0.7 * smooth()["label"].clip(-2, 2).to_numpy() + 1.0))
    split = parts("regression", smooth().with_columns(pl.Series("label", drawn.astype(float)))).blind()
    fitted = Tabular().fit(net(heads=4, width=32, learning_rate=0.1, dropout=0.0, rounds=20, **named), split, 0)
    truth, ones = split.development.truth(), np.ones(len(split.development))
    idle = Tabular().fit(net(rounds=20, **named), split, 0, rounds=(0, 0, 0))
    assert mean_loss(fitted.scores, truth, ones, loss, at) < 0.75 * mean_loss(idle.scores, truth, ones, loss, at)
    if loss == "quantile":
        assert np.mean(truth <= fitted.scores[:, 0]) == pytest.approx(0.8, abs=0.06)
    if loss in ("poisson", "tweedie"):
        assert np.exp(fitted.scores[:, 0]).mean() == pytest.approx(truth.mean(), rel=0.1)


def test_all_epochs_together_see_every_row_of_a_long_table():
    assert [network_training.epoch_rows(n) for n in (800, 60_000, 10_000_000)] == [800, 50_000, 156_250]


@pytest.mark.parametrize("task", TASKS)
def test_known_epochs_give_the_same_weights_bit_for_bit(task):
    split = parts(task).blind()
    first = Tabular().fit(net(), split, 3)
    assert len(first.rounds) == len(first.curves) == 3
    threads = torch.get_num_threads()
    torch.manual_seed(99)  # whatever else the process draws, a fit draws its own
    assert same(first, Tabular().fit(first.candidate, split, 3, rounds=first.rounds))
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert not np.array_equal(first.scores, Tabular().fit(net(), split, 4).scores)


def test_the_best_epoch_is_kept_and_curves_end_there():
    split = parts("binary").blind()
    fitted = Tabular().fit(net(learning_rate=0.5, rounds=16), split, 0)
    assert min(fitted.rounds) < 16
    for curve, rounds in zip(fitted.curves, fitted.rounds, strict=True):
        assert curve.steps[-1] == rounds
        assert curve.validation[-1] == min(curve.validation)


def test_a_late_fit_stops_and_its_epochs_replay():
    split = parts("binary").blind()
    late = replace(net(rounds=400), guard=-1.0)
    fitted = Tabular().fit(late, split, 0)
    assert fitted.rounds == (1, 1, 1)
    assert same(fitted, Tabular().fit(late, split, 0, rounds=fitted.rounds))


def test_a_fit_nobody_wants_any_more_ends():
    split = parts("binary").blind()

    class Enough(Exception):
        pass

    def stop(fold: int, loss: float) -> None:
        raise Enough

    with pytest.raises(Enough):
        Tabular().fit(net(rounds=2), split, 0, stop)
    asked, sizes, _ = request(split)
    asked.halted.set()
    assert network_training.fit_network(replace(asked, rounds=5_000), sizes).rounds == 1


def test_without_folds_and_forward_every_row_is_learnt_from():
    split = parts("binary").blind()
    whole = replace(split, split=replace(split.split, folds=()))
    fitted = Tabular().fit(net(), whole, 0)
    assert len(fitted.rounds) == 1
    assert same(fitted, Tabular().fit(net(), whole, 0, rounds=fitted.rounds))


def test_numpy_computes_what_torch_computes():
    split = parts("regression")
    asked, sizes, inputs = request(split)
    module = network_training.Module(asked, sizes)
    rows = module.rows(asked.learn)
    rng = np.random.default_rng(0)
    with torch.no_grad():  # nothing at zero, so that every part is looked at
        for one in module.parameters:
            one.add_(torch.from_numpy(rng.normal(0, 0.1, one.shape).astype(np.float32)))
        wanted = module.forward(rows).mean(1).numpy()
    found = module.network().raw(inputs)
    assert np.abs(found).max() > 0.1
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_arrays_bring_a_network_back():
    split = parts("binary")
    asked, sizes, inputs = request(split)
    network = network_training.fit_network(asked, sizes).network
    arrays = network.arrays()
    assert all(array.dtype == np.float32 for array in arrays.values())
    np.testing.assert_array_equal(Network.of(arrays).raw(inputs), network.raw(inputs))


def test_scaling_holds_any_number_within_a_few_units():
    seen = np.array([[1.0, 5.0, np.nan, 1e-41], [2.0, 5.0, np.nan, 2e-41], [4.0, 5.0, np.nan, 0.0]], dtype=np.float32)
    scaling = Scaling.fit(seen)
    extreme = np.array([[np.nan] * 4, [3.4e38] * 4, [-3.4e38] * 4], dtype=np.float32)
    found = scaling(extreme)
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 3
    np.testing.assert_array_equal(found[0], 0.0)
    np.testing.assert_array_equal(found[:, 1:], 0.0)  # constant, never there, too small to tell apart


@pytest.mark.parametrize("task", TASKS)
def test_a_graph_agrees_on_ordinary_and_strange_rows(task):
    split = parts(task)
    members = [Tabular().fit(net(), split.blind(), 0)]
    members += [
        replace(Tabular().fit(net(width=4, depth=1), split.blind(), 1), candidate=replace(net(), name="mlp-t1"))
    ]
    mixed = blend(task, members, scale=1.0 if task == "regression" else 1.4, offset=0.3)
    exported = Tabular().export(mixed, split.development)
    graph = session(exported)
    for rows in (split.test, strange(split)):
        assert np.abs(run_graph(graph, rows) - mixed.answer(raw(mixed, rows))).max() < TOLERANCE * deviation(split)
    assert Tabular().export(mixed, split.development).files == exported.files


def test_a_number_far_beyond_its_quartiles_does_not_overflow_in_the_graph():
    rng = np.random.default_rng(0)
    spiky = np.where(np.arange(320) % 9 == 0, 1e25, rng.normal(0, 1e-20, 320))
    split = parts("binary", frame("binary").with_columns(pl.Series("plain", spiky)))
    mixed = blend("binary", [Tabular().fit(net(), split.blind(), 0)])
    graph = session(Tabular().export(mixed, split.development))
    for rows in (split.test, strange(split)):
        assert np.abs(run_graph(graph, rows) - mixed.answer(raw(mixed, rows))).max() < TOLERANCE


def test_an_epoch_of_a_long_table_is_a_part_of_it(monkeypatch):
    split = parts("binary").blind()
    monkeypatch.setattr(network_training, "EPOCH_ROWS", 64)
    seen = []
    step = network_training.Module.step

    def counted(self, rows, chosen, progress):
        seen.append(len(chosen))
        assert 0 <= progress < 1
        return step(self, rows, chosen, progress)

    monkeypatch.setattr(network_training.Module, "step", counted)
    Tabular().fit(net(rounds=2), split, 0)
    assert seen == [32] * (2 * 2 * 3)


def test_the_probe_times_an_epoch_where_no_row_has_one_of_the_classes():
    data = parts("multiclass").development
    held = data.take(np.flatnonzero(data.truth() != 2))
    seconds = Probe(held, 0, {}).epoch_seconds(NET, 2_000)
    assert np.isfinite(seconds)
    assert seconds > 0


@pytest.mark.parametrize("task", TASKS)
def test_a_blend_of_networks_trees_and_a_line_is_one_graph(task, tmp_path):
    split = parts(task)
    members = [Tabular().fit(candidate(name), split.blind(), 0) for name in ("lightgbm", "linear")]
    members.append(Tabular().fit(net(), split.blind(), 0))
    mixed = blend(task, members, scale=1.0 if task == "regression" else 0.7, offset=0.25)
    exported = Tabular().export(mixed, split.development)
    graph = session(exported)
    for rows in (split.test, strange(split)):
        assert np.abs(run_graph(graph, rows) - mixed.answer(raw(mixed, rows))).max() < TOLERANCE * deviation(split)
    base, moved = contributions(write(exported, tmp_path), exported.facts, inputs_of(split.test))
    score = mixed.scale * raw(mixed, split.test) + 0.25
    np.testing.assert_allclose(base + moved.sum(axis=2), score, rtol=1e-4, atol=1e-4 * deviation(split))
    assert np.abs(base - base[0]).max() < 1e-9


def test_contributions_belong_to_the_columns_that_moved_the_answer(tmp_path):
    rng = np.random.default_rng(7)
    split = parts("regression", smooth().with_columns(pl.Series("idle", rng.normal(size=1_500))))
    fitted = Tabular().fit(net(heads=4, width=32, learning_rate=0.1, dropout=0.0, rounds=20), split.blind(), 0)
    exported = Tabular().export(blend("regression", [fitted]), split.development)
    _, moved = contributions(write(exported, tmp_path), exported.facts, inputs_of(split.test))
    share = dict(zip(exported.facts["columns"], np.abs(moved).mean(axis=(0, 1)), strict=True))
    assert min(share["a"], share["b"], share["c"]) > 2 * share["idle"]
    # What a column adds alone is what it adds: c has no part in an interaction.
    c = split.test.frame["c"].to_numpy()
    assert np.corrcoef(moved[:, 0, exported.facts["columns"].index("c")], np.sin(2 * c))[0, 1] > 0.9


@pytest.mark.parametrize(("numbers", "strings"), [(True, False), (False, True)])
def test_numbers_alone_and_categories_alone(numbers, strings):
    split = parts("binary", frame("binary", numbers=numbers, strings=strings))
    mixed = blend("binary", [Tabular().fit(net(), split.blind(), 0)])
    graph = session(Tabular().export(mixed, split.development))
    assert np.abs(run_graph(graph, split.test) - mixed.answer(raw(mixed, split.test))).max() < TOLERANCE


def test_a_gap_no_training_row_had_adds_only_what_the_median_does():
    split = parts("binary", frame("binary").with_columns(pl.col("holes").fill_null(0.0)))
    fitted = Tabular().fit(net(), split.blind(), 0)
    inputs = read_inputs(split.test, tuple(map(tuple, fitted.facts["levels"])))
    holed, filled = inputs.numbers.copy(), inputs.numbers.copy()
    for model in load_models(fitted):
        holed[:, 0] = np.nan
        filled[:, 0] = model.network.scaling.centre[0]
        one, other = (model.raw(Inputs(n, inputs.codes)) for n in (holed, filled))
        np.testing.assert_allclose(one, other, atol=1e-9)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("task", TASKS)
def test_conformance(task, check):
    split = parts(task)
    fitted = whole(net(), split.blind(), 1)

    def run(export, rows):
        return run_graph(session(export), rows)

    check(Case(Tabular(), brief(task), split, net(), fitted, run, TOLERANCE * deviation(split)))


def test_a_library_that_is_not_there_is_named_with_its_extra():
    with pytest.raises(MissingExtra, match=r"modelyard\[nets\]"):
        need("torch_that_is_not_there", "nets", "A network")
