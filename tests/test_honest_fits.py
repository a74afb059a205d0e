"""No row of an entity or of the future enters a fit that scores it: who taught each fit, and a planted leak."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from modelyard.brief.brief import Brief, Budget, DataBrief, Validation
from modelyard.core.errors import SplitError
from modelyard.data.dataset import Parts
from modelyard.data.read import read_data
from modelyard.data.splitting import split
from modelyard.evaluation.answers import answers
from modelyard.families.tabular import derived, folds, learning, linear
from modelyard.families.tabular.labels import mean_loss
from modelyard.families.tabular.libraries import library
from modelyard.families.tabular.tabular import Tabular
from modelyard.families.whole import fit_whole
from modelyard.selection.select import select
from modelyard.training import calibration
from modelyard.training.calibration import calibrate
from modelyard.training.loss import Loss
from modelyard.training.train import train
from tabular_cases import candidate

HOW: dict[str, dict[str, Any]] = {
    "rows": {},
    "group": {"group": "g"},
    "time": {"time": "t"},
    "group_time": {"group": "g", "time": "t"},
}
LEARNERS = ("linear", "lightgbm", "xgboost", "catboost")


@dataclass
class Taught:
    """Which rows each fit of each fold was shown: (fold, kind of fit) -> row numbers."""

    rows: dict[tuple[int, str], set[int]] = field(default_factory=dict)
    blocks: list[tuple[Any, Any]] = field(default_factory=list)
    """Rows of each cross-fit of category means, as codes, and their blocks."""
    of_texts: list[tuple[Any, Any]] = field(default_factory=list)
    """The same of each cross-fit of text figures, as row numbers."""
    fold: threading.local = field(default_factory=threading.local)

    def note(self, kind: str, numbers: Any) -> None:
        """Write down the rows of a fit by the column that numbers them."""
        self.rows.setdefault((self.fold.number, kind), set()).update(np.asarray(numbers).astype(int).tolist())


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch, place: int, level: int) -> Iterator[Taught]:
    """Watch every fit of the family; `place` is the number column, `level` the category column that names the row."""
    taught = Taught()
    real = {
        "one": folds._fit_one,
        "tables": learning.fit_tables,
        "cross": learning.cross_fit,
        "choose": learning.choose,
        "texts": learning.fit_texts,
    }

    def one(learning: Any, train: Any, number: int, rounds: Any) -> Any:
        taught.fold.number = number
        return real["one"](learning, train, number, rounds)

    def tables(codes: Any, *rest: Any) -> Any:
        taught.note("category tables", codes[:, level])
        return real["tables"](codes, *rest)

    def cross(inputs: Any, *rest: Any) -> Any:
        taught.note("cross-fitted means", inputs.codes[:, level])
        taught.blocks.append((inputs.codes[:, level], rest[-1]))
        return real["cross"](inputs, *rest)

    def texts(inputs: Any, *rest: Any) -> Any:
        taught.note("texts", inputs.numbers[:, place])
        taught.of_texts.append((inputs.numbers[:, place].astype(int), rest[-1]))
        return real["texts"](inputs, *rest)

    def choose(question: Any, **how: bool) -> Any:
        for kind, sample in (("derived numbers", question.learn), ("derived numbers, stop", question.stop)):
            taught.note(kind, sample.x[:, place])
        return real["choose"](question, **how)

    class Watching:
        def __init__(self, name: str) -> None:
            self.real = library(name)
            self.raw, self.forest = self.real.raw, self.real.forest

        def train(self, request: Any) -> Any:
            taught.note("trees", request.learn.x[:, place])
            if request.stop is not None:
                taught.note("early stopping", request.stop.x[:, place])
            return self.real.train(request)

    def of_linear(kind: str, fit: Callable[..., Any]) -> Callable[..., Any]:
        def fitting(*given: Any) -> Any:
            for rows in (r for r in given if isinstance(r, linear.Rows)):
                taught.note(kind, rows.inputs.codes[:, level])
            return fit(*given)

        return fitting

    with monkeypatch.context() as patch:
        patch.setattr(folds, "_fit_one", one)
        patch.setattr(learning, "fit_tables", tables)
        patch.setattr(learning, "cross_fit", cross)
        patch.setattr(learning, "choose", choose)
        patch.setattr(learning, "fit_texts", texts)
        patch.setattr(folds, "library", Watching)
        patch.setattr(folds.linear, "fit_path", of_linear("penalty", linear.fit_path))
        patch.setattr(folds.linear, "fit_linear", of_linear("line", linear.fit_linear))
        derived._MEMORY.held.clear()
        yield taught


def numbered(rows: int, entities: int, moments: int, seed: int, task: str) -> pl.DataFrame:
    """A table whose rows are named twice, by a number and by a category, so that a fit shows whom it was taught by."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    label = {
        "binary": np.where(x + rng.normal(size=rows) > 0, "yes", "no"),
        "multiclass": np.array(["a", "b", "c"])[np.digitize(x + rng.normal(size=rows), [-0.5, 0.5])],
        "regression": x + rng.normal(size=rows),
    }[task]
    return pl.DataFrame(
        {
            "a_number": rng.permutation(rows) * 1.0,
            "x": x,
            "g": [f"g{i}" for i in rng.integers(0, entities, rows)],
            "t": rng.integers(0, moments, rows) * 1.0,
            "said": [" ".join(rng.choice(["good", "bad", "late", "early", "quite", "never"], 5)) for _ in range(rows)],
            "label": label,
        }
    ).with_columns(a_level=pl.col("a_number").cast(pl.Int64).cast(pl.String).str.zfill(4))


def brief(folds: int = 3, gap: float = 0.0, seed: int = 0, **data: Any) -> Brief:
    types = {"a_level": "category", "a_number": "number", "said": "text"} if not data.pop("plain", False) else {}
    return Brief(
        data=DataBrief(label="label", types=types, **data), validation=Validation(folds=folds, gap=gap), seed=seed
    )


def parted(table: pl.DataFrame, asked: Brief) -> Parts:
    try:
        return split(read_data(table, asked), asked).blind()
    except SplitError:
        assume(False)
        raise


@pytest.mark.parametrize("algorithm", LEARNERS)
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("how", HOW)
@settings(max_examples=2, deadline=None)
@given(
    count=st.integers(2, 5),
    gap=st.sampled_from([0.0, 2.0]),
    seed=st.integers(0, 999),
)
def test_no_fit_is_taught_by_what_it_scores(
    how: str, task: str, algorithm: str, count: int, gap: float, seed: int
) -> None:
    asked = brief(count, gap if "time" in how else 0.0, seed, **HOW[how])
    parts = parted(numbered(400, 40, 30, seed, task), asked)
    data = parts.development
    of_row = {int(number): i for i, number in enumerate(data.frame["a_number"].to_list())}
    # Levels are sorted, so codes number them in the order of the row numbers there are.
    of_code = sorted(of_row)
    with pytest.MonkeyPatch.context() as patch, watched(patch, 0, 0) as taught:
        Tabular().fit(candidate(algorithm, rounds=4), parts, seed)
    enough = {i for i, fold in enumerate(parts.split.folds) if len(fold.train) >= 10}  # two rows teach nothing
    assert enough <= {fold for fold, _ in taught.rows}
    kinds = {kind for _, kind in taught.rows}
    assert kinds == (
        {"line", "penalty", "texts"}
        if algorithm == "linear"
        else {
            "trees",
            "early stopping",
            "category tables",
            "cross-fitted means",
            "derived numbers",
            "derived numbers, stop",
            "texts",
        }
    )
    groups, times = data.groups(), data.times()
    dealt = [([of_row[of_code[code]] for code in codes], block) for codes, block in taught.blocks]
    dealt += [([of_row[number] for number in numbers], block) for numbers, block in taught.of_texts]
    for rows, block in dealt:
        entity = np.arange(len(rows)) if groups is None else groups[rows]
        assert len(np.unique(block)) > 1 or len(np.unique(entity)) == 1  # of an early window's few rows
        if groups is not None:  # no mean of a row's category, no figure of its text comes from a row of its entity
            assert all(len(np.unique(block[entity == one])) == 1 for one in np.unique(entity))
    for (number, kind), seen in taught.rows.items():
        by_code = kind in ("category tables", "cross-fitted means", "line", "penalty")
        rows = np.array(sorted(of_row[of_code[one] if by_code else one] for one in seen))
        fold = parts.split.folds[number]
        assert set(rows.tolist()) <= set(fold.train.tolist()), kind
        assert not set(rows.tolist()) & set(fold.score.tolist()), kind
        if groups is not None:
            assert not set(groups[rows]) & set(groups[fold.score]), kind
        if times is not None:
            assert times[rows].max() < times[fold.score].min() - asked.validation.gap, kind


@pytest.mark.parametrize("how", HOW)
def test_no_calibration_is_fitted_on_what_it_calibrates(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = parted(numbered(600, 60, 40, 1, "binary"), brief(4, **HOW[how]))
    data, made = parts.development, parts.split
    raw = np.full((len(data), 1), np.nan)
    for fold in made.folds:
        raw[fold.score, 0] = 3.0 * data.frame["a_number"].to_numpy()[fold.score]  # a score that names its row
    seen: list[set[float]] = []
    real = calibration.fit_calibration

    def fit(known: Any, loss: Any) -> Any:
        seen.append(set((known[:, 0] / 3.0).round().tolist()))
        return real(known / 1e3, loss)

    monkeypatch.setattr(calibration, "fit_calibration", fit)
    calibrate(raw, Loss("log_loss", data.truth(), np.ones(len(data))), "logistic", made.folds, made.forward)
    number = data.frame["a_number"].to_numpy()
    folds_, taught = made.folds, seen[: len(made.folds)]
    if made.forward:
        folds_ = made.folds[1:]  # nothing comes before the first
    groups, times = data.groups(), data.times()
    for fold, rows in zip(folds_, taught, strict=False):
        learnt = np.flatnonzero(np.isin(number, list(rows)))
        assert len(learnt)
        assert not set(learnt) & set(fold.score)
        if how == "group":
            assert groups is not None
            assert not set(groups[learnt]) & set(groups[fold.score])
        if times is not None:
            assert times[learnt].max() < times[fold.score].min()


def test_windows_of_few_rows_are_scored_by_halves_of_their_entities() -> None:
    asked = replace(brief(gap=2.0, **HOW["group_time"]), validation=Validation(gap=2.0))
    parts = parted(numbered(600, 60, 40, 3, "binary"), asked)
    data, folds_ = parts.development, parts.split.folds
    groups, times = data.groups(), data.times()
    assert groups is not None
    assert times is not None
    assert [fold.window for fold in folds_] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert "5 expanding windows, each scored by halves of its entities" in parts.split.reason
    scored = np.concatenate([fold.score for fold in folds_])
    assert len(set(scored.tolist())) == len(scored)
    first = min(times[fold.score].min() for fold in folds_)
    assert set(scored.tolist()) == set(np.flatnonzero(times >= first).tolist())  # no row of a window is left out
    for fold in folds_:
        start = min(times[other.score].min() for other in folds_ if other.window == fold.window)
        assert times[fold.train].max() < start - 2.0
        assert not set(groups[fold.train]) & set(groups[fold.score])
    many = replace(asked, validation=replace(asked.validation, folds=5))
    assert [fold.window for fold in parted(numbered(600, 60, 40, 3, "binary"), many).split.folds] == [0, 1, 2, 3, 4]


def test_a_window_is_calibrated_by_earlier_windows_alone() -> None:
    asked = replace(brief(**HOW["group_time"]), validation=Validation())
    parts = parted(numbered(600, 60, 40, 3, "binary"), asked)
    data, made = parts.development, parts.split
    raw = np.full((len(data), 1), np.nan)
    for fold in made.folds:
        raw[fold.score, 0] = np.where(data.truth()[fold.score] > 0, 1.0, -1.0) * 0.1  # far too timid
    turned = data.truth().astype(float)
    loss = Loss("log_loss", turned, np.ones(len(data)))
    _, before = calibrate(raw, loss, "logistic", made.folds, forward=True)
    last = np.concatenate([fold.score for fold in made.folds if fold.window == made.folds[-1].window])
    assert not np.array_equal(before[last], raw[last])
    other = made.folds[-1].score  # its labels tell nothing of the other half of its window
    changed = turned.copy()
    changed[other[: len(other) // 4]] = 1 - changed[other[: len(other) // 4]]
    _, after = calibrate(raw, replace(loss, truth=changed), "logistic", made.folds, forward=True)
    scored = np.isfinite(raw[:, 0])
    assert np.array_equal(before[scored], after[scored])
    kept, alone = calibrate(raw, loss, "logistic", made.folds[:1], forward=True)
    assert (kept.scale, kept.offset) == (1.0, (0.0,))  # one window: nothing comes before it, and nothing tells
    assert np.array_equal(alone, raw, equal_nan=True)


ROWS, STRETCHES = 1_200, 120
"""Rows of a table with a planted leak, and stretches of time with a luck of their own: enough that chance evens out."""


def planted(how: str, seed: int = 0) -> pl.DataFrame:
    """A table with a column that tells of each entity, or each stretch of time, what only its other rows could teach.

    Entities, and stretches of three moments, have a luck of their own, which nothing but their name reveals. `leak` is
    that name, as a category and as a number.
    """
    rng = np.random.default_rng(seed)
    g, t = rng.integers(0, 150, ROWS), rng.integers(0, 3 * STRETCHES, ROWS)
    name = g if how == "group" else t // 3 if how == "time" else g * 1_000 + t // 3
    luck = (rng.normal(size=150)[g] if "group" in how else 0.0) + (
        rng.normal(size=STRETCHES)[t // 3] if "time" in how else 0.0
    )
    x = rng.normal(size=ROWS)
    label = x + 2.0 * luck + rng.normal(0, 0.7, ROWS)
    code = rng.permutation(int(name.max()) + 1)[name]
    parts = {"leak": pl.Series([f"n{i}" for i in code]), "leak_number": pl.Series(code * 1.0)}
    if how == "group_time":
        of_g, of_t = rng.permutation(150)[g], rng.permutation(STRETCHES)[t // 3]
        parts = {"leak": pl.Series([f"n{i}" for i in of_g]), "leak_time": pl.Series([f"m{i}" for i in of_t])}
    return pl.DataFrame({"x": x, "g": [f"g{i}" for i in g], "t": t * 1.0, **parts, "label": label})


def scores(table: pl.DataFrame, asked: Brief, learner: str) -> tuple[float, float]:
    """Return the error out of fold and on untouched rows."""
    parts = split(read_data(table, asked), asked)
    assert parts.test is not None
    fitted = Tabular().fit(candidate(learner, rounds=80), parts.blind(), 0)
    rows = np.flatnonzero(~np.isnan(fitted.scores[:, 0]))
    data = parts.development
    raw = Tabular().predict(fit_whole(Tabular(), fitted, parts.blind(), 0), parts.test)
    before = mean_loss(fitted.scores[rows], data.truth()[rows], np.ones(len(rows)))
    return before, mean_loss(raw, parts.test.truth(), np.ones(len(parts.test)))


def briefed(how: str, safe: bool, table: pl.DataFrame) -> Brief:
    """Return a brief that names entity and time, or one that names neither and drops them."""
    data = HOW[how] if safe else {}
    drop = tuple({"g", "t"} - set(data.values()))
    gap = 3.0 if "time" in how and safe else 0.0  # as long as a stretch, which the cut may go through
    return Brief(
        data=DataBrief(
            label="label", types={n: "category" for n in ("leak", "leak_time") if n in table.columns}, drop=drop, **data
        ),
        validation=Validation(folds=4, gap=gap, test_fraction=0.25),
    )


@pytest.mark.parametrize("learner", ["lightgbm", "linear"])
@pytest.mark.parametrize("how", ["group", "time", "group_time"])
def test_a_column_that_tells_only_across_the_split_gains_nothing(how: str, learner: str) -> None:
    table = planted(how)
    without = table.drop([c for c in table.columns if c.startswith("leak")])
    gain = {}
    for safe in (True, False):
        bare, leaky = (scores(t, briefed(how, safe, t), learner) for t in (without, table))
        gain[safe] = tuple(1 - with_ / plain for plain, with_ in zip(bare, leaky, strict=True))
    # Honest splits: no better out of fold, nor on untouched rows, than chance in so many rows makes it.
    assert max(gain[True]) < 0.06, gain
    # Were entities or times divided at random, the same column would be worth a good part of the error.
    assert min(gain[False]) > 0.15, gain


@pytest.mark.slow
@pytest.mark.parametrize("how", ["group", "time", "group_time"])
def test_a_whole_run_gains_nothing_from_it_either(how: str) -> None:
    """Selection, search, derived numbers, early stopping, weights and calibration together."""
    table = planted(how)
    without = table.drop([c for c in table.columns if c.startswith("leak")])
    gain = {}
    for safe in (True, False):
        both = []
        for given_ in (without, table):
            asked = replace(briefed(how, safe, given_), task="regression", metric="rmse", budget=Budget(12.0, trials=4))
            data = read_data(given_, asked)
            parts = split(data, asked)
            assert parts.test is not None
            run = train(select(asked, data, parts=parts), parts)
            after = float(np.sqrt(np.mean((answers(run, parts.test) - parts.test.truth()) ** 2)))
            both.append((run.score, after))
        gain[safe] = tuple(1 - with_ / plain for plain, with_ in zip(*both, strict=True))
    assert max(gain[True]) < 0.06, gain
    assert min(gain[False]) > 0.15, gain
