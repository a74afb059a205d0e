"""The decision threshold, chosen on out-of-fold answers: never on the rows whose figures it makes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelyard.data.dataset import Floats, Ints
from modelyard.evaluation.answers import halves, out_of_fold
from modelyard.metrics.find import metric as find_metric
from modelyard.training.run import Run

_MOST = 2_000  # thresholds looked at; more are not told apart by any figure
_Z = 1.645  # one-sided 95 %: a limit is met with what the sample may hide left over


def choose_threshold(run: Run) -> tuple[float | None, str]:
    """Return from which probability on a row is called positive, and how it was chosen.

    Where targets name recall, precision or specificity, it is the best F1 among the thresholds that meet them at the
    lower end of a one-sided 95 % interval (else as they are, else the one that comes nearest). Otherwise it
    maximises the metric that reads classes which the brief names, or F1.

    Returns
    -------
    (float or None, str)
        None when the task is not binary.
    """
    if run.plan.schema.task != "binary":
        return None, "the likeliest class" if run.plan.schema.classes else ""
    rows, answers = out_of_fold(run)
    return _chosen(run, Curve(np.asarray(rows.truth(), dtype=np.int64), answers, rows.weights()))


def crossed_thresholds(run: Run) -> tuple[Floats, tuple[float, float]] | None:
    """Return a threshold for each out-of-fold row, chosen on the half of the rows it is not in, and the two of them.

    Judged at a threshold that was chosen on themselves, rows flatter it.

    Returns
    -------
    (array of shape [n], (float, float)) or None
        None when the task is not binary, or a half lacks a class.
    """
    if run.plan.schema.task != "binary":
        return None
    rows, answers = out_of_fold(run)
    truth, weights = np.asarray(rows.truth(), dtype=np.int64), rows.weights()
    parts = halves(rows, run.plan.brief.seed)
    if any(len(np.unique(truth[part])) < 2 for part in parts):
        return None
    one, other = (
        _chosen(run, Curve(truth[part], answers[part], None if weights is None else weights[part]))[0] for part in parts
    )
    found = np.empty(len(rows))
    found[parts[1]], found[parts[0]] = one, other
    return found, (other, one)


def _chosen(run: Run, curve: Curve) -> tuple[float, str]:
    aim, limits = aimed_at(run), _limits(run)
    title = find_metric(aim).title
    if not limits:
        return curve.best(aim), f"maximising {title} on out-of-fold answers"
    said = " and ".join(text for *_, text in limits)
    for careful, margin in ((True, "with a margin for chance"), (False, "without a margin for chance")):
        met = np.all([curve.reached(name, careful) >= value for name, value, _ in limits], axis=0)
        if met.any():
            return curve.best(aim, met), f"meeting {said} {margin} on out-of-fold answers, then maximising {title}"
    short = np.sum([np.maximum(0, value - curve.reached(name, False)) for name, value, _ in limits], axis=0)
    return curve.best(aim, short == short.min()), f"nearest to {said}, which no threshold meets on out-of-fold answers"


def aimed_at(run: Run) -> str:
    """Return the metric a threshold is to maximise: one that the brief names and that reads classes, or F1."""
    named = [t.metric for t in run.plan.brief.target if t.metric not in _TURNED and t.label is None]
    return next((name for name in (*named, run.plan.metric) if name in _AIMS), "f1")


_AIMS = ("f1", "f1_macro", "accuracy", "balanced_accuracy", "mcc")
_TURNED = {"recall": "specificity", "specificity": "recall", "precision": "negative_precision"}


def _limits(run: Run) -> list[tuple[str, float, str]]:
    """Return (figure, value, as written) of each target that limits the threshold."""
    negative = run.plan.schema.classes[0]
    return [
        (_TURNED[t.metric] if t.label == negative else t.metric, t.value, str(t))
        for t in run.plan.brief.target
        if t.metric in _TURNED
    ]


class Curve:
    """Every figure that reads classes, at every threshold worth looking at.

    Parameters
    ----------
    truth : int array of shape [n]
        1 where positive.
    answers : float64 array of shape [n]
        Probability of the positive class.
    weights : float64 array of shape [n], optional
        Sample weights.
    """

    def __init__(self, truth: Ints, answers: Floats, weights: Floats | None = None) -> None:
        w = np.ones(len(truth)) if weights is None else weights
        order = np.argsort(-answers, kind="stable")
        score, hit = answers[order], truth[order] == 1
        last = np.flatnonzero(np.append(score[1:] != score[:-1], True))
        if len(last) > _MOST:
            last = last[np.unique(np.linspace(0, len(last) - 1, _MOST).astype(np.int64))]
        self._score, self._last = score, last
        tp, fp = np.cumsum(w[order] * hit)[last], np.cumsum(w[order] * ~hit)[last]
        positives, negatives = float((w * (truth == 1)).sum()), float((w * (truth == 0)).sum())
        fn, tn = positives - tp, negatives - fp
        self._of = {"recall": tp + fn, "specificity": tn + fp, "precision": tp + fp, "negative_precision": tn + fn}
        with np.errstate(divide="ignore", invalid="ignore"):
            recall, specificity = tp / positives, tn / negatives
            figures = {
                "recall": recall,
                "specificity": specificity,
                "precision": tp / (tp + fp),
                "negative_precision": tn / (tn + fn),
                "f1": 2 * tp / (2 * tp + fp + fn),
                "f1_macro": tp / (2 * tp + fp + fn) + tn / (2 * tn + fp + fn),
                "accuracy": (tp + tn) / (positives + negatives),
                "balanced_accuracy": (recall + specificity) / 2,
                "mcc": (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)),
            }
        self.figures = {name: np.nan_to_num(np.broadcast_to(v, tp.shape), nan=0.0) for name, v in figures.items()}

    def best(self, aim: str, among: NDArray[np.bool_] | None = None) -> float:
        """Return the threshold with the highest figure, of all or of some."""
        figures = self.figures[aim] if among is None else np.where(among, self.figures[aim], -np.inf)
        return self.threshold(int(np.argmax(figures)))

    def reached(self, name: str, careful: bool) -> NDArray[np.float64]:
        """Return a share at every threshold, or the lower end of its one-sided Wilson interval."""
        share: NDArray[np.float64] = self.figures[name]
        if not careful:
            return share
        n = np.maximum(np.broadcast_to(self._of[name], share.shape), 1e-9)
        spread = _Z * _Z / n
        half = _Z * np.sqrt((share * (1 - share) + spread / 4) / n)
        return np.asarray((share + spread / 2 - half) / (1 + spread), dtype=np.float64)

    def threshold(self, at: int) -> float:
        """Return a threshold between the last answer called positive and the next, as round as the gap allows."""
        end = int(self._last[at])
        upper = float(self._score[end])
        lower = float(self._score[end + 1]) if end + 1 < len(self._score) else 0.0
        return _round_between(lower, upper)


def _round_between(lower: float, upper: float) -> float:
    """Return the number with fewest decimals in (lower, upper], near their middle."""
    middle = (lower + upper) / 2
    return next((v for v in (round(middle, digits) for digits in range(2, 16)) if lower < v <= upper), upper)
