"""The picture of quality against latency, for the architecture document."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from modelyard.core.charts import Series, lines
from modelyard.core.markup import Block, Figure, Heading, Text
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.metric import Metric

if TYPE_CHECKING:
    from modelyard.training.run import Frontier, Point, Run

_FAR = 20.0
_LEAST = 1.0  # microseconds; a logarithmic axis has no place for the nothing a line is reckoned to take


def frontier_blocks(run: Run | None, measured: float | None = None) -> list[Block]:
    """Return the frontier of quality against latency that a run saw, or where it will be drawn.

    Parameters
    ----------
    run : Run, optional
        Without one nothing is known yet.
    measured : float, optional
        Microseconds one row took in the median through the packed model.
    """
    heading = Heading("Quality against latency")
    if run is None:
        return [heading, Text("Drawn here once training has scored the candidates: a plan cannot know it.")]
    frontier = run.diagnostics.frontier
    if frontier is None:
        return []
    metric = find_metric(run.plan.metric)
    took = (
        "" if measured is None else f" One row took {measured:.0f} µs in the median through the packed model, all told."
    )
    caption = (
        f"Blends are chosen by {frontier.loss}. Microseconds are reckoned from their size, without encoding.{took}"
    )
    if not _near(frontier):
        caption += f" The limit, {frontier.limit:,.0f} µs, lies far to the right."
    alt = "; ".join(f"{p.microseconds:.0f} µs {p.score:.4g}" for p in frontier.blends)
    return [
        heading,
        Text(_said(frontier, metric, run.plan.brief.latency is not None)),
        Figure(_picture(frontier, metric), f"Frontier of out-of-fold {metric.title}: {alt}.", caption),
    ]


def _said(frontier: Frontier, metric: Metric, asked: bool) -> str:
    chosen, limit, best = frontier.chosen, frontier.limit, frontier.blends[-1]
    whose = "the model's share of the brief's limit" if asked else "as the brief names no limit"
    said = (
        f"**The blend scores {chosen.score:.4g} at about {chosen.microseconds:.0f} µs a row**; it might take "
        f"{limit:,.0f} µs, {whose}."
    )
    quick = [p for p in frontier.blends if p.microseconds <= chosen.microseconds / 2]
    if quick:
        said += (
            f" The best of at most half its time takes {quick[-1].microseconds:.0f} µs and would cost "
            f"{_apart(chosen.score, quick[-1].score, metric)}."
        )
    if best.microseconds <= limit:
        return f"{said} No slower blend of these fits was better."
    return f"{said} Without a limit, {best.microseconds:.0f} µs would gain {_apart(best.score, chosen.score, metric)}."


def _apart(better: float, worse: float, metric: Metric) -> str:
    """Return how much better one score is, in the metric's unit."""
    gap = metric.loss(worse) - metric.loss(better)
    return f"{gap:.2g} of {metric.title}" if gap > 0 else "nothing"


def _picture(frontier: Frontier, metric: Metric) -> str:
    def drawn(*points: Point) -> tuple[list[float], list[float]]:
        return [max(p.microseconds, _LEAST) for p in points], [p.score for p in points]

    # In steps: between two blends there is none, and the quicker one answers until the slower is allowed.
    steps = [frontier.blends[0]]
    for one in frontier.blends[1:]:
        steps += [replace(one, score=steps[-1].score), one]
    return lines(
        [
            Series("best blends", *drawn(*steps)),
            Series("fits alone", *drawn(*frontier.singles), kind="points"),
            Series("chosen", *drawn(frontier.chosen), kind="points"),
        ],
        x="microseconds a row, reckoned (logarithmic)",
        y=f"out-of-fold {metric.title}, before calibration",
        log_x=True,
        reference=(frontier.limit, f"limit {frontier.limit:.0f} µs") if _near(frontier) else None,
    )


def _near(frontier: Frontier) -> bool:
    """Say whether the limit can be drawn without pressing the points into a corner."""
    return frontier.limit <= _FAR * max(p.microseconds for p in (*frontier.singles, *frontier.blends, frontier.chosen))
