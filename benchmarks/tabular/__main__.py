"""Quality, budget and one-row latency on real tables beside other frameworks.

``make bench-tabular [SETS="adult ames"] [FRAMEWORKS=...] [BUDGETS="60 240"] [SEEDS="0 1 2"] [AGAIN=1]`` does the runs
that are not on record, one at a time, and reports. Kill it at any time: it goes on where it was. Do it on a machine
that does nothing else. ``make report-tabular`` writes what is on record into the documentation and runs nothing.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tabular.environments import FRAMEWORKS, python
from tabular.report import last_line, markdown, put
from tabular.results import RECORD, Asked, complete, read
from tabular.sets import MAIN, SETS


def main() -> int:
    """Run, report or make environments; return 1 where a bar does not hold or a run is missing."""
    words = argparse.ArgumentParser(
        prog="tabular", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("verb", choices=["run", "report", "environments"])
    words.add_argument("--sets", nargs="+", choices=sorted(SETS), default=list(MAIN), metavar="SET")
    words.add_argument("--frameworks", nargs="+", choices=FRAMEWORKS, default=list(FRAMEWORKS))
    words.add_argument("--budgets", nargs="+", type=int, default=[60, 240], help="seconds")
    words.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    words.add_argument("--again", action="store_true", help="also do runs that failed, or that other code of ours made")
    words.add_argument("--record", type=Path, default=RECORD, help="JSON lines, one a run")
    words.add_argument("--into", type=Path, help="page to write the report into, between its marks")
    given = words.parse_args()
    # Ended politely, a run takes what it started with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    frameworks = tuple(f for f in FRAMEWORKS if f in given.frameworks)
    sets = tuple(s for s in SETS if s in given.sets)
    asked = Asked(frameworks, sets, tuple(sorted(given.budgets)), tuple(sorted(given.seeds)))
    if given.verb != "report":
        for framework in asked.frameworks:
            python(framework)
        if given.verb == "environments":
            return 0
        complete(asked, given.record, given.again)
    found = read(given.record)
    report = markdown(found, asked)
    print(report)
    if given.into:
        put(report, given.into)
    line, good = last_line(found, asked)
    print(line)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
