"""Bundle: a packed model that answers rows, whatever they come as."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.bundle.manifest import Manifest
from modelyard.bundle.rows import checked_rows, few_rows, of_one_row
from modelyard.bundle.runtimes.arrays import ArraysRuntime
from modelyard.bundle.runtimes.runtime import Answers, Row, Runtime
from modelyard.core.errors import BundleError, RowError
from modelyard.data.dataset import Dataset
from modelyard.data.limits import check_limits
from modelyard.data.rows import CORRECT, typed
from modelyard.data.schema import Schema
from modelyard.uncertainty.novelty import Novelty
from modelyard.uncertainty.uncertainty import Uncertainty, no_coverage


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A packed model, loaded and checked; scikit-learn style.

    Attributes
    ----------
    path : Path
        Its folder.
    manifest : Manifest
        What it holds and where it comes from.
    hash : str
        SHA-256 of what it is (see ``bundle.manifest.identity``).
    runtime : Runtime
        What answers.
    labels : array of shape [k] or None
        The classes in the label's own type, in the order of the probabilities; None for numbers.
    uncertainty : Uncertainty or None
        Bounds of the answers and how unusual rows are; None for a forecast, and in bundles packed before there was any.
    """

    path: Path
    manifest: Manifest
    hash: str
    runtime: Runtime = field(repr=False)
    labels: NDArray[Any] | None
    uncertainty: Uncertainty | None = field(default=None, repr=False)

    @property
    def schema(self) -> Schema:
        """The columns a row must bring."""
        return self.manifest.schema

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes in the label's own type (``1`` and not ``"1"``), in the order of `predict_proba`."""
        return () if self.labels is None else tuple(self.labels.tolist())

    @property
    def threshold(self) -> float | None:
        """Probability of the positive class from which `predict` answers it; None where the task is not binary."""
        return self.manifest.threshold

    @property
    def coverages(self) -> tuple[float, ...]:
        """Coverages of the intervals or sets there are, increasing."""
        if isinstance(self.runtime, ArraysRuntime):
            return tuple(c / 100 for c in self.runtime.coverages)
        return () if self.uncertainty is None else self.uncertainty.bounds.coverages

    @property
    def scores_novelty(self) -> bool:
        """Whether `ood_score` can tell how unusual a row is."""
        return self.uncertainty is not None and self.uncertainty.novelty is not None

    def predict(self, x: object) -> Any:
        """Answer rows with classes or values.

        Parameters
        ----------
        x : dict, list of dict, pandas.DataFrame, polars.DataFrame, pyarrow.Table or Dataset
            One row or many, by column name.

        Returns
        -------
        scalar or array of shape [n_rows]
            One value for a dict. A binary task's positive class is answered from the threshold on.

        Raises
        ------
        RowError, DataError
            If a row does not fit the schema.
        """
        decided = self.decide(self._answers(x))
        return decided[0].item() if isinstance(x, Mapping) else decided

    def predict_proba(self, x: object) -> NDArray[np.float64]:
        """Answer rows with the probability of every class.

        Parameters
        ----------
        x : see `predict`

        Returns
        -------
        float64 array
            ``[k]`` for a dict, ``[n_rows, k]`` otherwise, in the order of `classes`.

        Raises
        ------
        BundleError
            If the model predicts numbers.
        RowError, DataError
            If a row does not fit the schema.
        """
        if self.labels is None:
            raise BundleError(
                f"A {self.schema.task} model has no probabilities.", do="Use predict or predict_interval."
            )
        answers = self._answers(x).astype(np.float64)
        return answers[0] if isinstance(x, Mapping) else answers

    def predict_rows(self, rows: Sequence[Row]) -> Answers:
        """Answer rows that ``schema.check_row`` returned: the short way for servers.

        Returns
        -------
        array of shape [n_rows, k]
            Probabilities of the classes, or one value; `decide` turns them into what `predict` returns.

        Raises
        ------
        RowError
            For a series or time no forecast was made for, with pointers ``/i/column``.
        """
        return self.runtime.rows(rows)

    def decide(self, answers: Answers) -> NDArray[Any]:
        """Turn answers ``[n_rows, k]`` into classes or values ``[n_rows]``."""
        if self.labels is None:
            return answers[:, 0].astype(np.float64)
        return np.asarray(self.labels[self._codes(answers)])

    def predict_interval(self, x: object, coverage: float = 0.9) -> NDArray[np.float64]:
        """Return what bounds the coming value.

        Parameters
        ----------
        x : see `predict`
        coverage : float
            Share of coming values that lie within: 0.8, 0.9 or 0.95.

        Returns
        -------
        float64 array
            Low and high: ``[2]`` for a dict, ``[n_rows, 2]`` otherwise. NaN at the steps of a forecast that too few
            past forecasts reach.

        Raises
        ------
        BundleError
            If the model predicts classes, or has no interval of that coverage.
        RowError, DataError
            If a row does not fit the schema.
        """
        if isinstance(self.runtime, ArraysRuntime):
            runtime, percent = self.runtime, self._percent(self.runtime, coverage)
            bounds = self._ask(
                x, lambda rows: runtime.interval_of_rows(rows, percent), lambda frame: runtime.interval(frame, percent)
            ).astype(np.float64)
        else:
            self.check_coverage(coverage, "intervals")
            bounds = self.intervals(self._answers(x), coverage)
        return np.asarray(bounds[0]) if isinstance(x, Mapping) else bounds

    def predict_set(self, x: object, coverage: float = 0.9) -> Any:
        """Return the classes that may be the true one: one where the model is sure, several where it is not.

        Parameters
        ----------
        x : see `predict`
        coverage : float
            Least share of coming rows, of each class, whose set holds their class: 0.8, 0.9 or 0.95.

        Returns
        -------
        tuple, or list of tuple
            Classes in the label's own type, in the order of `classes`: one tuple for a dict. What `predict` answers is
            always among them.

        Raises
        ------
        BundleError
            If the model predicts numbers, or has no set of that coverage.
        RowError, DataError
            If a row does not fit the schema.
        """
        self.check_coverage(coverage, "sets")
        found = self.sets(self._answers(x), coverage)
        return found[0] if isinstance(x, Mapping) else found

    def ood_score(self, x: object) -> Any:
        """Return how unusual rows are: the share of development rows less unusual than each.

        Parameters
        ----------
        x : see `predict`

        Returns
        -------
        float or float64 array of shape [n_rows]
            0 to 1, the out-of-distribution score; one value for a dict.

        Raises
        ------
        BundleError
            If the bundle holds nothing to tell it by.
        RowError, DataError
            If a row does not fit the schema.
        """
        scores = self._ask(x, self.ood_of_rows, self.ood_of_frame).astype(np.float64)
        return float(scores[0]) if isinstance(x, Mapping) else scores

    def check_coverage(self, coverage: float, what: str | None = None) -> None:
        """Raise BundleError unless there are bounds of that coverage, and of that kind: "intervals" or "sets"."""
        if what not in (None, "intervals" if self.labels is None else "sets"):
            raise BundleError(
                f"A {self.schema.task} model has no {what}.",
                allowed="Numbers have intervals, classes have sets.",
                do=f"Use {'predict_interval' if self.labels is None else 'predict_set'}.",
            )
        if isinstance(self.runtime, ArraysRuntime):
            self._percent(self.runtime, coverage)
        else:
            self._held().bounds.place(coverage)

    def intervals(self, answers: Answers, coverage: float) -> NDArray[np.float64]:
        """Return low and high ``[n_rows, 2]`` for answers of `predict_rows`; not for a forecast."""
        bounds = self._held().bounds
        return bounds.intervals[bounds.place(coverage)](answers[:, 0].astype(np.float64))

    def sets(self, answers: Answers, coverage: float) -> list[tuple[Any, ...]]:
        """Return the set of classes of each row for answers of `predict_rows`."""
        bounds = self._held().bounds
        chosen = bounds.sets[bounds.place(coverage)](answers.astype(np.float64), self._codes(answers))
        classes = self.classes
        return [tuple(compress(classes, row)) for row in chosen.tolist()]

    def ood_of_rows(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        """Return the out-of-distribution score of checked rows, of shape [n_rows]."""
        return self._novelty()(*self.manifest.encoding.rows(rows))

    def ood_of_frame(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """Return the out-of-distribution score of a typed frame, of shape [n_rows]."""
        return self._novelty()(*self.manifest.encoding.frame(frame))

    def interval(self, x: object, coverage: float = 0.8) -> NDArray[np.float64]:
        """Return `predict_interval` at the coverage forecasts are served with."""
        return self.predict_interval(x, coverage)

    def explain(self, x: object) -> list[dict[str, float]]:
        """Say how much each column moved the raw score of each row away from its average.

        Parameters
        ----------
        x : see `predict`

        Returns
        -------
        list of dict of str to float
            For each row its columns' contributions: in log-odds of the positive class, in the raw score of the
            likeliest class, or in the label's unit.

        Raises
        ------
        BundleError
            If the model is a forecast.
        MissingExtra
            If the library of a member is not installed: explanations run the native models.
        RowError, DataError
            If a row does not fit the schema.

        References
        ----------
        Lundberg et al. (2020), "From local explanations to global understanding with explainable AI for trees".
        """
        # Here and not above: explanations alone need it, and servers must start without it.
        from modelyard.bundle.explanation import explanations

        return [explanation.contributions for explanation in explanations(self, self.frame(x))]

    def frame(self, x: object, *, text: bool = False, first_row: int = 1) -> pl.DataFrame:
        """Return the features of rows, whatever they come as, as a frame of the schema's types.

        Parameters
        ----------
        x : see `predict`
        text : bool
            Whether every value of a table is still a string, as read from a text file.
        first_row : int
            Number of a table's first row, for errors.

        Raises
        ------
        RowError, DataError
            If a row does not fit the schema.
        """
        if isinstance(x, Dataset):
            return x.frame
        rows = checked_rows(self.schema, x)
        table = x if rows is None else pl.DataFrame(rows, infer_schema_length=None)
        # Features alone: a label that comes along may be of any type, and is not looked at.
        features = self.schema.features
        frame = typed(table, replace(self.schema, columns=features), text=text, first_row=first_row)
        check_limits(frame, features, CORRECT, first_row)
        return frame

    def _codes(self, answers: Answers) -> NDArray[np.intp]:
        if self.threshold is None:
            return np.asarray(answers.argmax(axis=1), dtype=np.intp)
        return (answers[:, 1] >= self.threshold).astype(np.intp)

    def _held(self) -> Uncertainty:
        if self.uncertainty is None:
            raise BundleError(
                "This bundle has no intervals, sets of classes or out-of-distribution score.",
                where=str(self.path),
                do="Pack the model again with this version of modelyard.",
            )
        return self.uncertainty

    def _novelty(self) -> Novelty:
        if isinstance(self.runtime, ArraysRuntime):
            raise BundleError(
                "A forecast has no out-of-distribution score: it refuses series and times it was not made for.",
                allowed="Scores come with binary, multiclass and regression models.",
            )
        found = self._held().novelty
        if found is None:
            raise BundleError("This model has no column by which a row could be unusual.", where=str(self.path))
        return found

    def _percent(self, runtime: ArraysRuntime, coverage: float) -> int:
        percent = next((held for held in runtime.coverages if abs(held - 100 * coverage) < 1e-6), None)
        if percent is None:
            raise no_coverage(coverage, self.coverages)
        return percent

    def _answers(self, x: object) -> Answers:
        return self._ask(x, self.runtime.rows, self.runtime.frame)

    def _ask(
        self, x: object, rows: Callable[[Sequence[Row]], Answers], frame: Callable[[pl.DataFrame], Answers]
    ) -> Answers:
        """Ask about rows the short way where they come one by one, and the wide way where they are a table."""
        checked = checked_rows(self.schema, x)
        if checked is None:
            few = few_rows(self.schema, x)
            with suppress(RowError):  # the table's own error names its row
                if few is not None:
                    return rows(few)
            return frame(self.frame(x))
        try:
            return rows(checked)
        except RowError as error:
            raise (of_one_row(error) if isinstance(x, Mapping) else error) from None
