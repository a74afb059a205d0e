"""Brief: what is asked, and nothing of how it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Task = Literal["binary", "multiclass", "regression", "forecast"]
Comparison = Literal[">=", "<=", ">", "<"]
ColumnKind = Literal["number", "category", "boolean", "date", "text", "id"]
Direction = Literal["increasing", "decreasing"]
Presets = Literal["fast", "balanced", "best"]
Fallback = Literal["cached", "previous", "rule"]
ClassWeights = dict[str, float] | Literal["balanced"]
Strategy = Literal["auto", "random", "stratified", "group", "time", "group_time", "rolling"]


@dataclass(frozen=True, slots=True)
class Target:
    """A metric and the value it must reach, such as ``roc_auc >= 0.80``.

    Attributes
    ----------
    metric : str
        Canonical metric name.
    comparison : {">=", "<=", ">", "<"}
        Agrees with the metric's direction; reading a brief refuses the other sign.
    value : float
        As a fraction: 99 % is 0.99.
    label : str or None
        The class it speaks of, as in "99% recall on defects"; None for the positive class or the average.
    """

    metric: str
    comparison: Comparison
    value: float
    label: str | None = None

    def __str__(self) -> str:
        """Return the target as a brief writes it."""
        return f"{self.metric} {self.comparison} {self.value:g}" + (f" on {self.label}" if self.label else "")


MODEL_SHARE = 0.3
"""Share of a latency limit that the model may take."""


@dataclass(frozen=True, slots=True)
class Latency:
    """The time one answer may take: a percentile of requests and its limit in milliseconds."""

    percentile: float = 99.0
    milliseconds: float = 100.0

    def __str__(self) -> str:
        """Return the limit as a brief writes it."""
        return f"p{self.percentile:g} < {self.milliseconds:g} ms"

    @property
    def model_microseconds(self) -> float:
        """The model's share of the limit; the request, its checks and the log have the rest."""
        return MODEL_SHARE * self.milliseconds * 1e3


@dataclass(frozen=True, slots=True)
class Size:
    """How large the file that answers may be (``model.onnx``), in megabytes of a million bytes."""

    megabytes: float

    def __str__(self) -> str:
        """Return the limit as a brief writes it."""
        return f"< {self.megabytes:g} MB"

    @property
    def bytes(self) -> float:
        """The limit in bytes."""
        return self.megabytes * 1e6


@dataclass(frozen=True, slots=True)
class DataBrief:
    """Which table, and what its columns mean.

    Attributes
    ----------
    path : str or None
        CSV, Parquet or Arrow file, absolute after reading (relative ones are taken from the brief's folder).
    label : str or None
        The column to predict.
    group : str or None
        The entity that repeats (patient, customer; for a forecast, the series).
    time : str or None
        When the row was known.
    sensitive, drop, keep : tuple of str
        Columns for fairness slices; columns no model may read; columns every model gets, whatever findings say.
    weight : str or None
        Column of sample weights.
    positive : str or None
        The positive class of a binary label, as text.
    class_weights : mapping of str to float, or "balanced"
        How much rows of a class weigh in fits, 1 where it is not named; "balanced" has every class weigh the same.
        Empty leaves it to the search.
    types : mapping of str to kind
        Overrides of the inferred column types.
    monotone : mapping of str to {"increasing", "decreasing"}
        Numbers with which the answer may only rise, or only fall, all else equal.
    minimum, maximum : mapping of str to float or str
        Least and largest value allowed of numbers, and of dates as ISO 8601 text.
    levels : mapping of str to tuple of str
        The only levels allowed of categories.
    """

    path: str | None = None
    label: str | None = None
    group: str | None = None
    time: str | None = None
    sensitive: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    weight: str | None = None
    positive: str | None = None
    class_weights: ClassWeights = field(default_factory=dict)
    types: dict[str, ColumnKind] = field(default_factory=dict)
    monotone: dict[str, Direction] = field(default_factory=dict)
    minimum: dict[str, float | str] = field(default_factory=dict)
    maximum: dict[str, float | str] = field(default_factory=dict)
    levels: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be spent: seconds of wall clock for the whole run, trials of the search, and gigabytes of memory.

    ``memory`` None lets the machine say what is free when the table is read.
    """

    seconds: float = 120.0
    trials: int | None = None
    memory: float | None = None


@dataclass(frozen=True, slots=True)
class Validation:
    """How honesty is kept: the split's strategy, folds, the share never seen, and the gap before it.

    ``test_fraction`` None lets the split choose 10 to 20 %; 0 trains on everything, and the estimate
    is then out-of-fold. ``folds`` None is what the preset says (see `modelyard.brief.presets.fold_count`).
    ``gap`` is in days of the time column (or in its own unit where that is a number).
    """

    strategy: Strategy = "auto"
    folds: int | None = None
    test_fraction: float | None = None
    gap: float = 0.0


@dataclass(frozen=True, slots=True)
class ForecastBrief:
    """How far ahead, and the length of one season; None lets the data say."""

    horizon: int | None = None
    season: int | None = None


@dataclass(frozen=True, slots=True)
class LogBrief:
    """Columns a server's prediction log never holds as they are: hashed with a secret, or left out."""

    hash: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Brief:
    """What is asked: one sentence or one YAML file, read and checked.

    Attributes
    ----------
    use_case : str
        A name for the problem.
    task : {"binary", "multiclass", "regression", "forecast"} or None
        None until the data has been read.
    model : str
        ``"auto"`` or a candidate's name, such as ``"xgboost"``.
    target : tuple of Target
        What must be reached; empty when nothing was asked.
    metric : str or None
        What to optimise; None takes the first target's metric, or the task's default.
    latency : Latency or None
        The limit on one answer.
    size : Size or None
        The limit on the model's file.
    requests_per_day : float or None
        The load to serve.
    framework, infrastructure : str or None
        As written, in lower case ("kubernetes").
    presets : {"fast", "balanced", "best"}
        What settles budget, folds and networks where the brief leaves them open (see `modelyard.brief.presets`):
        reading a brief has filled them in already.
    data, budget, validation, forecast, log
        See their own types.
    rule : str or None
        The user's present heuristic over columns, a baseline and a fallback.
    fallback : tuple of {"cached", "previous", "rule"}
        What a server answers with when the model cannot, in order: the model's earlier answer to the same row, the
        version before it, the rule. What there is none of is passed over.
    seed : int
        Every random choice derives from it.
    source : str
        File the brief was read from, or "sentence", "python".
    """

    use_case: str = "model"
    task: Task | None = None
    model: str = "auto"
    target: tuple[Target, ...] = ()
    metric: str | None = None
    latency: Latency | None = None
    size: Size | None = None
    requests_per_day: float | None = None
    framework: str | None = None
    infrastructure: str | None = None
    data: DataBrief = field(default_factory=DataBrief)
    rule: str | None = None
    fallback: tuple[Fallback, ...] = ("cached", "previous", "rule")
    presets: Presets = "balanced"
    budget: Budget = field(default_factory=Budget)
    validation: Validation = field(default_factory=Validation)
    forecast: ForecastBrief = field(default_factory=ForecastBrief)
    log: LogBrief = field(default_factory=LogBrief)
    seed: int = 0
    source: str = "python"
