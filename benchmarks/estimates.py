"""Is the out-of-fold estimate the truth? Out-of-fold scores beside scores on untouched rows, over sets and seeds.

``make bench-estimates [SETS="adult caravan"]``. Each set is split and trained with a short budget once for each seed;
the blend's out-of-fold score and its score on the untouched part each have a 95 % bootstrap interval (whole groups are
drawn where the split is by group). An estimate is held where the two differ by no more than both intervals together
allow (root of the sum of squares). ``z`` is the difference over its standard error, above 0 where the estimate was
better than what came. The rate at which estimates are held is shown with its Wilson interval, and fails where that lies
below 95 %. Seeds of one set share rows, so their intervals are a little too narrow. Splits forward in time are counted
apart and do not fail: there the untouched rows are later, and nothing says that what comes is as what was.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parent))
from made import brief_of, installed
from modelyard.brief.brief import Brief
from modelyard.evaluation.answers import answers, out_of_fold
from modelyard.evaluation.evidence import Evidence
from modelyard.flow.prepare import prepare
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.intervals import wilson
from modelyard.selection.select import select
from modelyard.training.train import train

_Z = 1.959964


@dataclass(frozen=True)
class Held:
    """One set and seed: figures out of fold and on untouched rows, and how they stand to each other."""

    name: str
    seed: int
    split: str
    forward: bool
    before: tuple[float, float, float]
    after: tuple[float, float, float]
    rows: tuple[int, int]
    z: float

    @property
    def held(self) -> bool:
        """Whether both intervals together allow the difference."""
        return abs(self.z) <= _Z


def main() -> int:
    """Train on each set, print the table and the rates; return 1 where estimates hold too seldom."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("sets", nargs="*", default=[], metavar="SET")
    words.add_argument("--seconds", type=float, default=12.0, help="budget of each run")
    words.add_argument("--seeds", type=int, default=2)
    words.add_argument("--rows", type=int, default=30_000, help="rows drawn from each set, at most")
    words.add_argument("--record", type=Path, help="JSON lines to add each run to")
    asked = words.parse_args()
    print(f"{'set':<20}{'seed':>5}{'split':>12}{'rows':>14}  {'out of fold':<30}{'untouched':<30}{'z':>6}  held")
    found = []
    for one, frame in installed(asked.sets):
        frame = frame.sample(min(asked.rows, frame.height), seed=0)
        for seed in range(asked.seeds):
            held = measure(brief_of(one, asked.seconds, seed), frame)
            found.append(held)
            print(
                f"{held.name:<20}{held.seed:>5}{held.split:>12}{'/'.join(map(str, held.rows)):>14}  "
                f"{_shown(held.before):<30}{_shown(held.after):<30}{held.z:>6.1f}  {'yes' if held.held else 'NO'}",
                flush=True,
            )
            if asked.record:
                with asked.record.open("a") as file:
                    file.write(json.dumps(asdict(held)) + "\n")
    good = True
    for what, some in (
        ("new rows and groups", [h for h in found if not h.forward]),
        ("later rows", [h for h in found if h.forward]),
    ):
        if not some:
            continue
        count, z = sum(h.held for h in some), np.array([h.z for h in some])
        low, high = wilson(count, len(some))
        print(
            f"estimates, {what}: {count} of {len(some)} held, {100 * count / len(some):.0f} % "
            f"[{100 * low:.0f}, {100 * high:.0f}]; mean z {z.mean():+.2f} +- {_Z / np.sqrt(len(z)):.2f}"
        )
        good &= some[0].forward or high >= 0.95
    return 0 if good else 1


def measure(brief: Brief, frame: pl.DataFrame) -> Held:
    """Train on one set, and judge the blend out of fold and on untouched rows."""
    table, parts, _ = prepare(brief, frame)
    run = train(select(brief, table, parts=parts), parts)
    assert parts.test is not None
    metric = find_metric(str(brief.metric))
    both = []
    for rows, said in (out_of_fold(run), (parts.test, answers(run, parts.test))):
        e = Evidence.of(rows, said, None, brief.seed, 400).estimate(metric)
        both.append((e.value, e.low, e.high))
    errors = [(high - low) / 2 / _Z for _, low, high in both]
    z = (metric.loss(both[1][0]) - metric.loss(both[0][0])) / float(np.hypot(*errors))
    return Held(
        str(brief.use_case), brief.seed, parts.split.strategy, parts.split.forward, both[0], both[1],
        (int(np.isfinite(run.answers).reshape(len(run.answers), -1).all(axis=1).sum()), len(parts.test)), float(z),
    )  # fmt: skip


def _shown(figure: tuple[float, float, float]) -> str:
    value, low, high = figure
    return f"{value:.4g} [{low:.4g}, {high:.4g}]"


if __name__ == "__main__":
    sys.exit(main())
