"""What benchmarks of packed models share: real sets briefed, members fitted for a known number of rounds, bundles."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import bundles
from modelyard.brief.brief import Brief, Budget, DataBrief
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.examples import plain_rows
from modelyard.bundle.load import load_bundle
from modelyard.bundle.write import write_bundle
from modelyard.data.dataset import Parts
from modelyard.data.profile import profile
from modelyard.families.fitted import Blend, Candidate, Fitted
from modelyard.families.tabular.tabular import Tabular
from modelyard.metrics.find import metric as find_metric
from modelyard.training.loss import Loss
from tabular.sets import SETS, TabularSet


def installed(names: Sequence[str]) -> Iterator[tuple[TabularSet, pl.DataFrame]]:
    """Yield sets and their tables; those whose package is not installed are named and passed over.

    Raises
    ------
    SystemExit
        If a name is none of a set, or no set could be read.
    """
    if unknown := set(names) - set(SETS):
        raise SystemExit(f"no such set: {', '.join(sorted(unknown))}; there are {', '.join(SETS)}")
    read = 0
    for one in SETS.values():
        if names and one.name not in names:
            continue
        try:
            frame = pl.from_pandas(one.frame())
        except FileNotFoundError as error:
            print(f"{one.name:<20}passed over: {error}")
            continue
        read += 1
        yield one, frame
    if not read:
        raise SystemExit("no set could be read, so nothing was measured")


def brief_of(one: TabularSet, seconds: float, seed: int, metric: str | None = None) -> Brief:
    """Return the brief of a set: its label, and the columns its rows must be divided by."""
    data = DataBrief(label=one.target, group=one.group, time=one.time)
    metric = metric or ("rmse" if one.task == "regression" else "log_loss")
    return Brief(use_case=one.name, task=one.task, metric=metric, data=data, budget=Budget(seconds), seed=seed)


def offered(brief: Brief, parts: Parts) -> dict[str, Candidate]:
    """Return the candidates of a brief by name."""
    data = parts.development
    return {one.name: one for one in Tabular().candidates(brief, profile(data), data)}


def fitted(candidate: Candidate, parts: Parts, rounds: int, models: int = 2) -> Fitted:
    """Fit a candidate on every development row, for a known number of rounds; a line or network by its own."""
    count = {"linear": 5, "mlp": 3}.get(str(candidate.parameters["algorithm"]), rounds)
    whole = replace(parts.blind(), split=replace(parts.split, folds=()))
    return Tabular().fit(candidate, whole, 0, None, (count,) * models)


def blend(members: Sequence[Fitted], brief: Brief, parts: Parts) -> Blend:
    """Return the mean of members, uncalibrated."""
    data = parts.development
    loss = Loss.of(data.schema.task, find_metric(str(brief.metric)), data)
    outputs = len(data.schema.classes) if len(data.schema.classes) > 2 else 1
    return Blend(tuple((one, 1 / len(members)) for one in members), loss.link, 1.0, (0.0,) * outputs)


def bundle(mixed: Blend, parts: Parts, folder: Path | None = None) -> Bundle:
    """Return a blend as a loaded bundle, written to a folder that is not there yet (default: a temporary one)."""
    data = parts.development
    export = Tabular().export(mixed, data)
    folder = folder or Path(tempfile.mkdtemp()) / "bundle"
    manifest = bundles.draft(data.schema, export)
    rows = plain_rows(data.frame.head(5), data.schema)
    return load_bundle(
        write_bundle(folder, manifest, export, profile=profile(data), card="# For a benchmark\n", examples=rows)
    )
