"""Course: how the score of the blend moves as fits come in."""

from __future__ import annotations

import numpy as np

from modelyard.training.attempts import Attempts, scored_rows
from modelyard.training.ensemble import GLANCE
from modelyard.training.finish import weigh
from modelyard.training.run import Moment


def follow(attempts: Attempts) -> None:
    """Note what the last fit scored, and what the blend of all so far would; a fit without a score is passed over.

    The blend is looked at on a sample of the rows, so that following it costs little beside a fit; the one that ships
    is chosen on more.
    """
    last = attempts.entries[-1] if attempts.entries else None
    if last is None or not np.isfinite(last.score) or (attempts.course and attempts.course[-1].name == last.name):
        return
    before = attempts.course[-1].blend if attempts.course else last.score
    blend = before
    if any(one.candidate.name == last.name for one in attempts.fitted):
        weights, rows = weigh(attempts.fitted, attempts, cells=GLANCE), scored_rows(attempts.fitted)
        chosen = [(w, one.scores) for w, one in zip(weights, attempts.fitted, strict=True) if w > 0]
        if len(rows):
            blend = attempts.score(np.sum([w * raw[rows] for w, raw in chosen], axis=0), rows)
        else:
            blend = max(before, last.score, key=lambda score: -attempts.metric.loss(score))
    if np.isfinite(blend):
        attempts.course.append(Moment(attempts.clock.spent, last.name, last.score, blend))
