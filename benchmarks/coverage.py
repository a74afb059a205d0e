"""Do conformal intervals and sets hold what they promise, on untouched rows of real sets?

``make bench-coverage [SETS="adult bikeshare"]``. Each set is split and trained with its brief of ``floors.py`` and a
short budget, once for each seed; bounds come from out-of-fold answers alone. Shown is the share of untouched rows they
held (each group counted once where the split is by group), with the interval that chance in these rows and in those
the bounds were made from allows. Sets of classes are shown by their thresholds alone, which is what is promised, and
as served, where the answer is always among them. A promise fails where that interval lies more than 2 points away from
it, to either side. One kind of departure is shown and does not fail, since the report says why: forward in time nothing
is guaranteed ("said").
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from data_sets import load
from floors import CASES, Case
from modelyard.brief.brief import Brief, Budget
from modelyard.evaluation.answers import answers
from modelyard.evaluation.coverage import coverage
from modelyard.evaluation.evidence import Evidence
from modelyard.evaluation.report import Bounded, Coverage
from modelyard.evaluation.threshold import choose_threshold
from modelyard.flow.prepare import prepare
from modelyard.selection.select import select
from modelyard.training.train import train

POINTS = 0.02
TABLES = [c for c in CASES if c.name != "m4_sample"]


def main() -> int:
    """Train on each set, print the table and one last line; return 1 where a promise is not kept."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("sets", nargs="*", choices=[[], *(c.name for c in TABLES)], default=[])
    words.add_argument("--seconds", type=float, default=20.0, help="budget of each set")
    words.add_argument("--seeds", type=int, default=1, help="splits of each set")
    asked = words.parse_args()
    head = f"{'set':<20}{'seed':>5}{'split':>12}{'test':>7}{'level':>7}{'held':>7}  {'interval':<16}"
    print(f"{head}{'served':>7}{'width':>9}{'one class':>10}  holds")
    failed, gaps = [], []
    for case in (c for c in TABLES if not asked.sets or c.name in asked.sets):
        for seed in range(asked.seeds):
            split, found = measure(case, asked.seconds, seed)
            for c in found.levels:
                share, low, high = promised(found, c)
                sets = found.kind == "set"
                off = low > c.level / 100 + POINTS or high < c.level / 100 - POINTS
                kept = "yes" if not off else "said" if found.forward else "NO"
                gaps += [] if found.forward else [share - c.level / 100]
                failed += [f"{case.name} {c.level} %"] if kept == "NO" else []
                print(
                    f"{case.name:<20}{seed:>5}{split:>12}{c.n:>7}{c.level:>6}%{100 * share:>7.1f}  "
                    f"{f'[{100 * low:.1f}, {100 * high:.1f}]':<16}{format(100 * c.share, '.1f') if sets else '':>7}"
                    f"{c.width:>9.4g}{format(100 * c.alone, '.1f') if sets else '':>10}  {kept}",
                    flush=True,
                )
    mean = f"; held beyond promised, mean of {len(gaps)}: {100 * np.mean(gaps):+.2f} points" if gaps else ""
    print(f"coverage: {'all hold' if not failed else 'NOT HELD: ' + ', '.join(failed)}{mean}")
    return 1 if failed else 0


def promised(found: Bounded, c: Coverage) -> tuple[float, float, float]:
    """Return the share that is promised, with its interval: of sets, that of the thresholds alone."""
    return (c.bare, c.bare_low, c.bare_high) if found.kind == "set" else (c.share, c.low, c.high)


def measure(case: Case, seconds: float, seed: int) -> tuple[str, Bounded]:
    """Train on one set; return how it was split, and how its bounds hold on the untouched rows."""
    frame = load(case.name)
    data = replace(case.data, label=frame.columns[-1]) if case.name == "fars" else case.data
    brief = Brief(use_case=case.name, metric=case.metric, data=data, budget=Budget(seconds=seconds), seed=seed)
    table, parts, _ = prepare(brief, frame)
    run = train(select(brief, table, parts=parts), parts)
    assert parts.test is not None
    evidence = Evidence.of(parts.test, answers(run, parts.test), choose_threshold(run)[0], seed, 200)
    found = coverage(run, evidence, held_out=True)
    assert found is not None
    return parts.split.strategy, found


if __name__ == "__main__":
    sys.exit(main())
