"""Version: one bundle that answers, with the names it goes by."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.runtimes.onnx import OnnxRuntime
from modelyard.bundle.runtimes.runtime import Row
from modelyard.core.errors import BundleError
from modelyard.serving.metrics import Counts, Metrics
from modelyard.serving.prediction import Prediction
from modelyard.serving.predictor import Predictor, Unanswered, predictor
from modelyard.serving.quick import Quick, quick
from modelyard.serving.reader import reader
from modelyard.serving.rows import example_rows
from modelyard.serving.timed import Timed

Unknown = Literal["refuse", "ignore"]
_WARM, _PAUSE = 50, 0.002


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
    told : bytes
        The same as JSON.
    columns : frozenset of str
        Every name its schema knows.
    unknown : {"refuse", "ignore"}
        What is done with a name it does not know.
    quick : Quick or None
        The shortest way from one row's body to its answer, where there is one.
    """

    bundle: Bundle
    predictor: Predictor
    name: str
    number: str
    variant: str
    counts: Counts
    about: dict[str, str]
    told: bytes
    columns: frozenset[str]
    unknown: Unknown
    quick: Quick | None

    def example(self) -> dict[str, Any]:
        """Return the answer to the first of the bundle's example rows.

        Raises
        ------
        BundleError
            If neither its model nor what stands in for it answers.
        """
        row = self.bundle.schema.check_row(example_rows(self.bundle)[0])
        return {**self._answer(row).plain(), **self.about}

    def warm(self, pause: float = 0.0) -> dict[str, Any]:
        """Answer example rows until the first caller finds everything loaded; return the answer to the first one.

        Parameters
        ----------
        pause : float
            Seconds between two answers, where requests are answered meanwhile and would wait for each other's turn.

        Raises
        ------
        BundleError
            See `example`.
        """
        examples = example_rows(self.bundle)
        rows = [self.bundle.schema.check_row(row) for row in examples]
        bodies = [msgspec.json.encode(row) for row in examples]
        began = time.thread_time()
        for i in range(_WARM):
            self._answer(rows[i % len(rows)])
            if self.quick is not None:
                self.quick(bodies[i % len(rows)])
            if pause:
                time.sleep(pause)
        limit = self.bundle.manifest.brief.latency
        if limit is not None and isinstance(timed := getattr(self.bundle.runtime, "run", None), Timed):
            timed.expect((time.thread_time() - began) / _WARM, limit.model_microseconds / 1e6)
        return self.example()

    def prove(self) -> None:
        """Warm it, and see that its own model answers: what takes another's place must not live by what stands in.

        Raises
        ------
        BundleError
            If the model answers no example row, or hangs on one.
        """
        if self.warm(_PAUSE)["served_by"] != "model":
            raise self._dead()

    def _answer(self, row: Row) -> Prediction:
        try:
            return self.predictor.predict([row])[0]
        except Unanswered:
            raise self._dead() from None

    def _dead(self) -> BundleError:
        return BundleError(
            "The model does not answer the example rows of its own bundle.",
            where=str(self.bundle.path),
            do="The server's log says what it did; pack the model again.",
        )


def version(
    bundle: Bundle,
    metrics: Metrics,
    number: str | None = None,
    variant: str = "stable",
    *,
    unknown: Unknown = "refuse",
    previous: Version | None = None,
    seconds: float | None = None,
) -> Version:
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
    unknown : {"refuse", "ignore"}
        What is done with a name the schema does not know.
    previous : Version, optional
        The one that answered before, and stands in where the brief has it.
    seconds : float, optional
        How long its model may take for a call; default: see `Timed`.
    """
    if isinstance(bundle.runtime, OnnxRuntime) and not isinstance(bundle.runtime.run, Timed):
        bundle.runtime.run = Timed(bundle.runtime.run, seconds)
    name, short = bundle.manifest.name, bundle.hash[:12]
    counts = metrics.of(number or short, variant)
    read = reader(bundle.schema, bundle.manifest.encoding, ignore=unknown == "ignore")
    sources = predictor(bundle, counts.source_failed, None if previous is None else previous.predictor, read)
    columns = frozenset(column.name for column in bundle.schema.columns)
    about = {"model": name, "bundle": short}
    return Version(
        bundle, sources, name, number or short, variant, counts, about, msgspec.json.encode(about), columns, unknown,
        quick(bundle, read, sources.cached),
    )  # fmt: skip
