"""Course: how the score of the blend moves as fits come in."""

from __future__ import annotations

import numpy as np

from modelyard.training.attempts import Attempts, scored_rows
from modelyard.training.ensemble import GLANCE
from modelyard.training.finish import in_time, weigh
from modelyard.training.limits import of_one
from modelyard.training.run import Moment


def follow(attempts: Attempts) -> None:
    """Note what the last fit scored, and what the blend of all so far would; a fit without a score is passed over.

    The blend is looked at on a sample of the rows, so that following it costs little beside a fit; the one that ships
    is chosen on more. Time is kept to fit its members on every row.
    """
    last = attempts.entries[-1] if attempts.entries else None
    if last is None or not np.isfinite(last.score) or (attempts.course and attempts.course[-1].name == last.name):
        return
    before = attempts.course[-1].blend if attempts.course else last.score
    blend = before
    if any(one.candidate.name == last.name for one in attempts.fitted):
        fitted, rows = of_one(attempts.fitted), scored_rows(attempts.fitted)
        chosen = [(w, o) for w, o in zip(weigh(fitted, attempts, cells=GLANCE), fitted, strict=True) if w > 0]
        attempts.whole_seconds = sum(in_time(one, attempts, one.whole_seconds).whole_seconds for _, one in chosen)
        if len(rows):
            blend = attempts.score(np.sum([w * one.scores[rows] for w, one in chosen], axis=0), rows)
        else:
            blend = max(before, last.score, key=lambda score: -attempts.metric.loss(score))
    if np.isfinite(blend):
        attempts.course.append(Moment(attempts.clock.spent, last.name, last.score, blend))
