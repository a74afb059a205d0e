"""What choosing a version and copying to a shadow cost a request, beside the same server without.

``make bench-routing``. One LightGBM of 500 trees is packed twice, and one row a request is answered from the body to
the answer's bytes, on the path that a server takes for it, without the socket, a guard and a log. In each round every
way answers the same rows, in an order drawn anew:

- ``alone``: one version, and nothing that chooses;
- ``choosing``: what `modelyard serve` has where no rollout is open: a router with one version, that counts answers;
- ``canary``: 5 % of the requests go to a candidate, at random; ``canary by key``: by a hash of x-request-key;
- ``shadow``: every request is copied to a candidate in a process of its own.

Figures are CPU of the server's process, its threads included, from its own clock; what the shadow's process takes is
shown beside it. Ratios and differences are of one round against ``alone``, in the median over rounds, with the quarter
and three quarters of them.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from modelyard.bundle.load import load_bundle
from modelyard.serving.app import App
from modelyard.serving.endpoint import Reply
from modelyard.serving.predict import PATH
from modelyard.serving.rollout.board import CANDIDATE, ERRORS, REQUESTS
from modelyard.serving.rollout.control import start
from modelyard.serving.rollout.live import Live
from modelyard.serving.rollout.rollout import Plan
from serving.generator import cpu
from serving.packed import TREES, pack

_SHARE = 0.05
_KINDS = {"choosing": None, "canary": "canary", "canary by key": "canary", "shadow": "shadow"}


@dataclass
class Way:
    """A server of one kind, and what it took in each round: seconds of CPU a request, its own and its shadow's."""

    app: App
    live: Live | None = None
    keyed: bool = False
    own: list[float] = field(default_factory=list)
    shadow: list[float] = field(default_factory=list)

    def round(self, bodies: list[bytes], requests: int) -> None:
        """Answer so many requests, wait until the shadow has scored its copies, and keep what it took."""
        given = [(b"content-type", b"application/json"), (b"content-length", b"683")]
        heads = [[*given, *([(b"x-request-key", b"caller %d" % i)] if self.keyed else [])] for i in range(requests)]
        before, theirs = self._scored(), cpu(self._pids())
        began = time.process_time()
        asyncio.run(self._ask(heads, bodies))
        looked = time.process_time()
        while self._pids() and self._scored() - before < requests:
            began += time.process_time() - looked  # looking is not the server's work
            time.sleep(0.05)
            looked = time.process_time()
        self.own.append((time.process_time() - began) / requests)
        self.shadow.append((cpu(self._pids()) - theirs) / requests)

    async def _ask(self, heads: list[list[tuple[bytes, bytes]]], bodies: list[bytes]) -> None:
        answer, turn = self.app.at_once[PATH.encode()].at_once, self.app.turn
        found: list[Reply | None] = []
        for i, headers in enumerate(heads):
            answer({"headers": headers}, bodies[i % len(bodies)], found.append)
            turn.end()  # each row alone, as where versions are compared
            if (said := found.pop()) is None or said[0] != 200:
                raise SystemExit(f"routing: a request went another way than the one that is timed: {said}")

    def _pids(self) -> list[int]:
        shadow = None if self.live is None else self.live._shadow
        return [] if shadow is None or shadow._process.pid is None else [shadow._process.pid]

    def _scored(self) -> int:
        return 0 if self.live is None else int(self.live._board.sums()[CANDIDATE, REQUESTS])

    def failed(self) -> int:
        """Return how many requests the candidate failed on: there must be none."""
        return 0 if self.live is None else int(self.live._board.sums()[CANDIDATE, ERRORS])


def main() -> int:
    """Measure, print the table and one last line; return 1 where a candidate failed: something else was timed."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rounds", type=int, default=60)
    words.add_argument("--requests", type=int, default=2_000, help="of each way in a round; a shadow's queue has 4,096")
    words.add_argument("--trees", type=int, default=TREES)
    asked = words.parse_args()
    with tempfile.TemporaryDirectory() as folder, _ways(Path(folder), asked.trees) as (ways, bodies):
        for number in range(-1, asked.rounds):
            for way in random.sample(list(ways.values()), len(ways)):
                way.round(bodies, min(asked.requests, 4_096))
            if number < 0:  # nobody was warm
                for way in ways.values():
                    way.own, way.shadow = [], []
        return _report(ways)


@contextmanager
def _ways(folder: Path, trees: int) -> Iterator[tuple[dict[str, Way], list[bytes]]]:
    stable, candidate = pack(folder / "stable", trees), pack(folder / "candidate", trees - 1)  # another bundle
    paths = [one.folder / "bundle" for one in (stable, candidate)]
    ways = {"alone": Way(App(load_bundle(paths[0])))}
    for name, kind in _KINDS.items():
        bundle = load_bundle(paths[0])
        app, yard = App(bundle), folder / name
        if kind is not None:
            plan = Plan(kind=kind, steps=(0.0,) if kind == "shadow" else (_SHARE,))
            start(yard, plan, (str(paths[0]), bundle), str(paths[1]), "bench")
        ways[name] = Way(app, Live(app, yard, str(paths[0])), keyed="key" in name)
    for way in ways.values():
        way.app.warm()
    try:
        yield ways, [msgspec.json.encode(row) for row in stable.rows]
    finally:
        for way in ways.values():
            if way.live is not None:
                way.live._end_shadow()
            way.app.close()


def _report(ways: dict[str, Way]) -> int:
    alone = np.array(ways["alone"].own)
    print(f"{'way':<15}{'us':>9}{'more, us':>10}{'quarters':>18}{'ratio':>8}{'shadow process, us':>20}")
    for name, way in ways.items():
        own = np.array(way.own)
        more, ratio = 1e6 * (own - alone), own / alone
        low, middle, high = np.percentile(more, (25, 50, 75))
        beside = f"{1e6 * np.median(way.shadow):>20.1f}" if max(way.shadow) else ""
        spread = f"{low:.2f} to {high:.2f}"
        print(f"{name:<15}{1e6 * np.median(own):>9.2f}{middle:>10.2f}{spread:>18}{np.median(ratio):>8.3f}{beside}")
    failed = [name for name, way in ways.items() if way.failed()]
    said = f"THE CANDIDATE FAILED: {', '.join(failed)}" if failed else "every candidate answered"
    print(f"routing: {len(alone)} rounds, {said}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
