"""Portfolio: the kinds of model for tables, what their parameters start from, what a search may change, and reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelyard.brief.brief import Brief
from modelyard.brief.presets import fold_count, goes_forward, scored_count
from modelyard.core.machine import usable_cores
from modelyard.data.dataset import Dataset, Floats
from modelyard.data.profile import Profile
from modelyard.encoding.encoding import Encoding
from modelyard.families.fitted import Range
from modelyard.families.monotone import holds
from modelyard.families.tabular.booster import leaf_rows
from modelyard.families.tabular.file_bytes import shared_bytes
from modelyard.families.tabular.inputs import find_levels, find_vocabularies
from modelyard.families.tabular.labels import loss_parameters
from modelyard.metrics.find import metric as find_metric

ROWS_PER_PARAMETER = 10
"""A model may have one parameter for so many rows: weights of a line, leaves of one tree. How many trees are summed is
for the rows held back to say, since each adds a small part of what it learnt."""
MODELS = 6
"""Models on every row that a member's answer is the mean of, at most: the seventh takes off a fortieth of what seeds
vary."""
MANY = 10_000
"""Rows from which large trees find enough to split."""
WIDE = 96
"""Leaves of a large tree."""
POWER = 1.1
"""Power of the mean that the variance is taken to have where the logarithm of the mean is learnt for squared error:
near to that of counts (1), so that large values, which squared error weighs most, weigh much."""
VARIES = 0.2
"""Deviation of a label over its mean from which its logarithm is worth a try."""
SLACK, LEAST_GUARD = 6.0, 10
"""The clock ends a fit only beyond this many times its reckoned seconds, half the budget, and this many seconds: models
that the clock cut short are worth little."""
RARE = 0.4
"""A class below this part of an even share makes the search try class weights."""


@dataclass(frozen=True, slots=True)
class Table:
    """What a table is like, as far as the choice of models goes.

    Attributes
    ----------
    task : str
        binary, multiclass or regression.
    rows, learnt : int
        Rows of the development part; rows one fold's booster learns from.
    waves : int
        How often the cores go round to fit the folds of a candidate.
    numbers, categories, texts : int
        Columns of each matrix of the encoding.
    phrases : int
        Categories whose words are read too: they are among the texts as well.
    missing : float
        Share of cells without a value.
    outputs : int
        Raw scores a row gets.
    rarest : float
        Share of the rarest class; 1 for a number.
    loss : mapping
        Parameters that name the loss of numbers; none for squared error and for classes.
    forward : bool
        Whether the split goes forward in time: then no numbers are derived, since what two of them are together shifts
        sooner than what each is.
    timed : bool
        Whether there is a time column: then the moment itself may be a feature, where forward windows say so.
    directed : bool
        Whether answers may only rise, or only fall, with some number.
    log : mapping or None
        Parameters under which the logarithm of the mean is learnt, where squared error is asked and the label allows
        it.
    class_weights : mapping
        Parameters that say what classes weigh, where the brief does.
    shared : float
        Bytes all members share of the model's file, reckoned where the brief limits its size.
    """

    task: str
    rows: int
    learnt: int
    waves: int
    numbers: int
    categories: int
    missing: float
    outputs: int
    rarest: float
    loss: Mapping[str, Any] = field(default_factory=dict)
    forward: bool = False
    timed: bool = False
    directed: bool = False
    shared: float = 0.0
    texts: int = 0
    phrases: int = 0
    log: Mapping[str, Any] | None = None
    class_weights: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> int:
        """Columns of the encoding, those read in two ways once."""
        return self.numbers + self.categories + self.texts - self.phrases

    @property
    def leaves(self) -> int:
        """Leaves of one tree: 31, fewer where rows are few, far within rows / 10, or those of a class are."""
        return max(4, min(31, self.rows // 60, self.of_a_class // 8))

    @property
    def depth(self) -> int:
        """Depth of one tree: 6, less where rows are few, or those of a class."""
        few = min(max(self.rows, 100) / 25, max(self.of_a_class, 40) / 10)
        return max(2, min(6, int(math.log2(few))))

    @property
    def of_a_class(self) -> int:
        """Rows of an average class of several, each of which has trees of its own; all rows where there are none."""
        return self.rows // self.outputs


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of boosted trees."""

    name: str
    algorithm: str
    title: str
    why: str
    extra: bool = False
    wide: bool = False

    def suits(self, table: Table) -> bool:
        """Say whether it keeps what is asked, the rows are enough for large trees, or few for random thresholds."""
        if table.directed and not holds(self.algorithm, table.loss.get("loss", "")):
            return False
        return not (self.wide and table.rows < MANY) and not (self.extra and table.rows >= MANY)

    def parameters(self, table: Table) -> dict[str, Any]:
        """Return what it starts from; rate and rounds are settled with the budget."""
        shared = {
            "algorithm": self.algorithm,
            "learning_rate": 0.1,
            "rounds": 100,
            "l2": 3.0 if self.algorithm == "catboost" else 1.0,
            "subsample": 0.8,
            "columns": 0.8 if table.columns > 4 or table.texts else 1.0,
            **class_weights(table),
            **({"elapsed": False} if table.timed else {}),
            **({"derived": not table.forward} if table.numbers > 1 else {}),
            **table.loss,
        }
        if self.wide:
            shared["columns"] = 0.5 if table.columns > 4 or table.texts else 1.0
        if self.algorithm == "lightgbm":
            shared |= {"leaves": WIDE if self.wide else table.leaves, **({"extra": True} if self.extra else {})}
            return {**shared, "min_data_in_leaf": leaf_rows(table.learnt)}
        return {**shared, "depth": table.depth, **({"min_child_weight": 1.0} if self.algorithm == "xgboost" else {})}


BOOSTED = (
    Kind("lightgbm", "lightgbm", "LightGBM", "trees grown leaf by leaf, the fastest to fit"),
    Kind("catboost", "catboost", "CatBoost", "symmetric trees, which overfit least"),
    Kind("xgboost", "xgboost", "XGBoost", "trees grown level by level, whose errors differ from LightGBM's"),
    Kind(
        "lightgbm-extra",
        "lightgbm",
        "LightGBM, extra trees",
        "random thresholds, which overfit less where rows are few",
        extra=True,
    ),
    Kind(
        "lightgbm-wide",
        "lightgbm",
        "LightGBM, large trees",
        f"trees of {WIDE} leaves on half the columns each, for what many rows can tell apart",
        wide=True,
    ),
)


def leaves(parameters: Mapping[str, Any]) -> int:
    """Return how many leaves one tree may have."""
    return int(parameters.get("leaves") or 2 ** parameters["depth"])


def guard_seconds(once: float, budget: float) -> int:
    """Return the seconds after which the clock ends a fit of one fold that is reckoned to take `once`."""
    return math.ceil(max(SLACK * once, budget / 2, LEAST_GUARD))


def read_table(brief: Brief, profile: Profile, data: Dataset) -> Table:
    """Describe development rows for the choice of models."""
    encoding = Encoding.of(data.schema)
    classes = len(data.schema.classes)
    rows = max(1, len(data))
    forward = goes_forward(brief)
    count = max(2, fold_count(brief, rows))
    by_class = np.bincount(data.truth().astype(np.int64), minlength=classes) if classes else None
    scored = scored_count(brief, rows, () if by_class is None else by_class.tolist())
    # Of windows forward in time the last are scored, which learn from most.
    learnt = 1 - (min(scored, count) + 1) / 2 / (count + 1) if forward else (count - 1) / count
    share = learnt * 0.88
    cells = profile.rows * max(1, len(profile.columns))
    loss = {} if classes or brief.metric is None else loss_parameters(find_metric(brief.metric))
    rarest = 1.0 if by_class is None else float(by_class.min() / len(data))
    return Table(
        data.schema.task,
        rows,
        max(1, round(rows * share)),
        math.ceil(scored / usable_cores()),
        len(encoding.numbers),
        len(encoding.strings),
        sum(c.missing for c in profile.columns) / max(cells, 1),
        classes if classes > 2 else 1,
        rarest,
        loss,
        forward,
        bool(encoding.elapsed),
        bool(brief.data.monotone),
        0.0 if brief.size is None else shared_bytes(find_levels(data), classes, find_vocabularies(data)),
        len(encoding.texts),
        len(encoding.phrases),
        None if classes or loss else logarithm(data.truth().astype(np.float64)),
        _asked_weights(brief, data.schema.classes),
    )


def _asked_weights(brief: Brief, classes: Sequence[str]) -> Mapping[str, Any]:
    asked = brief.data.class_weights
    if isinstance(asked, str):
        return {"balanced": True}
    return {"class_weights": [asked.get(name, 1.0) for name in classes]} if asked else {}


def logarithm(truth: Floats) -> Mapping[str, Any] | None:
    """Return the parameters under which the logarithm of the mean is learnt; None where a label is below zero.

    Nor where labels vary little beside their mean: the logarithm is then all but a line.
    """
    if len(truth) == 0 or truth.min() < 0 or truth.std() <= VARIES * truth.mean():
        return None
    return {"loss": "tweedie", "power": POWER}


def space(parameters: Mapping[str, Any], table: Table) -> dict[str, Range]:
    """Return what the search may change: rate .01 to .3, depth 3 to 10, child weight 1 to 10, and shares.

    A rate is at least three quarters of the portfolio's own, since the budget pays for no more rounds, and symmetric
    trees, which double with each level, are no deeper than 8. Rounds are no part of it: early stopping finds them.
    """
    algorithm = parameters["algorithm"]
    found = {
        "learning_rate": Range("float", max(0.01, 0.75 * float(parameters["learning_rate"])), 0.3, log=True),
        "l2": Range("float", 0.1, 30.0, log=True),
        "subsample": Range("float", 0.5, 1.0),
        "columns": Range("float", 0.4, 1.0),
    }
    if algorithm == "lightgbm":
        found["leaves"] = Range("int", 4, max(8, min(WIDE, table.rows // 60)), log=True)
        found["min_data_in_leaf"] = Range("int", 2, max(8, min(100, table.learnt // 20)), log=True)
    else:
        found["depth"] = Range("int", min(3, table.depth), 8 if algorithm == "catboost" else 10)
    if algorithm == "xgboost":
        found["min_child_weight"] = Range("float", 1.0, 10.0, log=True)
    return found | weighing(table)


def starts(parameters: Mapping[str, Any], ranges: Mapping[str, Range]) -> tuple[Mapping[str, Any], ...]:
    """Return what the search tries first: smoother trees, and then larger ones on fewer columns each.

    With a portfolio's own settings in between they tell which way to go; a search that begins at random needs more
    trials for that than a short budget has.
    """
    smoother: dict[str, Any] = {"l2": 5.0, "subsample": 0.7, "columns": 0.5}
    larger: dict[str, Any] = {"columns": 0.5}
    if parameters["algorithm"] == "lightgbm":
        own, least = int(parameters["leaves"]), int(parameters["min_data_in_leaf"])
        smoother |= {"leaves": round(own / 2), "min_data_in_leaf": 2 * least}
        larger |= {"leaves": 2 * own, "min_data_in_leaf": round(least / 2)}
    else:
        smoother["depth"], larger["depth"] = parameters["depth"] - 2, parameters["depth"] + 2
    found = []
    for changed in (smoother, larger):
        asked = {name: changed.get(name, parameters[name]) for name in ranges}
        found.append({name: range_.nearest(asked[name]) for name, range_ in ranges.items()})
    return tuple(found)


def weighing(table: Table) -> dict[str, Range]:
    """Return the choice of class weights where a class is rare and the brief does not say what classes weigh."""
    rare = not table.class_weights and table.rarest < RARE / max(2, table.outputs)
    return {"balanced": Range("choice", choices=(False, True))} if rare else {}


def class_weights(table: Table) -> dict[str, Any]:
    """Return the parameters that say what classes weigh: the brief's, or where the search starts."""
    return dict(table.class_weights) or dict.fromkeys(weighing(table), False)


def reason(kind: Kind, table: Table) -> str:
    """Say why boosted trees of this kind are in the plan."""
    texts = table.texts - table.phrases
    kinds = (("numbers", table.numbers), ("categories", table.categories), ("texts", texts))
    mixed = " and ".join(name for name, count in kinds if count)
    said = [
        f"{table.rows:,} rows of {table.columns} columns of {mixed}: "
        + ("boosted trees lead below 1M rows" if table.rows < 1_000_000 else "boosted trees still hold their own here")
    ]
    said.append(kind.why)
    if kind.algorithm == "xgboost" and table.missing > 0.01:
        said.append(f"{table.missing:.0%} of the cells are missing, and each split learns where they go")
    if kind.algorithm == "catboost" and table.categories > table.numbers:
        said.append(f"{table.categories} of {table.columns} columns are categories")
    if table.phrases:
        said.append(f"of {table.phrases} of the categories words are read too, since their levels are phrases")
    if weighing(table):
        said.append(f"the rarest class holds {table.rarest:.2g} of the rows, so the search may weigh classes alike")
    return "; ".join(said)


def size(parameters: Mapping[str, Any], caps: str) -> str:
    """Say how large boosted trees may grow, and what holds them there."""
    grown = f"at most {parameters['rounds']:,} rounds of {leaves(parameters)} leaves"
    return f"rate {parameters['learning_rate']:g}, {grown}" + (f" ({caps})" if caps else "")


def linear_reason(table: Table, weights: int) -> str:
    """Say why a linear model is in the plan."""
    if weights > table.rows / ROWS_PER_PARAMETER:
        return (
            f"{table.rows:,} rows for {weights:,} weights, more than rows / {ROWS_PER_PARAMETER}: few rows speak for a "
            "line, and the ridge penalty is chosen on rows held out"
        )
    if table.rows < 2_000:
        return f"{table.rows:,} rows are few: a line has the fewest ways to be wrong"
    return f"{weights:,} weights for {table.rows:,} rows: what trees must beat, and a share of the blend they lack"
