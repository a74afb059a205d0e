"""Text tables: what one fold's training rows teach about words and pairs, as figures that are summed over a text.

A text is its TF-IDF vector, divided by its length as if each occurrence of a word were a word of its own. Its figures
are what a ridge regression on that vector says of the label, one for each class, and where the vector lies along the
few directions in which texts differ most (latent semantic analysis). Both are sums over words, divided by that length;
the rows that teach the regression never see their own label in it.

Weights are whole multiples of a power of two that float32 holds exactly, and are summed in float64: a sum is the same
in any order, in the graph as in training.

References
----------
Salton, G. and Buckley, C. (1988). Term-weighting approaches in automatic text retrieval. Information Processing and
Management 24(5).
Deerwester, S. et al. (1990). Indexing by latent semantic analysis. JASIS 41(6).
Hestenes, M. R. and Stiefel, E. (1952). Methods of conjugate gradients for solving linear systems. J. Res. NBS 49(6).
Halko, N., Martinsson, P. G. and Tropp, J. A. (2011). Finding structure with randomness. SIAM Review 53(2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from modelyard.core.optional import need
from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Floats, Ints
from modelyard.families.tabular.inputs import Inputs, Singles
from modelyard.families.tabular.memory import Memory
from modelyard.families.tabular.tables import BLOCKS, targets
from modelyard.families.tabular.texts import TextRows

MOST_CLASSES = 30
"""Classes each of which gets a regression; with more, boosters see the directions alone, linear models every word."""
DIRECTIONS, SPARE, POWERS = 8, 8, 1
"""Directions kept, those the search for them holds beside, and how often it goes over the texts."""
RIDGE, STEPS = 1.0, 12
"""The penalty, and steps of conjugate gradients: the fewer, the stronger they shrink; the blocks say how many."""
BITS = 23
"""Bits of a weight."""
MEMORY = Memory(128)


@dataclass(frozen=True, slots=True, eq=False)
class TextTable:
    """Figures of one text column.

    Attributes
    ----------
    weights : float32 array of shape [rows of the vocabulary, f]
        What a word adds to each figure; pad and unknown add nothing.
    squares : float32 array of shape [rows of the vocabulary]
        What it adds to the square of the vector's length; 0 for a word the training rows do not hold.
    """

    weights: Singles
    squares: Singles

    def figures(self, rows: TextRows) -> Singles:
        """Return the figures [n, f]: zero for a text without a known word, NaN for a missing one."""
        total = np.asarray(rows.counts @ self.weights.astype(np.float64))
        found = (total / _size(rows, self.squares)[:, None]).astype(np.float32)
        found[rows.gone] = np.nan
        return found


class Tfidf:
    """The weighing of words that some rows teach."""

    def __init__(self, rows: TextRows) -> None:
        counts = rows.counts
        held = np.bincount(counts.indices[counts.data > 0], minlength=counts.shape[1])
        there = np.count_nonzero(~rows.gone)
        idf = np.where(held > 0, np.log((1 + there) / (1 + held)) + 1, 0.0)
        self.squares = _rounded(np.square(idf))
        self.idf: Floats = np.sqrt(self.squares.astype(np.float64))

    def matrix(self, rows: TextRows) -> Any:
        """Return texts as rows of unit length, sparse, [n, rows of the vocabulary]."""
        sparse = need("scipy.sparse", "train", "A text column")
        inverse = sparse.diags(1 / _size(rows, self.squares))
        return (inverse @ rows.counts @ sparse.diags(self.idf)).tocsr()

    def table(self, weights: Floats) -> TextTable:
        """Return weights of the matrix's columns, [rows of the vocabulary, f], as a table."""
        return TextTable(_rounded(weights * self.idf[:, None]), self.squares)


def _size(rows: TextRows, squares: Singles) -> Floats:
    """Return the lengths of the texts' vectors, [n]; at least 1, which a single word has."""
    size: Floats = np.sqrt(np.maximum(rows.counts @ squares.astype(np.float64), 1.0))
    return size


def _rounded(weights: Floats) -> Singles:
    """Round to multiples of a power of two, fine enough for `BITS` bits of the largest of each column."""
    largest = np.abs(weights).max(axis=0, initial=0.0)
    unit = np.exp2(np.ceil(np.log2(np.maximum(largest, 1e-30))) - BITS)
    return np.asarray(np.round(weights / unit) * unit, dtype=np.float32)


def fit_text(rows: TextRows, target: Floats, weights: Floats, block: Ints) -> tuple[TextTable, Singles]:
    """Return a column's table, and the figures [n, f] of the rows it learnt from, none taught by its own label.

    Parameters
    ----------
    rows : TextRows
        The training rows of one fold.
    target, weights : arrays of shape [n, t] and [n]
        What is regressed, and how much each row counts.
    block : int array of shape [n]
        Block of each row; a row's score comes from the other blocks.
    """
    counts = rows.counts
    key = hashlib.sha256(str(counts.shape).encode())
    for part in (counts.indptr, counts.indices, counts.data, rows.length, target, weights, block):
        key.update(np.ascontiguousarray(part).data)
    return MEMORY.ask(key.hexdigest(), lambda: _fit(rows, target, weights, block))


def _fit(rows: TextRows, target: Floats, weights: Floats, block: Ints) -> tuple[TextTable, Singles]:
    tfidf = Tfidf(rows)
    x = tfidf.matrix(rows)
    mass = np.where(rows.gone, 0.0, weights)
    # As coarse as figures are: of many rows and classes they take much memory.
    scores = np.zeros((STEPS, *target.shape), dtype=np.float32)
    if target.shape[1]:
        for number in range(BLOCKS):
            taught = block != number
            asked = np.flatnonzero(block == number)
            if mass[taught].sum() > 0 and len(asked):
                path = _ridge(x[taught], target[taught], mass[taught], STEPS)
                scores[:, asked] = [x[asked] @ w for w in path]
    wanted = target - _mean(target, mass)
    loss = [float((mass[:, None] * np.square(wanted - s)).sum()) for s in scores]
    best = int(np.argmin(loss))
    regression = _ridge(x, target, mass, best + 1)[-1]
    directions = _directions(x)
    table = tfidf.table(np.concatenate([regression, directions], axis=1))
    figures = table.figures(rows)
    figures[:, : target.shape[1]] = np.where(rows.gone[:, None], np.nan, scores[best])
    return table, figures


def _mean(target: Floats, mass: Floats) -> Floats:
    return np.asarray((mass @ target) / max(float(mass.sum()), 1e-12))


def _ridge(x: Any, target: Floats, mass: Floats, steps: int) -> list[Floats]:
    """Return the weights [p, t] after each step of conjugate gradients on the normal equations."""
    mass = mass / max(float(mass.mean()), 1e-12)
    turned = x.T
    w = np.zeros((x.shape[1], target.shape[1]))
    left = turned @ (mass[:, None] * (target - _mean(target, mass)))
    way, square = left.copy(), np.square(left).sum(axis=0)
    path = []
    for _ in range(steps):
        turn = turned @ (mass[:, None] * (x @ way)) + RIDGE * way
        step = square / np.maximum((way * turn).sum(axis=0), 1e-300)
        w = w + step * way
        left = left - step * turn
        before, square = square, np.square(left).sum(axis=0)
        way = left + square / np.maximum(before, 1e-300) * way
        path.append(w)
    return path


def _directions(x: Any) -> Floats:
    """Return the right singular vectors of the largest singular values, [p, `DIRECTIONS`]; zero beyond the last."""
    width = min(DIRECTIONS + SPARE, *x.shape)
    found = np.zeros((x.shape[1], DIRECTIONS))
    if not width or not x.nnz:
        return found
    basis = np.random.default_rng(derive_seed(0, "directions")).normal(size=(x.shape[1], width))
    for _ in range(POWERS + 1):
        basis = x.T @ (x @ _orthogonal(basis))
    vectors = _orthogonal(basis)[:, :DIRECTIONS]
    # A direction and its opposite say the same: the larger end is the positive one.
    ends = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    found[:, : vectors.shape[1]] = vectors * np.sign(ends)
    return found


def _orthogonal(basis: Floats) -> Floats:
    """Return orthonormal columns of the same span, those that held most first.

    Products of columns are summed in one fixed order, where a threaded decomposition would give last bits that depend
    on the machine's cores.
    """
    values, turn = np.linalg.eigh(np.einsum("ij,ik->jk", basis, basis))
    values, turn = values[::-1], turn[:, ::-1]
    kept = values > 1e-12 * max(float(values[0]), 1e-300)
    return np.asarray(np.where(kept, basis @ (turn / np.sqrt(np.where(kept, values, 1.0))), 0.0))


def fit_texts(
    inputs: Inputs, truth: Ints | Floats, classes: int, weights: Floats, block: Ints
) -> tuple[tuple[TextTable, ...], Inputs]:
    """Return a table for each text column, and the rows they learnt from with their cross-fitted figures."""
    target = targets(truth, classes, MOST_CLASSES)
    if not classes and len(target):  # in a unit of about its spread: float32 is to hold what comes of it
        target = np.ldexp(target, -int(np.frexp(target.std())[1]))
    fitted = [fit_text(rows, target, weights, block) for rows in inputs.texts]
    tables = tuple(table for table, _ in fitted)
    return tables, with_figures(inputs, tables, [figures for _, figures in fitted])


def with_figures(inputs: Inputs, tables: Sequence[TextTable], known: Sequence[Singles] | None = None) -> Inputs:
    """Return rows with words and figures of each text column after their numbers; `known` were worked out before."""
    if not inputs.texts:
        return inputs
    parts = [inputs.numbers]
    for number, (rows, table) in enumerate(zip(inputs.texts, tables, strict=True)):
        parts += [rows.length[:, None], table.figures(rows) if known is None else known[number]]
    return replace(inputs, numbers=np.concatenate(parts, axis=1), texts=())


def figure_names(columns: Sequence[str], figures: int) -> list[str]:
    """Return a name for each figure of the text columns, of which there are so many in all."""
    scores = figures // len(columns) - 1 - DIRECTIONS if columns else 0
    each = ["words", *(f"score {i}" for i in range(scores)), *(f"direction {i}" for i in range(DIRECTIONS))]
    return [f"{column}.{name}" for column in columns for name in each]
