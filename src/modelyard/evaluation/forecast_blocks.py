"""Sections of the evaluation document that speak of a forecast."""

from __future__ import annotations

from modelyard.core.charts import Series, lines
from modelyard.core.markup import Block, Figure, Heading, Table, Text, literal
from modelyard.evaluation import wording as say
from modelyard.evaluation.report import Forecasts, Report, SeriesError


def forecast_blocks(report: Report) -> list[Block]:
    """Return errors by step and series, intervals held, and a picture; what is missing is said; nothing else to say."""
    if report.task != "forecast":
        return []
    found = report.forecasts
    if found is None:
        return [
            Heading("By step ahead"),
            Text("Errors by step and series, and how often intervals hold, are told of untouched rows only."),
        ]
    return [*_steps(found), *_series(found), *_picture(found), *_coverage(found)]


def _steps(found: Forecasts) -> list[Block]:
    steps = found.by_step
    at = [s.step for s in steps]
    drawn = [
        Series("model", at, [s.error for s in steps], [s.low for s in steps], [s.high for s in steps]),
        Series("seasonal naive", at, [s.naive for s in steps]),
    ]
    picture = lines(drawn, x="steps ahead", y=f"mean {found.unit}")
    caption = "Band: 95 % interval of the mean, as series differ."
    return [Heading("By step ahead"), Figure(picture, f"Mean {found.unit} by step ahead", caption)]


def _series(found: Forecasts) -> list[Block]:
    def row(one: SeriesError) -> list[str]:
        return [literal(one.series or "the only series"), say.number(one.error), say.number(one.naive), f"{one.n:,}"]

    rows = [*map(row, found.worst)]
    if found.series > len(found.worst) + len(found.best):
        rows.append(["…", "", "", ""])
    rows += map(row, found.best[::-1])
    note = f"Worst first, of {found.series:,} series; mean {found.unit}. Rows of one series are few: read as a lead."
    return [
        Heading("By series"),
        Table(["Series", "Model", "Seasonal naive", "Rows"], rows, "lrrr", note),
    ]


def _picture(found: Forecasts) -> list[Block]:
    p = found.picture
    back, ahead = range(1 - len(p.past), 1), range(1, len(p.truth) + 1)
    drawn = [
        Series("truth", [*back, *ahead], [*p.past, *p.truth]),
        Series("forecast", list(ahead), p.forecast),
        Series("seasonal naive", list(ahead), p.naive),
    ]
    picture = lines(drawn, x="steps from the last one learnt from", y=p.series or "value")
    name = f" {p.series}" if p.series else ""
    caption = f"The series of median error{', ' + literal(p.series) if p.series else ''}: half do better."
    return [Figure(picture, f"Truth, forecast and seasonal naive of series{name}", caption)]


def _coverage(found: Forecasts) -> list[Block]:
    heading = Heading("Intervals")
    if not found.coverages:
        return [heading, Text("There are no intervals to judge: too few past forecasts, or the family makes none.")]
    rows = [
        [
            f"{c.level} %",
            f"{100 * c.share:.1f} % [{_percent(c.low)}, {_percent(c.high)}]",
            say.number(c.width, 2),
            f"{c.n:,}",
        ]
        for c in found.coverages
    ]
    off = [f"{c.level} %" for c in found.coverages if c.high < c.level / 100]
    said = f" Those of {', '.join(off)} hold less than they promise." if off else ""
    text = (
        "How often what came true lay inside. The intervals judged are those of the fit on development rows, made from "
        f"past forecasts alone; the ones that ship are made the same way from all rows.{said}"
    )
    return [heading, Text(text), Table(["Promised", "Held", "Mean width", "Rows"], rows, "rrrr", _width(found))]


def _width(found: Forecasts) -> str:
    return "Width in units of the label." if found.unit == "absolute error" else "Width over the series' scale."


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if share == share else "–"
