"""Version: one bundle that answers, with the names it goes by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelyard.bundle.bundle import Bundle
from modelyard.serving.metrics import Counts, Metrics
from modelyard.serving.predictor import Predictor, predictor
from modelyard.serving.rows import example_rows

_WARM = 50


@dataclass(frozen=True, slots=True)
class Version:
    """A loaded bundle and what answers from it.

    Attributes
    ----------
    bundle : Bundle
        What is served.
    predictor : Predictor
        Its model, and what stands in for it.
    name : str
        The use case.
    number : str
        The release's version, or the bundle's short hash.
    variant : {"stable", "canary", "shadow", "a", "b"}
        The arm of a rollout it is.
    counts : Counts
        What is counted of it.
    about : dict
        What its answers say of it.
    columns : frozenset of str
        Every name its schema knows.
    """

    bundle: Bundle
    predictor: Predictor
    name: str
    number: str
    variant: str
    counts: Counts
    about: dict[str, str]
    columns: frozenset[str]

    def warm(self) -> dict[str, Any]:
        """Answer example rows until the first caller finds everything loaded; return the answer to the first one."""
        rows = [self.bundle.schema.check_row(row) for row in example_rows(self.bundle)]
        for i in range(_WARM):
            self.predictor.predict([rows[i % len(rows)]])
        return {**self.predictor.predict(rows[:1])[0].plain(), **self.about}


def version(bundle: Bundle, metrics: Metrics, number: str | None = None, variant: str = "stable") -> Version:
    """Make a version of a bundle.

    Parameters
    ----------
    bundle : Bundle
        What is to answer.
    metrics : Metrics
        Where it is counted.
    number : str, optional
        The release's version; default: the bundle's short hash.
    variant : str
        The arm of a rollout it is.
    """
    name, short = bundle.manifest.name, bundle.hash[:12]
    counts = metrics.of(number or short, variant)
    sources = predictor(bundle, counts.source_failed)
    columns = frozenset(column.name for column in bundle.schema.columns)
    return Version(bundle, sources, name, number or short, variant, counts, {"model": name, "bundle": short}, columns)
