"""Is the out-of-fold estimate the truth? Out-of-fold scores beside scores on untouched rows, over sets and seeds.

``make bench-estimates [SETS="adult caravan"]``. Each set is split and trained with a short budget once for each seed.
Shown with 95 % bootstrap intervals (whole groups are drawn where the split is by group) are the blend's out-of-fold
score; what the models of the folds, which that score is of, reach on untouched rows (the mean over folds); and what the
models reach that are shipped, which learnt from every development row. ``z`` is how much worse untouched rows were than
the estimate, over the standard error of both. Two rates are judged, and fail where their Wilson interval lies below
what is stated:

- the estimate holds of the models it is of where z lies within 1.96 (stated: 95 %);
- the estimate bounds the models shipped where their z is below 1.96 (stated: 97.5 %): those learnt from more rows and
  are means of several, so they should be better, by how much is not promised.

Seeds of one set share rows, so the Wilson intervals are a little too narrow. Splits forward in time are counted apart
and do not fail: there the untouched rows are later, and nothing says that what comes is as what was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parent))
from made import brief_of, installed
from modelyard.brief.brief import Brief
from modelyard.data.dataset import Dataset
from modelyard.evaluation.answers import answers, out_of_fold
from modelyard.evaluation.evidence import Evidence
from modelyard.families.fitted import Fitted
from modelyard.families.tabular.models import load_models, read_for
from modelyard.families.tabular.tabular import Tabular
from modelyard.flow.prepare import prepare
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.intervals import wilson
from modelyard.selection.select import select
from modelyard.training.run import Run
from modelyard.training.train import train

Z = 1.959964
Figure = tuple[float, float, float]
"""A score, and the ends of its 95 % interval."""


@dataclass(frozen=True)
class Held:
    """One set and seed: scores out of fold, and on untouched rows by the folds' models and by those shipped."""

    name: str
    seed: int
    split: str
    forward: bool
    rows: tuple[int, int]
    estimate: Figure
    folds: Figure
    shipped: Figure
    z_folds: float
    z_shipped: float


class Keeping(Tabular):
    """Tables, with the models of the folds kept: a run keeps their scores alone."""

    def __init__(self) -> None:
        self.kept: dict[str, Fitted] = {}
        self._learnt: dict[str, int] = {}

    def fit(self, candidate: Any, parts: Any, *given: Any, **named: Any) -> Fitted:
        """Fit, and keep what was fitted over folds: of one name, what learnt from most rows.

        A run also fits its best candidate on a part of each fold's rows, to say whether more rows would help.
        """
        made = super().fit(candidate, parts, *given, **named)
        learnt = sum(len(fold.train) for fold in parts.split.folds)
        if learnt > self._learnt.get(candidate.name, 0):
            self.kept[candidate.name], self._learnt[candidate.name] = made, learnt
        return made

    def by_fold(self, run: Run, rows: Dataset) -> list[Any]:
        """Return the blend's answers with the models of each fold in the place of those shipped."""
        raw: list[Any] = []
        for member, weight in run.blend.members:
            over_folds = self.kept[member.candidate.name]
            inputs = read_for(over_folds, rows)
            each = [weight * model.raw(inputs) for model in load_models(over_folds)]
            raw = [a + b for a, b in zip(raw, each, strict=True)] if raw else each
        return [run.blend.answer(one) for one in raw]


def main() -> int:
    """Train on each set, print the table and the rates; return 1 where estimates hold too seldom."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("sets", nargs="*", default=[], metavar="SET")
    words.add_argument("--seconds", type=float, default=12.0, help="budget of each run")
    words.add_argument("--seeds", type=int, default=2)
    words.add_argument("--rows", type=int, default=30_000, help="rows drawn from each set, at most")
    words.add_argument("--record", type=Path, help="JSON lines to add each run to")
    asked = words.parse_args()
    head = f"{'set':<20}{'seed':>5}{'split':>12}{'rows':>13}  {'out of fold':<32}"
    print(f"{head}{'folds, untouched':<32}{'z':>5}  {'shipped, untouched':<32}{'z':>5}")
    found = []
    for one, frame in installed(asked.sets):
        frame = frame.sample(min(asked.rows, frame.height), seed=0)
        for seed in range(asked.seeds):
            held = measure(brief_of(one, asked.seconds, seed), frame)
            found.append(held)
            print(
                f"{held.name:<20}{held.seed:>5}{held.split:>12}{'/'.join(map(str, held.rows)):>13}  "
                f"{_shown(held.estimate):<32}{_shown(held.folds):<32}{held.z_folds:>5.1f}  "
                f"{_shown(held.shipped):<32}{held.z_shipped:>5.1f}",
                flush=True,
            )
            if asked.record:
                with asked.record.open("a") as file:
                    file.write(json.dumps(asdict(held)) + "\n")
    good = True
    for forward in (False, True):
        some = [h for h in found if h.forward == forward]
        good &= not some or _rates(some) or forward
    return 0 if good else 1


def _rates(found: Sequence[Held]) -> bool:
    """Print how often estimates held; say whether that is as often as stated."""
    what = "later rows" if found[0].forward else "new rows and groups"
    folds, shipped = (np.array([getattr(h, name) for h in found]) for name in ("z_folds", "z_shipped"))
    good = True
    for of, z, held, stated in (
        ("of the folds' models", folds, np.abs(folds) <= Z, 0.95),
        ("as a bound of those shipped", shipped, shipped <= Z, 0.975),
    ):
        low, high = wilson(int(held.sum()), len(held))
        good &= high >= stated
        print(
            f"estimates, {what}, {of}: {held.sum()} of {len(held)} hold, {100 * held.mean():.0f} % "
            f"[{100 * low:.0f}, {100 * high:.0f}], stated {100 * stated:g} %; mean z {z.mean():+.2f} "
            f"(chance: +-{Z / np.sqrt(len(z)):.2f})"
        )
    return good


def measure(brief: Brief, frame: pl.DataFrame) -> Held:
    """Train on one set, and judge the blend out of fold and on untouched rows."""
    table, parts, _ = prepare(brief, frame)
    family = Keeping()
    run = train(select(brief, table, parts=parts), parts, family=family)
    test = parts.test
    assert test is not None
    metric = find_metric(str(brief.metric))

    def judged(rows: Dataset, said: Any) -> Figure:
        found = Evidence.of(rows, said, None, brief.seed, 400).estimate(metric)
        return found.value, found.low, found.high

    scored, before = out_of_fold(run)
    estimate = judged(scored, before)
    every = np.array([judged(test, said) for said in family.by_fold(run, test)]).mean(axis=0)
    folds: Figure = (float(every[0]), float(every[1]), float(every[2]))
    shipped = judged(test, answers(run, test))

    def z(figure: Figure) -> float:
        error = np.hypot(*((high - low) / 2 / Z for _, low, high in (estimate, figure)))
        return float((metric.loss(figure[0]) - metric.loss(estimate[0])) / error)

    made = parts.split
    rows = (len(scored), len(test))
    return Held(
        brief.use_case, brief.seed, made.strategy, made.forward, rows, estimate, folds, shipped, z(folds), z(shipped)
    )


def _shown(figure: Figure) -> str:
    value, low, high = figure
    return f"{value:.4g} [{low:.4g}, {high:.4g}]"


if __name__ == "__main__":
    sys.exit(main())
