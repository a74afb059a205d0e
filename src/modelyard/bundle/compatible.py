"""Whether callers of one bundle can go on unchanged with another: what they send, and what they may ask for."""

from __future__ import annotations

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.explanation import explains
from modelyard.core.errors import BundleError
from modelyard.data import compatible


def breaking(before: Bundle, after: Bundle) -> tuple[str, ...]:
    """Return what breaks callers of one bundle where another takes its place; empty where nothing does.

    Beside rows and answers (see `modelyard.data.compatible`), what a caller may ask for beside a prediction must be
    there still: coverages, the out-of-distribution score and explanations.

    Parameters
    ----------
    before, after : Bundle
        What callers know, and what is to take its place.
    """
    found = compatible.breaking(before.schema, after.schema)
    if before.schema.task != after.schema.task:
        return found
    lost = [f"{coverage:g}" for coverage in before.coverages if coverage not in after.coverages]
    bounds = "sets of classes" if before.schema.classes else "intervals"
    gone = [
        (bool(lost), f"{bounds} of coverage {', '.join(lost)} are no longer there: ?coverage= would be refused"),
        (
            before.scores_novelty and not after.scores_novelty,
            "the out-of-distribution score is no longer there: ?ood=true would be refused",
        ),
        (
            _explained(before) and not _explained(after),
            "explanations are no longer there: /v1/explain would be refused",
        ),
    ]
    return (*found, *(what for is_gone, what in gone if is_gone))


def _explained(bundle: Bundle) -> bool:
    try:
        explains(bundle)
    except BundleError:
        return False
    return True
