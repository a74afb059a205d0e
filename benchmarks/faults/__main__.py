"""One server with everything on, under steady load, while what it needs is broken: does it hold what is promised?

``make bench-faults [RATE=150]`` takes about four minutes. It kills workers, parent, loader and Redis, takes the
registry away, fills the disk, steps the clock, releases damaged bundles and models that fail, and sends what no sane
caller would. Then every call, every answer and every record of the log are held against each other.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from faults.judge import Judged, judge
from faults.parts import clear
from faults.report import last_line, report
from faults.stage import Stage, staged
from faults.timeline import play


def run(folder: Path, share: float, rate: float, trees: int) -> tuple[Stage, Judged]:
    """Play all faults and judge; what the server said stays in the folder."""
    with staged(folder, share, rate, trees) as stage:
        with stage.calling() as calls:
            play(stage)
        stage.server.stop()
        return stage, judge(stage, calls)


def main() -> int:
    """Run, print the table and the last line; return 2 where something does not hold."""
    words = argparse.ArgumentParser(
        prog="faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--rate", type=float, default=150.0, help="requests a second")
    words.add_argument("--share", type=float, default=1.0, help="of the full length of each fault")
    words.add_argument("--trees", type=int, default=300, help="of the models")
    words.add_argument("--folder", type=Path, help="where to work, and leave what was said")
    given = words.parse_args()
    # Ended politely, a run takes what it started with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = given.folder or Path(tempfile.mkdtemp(prefix="faults-"))
    stage, judged = run(folder, given.share, given.rate, given.trees)
    print(report(stage, judged))
    said, good = last_line(stage, judged)
    if good and given.folder is None:
        clear(folder)
    else:
        print(f"What callers and server said lies in {folder}")
    print(said)
    return 0 if good else 2


if __name__ == "__main__":
    sys.exit(main())
