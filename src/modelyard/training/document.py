"""Deliverable 2: the training document."""

from __future__ import annotations

import math

from modelyard.core.markup import (
    Block,
    Code,
    Details,
    Document,
    Facts,
    Heading,
    Note,
    Table,
    Text,
    literal,
)
from modelyard.data.dataset import Parts
from modelyard.families.family import Family
from modelyard.families.find import family_named
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.metric import Metric
from modelyard.selection.document import parameter_text, shares
from modelyard.selection.show import duration, sentence
from modelyard.training.loss import Loss
from modelyard.training.pictures import course_blocks, curve_blocks, data_size_blocks, importance_blocks
from modelyard.training.run import Entry, Run

_SHOWN = 12


def training_document(run: Run, parts: Parts, *, family: Family | None = None) -> Document:
    """Return what was trained, how well it did out-of-fold, and how to train it again.

    Parameters
    ----------
    run : Run
        What training did.
    parts : Parts
        Rows and folds it was given.
    family : Family, optional
        What was trained; default the one the plan names.
    """
    metric = find_metric(run.plan.metric)
    loss = Loss.of(run.plan.schema.task, metric, parts.development)
    blocks: list[Block] = [
        *_leaderboard(run, metric),
        *_validation(run, parts, (family or family_named(run.plan.family)).refits),
        *course_blocks(run, metric),
        *curve_blocks(run, loss),
        *_search(run, metric),
        *data_size_blocks(run, metric, forward=parts.split.forward, groups=parts.development.groups() is not None),
        *_blend(run, metric, loss),
        *_recipe(run),
        *_tracking(run),
        *_environment(run),
    ]
    return Document(f"Training of {literal(run.plan.brief.use_case)}", _answer(run, metric, parts), blocks)


def _answer(run: Run, metric: Metric, parts: Parts) -> list[Block]:
    members = ", ".join(f"{literal(name)} {share:.0%}" for name, share in shares(run).items())
    scored = [e for e in run.leaderboard if math.isfinite(e.score)]
    failed = [e for e in run.leaderboard if e.note.startswith("failed")]
    fits = f"{len(scored)} candidates and trials were scored" if len(scored) > 1 else "one candidate was scored"
    fitted = ", with the calibration fitted on other folds" if _calibrated(run) else ""
    weight = next((c.name for c in run.plan.schema.columns if c.role == "weight"), None)
    if weight is not None:
        fitted = f", rows weighted by `{weight}`{fitted}"
    blocks: list[Block] = [
        Text(
            f"**{run.name}: {members}.** Out-of-fold {metric.title} {run.score:.4g}{fitted}; "
            f"{fits} in {duration(run.seconds)}, of a budget of {duration(run.plan.brief.budget.seconds)}."
        ),
    ]
    if len(scored) > 1:
        untouched = "the evaluation document says what the model is worth on rows that played no part"
        untouched = untouched if parts.test is not None else "no rows were kept apart to say by how much"
        chosen = "Members and their shares were chosen on these same out-of-fold scores, which flatters them a little"
        blocks.append(Text(f"{chosen}; {untouched}."))
    if failed:
        names = ", ".join(f"`{e.name}`" for e in failed)
        blocks.append(Note("warn", f"{len(failed)} could not be fitted: {names}. The leaderboard says why."))
    return blocks


def _leaderboard(run: Run, metric: Metric) -> list[Block]:
    timed = any(e.microseconds > 0 for e in run.leaderboard)
    columns = [
        "Candidate",
        f"Out-of-fold {metric.title}",
        "Share",
        "Seconds",
        *(["µs a row"] if timed else []),
        "Why not",
    ]
    rows = [_line(entry, timed) for entry in run.leaderboard]
    align = "lrrrrl" if timed else "lrrrl"
    blocks: list[Block] = [Heading("Leaderboard"), Table(columns, rows[:_SHOWN], align)]
    if len(rows) > _SHOWN:
        blocks.append(Details(f"{len(rows) - _SHOWN} more", [Table(columns, rows[_SHOWN:], align)]))
    settings = [[f"`{e.name}`", literal(_settings(e))] for e in run.leaderboard]
    return [*blocks, Details("Settings of each", [Table(["Candidate", "Settings"], settings, "ll")])]


def _line(entry: Entry, timed: bool) -> list[str]:
    score = f"{entry.score:.5g}" if math.isfinite(entry.score) else "–"
    share = f"{entry.weight:.1%}" if entry.weight else "–"
    reckoned = [f"{entry.microseconds:.0f}" if math.isfinite(entry.microseconds) else "–"] if timed else []
    name = f"{literal(entry.title)} (`{entry.name}`)"
    return [name, score, share, f"{entry.seconds:.1f}", *reckoned, literal(entry.why) or "in the blend"]


def _settings(entry: Entry) -> str:
    return ", ".join(f"{name} {parameter_text(value)}" for name, value in entry.parameters.items())


def _validation(run: Run, parts: Parts, refits: bool) -> list[Block]:
    folds = [
        [str(number), f"{len(fold.train):,}", f"{len(fold.score):,}"]
        for number, fold in enumerate(parts.split.folds, start=1)
    ]
    test = 0 if parts.test is None else len(parts.test)
    after = "A row is scored only by models that did not learn from it"
    whole = [fitted for fitted, _ in run.blend.members if fitted.whole]
    folds_alone = [literal(fitted.candidate.name) for fitted, _ in run.blend.members if not fitted.whole]
    if whole:
        after += "; new rows are answered by models that learnt from every development row"
        after += f", and for {', '.join(folds_alone)}, which no time was left to fit so," if folds_alone else ""
        after += " by the models of the folds" if folds_alone else ""
    elif not refits:
        after += "; new rows are answered by the models of the folds: no time was left to fit any on every row"
    after += "."
    if refits:
        after += (
            " That one is judged. What ships is the same recipe fitted once more on every row"
            f"{', the untouched ones too' if test else ''}."
        )
    return [
        Heading("Validation"),
        Text(f"{literal(sentence(parts.split.reason))} {after}"),
        Facts(
            [
                ("Strategy", parts.split.strategy),
                ("Development", f"{len(parts.development):,} rows"),
                ("Untouched", f"{test:,} rows" if test else "none: the estimate is out-of-fold"),
                *([("Gap", f"{parts.split.gap:g}")] if parts.split.forward else []),
                ("Data", f"`{run.plan.fingerprint}` (SHA-256 over all bytes)"),
                ("Seed", str(run.plan.brief.seed)),
            ]
        ),
        Details("Rows of each fold", [Table(["Fold", "Learnt from", "Scored"], folds, "rrr")]),
    ]


def _search(run: Run, metric: Metric) -> list[Block]:
    trials = [e for e in run.leaderboard if e.base]
    if not trials:
        asked = run.plan.brief.budget.trials
        why = "the brief asks for none" if asked == 0 else "no time was left for it, or nothing to change"
        return [Heading("Search"), Text(f"No trials were made: {why}.")]
    pruned = sum(e.note.startswith("pruned") for e in trials)
    return [
        Heading("Search"),
        Text(
            f"{len(trials)} trial{'s'[: len(trials) > 1]} by tree-structured Parzen estimator around the best "
            f"candidates, {pruned} of them stopped early because the median of the trials before was better after as "
            "many folds."
        ),
        *importance_blocks(run, metric),
    ]


def _blend(run: Run, metric: Metric, loss: Loss) -> list[Block]:
    reach = (
        f" {metric.title} is reached through it: it is smooth, rewards the same order, and keeps probabilities honest."
        if loss.name == "log_loss" and metric.name != "log_loss"
        else ""
    )
    text = (
        "Members are chosen with replacement, thirty times, each time the one that lowers the out-of-fold "
        f"{loss.title} of the average most (Caruana et al., 2004); their share is how often.{reach}"
    )
    if loss.name == "squared_error" and run.blend.link == "log":
        text += (
            " Members learn the logarithm of the mean: so the first kind of trees, fitted both ways, lost less. The "
            "answer is the exponential of the average."
        )
    members = [[f"`{fitted.candidate.name}`", f"{weight:.1%}"] for fitted, weight in run.blend.members]
    return [
        Heading("Blend and calibration"),
        Text(text),
        Table(["Member", "Share"], members, "lr"),
        Text(_calibration(run, loss)),
    ]


def _calibration(run: Run, loss: Loss) -> str:
    if run.blend.link == "identity":
        return _shifted(run) if _calibrated(run) else "Values are answered as they are summed; nothing is calibrated."
    if run.blend.link == "log":
        said = "Raw scores are logarithms of the mean, and the exponential of their sum is answered"
        if not _calibrated(run):
            lowered = f"did not lower the {loss.title} across folds and was left out"
            return f"{said}. A factor fitted on out-of-fold scores {lowered}."
        return (
            f"{said}, times {math.exp(run.blend.offset[0]):.4g}: the factor of least {loss.title} on out-of-fold "
            "scores; the published out-of-fold answers of a fold are multiplied by the factor of the other folds."
        )
    if not _calibrated(run):
        return (
            "A slope and offsets were fitted on out-of-fold scores; across folds they did not lower the log loss, so "
            "the scores are left as they are."
        )
    offsets = ", ".join(f"{b:.3g}" for b in run.blend.offset)
    return (
        f"Raw scores are multiplied by {run.blend.scale:.4g} and shifted by {offsets} before the link, fitted on "
        "out-of-fold scores; the published out-of-fold answers of a fold are calibrated by the other folds alone."
    )


def _shifted(run: Run) -> str:
    return (
        f"Values are answered as they are summed, shifted by {run.blend.offset[0]:.4g}: on out-of-fold scores the "
        "share of rows at or below them is then the one asked for. The published out-of-fold answers of a fold are "
        "shifted by what the other folds say."
    )


def _calibrated(run: Run) -> bool:
    """Say whether the answers are anything but the link of the summed scores."""
    return run.blend.scale != 1.0 or any(run.blend.offset)


def _recipe(run: Run) -> list[Block]:
    return [
        Heading("Train it again"),
        Text(
            "`recipe.json` holds the members with their parameters, rounds and weights, and the calibration: a replay "
            "refits just these, whatever the clock says. In an environment with the versions of `requirements.lock` it "
            "gives the same bundle hash."
        ),
        Code(
            "pip install -r requirements.lock\n"
            "modelyard develop brief.yaml --replay recipe.json --workspace .\n"
            "# or, which also compares the two bundles:\n"
            "python recipe.py  # --data FILE, in a copy of this folder alone",
            "sh",
        ),
    ]


def _tracking(run: Run) -> list[Block]:
    if not run.tracking:
        return [Heading("Tracking"), Text("This run was not tracked.")]
    place = [(name, f"`{value}`") for name, value in run.tracking.items()]
    blocks: list[Block] = [Heading("Tracking"), Facts(place)]
    if "uri" in run.tracking:
        blocks.append(Code(f"mlflow ui --backend-store-uri {run.tracking['uri']}", "sh"))
    return blocks


def _environment(run: Run) -> list[Block]:
    rows = [("Git commit", f"`{run.commit}`" if run.commit else "none")]
    return [Heading("Environment"), Facts([*rows, *((k, literal(v)) for k, v in run.environment.items())])]
