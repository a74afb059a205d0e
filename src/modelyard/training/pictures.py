"""Pictures of the training document: how the score moved, learning curves, importances, what more rows are worth."""

from __future__ import annotations

import itertools
import math

from modelyard.core.charts import Series, bars, lines
from modelyard.core.markup import Block, Figure, Heading, Text, literal
from modelyard.families.fitted import Fitted
from modelyard.metrics.metric import Metric
from modelyard.training.attempts import learns_log
from modelyard.training.importance import LEAST_TRIALS, importance
from modelyard.training.loss import Loss
from modelyard.training.run import DataSize, Run

_CURVES = 4


def course_blocks(run: Run, metric: Metric) -> list[Block]:
    """Return how the scores of the fits and of the blend moved; nothing where there were fewer than two fits."""
    course = run.diagnostics.course
    if len(course) < 2:
        return []
    seconds = [moment.seconds for moment in course]
    title = metric.title
    svg = lines(
        [
            Series("blend", seconds, [moment.blend for moment in course]),
            Series("fits", seconds, [moment.score for moment in course], kind="points"),
        ],
        x="seconds since training began",
        y=f"out-of-fold {title}, before calibration",
    )
    first, last = course[0], course[-1]
    half = next(m for m in course if m.seconds >= (first.seconds + last.seconds) / 2)
    said = (
        f"The blend went from {first.blend:.4g} to {half.blend:.4g} in the first half of the time and to "
        f"{last.blend:.4g} in the second."
    )
    return [
        Heading("How the score moved"),
        Text(said),
        Figure(svg, f"Out-of-fold {title} of {len(course)} fits. {said}"),
    ]


def curve_blocks(run: Run, loss: Loss) -> list[Block]:
    """Return the learning curves of the members that have any."""
    members = [fitted for fitted, _ in run.blend.members if any(len(c.steps) > 1 for c in fitted.curves)][:_CURVES]
    if not members:
        return []
    unit = {"log_loss": "log loss", "squared_error": "RMSE, in the label's unit"}.get(loss.name, "loss")
    return [
        Heading("Learning curves"),
        Text(
            "Loss on the inner part that says when to stop, a line for each fold; dots are the rows fold 1 learnt from."
        ),
        *(_curve(one, "Tweedie deviance" if _logs(one, loss) else unit) for one in members),
    ]


def _logs(fitted: Fitted, loss: Loss) -> bool:
    return loss.name == "squared_error" and learns_log(fitted.candidate.parameters)


def _curve(fitted: Fitted, unit: str) -> Figure:
    name = fitted.candidate.name
    drawn = [Series(f"fold {c.fold + 1}", c.steps, c.validation) for c in fitted.curves]
    drawn += [
        Series("", c.steps, c.train, kind="points")
        for c in fitted.curves[:1]
        if any(math.isfinite(value) for value in c.train)
    ]
    ends = ", ".join(f"{c.validation[-1]:.4g} after {c.steps[-1]}" for c in fitted.curves if c.validation)
    return Figure(
        lines(drawn, x=fitted.curves[0].unit, y=unit, title=name),
        f"Learning curves of {name}: {ends}.",
        f"{fitted.candidate.title} ({name}), {_rounds(fitted)}",
    )


def _rounds(fitted: Fitted) -> str:
    if not fitted.rounds:
        return "no rounds"
    kept = f"rounds kept: {', '.join(str(n) for n in fitted.rounds)}"
    if not fitted.whole:
        return kept
    return f"{kept}; then {fitted.whole[0]:,} on every row, by {len(fitted.whole)} model{'s'[: len(fitted.whole) > 1]}"


def importance_blocks(run: Run, metric: Metric) -> list[Block]:
    """Return which parameters the searches hung on, or that trials were too few to say."""
    blocks: list[Block] = []
    for found in importance(run):
        name = literal(found.candidate)
        if not found.shares:
            why = f"{found.trials} scored" if found.trials < LEAST_TRIALS else "all score the same"
            blocks.append(
                Text(
                    f"Which parameter of `{name}` matters cannot be said: {why}, at least {LEAST_TRIALS} are asked for."
                )
            )
            continue
        largest, share = next(iter(found.shares.items()))
        blocks.append(
            Figure(
                bars(
                    list(found.shares),
                    [100 * value for value in found.shares.values()],
                    x=f"% of the variance of out-of-fold {metric.title}",
                ),
                "; ".join(f"{parameter} {value:.0%}" for parameter, value in found.shares.items()),
                f"What {found.trials} scored trials around {found.candidate} hung on most: {largest}, {share:.0%} "
                "(fANOVA; over the settings tried, of which the search prefers good ones)",
            )
        )
    return blocks


def data_size_blocks(run: Run, metric: Metric, *, forward: bool, groups: bool) -> list[Block]:
    """Return whether more rows would help, as far as this run can say.

    Parameters
    ----------
    run : Run
    metric : Metric
        The plan's.
    forward, groups : bool
        Whether folds go forward in time, and whether entities stay whole.
    """
    found = run.diagnostics.data_size
    if found is None:
        return []
    heading = Heading("Would more rows help?")
    if not found.sizes:
        return [heading, Text(f"Not measured: {literal(found.missing)}.")]
    rows = [size.rows for size in found.sizes]
    svg = lines(
        [
            Series(
                "",
                rows,
                [s.score for s in found.sizes],
                [s.low for s in found.sizes],
                [s.high for s in found.sizes],
                kind="points",
            ),
            Series("", rows, [s.score for s in found.sizes]),
        ],
        x="rows learnt from (logarithmic)",
        y=f"out-of-fold {metric.title}, before calibration",
        log_x=True,
    )
    fewer = "the latest rows" if forward else "whole entities" if groups else "as many of each class"
    if not (forward or groups or run.plan.schema.classes):
        fewer = "drawn at random"
    caption = (
        f"{found.candidate}, settings fixed, on {found.folds} fold{'s'[: found.folds > 1]}; fewer rows are {fewer}. "
        "Whiskers: 95 % over the rows scored, not over other draws of rows to learn from"
    )
    alt = "; ".join(f"{s.rows:,} rows {s.score:.4g} [{s.low:.4g}, {s.high:.4g}]" for s in found.sizes)
    return [
        heading,
        Text(verdict(found, metric, forward=forward)),
        Figure(svg, f"{metric.title} by rows: {alt}.", caption),
    ]


def verdict(found: DataSize, metric: Metric, *, forward: bool = False) -> str:
    """Return whether more rows would help, in words that go no further than the figures.

    A gain from half the rows to all whose interval is above zero says yes, unless fewer rows were somewhere better by
    as much: then another draw of rows may say otherwise. A gain that is at most a tenth of what all rows gained over
    the fewest, where that is certain, says hardly; one below zero says no; else nothing can be said.
    """
    gained = (
        f"all rows over half of them gain {found.gain:+.2g} of {metric.title} [{found.low:+.2g}, {found.high:+.2g}]"
    )
    fewer = itertools.pairwise(metric.loss(size.score) for size in found.sizes[1:])
    turned = max((more - less for more, less in fewer), default=0.0)
    if found.low > 0 and turned < found.gain:
        return f"**Probably yes:** {gained}. Gains shrink as rows grow: expect less than that of twice the rows."
    if found.high < 0:
        longer = "A longer history" if forward else "More rows of this kind"
        return f"**No:** {gained}; fewer rows do better. {longer} would not help."
    if len(found.sizes) > 2 and found.whole_low > 0 and found.high < 0.1 * found.whole:
        return f"**Hardly:** {gained}, a small part of the {found.whole:.2g} over the fewest: the curve is flat by now."
    if found.low > 0:
        return (
            f"**Cannot be said:** {gained}, but elsewhere fewer rows did better by {turned:.2g}: draws differ as much."
        )
    return f"**Cannot be said:** {gained}, which may be nothing, or as much as {max(found.high, 0.0):.2g}."
