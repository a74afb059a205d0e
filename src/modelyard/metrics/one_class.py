"""Any binary metric turned to one named class, as in "99% recall on defects"."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from modelyard.metrics.metric import Context, Floats, Metric, Scorer, Truth


def of_class(metric: Metric, code: int, label: str) -> Metric:
    """Return the metric of one class against the rest.

    Parameters
    ----------
    metric : Metric
        One that can score a binary task.
    code : int
        The class, as a position in the schema's classes.
    label : str
        Its name, for the title.

    Returns
    -------
    Metric
        It reads what `metric` reads for the whole task: [n] or [n, k] probabilities, or class codes [n].
    """

    def prepare(truth: Truth, prediction: Floats, context: Context) -> Scorer:
        chosen = (truth == code).astype(np.int64)
        if metric.reads == "classes":
            return metric.prepare(chosen, (prediction == code).astype(np.float64), context)
        if prediction.ndim == 2:
            return metric.prepare(chosen, prediction[:, code], context)
        return metric.prepare(chosen, prediction if code == 1 else 1 - prediction, context)

    return replace(metric, name=f"{metric.name} on {label}", title=f"{metric.title} on {label}", prepare=prepare)
