"""Report: what the model is worth, with intervals, and the verdict, decided here once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modelyard.brief.brief import Target

Answer = Literal["yes", "no", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval.

    ``low`` and ``high`` bound the central `level` of the bootstrap distribution; `n` counts rows,
    `resamples` resamples, `unit` says what was resampled ("rows" or "groups").
    """

    metric: str
    value: float
    low: float
    high: float
    n: int
    level: float = 0.95
    resamples: int = 1000
    unit: str = "rows"


@dataclass(frozen=True, slots=True)
class TargetResult:
    """A target, what was reached, and the answer by the pessimistic end of the interval."""

    target: Target
    estimate: Estimate
    met: Answer


@dataclass(frozen=True, slots=True)
class Baseline:
    """A simple predictor on the same rows: its figure, and the model's gain over it by paired bootstrap.

    ``gain`` is positive when the model is better, whatever the metric's direction; `p_value` is two-sided.
    """

    name: str
    title: str
    estimate: Estimate
    gain: float
    gain_low: float
    gain_high: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Slice:
    """The metric on some of the rows: a level of a category, a range of a number, or missing values.

    ``share`` is of the evaluated rows; `note` says "insufficient data" where there are too few to tell, and the
    estimate is then NaN.
    """

    column: str
    level: str
    estimate: Estimate
    share: float
    sensitive: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Predictions near one value and what came true: mean predicted, observed share with interval, rows."""

    predicted: float
    observed: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class ValueBin:
    """Rows with like predictions: mean predicted, mean actual with its interval, rows; in units of the label."""

    predicted: float
    actual: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """How far predictions lie from what came true, beyond what chance alone would show.

    Attributes
    ----------
    value : float
        Root mean squared gap over the bins, less what sampling noise adds on average: 0 when there is no more than
        noise. In units of probability.
    null : float
        What 95 % of perfectly calibrated models stay under on rows like these.
    p_value : float
        Share of perfectly calibrated models with a gap as large.
    n : int
        Rows.
    """

    value: float
    null: float
    p_value: float
    n: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts ``counts[truth][prediction]`` for `classes`, at `threshold` (None for multiclass: the likeliest class).

    ``crossed`` holds the thresholds each half of out-of-fold rows was judged at, chosen on the other half;
    ``weighed`` the sums of weights behind the counts, where rows have weights.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    threshold: float | None
    chosen_by: str
    crossed: tuple[float, float] | None = None
    weighed: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True, slots=True)
class Importance:
    """How much worse the metric gets when a column is shuffled: mean loss and its interval over repeats."""

    column: str
    loss: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class StepError:
    """Mean error so many steps ahead with its interval, that of the seasonal naive forecast, and rows."""

    step: int
    error: float
    low: float
    high: float
    naive: float
    n: int


@dataclass(frozen=True, slots=True)
class SeriesError:
    """Mean error on one series, that of the seasonal naive forecast, and rows."""

    series: str
    error: float
    naive: float
    n: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """Share of what came true inside bounds that promise `level` per cent, with its interval, and mean width.

    ``expected`` is the share to expect: what is promised, or, of sets, what was held of the rows they were made from,
    which is more where the answer alone is right more often. Of sets `width` counts classes, and `alone` is the share
    of rows with one; NaN for intervals.
    """

    level: int
    share: float
    low: float
    high: float
    width: float
    n: int
    alone: float = float("nan")
    expected: float = float("nan")


@dataclass(frozen=True, slots=True)
class BoundedPart:
    """Share held on some of the rows: by "time" or by "class"; as in `Coverage`.

    By "past": of a fifth of the out-of-fold rows by bounds made from those before it, where a split goes forward.
    """

    by: str
    name: str
    level: int
    share: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Bounded:
    """Whether conformal intervals or sets hold what they promise.

    ``crossed``: no rows were untouched, and each part was judged by bounds made from the others. `forward`: the split
    goes forward in time. `grouped`: each group counts once. `rows` and `units` are what the bounds that ship stand on.
    """

    kind: Literal["interval", "set"]
    crossed: bool
    forward: bool
    grouped: bool
    rows: int
    units: int
    levels: tuple[Coverage, ...]
    parts: tuple[BoundedPart, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """One series: its last values learnt from, then truth, forecast and seasonal naive forecast by step ahead."""

    series: str
    past: tuple[float, ...]
    truth: tuple[float, ...]
    forecast: tuple[float, ...]
    naive: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Forecasts:
    """A forecast by step and by series.

    ``unit`` says what errors are; `best` and `worst` come from either end of `series` many, none twice; `picture` is of
    the series of median error; `coverages` is empty where there are no intervals.
    """

    unit: str
    by_step: tuple[StepError, ...]
    best: tuple[SeriesError, ...]
    worst: tuple[SeriesError, ...]
    series: int
    picture: Picture
    coverages: tuple[Coverage, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What the model is worth.

    Attributes
    ----------
    run : str
        Name of the run.
    task, metric : str
        What was predicted and optimised.
    on : {"test", "out-of-fold"}
        Which rows the estimate comes from.
    rows : int
        How many.
    estimate : Estimate
        Of the plan's metric.
    others : tuple of Estimate
        Other metrics of the task.
    targets : tuple of TargetResult
        One for each target of the brief.
    target_met : {"yes", "no", "inconclusive"}
        All targets together; "yes" when the brief names none and the best baseline is beaten.
    baselines : tuple of Baseline
        Best first.
    beats_baseline : bool
        Whether the gain over the best baseline is positive at the pessimistic end.
    calibration : tuple of CalibrationBin
        Of the positive class, or of the likeliest class's probability for more than two; empty for numbers.
    confusion : Confusion or None
        For classes.
    slices : tuple of Slice
        By level and by quantile of the top features, and of sensitive columns.
    importance : tuple of Importance
        Largest first.
    worries : tuple of str
        What a careful reader should know, worst first.
    calibration_error : CalibrationError or None
        For classes.
    weighted : bool
        Whether rows count by a weight column: in every figure, but not in counts of rows.
    values : tuple of ValueBin
        Predicted against actual, for regression.
    bias : Estimate or None
        Mean of predicted less actual, for numbers; None where a quantile is predicted.
    below : Estimate or None
        Share of the rows at or below the prediction, where a quantile other than the median is predicted.
    forecasts : Forecasts or None
        By step and series, for a forecast of untouched rows.
    bounds : Bounded or None
        Whether conformal intervals or sets hold; None for a forecast, or where the rows support none.
    """

    run: str
    task: str
    metric: str
    on: Literal["test", "out-of-fold"]
    rows: int
    estimate: Estimate
    others: tuple[Estimate, ...]
    targets: tuple[TargetResult, ...]
    target_met: Answer
    baselines: tuple[Baseline, ...]
    beats_baseline: bool
    calibration: tuple[CalibrationBin, ...]
    confusion: Confusion | None
    slices: tuple[Slice, ...]
    importance: tuple[Importance, ...]
    worries: tuple[str, ...]
    calibration_error: CalibrationError | None = None
    weighted: bool = False
    values: tuple[ValueBin, ...] = ()
    bias: Estimate | None = None
    below: Estimate | None = None
    forecasts: Forecasts | None = None
    bounds: Bounded | None = None
