"""MLflow as the place where trials are written down: SQLite and files in the workspace, no server."""

from __future__ import annotations

import logging
import math
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from modelyard.core.errors import MissingExtra, ModelyardError, WorkspaceError
from modelyard.core.optional import has
from modelyard.training.store import STEPS

_BATCH = 1000
"""Metrics, and parameters by hundreds, that one batch may hold."""
_PARAMETERS = 100
_LONGEST = 500
_NAMES = {"git_commit": "mlflow.source.git.commit"}
_PARENT, _RUN_NAME = "mlflow.parentRunId", "mlflow.runName"
_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_QUIET = ("mlflow", "alembic", "git")


class MLflowTracker:
    """A `modelyard.training.tracker.Tracker` on ``mlflow.db`` and ``mlruns/`` in a folder.

    Everything is written by one thread of its own, in order, so that neither the seconds MLflow takes to load nor its
    writes are taken from the budget of training; `metrics` and `finish` wait for what came before them. Look at it with
    ``mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow.db``.

    Parameters
    ----------
    folder : path
        The workspace.
    experiment : str
        Runs of one use case stand together.
    """

    def __init__(self, folder: Path, experiment: str) -> None:
        self._folder, self._experiment = folder.absolute(), experiment
        self._uri = f"sqlite:///{(self._folder / 'mlflow.db').as_posix()}"
        self._writer: ThreadPoolExecutor | None = None
        self._pending: list[Future[None]] = []
        self._client: Any = None
        self._experiment_id = self._run_id = ""
        self._children: dict[str, str] = {}
        self._done: set[str] = set()
        self._place: dict[str, str] = {}

    def start(self, name: str, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> Mapping[str, str]:
        """Begin a run, or take up an unfinished one of that name.

        Returns
        -------
        mapping
            ``uri``, ``experiment`` and ``run``; ``run_id`` joins them once MLflow has given one, at the latest when
            `metrics` returns.

        Raises
        ------
        MissingExtra
            If MLflow is not installed.
        """
        if not has("mlflow"):
            raise MissingExtra(
                "Tracking needs the package 'mlflow', which is not installed.",
                do='Install it with: pip install "modelyard[train]"',
            )
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlflow-tracking")
        self._place = {"uri": self._uri, "experiment": self._experiment, "run": name}
        self._queue(self._begin, name, dict(parameters), dict(tags))
        return self._place

    def trial(
        self,
        name: str,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        curves: Mapping[str, tuple[tuple[int, float], ...]],
    ) -> None:
        """Write one trial as a child of the run; one that is there already is left as it is."""
        self._queue(self._trial, name, dict(parameters), dict(metrics), dict(curves))

    def metrics(self, values: Mapping[str, float]) -> None:
        """Write figures of the run itself.

        Raises
        ------
        WorkspaceError
            If the database cannot be written.
        """
        self._queue(lambda: self._log(self._run_id, {}, values, {}))
        self._wait()

    def files(self, folder: Path) -> None:
        """Keep the files of a folder with the run: all but hidden ones and the steps a killed run goes on from."""
        self._queue(self._files, folder)

    def finish(self, status: str) -> None:
        """End the run: "finished", "stopped" or "failed".

        Raises
        ------
        WorkspaceError
            If the database cannot be written.
        """
        if self._writer is None:
            return
        self._queue(lambda: self._client.set_terminated(self._run_id, _STATUS[status]))
        try:
            self._wait()
        finally:
            self._writer.shutdown(wait=True)
            self._writer = None

    def _queue(self, work: Callable[..., None], *arguments: Any) -> None:
        if self._writer is not None:
            self._pending.append(self._writer.submit(work, *arguments))

    def _wait(self) -> None:
        pending, self._pending = self._pending, []
        for future in pending:
            try:
                future.result()
            except ModelyardError:
                raise
            except Exception as error:
                raise WorkspaceError(
                    "The tracking database cannot be written.",
                    where=f"{self._uri}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
                    do="Free some space, or move mlflow.db away, and run the same command again.",
                ) from error

    def _begin(self, name: str, parameters: dict[str, Any], tags: dict[str, str]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._client = _client(self._uri)
        found = self._client.get_experiment_by_name(self._experiment)
        if found is None:
            place = (self._folder / "mlruns" / _file_name(self._experiment)).as_uri()
            self._experiment_id = self._client.create_experiment(self._experiment, artifact_location=place)
        else:
            self._experiment_id = found.experiment_id
        self._run_id = self._take_up(name) or self._create(name, {_NAMES.get(k, k): v for k, v in tags.items()})
        self._place["run_id"] = self._run_id
        self._log(self._run_id, parameters, {}, {})

    def _take_up(self, name: str) -> str | None:
        """Return the id of an unfinished run of that name, made running again, and learn its children."""
        for run in self._runs(f"attributes.run_name = '{name}'"):
            if _PARENT in run.data.tags or run.info.status == "FINISHED":
                continue
            self._client.update_run(run.info.run_id, status="RUNNING")
            children = self._runs(f"tags.`{_PARENT}` = '{run.info.run_id}'")
            # A child that was being written when the run was killed is written again over itself.
            self._children = {child.info.run_name: child.info.run_id for child in children}
            self._done = {child.info.run_name for child in children if child.info.status == "FINISHED"}
            return str(run.info.run_id)
        return None

    def _runs(self, condition: str) -> list[Any]:
        found, token = [], None
        while True:
            page = self._client.search_runs([self._experiment_id], condition, max_results=1000, page_token=token)
            found += list(page)
            token = page.token
            if not token:
                return found

    def _create(self, name: str, tags: Mapping[str, str]) -> str:
        return str(self._client.create_run(self._experiment_id, run_name=name, tags=dict(tags)).info.run_id)

    def _trial(
        self,
        name: str,
        parameters: dict[str, Any],
        metrics: dict[str, float],
        curves: dict[str, tuple[tuple[int, float], ...]],
    ) -> None:
        if name in self._done:
            return
        child = self._children.get(name) or self._create(name, {_PARENT: self._run_id, _RUN_NAME: name})
        self._children[name] = child
        self._log(child, parameters, metrics, curves)
        self._client.set_terminated(child, "FINISHED")

    def _log(
        self,
        run_id: str,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        curves: Mapping[str, Sequence[tuple[int, float]]],
    ) -> None:
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        known = self._client.get_run(run_id).data.params if parameters else {}  # a parameter is written once
        params = [Param(k, str(v)[:_LONGEST]) for k, v in parameters.items() if k not in known]
        points = [(name, 0, value) for name, value in metrics.items()]
        points += [(name, step, value) for name, curve in curves.items() for step, value in curve]
        values = [Metric(_metric_name(name), float(v), now, step) for name, step, v in points if math.isfinite(v)]
        for some in _batches(params, _PARAMETERS):
            self._client.log_batch(run_id, params=some)
        for some in _batches(values, _BATCH):
            self._client.log_batch(run_id, metrics=some)

    def _files(self, folder: Path) -> None:
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or path.name == STEPS:
                continue
            if path.is_dir():
                self._client.log_artifacts(self._run_id, str(path), artifact_path=path.name)
            else:
                self._client.log_artifact(self._run_id, str(path))


def _client(uri: str) -> Any:
    """Load MLflow, silent and keeping to itself, and open the database."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of third parties, about each other
        from mlflow.tracking import MlflowClient

        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.ERROR)
        return MlflowClient(tracking_uri=uri)


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _metric_name(text: str) -> str:
    """Return a metric's name without what MLflow refuses, such as the @ of pinball@0.9."""
    return re.sub(r"[^\w./: -]", "_", text)


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "experiment"
