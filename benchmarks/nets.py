"""What a network adds to boosted trees, out of fold: alone, beside them, and in the time of one answer.

``make bench-nets [SETS="adult"]``. Candidates are those a budget of 240 s proposes: LightGBM, CatBoost and XGBoost, and
the network with the epochs its share pays for. Blends are the greedy ones of training. Losses are log loss, or RMSE,
out of fold on the development rows, the blend's a little flattered by weights chosen on them; a paired bootstrap over
rows gives the interval of what the network takes off.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from data_sets import load
from modelyard.brief.brief import Brief, Budget, DataBrief
from modelyard.data.dataset import Dataset
from modelyard.data.profile import profile
from modelyard.data.read import read_data
from modelyard.data.splitting import split
from modelyard.encoding.encoding import Encoding
from modelyard.families.fitted import Blend, Fitted
from modelyard.families.tabular.labels import mean_loss
from modelyard.families.tabular.tabular import Tabular
from modelyard.metrics.find import metric as find_metric
from modelyard.training.ensemble import greedy_weights
from modelyard.training.loss import Loss

BOOSTERS = ("lightgbm", "catboost", "xgboost")


@dataclass(frozen=True)
class Case:
    """A set, its label, and the rows drawn from it."""

    name: str
    label: str
    rows: int = 8_000


CASES = [Case("adult", "income"), Case("california_housing", "MedHouseVal"), Case("support2", "hospdead")]


def main() -> None:
    """Measure each set and print its line."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("sets", nargs="*", choices=[[], *(c.name for c in CASES)], default=[])
    words.add_argument("--seconds", type=float, default=240.0, help="budget the candidates are proposed for")
    asked = words.parse_args()
    print(
        f"{'set':<20}{'boosters':>9}{'network':>9}{'both':>9}  {'taken off, 95 %':<22}{'weight':>6}"
        f"{'trees s':>8}{'net s':>7}{'epochs':>7}{'trees us':>9}{'both us':>8}"
    )
    for case in CASES:
        if not asked.sets or case.name in asked.sets:
            measure(case, asked.seconds)


def measure(case: Case, seconds: float) -> None:
    """Fit and blend on one set, and print its line."""
    frame = load(case.name)
    frame = frame.sample(min(case.rows, len(frame)), seed=0)
    brief = Brief(data=DataBrief(label=case.label), budget=Budget(seconds))
    parts = split(read_data(frame, brief), brief).blind()
    data = parts.development
    offered = {one.name: one for one in Tabular().candidates(brief, profile(data), data)}
    trees = [Tabular().fit(offered[name], parts, 0) for name in BOOSTERS if name in offered]
    net = Tabular().fit(offered["mlp"], parts, 0)
    rows = np.flatnonzero(np.isfinite(net.scores).all(axis=1))
    before, after = (_blend(members, data, rows) for members in (trees, [*trees, net]))
    truth, ones = data.truth()[rows], np.ones(len(rows))

    def raw(blend: Blend) -> np.ndarray:
        return sum(weight * fitted.scores[rows] for fitted, weight in blend.members)

    one, other = raw(before), raw(after)
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(rows), len(rows)) for _ in range(500)]
    gains = [mean_loss(one[d], truth[d], ones) - mean_loss(other[d], truth[d], ones) for d in draws]
    low, high = np.quantile(gains, (0.025, 0.975))
    weight = sum(w for fitted, w in after.members if fitted is net)
    epochs = float(np.mean(net.rounds))
    print(
        f"{case.name:<20}{mean_loss(one, truth, ones):>9.5f}{mean_loss(net.scores[rows], truth, ones):>9.5f}"
        f"{mean_loss(other, truth, ones):>9.5f}  {f'[{low:.5f}, {high:.5f}]':<22}{weight:>6.2f}"
        f"{sum(t.seconds for t in trees):>8.0f}{net.seconds:>7.0f}{epochs:>7.1f}"
        f"{microseconds(before, data):>9.0f}{microseconds(after, data):>8.0f}",
        flush=True,
    )


def _blend(members: list[Fitted], data: Dataset, rows: np.ndarray) -> Blend:
    metric = find_metric("rmse" if data.schema.task == "regression" else "log_loss")
    loss = Loss.of(data.schema.task, metric, data)
    weights = greedy_weights([one.scores[rows] for one in members], loss.take(rows), seed=0)
    kept = tuple((one, float(w)) for one, w in zip(members, weights, strict=True) if w > 0)
    return Blend(kept, loss.link, 1.0, (0.0,) * members[0].scores.shape[1])


def microseconds(blend: Blend, data: Dataset) -> float:
    """Return the time of one answer of the blend's graph, the median of 2,000."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    graph = Tabular().export(blend, data).files["model.onnx"]
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    given = Encoding.of(data.schema, moments=True).inputs_of_frame(data.frame.head(1))
    took = []
    for _ in range(2_000):
        began = time.perf_counter()
        session.run(["answer"], given)
        took.append(time.perf_counter() - began)
    return float(np.median(took)) * 1e6


if __name__ == "__main__":
    main()
