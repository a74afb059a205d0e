"""Derived numbers: chosen where they help, the same for all candidates, and in the graph the same to the last bit."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from modelyard.bundle.contributions import contributions
from modelyard.families.tabular import folds, learning
from modelyard.families.tabular.booster import Sample
from modelyard.families.tabular.derived import DIFFERENCE, PRODUCT, RATIO, SUM, Derived, Question, choose
from modelyard.families.tabular.labels import read_labels
from modelyard.families.tabular.memory import Memory
from modelyard.families.tabular.tabular import Tabular
from modelyard.families.whole import fit_whole
from tabular_cases import TASKS, blend, candidate, inputs_of, parts, raw, run_graph, session, whole, write

singles = st.floats(width=32, allow_nan=True, allow_infinity=False)


def ratio(task: str, rows: int = 1_500, gaps: bool = False) -> pl.DataFrame:
    """A label that follows the ratio of two numbers, beside a third that says nothing."""
    rng = np.random.default_rng(5)
    a, b, noise = rng.uniform(1, 9, rows), rng.uniform(1, 9, rows), rng.normal(size=rows)
    z = np.log(a / b) + rng.normal(scale=0.1, size=rows)
    label = z * 50.0 if task == "regression" else np.array(["no", "so", "yes"])[np.digitize(z, [-0.4, 0.4])]
    if task == "binary":
        label = np.where(z > 0.1, "yes", "no")
    if gaps:
        a[:40], b[40:80] = np.nan, 0.0
    return pl.DataFrame({"a": a, "b": b, "noise": noise, "label": label}, nan_to_null=True)


def single(rows: int = 1_500) -> pl.DataFrame:
    """A label that follows one number alone."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(rows, 3))
    return pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "label": np.where(x[:, 0] > 0.3, "yes", "no")})


@pytest.mark.parametrize("useful", [True, False])
@pytest.mark.parametrize(("loss", "power"), [("poisson", 1.0), ("tweedie", 1.1)])
def test_what_pairs_are_worth_does_not_hang_on_what_the_labels_alone_decide(loss, power, useful):
    """LightGBM's loss of right answers is far below zero for large counts, and far above it for `-log` candidates."""
    rng = np.random.default_rng(7)
    x = rng.uniform(1, 9, (3_000, 3)).astype(np.float32)
    mean = 200.0 + 20.0 * (x[:, 0] / x[:, 1] if useful else x[:, 0])
    y = rng.poisson(mean) * 1.0 if loss == "poisson" else mean * rng.normal(1, 0.03, 3_000)
    labels = read_labels(y, np.ones(3_000), 0, loss, power)
    told, _ = labels.of(y)
    learn, stop = (
        Sample(x[rows], told[rows], np.ones(len(rows)), np.tile(labels.start, (len(rows), 1)))
        for rows in np.split(np.arange(3_000), [2_400])
    )
    assert bool(len(choose(Question(loss, power, 1, learn, stop)).pairs)) == useful


@pytest.mark.parametrize("task", TASKS)
def test_a_ratio_is_found_and_lowers_the_loss(task, monkeypatch):
    split = parts(task, ratio(task)).blind()
    found = Tabular().fit(candidate("lightgbm"), split, 0)
    chosen = {tuple(pair) for pair in found.arrays["fold0.derived"].tolist()}
    assert chosen & {(RATIO, 0, 1), (RATIO, 1, 0)}
    monkeypatch.setattr(learning, "choose", lambda question, **_: Derived.none())
    without = Tabular().fit(candidate("lightgbm"), split, 0)
    assert not len(without.arrays["fold0.derived"])

    def loss(fitted):
        return folds.mean_loss(fitted.scores, split.development.truth(), np.ones(len(fitted.scores)))

    assert loss(found) < 0.9 * loss(without)


def test_a_sum_is_found() -> None:
    random = np.random.default_rng(8)

    def sample(count: int) -> Sample:
        x = random.normal(size=(count, 3)).astype(np.float32)
        return Sample(x, np.sign(x[:, 0] + x[:, 2]).astype(float), np.ones(count), np.zeros((count, 1)))

    found = choose(Question("squared", 0.0, 1, sample(3_000), sample(800)))
    assert (SUM, 0, 2) in {tuple(pair) for pair in found.pairs.tolist()}


@pytest.mark.parametrize("found", [3, 2, 1, 0])
def test_what_answers_has_derived_numbers_where_most_folds_had(found, monkeypatch):
    real, given, split = learning.choose, candidate("lightgbm"), parts("binary", ratio("binary")).blind()
    seen, every = [], len(split.development)

    def choose_in_some(question, *, asked=True):
        seen.append(asked)
        if len(question.learn.y) + len(question.stop.y) == every:  # one look at every row says the other thing
            return Derived.none() if asked == (found > 1) else real(question, asked=False)
        return real(question, asked=False) if len(seen) <= found else Derived.none()

    monkeypatch.setattr(learning, "choose", choose_in_some)
    monkeypatch.setattr(folds, "usable_cores", lambda: 1)
    fitted = Tabular().fit(given, split, 0)
    made = fit_whole(Tabular(), fitted, split, 0)
    assert sum(len(fitted.arrays[f"fold{i}.derived"]) > 0 for i in range(3)) == found
    assert all((len(made.arrays[f"fold{i}.derived"]) > 0) == (found > 1) for i in range(len(made.whole)))
    assert made.candidate == given


def test_without_asking_the_best_are_taken():
    random = np.random.default_rng(7)

    def sample(count):
        x = random.normal(size=(count, 3)).astype(np.float32)
        return Sample(x, x[:, 0].astype(float), np.ones(count), np.zeros((count, 1)))

    question = Question("squared", 0.0, 1, sample(1_200), sample(300))
    assert not len(choose(question).pairs)
    assert len(choose(question, asked=False).pairs)


def test_nothing_is_added_where_nothing_is_gained():
    fitted = Tabular().fit(candidate("lightgbm"), parts("binary", single()).blind(), 0)
    assert [len(fitted.arrays[f"fold{i}.derived"]) for i in range(3)] == [0, 0, 0]


def test_every_candidate_reads_the_same_derived_numbers():
    split = parts("binary", ratio("binary")).blind()
    fits = [Tabular().fit(candidate(name), split, seed) for seed, name in enumerate(("lightgbm", "xgboost"))]
    fits.append(Tabular().fit(candidate("catboost"), split, 2))
    for fold in range(3):
        first, *others = [fitted.arrays[f"fold{fold}.derived"] for fitted in fits]
        assert len(first)
        assert all(np.array_equal(first, other) for other in others)


def test_an_answer_holds_for_the_weights_it_was_given_for():
    x = np.random.default_rng(7).uniform(1, 9, size=(1_500, 2)).astype(np.float32)
    y = np.log(x[:, 0].astype(np.float64) / x[:, 1])
    turned = np.arange(1_500) % 2 == 0  # of the rows to stop by, half follow the ratio and half its opposite
    y[1_000:][turned[1_000:]] *= -1
    learn = Sample(x[:1_000], y[:1_000], np.ones(1_000), np.zeros((1_000, 1)))

    def kept(weight):
        stop = Sample(x[1_000:], y[1_000:], weight[1_000:], np.zeros((500, 1)))
        return len(choose(Question("squared", float("nan"), 1, learn, stop)).pairs)

    assert kept(np.where(turned, 1e-6, 1.0))
    assert not kept(np.where(turned, 1.0, 1e-6))


def test_an_answer_that_another_fit_has_pushed_out_meanwhile_is_no_fault():
    class Pushed(dict):
        """Held answers of which one is gone after the first look at it."""

        def __contains__(self, key):
            return self.pop(key, None) is not None

    memory = Memory(2, Pushed(one=1))
    assert memory.ask("one", lambda: 2) == 1
    for key in ("two", "three", "four"):
        assert memory.ask(key, lambda key=key: key) == key
    assert list(memory.held) == ["three", "four"]
    memory.ask("three", lambda: 0)
    memory.ask("five", lambda: 5)
    assert list(memory.held) == ["three", "five"]  # those asked last


@pytest.mark.parametrize("task", TASKS)
def test_the_graph_computes_them_as_training_did(task):
    split = parts(task, ratio(task, gaps=True))
    members = [whole(candidate(name), split.blind()) for name in ("lightgbm", "xgboost", "catboost", "linear")]
    mixed = blend(task, members)
    exported = Tabular().export(mixed, split.development)
    assert {"Sub", "Mul", "Div"} & {n.op_type for n in onnx.load_from_string(exported.files["model.onnx"]).graph.node}
    tolerance = 1e-5 * (split.development.truth().std() if task == "regression" else 1.0)
    assert np.abs(run_graph(session(exported), split.test) - mixed.answer(raw(mixed, split.test))).max() < tolerance


def test_what_a_ratio_moved_belongs_to_both_its_columns(tmp_path):
    split = parts("binary", ratio("binary"))
    mixed = blend("binary", [whole(candidate("xgboost"), split.blind())])
    exported = Tabular().export(mixed, split.development)
    base, found = contributions(write(exported, tmp_path), exported.facts, inputs_of(split.test))
    np.testing.assert_allclose(base + found.sum(axis=2), raw(mixed, split.test), rtol=1e-4, atol=1e-5)
    moved = dict(zip(exported.facts["columns"], np.abs(found).mean(axis=(0, 1)), strict=True))
    assert min(moved["a"], moved["b"]) > 5 * moved["noise"]


@settings(max_examples=200, deadline=None)
@given(arrays(np.float32, st.tuples(st.integers(1, 8), st.just(3)), elements=singles))
def test_arithmetic_of_any_numbers_is_the_graphs_to_the_last_bit(opened, numbers):
    model, derived = opened
    (answer,) = model.run(["derived"], {"numbers": numbers})
    np.testing.assert_array_equal(_bits(answer), _bits(derived.values(numbers)))
    assert not np.isinf(answer).any()


def _bits(values: np.ndarray) -> np.ndarray:
    """Return the bits of numbers; every NaN is as good as another."""
    return values.view(np.int32) * ~np.isnan(values)


@pytest.fixture(scope="module")
def opened():
    """A real export, opened at its derived numbers, and the same numbers in Python."""
    split = parts("binary", ratio("binary"))
    exported = Tabular().export(blend("binary", [whole(candidate("lightgbm"), split.blind())]), split.development)
    model = onnx.load_from_string(exported.files["model.onnx"])
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info("derived"))
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    pairs = [
        (kind, int(a), int(b))
        for kind, name in ((DIFFERENCE, "Sub"), (PRODUCT, "Mul"), (RATIO, "Div"), (SUM, "Add"))
        if f"{name}_first_of" in constants
        for a, b in zip(constants[f"{name}_first_of"], constants[f"{name}_second_of"], strict=True)
    ]
    return ort.InferenceSession(model.SerializeToString()), Derived(np.array(pairs, dtype=np.int64))
