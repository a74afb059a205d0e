"""Linear models: generalized linear and quantile regression on clipped, standardised numbers and one-hot levels.

A ridge penalty holds all of them: logistic, multinomial, ridge, Poisson, Tweedie, median and quantile regression.

References
----------
Hastie, T., Tibshirani, R. and Friedman, J. (2009). The Elements of Statistical Learning, 2nd ed., ch. 3 and 4.
McCullagh, P. and Nelder, J. A. (1989). Generalized Linear Models, 2nd ed.
Zheng, S. (2011). Gradient descent algorithms for quantile regression with smooth approximation. Int. J. Mach. Learn.
Cybern. 2(3).
Byrd, R. H. et al. (1995). A limited memory algorithm for bound constrained optimization. SIAM J. Sci. Comput. 16(5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.core.optional import need
from modelyard.data.dataset import Floats
from modelyard.families.tabular.booster import Loss
from modelyard.families.tabular.inputs import Codes, Inputs, Singles
from modelyard.metrics.objective import deviance

CLIPPED = 0.005
"""Share of a number's values on each side that are drawn in to the quantile there."""
MOST_HOT = 100
"""Levels of one column with a weight of their own; the others share one."""
FEWEST = 5
"""Rows a level needs for a weight of its own."""
PATH = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 3e-4, 1e-4)
"""Strengths of the ridge penalty on the mean loss, tried from strong to weak."""
PATH_STEPS, LAST_STEPS = 30, 150
"""Iterations for each step of the path, which only has to choose, and for the model that is kept."""
LEAST_SPREAD = 1e-30
"""Deviation under which, or over whose inverse, a number is left out."""
SMOOTH = 0.03
"""Deviations of the label over which the kink of the pinball loss is rounded off, so that it has a slope everywhere."""
WORTH = 1e-3
"""Share of the loss that two steps of the path must take off for a third to be tried."""
ROWS_TIMES_WEIGHTS = 3_000_000
"""Above this many (rows x columns x outputs) a sample of the rows is fitted: weights are settled long before."""


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A fitted linear model: all its arrays, for the graph and for the file.

    Attributes
    ----------
    low, high, mean : float32 arrays of shape [p]
        Numbers are clipped to [low, high]; a missing one becomes the mean, which is then taken off.
    numbers, missing : float64 arrays of shape [p, k]
        Weights of the centred numbers and of their missing indicators.
    tables : tuple of float64 arrays of shape [L + 2, k]
        What each level of each category adds, unseen and missing last; zero on average over the training rows.
    base : float64 array of shape [k]
        Constant, beyond what every row starts from.
    """

    low: Singles
    high: Singles
    mean: Singles
    numbers: Floats
    missing: Floats
    tables: tuple[Floats, ...]
    base: Floats

    def raw(self, inputs: Inputs) -> Floats:
        """Return scores [n, k]."""
        gone = np.isnan(inputs.numbers)
        centred = np.clip(np.where(gone, self.mean, inputs.numbers), self.low, self.high) - self.mean
        scores = self.base + centred.astype(np.float64) @ self.numbers + gone.astype(np.float64) @ self.missing
        for table, codes in zip(self.tables, inputs.codes.T, strict=True):
            scores = scores + table[codes]
        return np.asarray(scores, dtype=np.float64)

    def over(self, places: NDArray[np.int64], width: int) -> Linear:
        """Return the model over `width` numbers of which its own stand at `places`; the others move nothing."""

        def wide(own: NDArray[Any]) -> NDArray[Any]:
            found = np.zeros((width, *own.shape[1:]), dtype=own.dtype)
            found[places] = own
            return found

        low, high, mean = wide(self.low), wide(self.high), wide(self.mean)
        return replace(self, low=low, high=high, mean=mean, numbers=wide(self.numbers), missing=wide(self.missing))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name."""
        plain = {n: getattr(self, n) for n in ("low", "high", "mean", "numbers", "missing", "base")}
        return {**plain, **{f"table{i}": t for i, t in enumerate(self.tables)}}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Linear:
        """Return the model `arrays` was taken from."""
        tables = tuple(arrays[f"table{i}"] for i in range(sum(n.startswith("table") for n in arrays)))
        plain = {n: arrays[n] for n in ("low", "high", "mean", "numbers", "missing", "base")}
        return cls(tables=tables, **plain)


class Design:
    """The design matrix of one fold, fitted on its training rows: dense for numbers, sparse for levels."""

    def __init__(self, inputs: Inputs, sizes: Sequence[int]) -> None:
        x = inputs.numbers
        gone = np.isnan(x)
        held = ~gone.all(axis=0) if len(x) else np.zeros(x.shape[1], dtype=np.bool_)
        bounds = np.zeros((2, x.shape[1]), dtype=np.float32)
        if held.any():
            share = (CLIPPED, 1 - CLIPPED)
            bounds[:, held] = np.nanquantile(x[:, held].astype(np.float64), share, axis=0)
        flat = held & (bounds[0] == bounds[1])  # nearly constant: the rare other values are all there is to see
        bounds[0, flat], bounds[1, flat] = np.nanmin(x[:, flat], axis=0), np.nanmax(x[:, flat], axis=0)
        self.low, self.high = bounds
        drawn = np.clip(x.astype(np.float64), self.low, self.high)
        count = np.maximum((~gone).sum(axis=0), 1)
        self.mean = (np.nansum(drawn, axis=0) / count).astype(np.float32)
        centred = np.where(gone, 0.0, drawn - self.mean)
        spread = np.sqrt(np.square(centred).sum(axis=0) / count)
        # What varies by less, or more, has no weight that float32 can hold: infinity as its spread leaves it out.
        self.spread = np.where((spread > LEAST_SPREAD) & (spread < 1 / LEAST_SPREAD), spread, np.inf)
        self.gaps = gone.any(axis=0)
        self.places = [_places(c, s) for c, s in zip(inputs.codes.T, sizes, strict=True)]

    def matrix(self, inputs: Inputs) -> tuple[Floats, Any]:
        """Return the dense part [n, p + gaps] and the sparse part [n, levels]."""
        x = inputs.numbers
        gone = np.isnan(x)
        centred = np.clip(np.where(gone, self.mean, x), self.low, self.high) - self.mean
        dense = np.concatenate([centred / self.spread, gone[:, self.gaps].astype(np.float64)], axis=1)
        return dense, self._hot(inputs.codes)

    def _hot(self, codes: Codes) -> Any:
        sparse = need("scipy.sparse", "train", "A linear candidate")
        starts = np.concatenate([[0], np.cumsum([p.max() + 1 for p in self.places])]).astype(np.int64)
        n, q = codes.shape
        place = [p[c] + s for p, c, s in zip(self.places, codes.T, starts[:-1], strict=True)]
        index = np.stack(place, axis=1).ravel() if place else np.zeros(0, dtype=np.int64)
        return sparse.csr_matrix((np.ones(n * q), index, np.arange(n + 1) * q), shape=(n, int(starts[-1])))

    def linear(self, weights: Floats, intercept: Floats, codes: Codes) -> Linear:
        """Return weights of the design matrix as weights of the inputs."""
        p, k = len(self.mean), weights.shape[1]
        missing = np.zeros((p, k))
        missing[self.gaps] = weights[p : p + int(self.gaps.sum())]
        end, tables, base = p + int(self.gaps.sum()), [], intercept.copy()
        for place, column in zip(self.places, codes.T, strict=True):
            start, end = end, end + int(place.max()) + 1
            table = weights[start:end][place]
            usual = table[column].mean(axis=0)
            tables.append(table - usual)
            base += usual
        return Linear(self.low, self.high, self.mean, weights[:p] / self.spread[:, None], missing, tuple(tables), base)


def _places(column: NDArray[np.int32], size: int) -> NDArray[np.int64]:
    """Return for each code its column of the one-hot matrix; 0 is what rare and unseen levels share."""
    count = np.bincount(column, minlength=size + 2)
    count[size] = 0
    often = np.argsort(-count, kind="stable")[:MOST_HOT]
    place = np.zeros(size + 2, dtype=np.int64)
    often = np.sort(often[count[often] >= FEWEST])
    place[often] = np.arange(1, len(often) + 1)
    return place


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of one fold: inputs, label (0/1, codes, or standardised values) and weights, each [n]."""

    inputs: Inputs
    y: Floats
    weight: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Goal:
    """What is minimised: the loss, its level or power, and what every row starts from, [k]; see `Labels`.

    ``signs`` holds 1 for numbers whose weight may not be negative, -1 for those whose may not be positive; 0, or no
    entry, for either. The centred, clipped number never falls where the number rises, so its weight's sign is the
    direction.
    """

    loss: Loss
    at: float
    start: Floats
    signs: tuple[int, ...] = ()


def fit_path(
    rows: Rows, stop: Rows, sizes: Sequence[int], goal: Goal
) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    """Walk the penalties from strong to weak until the loss on `stop` no longer falls.

    Returns
    -------
    int, tuple of float, tuple of float
        How many steps of `PATH` were worth it, and the losses of each step on both sets of rows.
    """
    if not len(stop.y):
        return (len(PATH) + 1) // 2, (), ()
    design = Design(rows.inputs, sizes)
    learn, judge = design.matrix(rows.inputs), design.matrix(stop.inputs)
    weights, train, validation = None, [], []
    for penalty in PATH:
        weights = _solve(learn, rows.y, rows.weight, goal, penalty, PATH_STEPS, weights)
        train.append(_loss(_scores(learn, weights, goal.start), rows.y, rows.weight, goal)[0])
        validation.append(_loss(_scores(judge, weights, goal.start), stop.y, stop.weight, goal)[0])
        if len(validation) > 2 and validation[-1] > (1 - WORTH) * min(validation[:-2]):
            break
    best = int(np.argmin(validation)) + 1
    if goal.loss == "squared":  # shown as all others show it: the root of the mean square
        train, validation = ([float(np.sqrt(2 * v)) for v in losses] for losses in (train, validation))
    return best, tuple(train), tuple(validation)


def fit_linear(rows: Rows, sizes: Sequence[int], goal: Goal, step: int) -> Linear:
    """Fit with the penalty of one step of `PATH`, counted from 1."""
    design = Design(rows.inputs, sizes)
    weights = _solve(design.matrix(rows.inputs), rows.y, rows.weight, goal, PATH[step - 1], LAST_STEPS)
    return design.linear(weights[1:], weights[0], rows.inputs.codes)


def sampled(columns: int, outputs: int) -> int:
    """Return how many rows at most a linear model is fitted on."""
    return max(5_000, ROWS_TIMES_WEIGHTS // max(columns * outputs, 1))


def sample(rows: int, columns: int, outputs: int, seed: int) -> NDArray[np.int64]:
    """Return the rows a linear model is fitted on: all, or a sample where there are many."""
    most = sampled(columns, outputs)
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).permutation(rows)[:most])


def _scores(matrix: tuple[Floats, Any], weights: Floats, start: Floats) -> Floats:
    dense, hot = matrix
    p = dense.shape[1]
    return np.asarray(start + weights[0] + dense @ weights[1 : p + 1] + hot @ weights[p + 1 :], dtype=np.float64)


def _loss(scores: Floats, y: Floats, weight: Floats, goal: Goal) -> tuple[float, Floats]:
    """Return the mean loss and its slope for each score."""
    share = weight / weight.sum()
    if goal.loss == "squared":
        error = scores[:, 0] - y
        return float(share @ np.square(error)) / 2, (share * error)[:, None]
    if goal.loss in ("absolute", "quantile"):
        level, times = (goal.at, 1.0) if goal.loss == "quantile" else (0.5, 2.0)
        error = (y - scores[:, 0]) / SMOOTH
        value = times * SMOOTH * (level * error + np.logaddexp(0.0, -error))
        return float(share @ value), (times * share * (0.5 * (1 - np.tanh(error / 2)) - level))[:, None]
    if goal.loss in ("poisson", "tweedie"):
        with np.errstate(over="ignore", invalid="ignore"):
            slope = np.exp((2 - goal.at) * scores[:, 0]) - y * np.exp((1 - goal.at) * scores[:, 0])
        return float(share @ deviance(y, scores[:, 0], goal.at)) / 2, (share * slope)[:, None]
    if goal.loss == "logistic":
        z = scores[:, 0]
        value = np.logaddexp(0.0, z) - y * z
        return float(share @ value), (share * (0.5 * (1 + np.tanh(z / 2)) - y))[:, None]
    codes = y.astype(np.int64)
    top = scores - scores.max(axis=1, keepdims=True)
    total = np.log(np.exp(top).sum(axis=1))
    row = np.arange(len(y))
    slope = np.exp(top - total[:, None])
    slope[row, codes] -= 1
    return float(share @ (total - top[row, codes])), share[:, None] * slope


def _solve(
    matrix: tuple[Floats, Any],
    y: Floats,
    weight: Floats,
    goal: Goal,
    penalty: float,
    steps: int,
    warm: Floats | None = None,
) -> Floats:
    dense, hot = matrix
    turned = hot.T.tocsr()
    shape = (1 + dense.shape[1] + hot.shape[1], len(goal.start))
    strength = np.full(shape[0], penalty)
    strength[0] = 1e-9

    def objective(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(shape)
        value, slope = _loss(_scores(matrix, weights, goal.start), y, weight, goal)
        gradient = np.concatenate([slope.sum(axis=0)[None], dense.T @ slope, turned @ slope])
        shrunk = strength[:, None] * weights
        return value + 0.5 * float((weights * shrunk).sum()), (gradient + shrunk).ravel()

    minimise = need("scipy.optimize", "train", "A linear candidate").minimize
    first = np.zeros(shape) if warm is None else warm
    options = {"maxiter": steps, "gtol": 1e-5, "ftol": 1e-7}
    bounds = _bounds(shape, goal.signs) if any(goal.signs) else None
    found = minimise(objective, first.ravel(), jac=True, method="L-BFGS-B", options=options, bounds=bounds)
    return np.asarray(found.x, dtype=np.float64).reshape(shape)


def _bounds(shape: tuple[int, int], signs: tuple[int, ...]) -> list[tuple[float | None, float | None]]:
    """Return the range of each weight, as scipy asks for them: the intercept first, then numbers."""
    low, high = np.full(shape, -np.inf), np.full(shape, np.inf)
    sign = np.array(signs)
    low[1 : len(signs) + 1][sign > 0] = 0.0
    high[1 : len(signs) + 1][sign < 0] = 0.0
    return list(zip(low.ravel().tolist(), high.ravel().tolist(), strict=True))
