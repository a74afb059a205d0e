"""The inner part: rows set aside while fitting, to know when to stop, by the same honesty as the outer split."""

from __future__ import annotations

import numpy as np

from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Dataset, Ints
from modelyard.data.forward import Mask
from modelyard.data.shuffle import share_out, share_out_groups


def inner(data: Dataset, rows: Ints, fraction: float, seed: int) -> tuple[Ints, Ints]:
    """Divide rows into those fitted on and those that say when to stop.

    Entities, and copies of a row, stay whole; where there are none, moments do, so that rows of one day never stand on
    both sides. Moments are drawn from the whole span: the latest alone, which differ from all that came before, would
    stop a fit long before it has learnt what lasts. Whether a model holds in the future is asked by the outer split,
    which these rows are no part of.

    Parameters
    ----------
    data : Dataset
        The development part.
    rows : int64 array
        Positions in it that may be used.
    fraction : float
        Share of the rows to set aside, such as 0.1.
    seed : int
        Makes the choice.

    Returns
    -------
    (int64 array, int64 array)
        Rows to fit on and to stop by: positions in the development part, sorted, disjoint, together all of `rows`.
        Where a division by entity or time would leave one class only, or there is one entity or moment, rows are
        divided at random.
    """
    rows = np.asarray(rows, dtype=np.int64)
    rng = np.random.default_rng(derive_seed(seed, "inner"))
    groups, times = data.units(), data.times()
    classes = np.zeros(rows.size, dtype=np.int64)
    if data.schema.classes:
        classes = np.asarray(data.truth(), dtype=np.int64)[rows]
    ways: list[Mask] = []
    by_entity = groups is not None and data.schema.task != "forecast"
    whole = groups if by_entity else times
    if whole is not None and np.unique(whole[rows]).size > 1:
        within = np.unique(whole[rows], return_inverse=True)[1].astype(np.int64)
        ways.append(share_out_groups(within, classes, fraction, rng))
    ways.append(share_out(classes, fraction, rng))
    chosen = next((way for way in ways if way.any() and not _loses(classes, way)), ways[-1])
    if not chosen.any():
        chosen[rng.integers(rows.size)] = rows.size > 1
    return np.sort(rows[~chosen]), np.sort(rows[chosen])


def _loses(classes: Ints, chosen: Mask) -> bool:
    """Say whether only one class would be left to fit on, or to stop by, of several."""
    if np.unique(classes).size < 2:
        return False
    return np.unique(classes[~chosen]).size < 2 or np.unique(classes[chosen]).size < 2
