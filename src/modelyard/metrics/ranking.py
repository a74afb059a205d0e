"""Metrics of ranked lists, such as NDCG@10: one list for each value of ``context["query"]`` (the user, the search).

``truth`` is the gain of each row (0 or 1 for relevant or not, or a grade), ``prediction`` the score that ranks it. A
list's weight is the mean weight of its rows; lists without a relevant row are left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelyard.metrics.metric import Context, Floats, Prepare, Scorer, Truth

Lists = NDArray[np.intp]
"""The list each row belongs to, 0 first."""


def ndcg(k: int) -> Prepare:
    """Discounted gain of the first `k` rows of each list, as a share of the best order's.

    References
    ----------
    Järvelin & Kekäläinen (2002), "Cumulated gain-based evaluation of IR techniques".
    """

    def prepare(truth: Truth, prediction: Floats, context: Context) -> Scorer:
        lists = _lists(context)
        return _over_lists(lists, _gain(lists, truth, prediction, k), _gain(lists, truth, truth.astype(np.float64), k))

    return prepare


def recall_at(k: int) -> Prepare:
    """Share of a list's relevant rows that stand among its first `k`."""

    def prepare(truth: Truth, prediction: Floats, context: Context) -> Scorer:
        lists, relevant = _lists(context), truth > 0
        top = _rank(lists, prediction) < k
        return _over_lists(lists, _sum(lists, relevant & top), _sum(lists, relevant))

    return prepare


def hit_rate(k: int) -> Prepare:
    """Share of lists with a relevant row among the first `k`."""

    def prepare(truth: Truth, prediction: Floats, context: Context) -> Scorer:
        lists, relevant = _lists(context), truth > 0
        top = _rank(lists, prediction) < k
        hit = (_sum(lists, relevant & top) > 0).astype(np.float64)
        return _over_lists(lists, hit, (_sum(lists, relevant) > 0).astype(np.float64))

    return prepare


def _lists(context: Context) -> Lists:
    if "query" not in context:
        raise ValueError("a ranking metric needs context['query'], the list each row belongs to")
    return np.unique(context["query"], return_inverse=True)[1]


def _rank(lists: Lists, score: Floats) -> Floats:
    """Return each row's place in its list, 0 first; of equal scores the earlier row stands first."""
    order = np.lexsort((-score, lists))
    starts = np.r_[0, np.cumsum(np.bincount(lists))[:-1]]
    rank = np.empty(len(lists))
    rank[order] = np.arange(len(lists)) - starts[lists[order]]
    return rank


def _gain(lists: Lists, truth: Truth, score: Floats, k: int) -> Floats:
    rank = _rank(lists, score)
    return _sum(lists, np.where(rank < k, truth / np.log2(rank + 2), 0.0))


def _sum(lists: Lists, each: NDArray[np.bool_] | Floats) -> Floats:
    return np.bincount(lists, each).astype(np.float64)


def _over_lists(lists: Lists, reached: Floats, best: Floats) -> Scorer:
    counts, known = np.bincount(lists), best > 0
    value = np.where(known, reached / np.where(known, best, 1), 0.0)

    def score(weights: Floats) -> float:
        share = np.bincount(lists, weights) / counts * known
        return float(share @ value / share.sum())

    return score
