"""Bundle: a packed model that answers rows, whatever they come as."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.bundle.manifest import Manifest
from modelyard.bundle.runtimes.arrays import ArraysRuntime
from modelyard.bundle.runtimes.runtime import Answers, Row, Runtime
from modelyard.bundle.verify import check_files
from modelyard.core.errors import BundleError, Problem, RowError
from modelyard.data.dataset import Dataset
from modelyard.data.rows import typed
from modelyard.data.schema import Schema

_SHOWN = 20
"""Problems one error lists; a request of thousands of bad rows would give an unreadable one."""

_EXPLAINED_BY = ("model.onnx", "members/")
"""Files an explanation reads."""


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
    """

    path: Path
    manifest: Manifest
    hash: str
    runtime: Runtime = field(repr=False)
    labels: NDArray[Any] | None

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
                f"A {self.schema.task} model has no probabilities.", do="Use predict, or for a forecast interval."
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
        if self.threshold is None:
            return np.asarray(self.labels[answers.argmax(axis=1)])
        positive: NDArray[np.intp] = (answers[:, 1] >= self.threshold).astype(np.intp)
        return np.asarray(self.labels[positive])

    def interval(self, x: object, coverage: float = 0.8) -> NDArray[np.float64]:
        """Return what bounds the coming value.

        Parameters
        ----------
        x : see `predict`
        coverage : float
            Share of coming values that lie within, such as 0.8.

        Returns
        -------
        float64 array
            Low and high: ``[2]`` for a dict, ``[n_rows, 2]`` otherwise.

        Raises
        ------
        BundleError
            If the model is no forecast, or has no interval of that coverage.
        RowError, DataError
            If a row does not fit the schema.
        """
        if not isinstance(self.runtime, ArraysRuntime):
            raise BundleError(
                f"A {self.schema.task} model has no intervals.", allowed="Intervals come with a forecast."
            )
        percent, known = round(100 * coverage), self.runtime.coverages
        if percent not in known:
            raise BundleError(
                f"The forecast has no interval of coverage {coverage:g}.",
                allowed=f"Coverages: {', '.join(f'{c / 100:g}' for c in known) or 'none'}.",
            )
        runtime = self.runtime
        bounds = self._ask(
            x, lambda rows: runtime.interval_of_rows(rows, percent), lambda frame: runtime.interval(frame, percent)
        ).astype(np.float64)
        return np.asarray(bounds[0]) if isinstance(x, Mapping) else bounds

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
        if isinstance(self.runtime, ArraysRuntime):
            raise BundleError(
                "A forecast is not made from columns, so no column explains it.",
                allowed="Explanations come with binary, multiclass and regression models.",
                do="Use interval to see how sure it is.",
            )
        if "members/explain.json" not in self.manifest.files:
            raise BundleError("This bundle holds nothing to explain its answers by.", where=str(self.path))
        # Here and not above: explanations alone need it, and servers must start without it.
        from modelyard.bundle.contributions import contributions

        frame = self.frame(x)
        names = [column.name for column in self.schema.features]
        # They are read anew from the folder, which may have changed since it was checked.
        check_files(self.path, {n: h for n, h in self.manifest.files.items() if n.startswith(_EXPLAINED_BY)})
        _, parts = contributions(self.path, self.manifest.facts, *self.manifest.encoding.frame(frame))
        chosen = (
            np.zeros(len(parts), dtype=np.intp) if parts.shape[1] == 1 else self.runtime.frame(frame).argmax(axis=1)
        )
        moved = parts[np.arange(len(parts)), chosen]
        return [dict(zip(names, row, strict=True)) for row in moved.tolist()]

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
        rows = self._rows(x)
        table = x if rows is None else pl.DataFrame(rows, infer_schema_length=None)
        # Features alone: a label that comes along may be of any type, and is not looked at.
        return typed(table, replace(self.schema, columns=self.schema.features), text=text, first_row=first_row)

    def _answers(self, x: object) -> Answers:
        return self._ask(x, self.runtime.rows, self.runtime.frame)

    def _ask(
        self, x: object, rows: Callable[[Sequence[Row]], Answers], frame: Callable[[pl.DataFrame], Answers]
    ) -> Answers:
        """Ask about rows the short way where they come one by one, and the wide way where they are a table."""
        checked = self._rows(x)
        if checked is None:
            return frame(self.frame(x))
        try:
            return rows(checked)
        except RowError as error:
            raise (_of_one_row(error) if isinstance(x, Mapping) else error) from None

    def _rows(self, x: object) -> list[Row] | None:
        """Return the checked rows of a dict or a list of them, and None for a table."""
        if isinstance(x, Mapping):
            return [self.schema.check_row(x)]
        if not isinstance(x, list | tuple):
            return None
        rows: list[Row] = []
        problems: list[Problem] = []
        for i, row in enumerate(x):
            if not isinstance(row, Mapping):
                problems.append(
                    Problem(f"/{i}", f"A row is a {type(row).__name__}.", "A dict of column names to values.")
                )
                continue
            try:
                rows.append(self.schema.check_row(row, pointer=f"/{i}"))
            except RowError as error:
                problems.extend(error.problems)
            if len(problems) >= _SHOWN:
                break
        if problems:
            raise RowError(problems[:_SHOWN])
        return rows


def _of_one_row(error: RowError) -> RowError:
    """Leave out the row's number from pointers when the caller gave one row and no list."""
    return RowError([Problem(p.pointer.removeprefix("/0"), p.what, p.allowed) for p in error.problems])
