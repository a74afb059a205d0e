"""Do conformal intervals and sets hold what they promise, on untouched rows of real sets?

``make bench-coverage [SETS="adult bikeshare"]``. Each set is split and trained with a short budget, once for each seed;
bounds come from out-of-fold answers alone. Shown is the share of untouched rows they held (each group counted once
where the split is by group), with the interval that chance in these rows and in those the bounds were made from allows,
and the share to expect: what is promised, or, where the answer of a set alone is right more often than that in some
class, what sets held of the rows they were made from, which the report says. A promise fails where that interval lies
more than 2 points away from what is to be expected, to either side; the last line counts how many levels of sets, over
their seeds, were themselves within 2 points of it, which in few rows chance alone forbids some. Two kinds of departure
are shown and do not fail, since the report says why ("said"). Forward in time nothing is guaranteed, and beside it
stands what bounds made from earlier out-of-fold rows held of each fifth of them. Sets that hold more, nearly all of
one class, cannot be smaller: the models that ship are right more often than those of the folds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parent))
from made import brief_of, installed
from modelyard.brief.brief import Brief
from modelyard.evaluation.answers import answers
from modelyard.evaluation.coverage import coverage
from modelyard.evaluation.evidence import Evidence
from modelyard.evaluation.report import Bounded
from modelyard.evaluation.threshold import choose_threshold
from modelyard.flow.prepare import prepare
from modelyard.selection.select import select
from modelyard.training.train import train

POINTS = 0.02
SURE = 0.95
"""Share of sets of one class from which on nearly all of them are."""


def main() -> int:
    """Train on each set, print the table and one last line; return 1 where a promise is not kept."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("sets", nargs="*", default=[], metavar="SET")
    words.add_argument("--seconds", type=float, default=20.0, help="budget of each run")
    words.add_argument("--seeds", type=int, default=1, help="splits of each set")
    words.add_argument("--rows", type=int, default=30_000, help="rows drawn from each set, at most")
    asked = words.parse_args()
    head = f"{'set':<20}{'seed':>5}{'split':>12}{'test':>7}{'level':>7}{'held':>7}  {'interval':<16}"
    print(f"{head}{'expected':>9}{'width':>11}{'one class':>10}  holds")
    failed, gaps, forward = [], dict[tuple[str, int], list[float]](), 0
    for one, frame in installed(asked.sets):
        frame = frame.sample(min(asked.rows, frame.height), seed=0)
        for seed in range(asked.seeds):
            split, found = measure(brief_of(one, asked.seconds, seed), frame)
            for c in found.levels:
                off = c.low > c.expected + POINTS or c.high < c.expected - POINTS
                smallest = found.kind == "set" and c.low > c.expected and c.alone >= SURE
                kept = "yes" if not off else "said" if found.forward or smallest else "NO"
                forward += found.forward
                if not found.forward:
                    gaps.setdefault((one.name, c.level), []).append(c.share - c.expected)
                failed += [f"{one.name} {c.level} %"] if kept == "NO" else []
                past = [100 * p.share for p in found.parts if p.by == "past" and p.level == c.level]
                print(
                    f"{one.name:<20}{seed:>5}{split:>12}{c.n:>7}{c.level:>6}%{100 * c.share:>7.1f}  "
                    f"{f'[{100 * c.low:.1f}, {100 * c.high:.1f}]':<16}{100 * c.expected:>9.1f}"
                    f"{c.width:>11.4g}{format(100 * c.alone, '.1f') if found.kind == 'set' else '':>10}  {kept}"
                    f"{f' (earlier {min(past):.0f} to {max(past):.0f})' if past else ''}",
                    flush=True,
                )
    beyond = np.array([np.mean(each) for each in gaps.values()])
    near = (abs(beyond) <= POINTS).sum()
    said = f"; {near} of {len(beyond)} levels of sets within {100 * POINTS:g} points of the expected"
    said += f", on average {100 * beyond.mean():+.2f} points from it" if len(beyond) else ""
    said += f"; {forward} forward in time, where nothing is guaranteed" if forward else ""
    print(f"coverage: {'all hold' if not failed else 'NOT HELD: ' + ', '.join(failed)}{said}")
    return 1 if failed else 0


def measure(brief: Brief, frame: pl.DataFrame) -> tuple[str, Bounded]:
    """Train on one set; return how it was split, and how its bounds hold on the untouched rows."""
    table, parts, _ = prepare(brief, frame)
    run = train(select(brief, table, parts=parts), parts)
    assert parts.test is not None
    evidence = Evidence.of(parts.test, answers(run, parts.test), choose_threshold(run)[0], brief.seed, 200)
    found = coverage(run, evidence, held_out=True)
    assert found is not None
    return parts.split.strategy, found


if __name__ == "__main__":
    sys.exit(main())
