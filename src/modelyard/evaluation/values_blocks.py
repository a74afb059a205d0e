"""Sections of the evaluation document that speak of numbers rather than classes."""

from __future__ import annotations

from modelyard.core.charts import Series, lines
from modelyard.core.markup import Block, Details, Figure, Heading, Table, Text
from modelyard.evaluation import wording as say
from modelyard.evaluation.report import Report
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.objective import objective


def predicted_blocks(report: Report) -> list[Block]:
    """Return predicted against actual with the mean bias; nothing for classes."""
    bias, bins = report.bias, report.values
    if report.below is not None:
        return [Heading("Rows below the prediction"), Text(say.below(report, report.below))]
    if bias is None:
        return []
    way = "too high" if bias.low > 0 else "too low" if bias.high < 0 else "neither too high nor too low for certain"
    middle = bins and objective(find_metric(report.metric)).level is not None
    median = " The model was made for the median, which lies off the mean of a skewed label." if middle else ""
    found: list[Block] = [
        Heading("Predicted against actual" if bins else "Bias"),
        Text(f"Mean of predicted less actual: {say.interval(bias)}, {way} on average.{median}"),
    ]
    if not bins:
        return found
    predicted, actual = [b.predicted for b in bins], [b.actual for b in bins]
    points = Series("", predicted, actual, [b.low for b in bins], [b.high for b in bins], "points")
    picture = lines([points], x="mean predicted", y="mean actual", diagonal=True)
    digits = say.decimals((max(actual) - min(actual)) / 20)
    rows = [
        [
            say.number(b.predicted, digits),
            f"{say.number(b.actual, digits)} [{say.number(b.low, digits)}, {say.number(b.high, digits)}]",
            f"{b.n:,}",
        ]
        for b in bins
    ]
    caption = "About equal counts by prediction, 95 % intervals of the mean. On the dotted line predictions come true."
    table = Table(["Mean predicted", "Mean actual", "Rows"], rows, "rrr")
    return [*found, Figure(picture, "Predicted against actual", caption), Details("The bins in figures", [table])]
