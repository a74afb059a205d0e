"""Version: one bundle that answers, with the names it goes by."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
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
INLINE = 32
"""Rows up to which a request is answered on the event loop; more go to a thread, and health checks do not wait."""
_SLOW = 1e-3
"""Seconds a row may take there. ONNX Runtime lets other threads run while it scores, so that of a model that takes
longer no row is scored there; one that is quicker would wait for its thread longer than for its answer."""
_WARM, _PAUSE = 50, 0.002


@dataclass(slots=True, eq=False)
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
        The shortest way from one row's body to its answer, where there is one; a slow model has none.
    inline : int
        Rows up to which a request is answered on the event loop: none of a slow model.
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
    inline: int = INLINE

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

        How long they take says whether rows are answered on the event loop from then on.

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
        spent = []
        for i in range(_WARM):
            began = time.thread_time()
            self._answer(rows[i % len(rows)])
            spent.append(time.thread_time() - began)
            if self.quick is not None:
                self.quick(bodies[i % len(rows)])
            if pause:
                time.sleep(pause)
        if (timed := _timed(self.bundle)) is not None:
            limit = self.bundle.manifest.brief.latency
            timed.expect(median(spent), None if limit is None else limit.model_microseconds / 1e6)
            self.pace()
        return self.example()

    def pace(self) -> None:
        """Have rows answered in threads alone where the model is known to be slow."""
        timed = _timed(self.bundle)
        if timed is not None and timed.usual > _SLOW:
            self.quick, self.inline = None, 0

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
    made = Version(
        bundle, sources, name, number or short, variant, counts, about, msgspec.json.encode(about), columns, unknown,
        quick(bundle, read, sources.cached),
    )  # fmt: skip
    made.pace()  # the same bundle may have been warmed as another version
    return made


def _timed(bundle: Bundle) -> Timed | None:
    run = getattr(bundle.runtime, "run", None)
    return run if isinstance(run, Timed) else None
