"""The honest 70/30 split of a table: new rows, new groups, or later rows are tested."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tabular.sets import TabularSet

KEPT = 0.9
"""Share of the training rows a seed draws where time leaves it nothing else to choose."""


def split(frame: pd.DataFrame, of: TabularSet, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide a table into a training and a test part.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `TabularSet.frame` returns it.
    of : TabularSet
        Says what the test part must be new in.
    seed : int
        Chooses the rows or groups of the test part. A split by time has one test part only, so there the seed draws
        nine tenths of the training rows.

    Returns
    -------
    (train, test) : pandas.DataFrame
        Rows in the order of the table.
    """
    if of.split == "time":
        test = _later(frame[str(of.time)])
        train = frame[~test]
        train = train.sample(int(KEPT * len(train)), random_state=seed).sort_index()
        return train.reset_index(drop=True), frame[test].reset_index(drop=True)
    if of.split == "group":
        groups = frame[str(of.group)].unique()
        np.random.default_rng(seed).shuffle(groups)
        test = frame[str(of.group)].isin(groups[: int(len(groups) * 0.3)]).to_numpy()
    else:
        test = _drawn(frame[of.target], of.task != "regression", seed)
    return frame[~test].reset_index(drop=True), frame[test].reset_index(drop=True)


@cache
def write(of: TabularSet, seed: int, folder: Path) -> Path:
    """Write a set's two parts and what a runner must know of them; return their folder.

    They are written once a benchmark, and each framework reads the same files.
    """
    home = folder / f"{of.name}-{seed}"
    home.mkdir(parents=True, exist_ok=True)
    train, test = split(of.frame(), of, seed)
    train.to_parquet(home / "train.parquet", index=False)
    test.to_parquet(home / "test.parquet", index=False)
    meta = {"name": of.name, "target": of.target, "task": of.task, "group": of.group, "time": of.time}
    meta["digest"] = digest(train, test)
    (home / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return home


def digest(*parts: pd.DataFrame) -> str:
    """Return a hash of rows, by which a run says what it was given."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(
            repr(list(part.columns)).encode() + pd.util.hash_pandas_object(part, index=False).to_numpy().tobytes()
        )
    return whole.hexdigest()[:12]


def _later(time: pd.Series) -> NDArray[np.bool_]:
    """Mark the rows from the time on that seven tenths of the rows lie before; equal times stay together."""
    ordered = time.sort_values(kind="stable")
    test = (time >= ordered.iloc[int(len(time) * 0.7)]).to_numpy()
    if not 0.05 <= test.mean() <= 0.6:
        # So many rows share that time that it cannot divide them: the table's own order does.
        test = np.arange(len(time)) >= int(len(time) * 0.7)
    return test


def _drawn(label: pd.Series, classes: bool, seed: int) -> NDArray[np.bool_]:
    from sklearn.model_selection import train_test_split

    even = label if classes and label.value_counts().min() >= 4 else None
    _, drawn = train_test_split(np.arange(len(label)), test_size=0.3, random_state=seed, stratify=even)
    test: NDArray[np.bool_] = np.isin(np.arange(len(label)), drawn)
    return test
