"""Does the packed graph answer as the fitted members do, on real rows and on rows made to catch it out?

``make bench-parity [SETS="adult fars"]``. On each set every kind of member a brief of 240 s is offered (networks where
torch is installed) is fitted, for each loss its label can have, and packed alone and all together. Compared are the
untouched rows, rows at the trees' thresholds, rows with gaps and unseen categories, and ``--count`` adversarial rows
(see `modelyard.bundle.adversarial`). A difference of more than 1e-5 in probability, or of 1e-5 of the label's standard
deviation, fails; where an answer is so large that float32 itself is coarser than that, of four of its steps.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from made import blend, brief_of, fitted, installed, offered
from modelyard.bundle.parity import check_parity, graph_thresholds
from modelyard.bundle.runtimes.onnx import OnnxRuntime
from modelyard.core.errors import GateFailed
from modelyard.data.dataset import Dataset, Parts
from modelyard.data.read import read_data
from modelyard.data.splitting import split
from modelyard.encoding.encoding import Encoding
from modelyard.families.fitted import Blend, Fitted
from modelyard.families.tabular.tabular import Tabular


def main() -> int:
    """Compare on each set, print the table and one last line; return 1 where an answer differs by more than allowed."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("sets", nargs="*", default=[], metavar="SET")
    words.add_argument("--rows", type=int, default=20_000, help="rows drawn from each set, at most")
    words.add_argument("--count", type=int, default=20_000, help="adversarial rows")
    words.add_argument("--rounds", type=int, default=60)
    asked = words.parse_args()
    print(
        f"{'set':<20}{'loss':<18}{'members':<17}{'trees':>6}{'real':>7}{'made':>7}{'largest':>10}{'limit':>10}  holds"
    )
    failed = 0
    for one, frame in installed(asked.sets):
        frame = frame.sample(min(asked.rows, frame.height), seed=0)
        for metric in _metrics(one.task, frame[one.target].to_list()):
            brief = brief_of(one, 240.0, 0, metric)
            parts = split(read_data(frame, brief), brief)
            members = [fitted(candidate, parts, asked.rounds) for candidate in offered(brief, parts).values()]
            for name, chosen in _chosen(members):
                line, good = _compare(blend(chosen, brief, parts), parts, asked.count)
                failed += not good
                print(f"{one.name:<20}{metric:<18}{name:<17}{line}", flush=True)
    print(f"parity: {'all hold' if not failed else f'{failed} DIFFER'}")
    return 1 if failed else 0


def _metrics(task: str, label: Sequence[float]) -> list[str]:
    if task != "regression":
        return ["log_loss"]
    counts = ["poisson_deviance", "tweedie_deviance"] if min(label) >= 0 else []
    return ["rmse", "mae", "pinball@0.9", *counts]


def _chosen(members: Sequence[Fitted]) -> Iterator[tuple[str, Sequence[Fitted]]]:
    yield from ((one.candidate.name, [one]) for one in members)
    yield "all", members


def _compare(mixed: Blend, parts: Parts, count: int) -> tuple[str, bool]:
    data, family = parts.development, Tabular()
    export = family.export(mixed, data)
    encoding, classes = Encoding.of(data.schema, moments=export.moments), len(data.schema.classes)
    graph = export.files["model.onnx"]

    def trained(rows: Dataset) -> np.ndarray:
        raw = sum(weight * family.predict(one, rows) for one, weight in mixed.members)
        return mixed.answer(np.asarray(raw))

    runtime = OnnxRuntime(graph, encoding, max(1, classes))
    deviation = 1.0 if classes else float(data.truth().std())
    rows = data if parts.test is None else parts.test
    try:
        facts = check_parity(runtime, trained, rows, deviation, graph_thresholds(graph, encoding), 0, count, len(rows))
    except GateFailed as error:
        return f"{export.facts['trees']:>6}  NO: {error}", False
    made = facts["at_thresholds"] + facts["missing"] + facts["adversarial"]
    line = f"{export.facts['trees']:>6}{facts['rows']:>7}{made:>7}{facts['largest']:>10.1e}{facts['limit']:>10.1e}  yes"
    return line, True


if __name__ == "__main__":
    sys.exit(main())
