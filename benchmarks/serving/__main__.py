"""CPU and latency of a request beside a bare endpoint, FastAPI and other servers of the same ONNX model.

``make bench-serving [SERVERS="modelyard bare"] [RATES="100 1000"] [ROUNDS=10] [LOAD_SECONDS=3]`` starts every server,
holds all still but the one that is measured, and measures each in every round. Run it on a machine that does nothing
else. ``make report-serving`` writes the last run on record into the documentation and runs nothing.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from serving.bars import read
from serving.report import MARKS, last_line, markdown
from serving.rounds import RECORD, Asked, run
from serving.servers import SERVERS
from tabular.report import put


def main() -> int:
    """Run, report or make environments; return 1 where a bar does not hold or a server was not measured."""
    words = argparse.ArgumentParser(
        prog="serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("verb", choices=["run", "report", "environments"])
    words.add_argument("--servers", nargs="+", choices=SERVERS, default=list(SERVERS), metavar="SERVER")
    words.add_argument("--rates", nargs="+", type=int, default=[100, 1000, 3000], help="requests a second")
    words.add_argument("--rounds", type=int, default=10)
    words.add_argument("--seconds", type=float, default=3.0, help="of each load")
    words.add_argument("--record", type=Path, default=RECORD, help="JSON lines, one a load")
    words.add_argument("--into", type=Path, help="page to write the report into, between its marks")
    given = words.parse_args()
    # Ended politely, a run takes what it started with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    servers = [name for name in SERVERS if name in given.servers]
    if given.verb != "report":
        for name in servers:
            _ = SERVERS[name].python
        if given.verb == "environments":
            return 0
        run(Asked(servers, sorted(given.rates), given.rounds, given.seconds), given.record)
    found = read(given.record)
    report = markdown(found)
    print(report)
    if given.into:
        put(report, given.into, MARKS)
    said, good = last_line(found)
    print(said)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
