"""The inner part: rows set aside while fitting, to know when to stop, by the same honesty as the outer split."""

from __future__ import annotations

import numpy as np

from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Dataset, Floats, Ints
from modelyard.data.forward import Mask, latest
from modelyard.data.shuffle import share_out, share_out_groups


def inner(data: Dataset, rows: Ints, fraction: float, seed: int, forward: bool) -> tuple[Ints, Ints]:
    """Divide rows into those fitted on and those that say when to stop.

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
    forward : bool
        Whether what is set aside must be the latest rows. With entities too, the entities whose rows lie latest are
        set aside whole.

    Returns
    -------
    (int64 array, int64 array)
        Rows to fit on and to stop by: positions in the development part, sorted, disjoint, together all of `rows`.
        Where a division by entity or time would leave one class only, or there is one entity or moment, rows are
        divided at random.
    """
    rows = np.asarray(rows, dtype=np.int64)
    rng = np.random.default_rng(derive_seed(seed, "inner"))
    groups, times = data.groups(), data.times()
    classes = np.zeros(rows.size, dtype=np.int64)
    if data.schema.classes:
        classes = np.asarray(data.truth(), dtype=np.int64)[rows]
    ways: list[Mask] = []
    if groups is not None and data.schema.task != "forecast":
        within = np.unique(groups[rows], return_inverse=True)[1].astype(np.int64)
        if forward and times is not None:
            ways.append(_latest_entities(times[rows], within, fraction, rng))
        ways.append(share_out_groups(within, classes, fraction, rng))
    elif forward and times is not None and np.unique(times[rows]).size > 1:
        ways.append(times[rows] >= latest(times[rows], fraction))
    ways.append(share_out(classes, fraction, rng))
    chosen = next((way for way in ways if way.any() and not _loses(classes, way)), ways[-1])
    if not chosen.any():
        chosen[rng.integers(rows.size)] = rows.size > 1
    return np.sort(rows[~chosen]), np.sort(rows[chosen])


def _latest_entities(times: Floats, groups: Ints, fraction: float, rng: np.random.Generator) -> Mask:
    sizes = np.bincount(groups)
    middle = np.bincount(groups, weights=times - times.min()) / sizes
    order = rng.permutation(sizes.size)
    order = order[np.argsort(-middle[order], kind="stable")]
    enough = int(np.searchsorted(np.cumsum(sizes[order]), fraction * groups.size))
    taken = np.zeros(sizes.size, dtype=np.bool_)
    taken[order[: min(enough + 1, sizes.size - 1)]] = True
    return taken[groups]


def _loses(classes: Ints, chosen: Mask) -> bool:
    """Say whether only one class would be left to fit on, or to stop by, of several."""
    if np.unique(classes).size < 2:
        return False
    return np.unique(classes[~chosen]).size < 2 or np.unique(classes[chosen]).size < 2
