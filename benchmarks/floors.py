"""`develop`, untouched, on eight real sets: is each at least as good as an untuned reference?

``make bench-floors [SETS="adult caravan"]``. Each set is developed with its brief below and nothing else, and scored
on its untouched test part. Beside it stand the figure of scikit-learn's gradient boosting or logistic regression (the
better one) recorded once on a split of its own (``recorded``), and the better of the two fitted here on the same
development rows and scored on the same test rows (``same rows``), which leaves out the luck of the split. A set fails
where even the optimistic end of the gain over the latter is below zero (paired bootstrap, 95 %).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from data_sets import load
from modelyard.brief.brief import Brief, Budget, DataBrief
from modelyard.data.dataset import Dataset
from modelyard.encoding.encoding import Encoding
from modelyard.evaluation.answers import answers
from modelyard.flow.develop import develop
from modelyard.flow.prepare import prepare
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.intervals import paired
from modelyard.metrics.metric import Metric
from modelyard.metrics.reading import reading


@dataclass(frozen=True)
class Case:
    """A set, what its brief says, and the recorded floor in its metric (None where there is none)."""

    name: str
    metric: str
    data: DataBrief
    floor: float | None


CASES = [
    Case("adult", "roc_auc", DataBrief(label="income", sensitive=("gender", "race", "age")), 0.9293),
    Case("california_housing", "rmse", DataBrief(label="MedHouseVal"), 0.4675),
    Case("framingham", "roc_auc", DataBrief(label="chd_10y", group="RANDID", sensitive=("SEX", "AGE")), 0.729),
    Case("bikeshare", "rmse", DataBrief(label="bikers", time="day"), 53.3622),
    Case("fars", "f1_macro", DataBrief(label="INJURY_SEVERITY", sensitive=("SEX", "RACE")), None),
    Case("caravan", "average_precision", DataBrief(label="Purchase", positive="Yes"), 0.1519),
    Case("wage_panel", "rmse", DataBrief(label="lwage", group="nr", sensitive=("black", "hisp")), 0.5308),
    Case("m4_sample", "mase", DataBrief(label="value", group="series", time="date"), None),
]


def main() -> int:
    """Develop each set, print the table and one last line; return 1 where a floor does not hold."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("sets", nargs="*", choices=[[], *(c.name for c in CASES)], default=[])
    words.add_argument("--seconds", type=float, default=90.0, help="budget of each set")
    asked = words.parse_args()
    cases = [c for c in CASES if not asked.sets or c.name in asked.sets]
    print(f"{'set':<20}{'metric':<19}{'test':>9}  {'interval':<20}{'recorded':>9}{'same rows':>10}{'s':>6}  holds")
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            if not measure(case, asked.seconds, Path(folder)):
                failed.append(case.name)
    print(f"floors: {'all hold' if not failed else 'NOT HELD: ' + ', '.join(failed)}")
    return 1 if failed else 0


def measure(case: Case, seconds: float, folder: Path) -> bool:
    """Develop one set and print its line; say whether its floors hold."""
    frame = load(case.name)
    brief = Brief(
        use_case=case.name,
        metric=case.metric,
        data=case.data,
        budget=Budget(seconds=seconds),
    )
    began = time.monotonic()
    done = develop(brief, frame, workspace=folder / case.name)
    took = time.monotonic() - began
    estimate = done.report.estimate
    metric = find_metric(case.metric)
    test, rival = reference(brief, frame, metric)
    same = metric(test.truth(), rival, None, test.extras)
    gain = paired(
        metric, test.truth(), reading(metric, answers(done.run, test), done.bundle.threshold or 0.5), rival,
        groups=test.groups(), context=test.extras,
    )  # fmt: skip
    good = gain.high >= 0
    interval = f"[{estimate.low:.4g}, {estimate.high:.4g}]"
    print(
        f"{case.name:<20}{case.metric:<19}{estimate.value:>9.4f}  {interval:<20}"
        f"{'' if case.floor is None else format(case.floor, '.4f'):>9}{same:>10.4f}"
        f"{took:>6.0f}  {'yes' if good else 'NO'}",
        flush=True,
    )
    return good


def reference(brief: Brief, frame: pl.DataFrame, metric: Metric) -> tuple[Dataset, np.ndarray]:
    """Return the test rows, and what the better untuned model, or a seasonal-naive forecast, predicts for them."""
    _, parts, _ = prepare(brief, frame)
    test = parts.test
    assert test is not None
    if test.schema.task == "forecast":
        return test, np.asarray(test.extras["naive"])
    encoding = Encoding.of(test.schema)
    levels = {
        name: {v: i for i, v in enumerate(sorted(set(parts.development.frame[name].drop_nulls().to_list())))}
        for name in encoding.strings
    }

    def matrix(rows: pl.DataFrame) -> np.ndarray:
        numbers, strings = encoding.frame(rows)
        codes = [[levels[n].get(v, np.nan) for v in strings[:, j]] for j, n in enumerate(encoding.strings)]
        return np.column_stack([numbers, *map(np.asarray, codes)]) if codes else numbers

    learn, score = matrix(parts.development.frame), matrix(test.frame)
    truth = parts.development.truth()
    if test.schema.task == "regression":
        return test, HistGradientBoostingRegressor(random_state=0).fit(learn, truth).predict(score)
    numbers, categories = list(range(len(encoding.numbers))), list(range(len(encoding.numbers), learn.shape[1]))
    scaled, hot = make_pipeline(SimpleImputer(), StandardScaler()), OneHotEncoder(handle_unknown="ignore")
    columns = [("n", scaled, numbers)] if numbers else []
    hot = ColumnTransformer([*columns, ("c", hot, categories)] if categories else columns)
    models = [HistGradientBoostingClassifier(random_state=0), make_pipeline(hot, LogisticRegression(max_iter=1_000))]
    found = []
    for model in models:
        model.fit(learn, truth)
        if metric.reads == "classes":
            found.append(model.predict(score).astype(float))
        else:
            p = model.predict_proba(score)
            found.append(p[:, 1] if test.schema.task == "binary" else p)
    return test, min(found, key=lambda p: metric.loss(metric(test.truth(), p)))


if __name__ == "__main__":
    sys.exit(main())
