"""The MLflow tracker, read back from the SQLite file it wrote."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
from contextlib import closing

import pytest

from modelyard.adapters.mlflow_tracking import MLflowTracker
from modelyard.core.errors import TrainingError, WorkspaceError
from modelyard.training.train import train
from toy_family import Toy, dataset, parts_of, plan_of


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """Return a fresh database, copied to each test: MLflow takes seconds to make one."""
    folder = tmp_path_factory.mktemp("empty")
    tracker = MLflowTracker(folder, "other")
    tracker.start("one", {}, {})
    tracker.finish("finished")
    return folder / "mlflow.db"


@pytest.fixture
def read(tmp_path, empty):
    """Return the runs of the experiment "toy" as MLflow's own client reads them: the parent, and children by name."""

    shutil.copy(empty, tmp_path)

    def runs():
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
        found = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
        parents = [r for r in found if "mlflow.parentRunId" not in r.data.tags]
        children = {r.info.run_name: r for r in found if "mlflow.parentRunId" in r.data.tags}
        assert len(children) == len(found) - len(parents)  # no name twice
        return client, parents, children

    return runs


def test_a_run_is_read_back(tmp_path, read, capfd):
    tracker = MLflowTracker(tmp_path, "toy")
    data = dataset()
    run = train(plan_of(data, trials=2), parts_of(data), family=Toy(), tracker=tracker, name="blend-0000-20260101-ab")
    tracker.metrics({"test_roc_auc": 0.75})
    (tmp_path / "run" / "steps").mkdir(parents=True)
    (tmp_path / "run" / "bundle").mkdir()
    for name in ("plan.json", "bundle/manifest.json", "steps/model.txt", ".lock"):
        (tmp_path / "run" / name).write_text(name)
    tracker.files(tmp_path / "run")
    tracker.finish("finished")
    client, (parent,), children = read()
    assert run.tracking == {
        "uri": f"sqlite:///{tmp_path}/mlflow.db", "experiment": "toy", "run": run.name, "run_id": parent.info.run_id,
    }  # fmt: skip
    assert (parent.info.run_name, parent.info.status) == (run.name, "FINISHED")
    assert parent.data.metrics["validation_roc_auc"] == pytest.approx(run.score)
    assert parent.data.metrics["test_roc_auc"] == 0.75
    assert parent.data.params["folds"] == "3"
    assert parent.data.tags["data_fingerprint"] == data.fingerprint
    assert parent.data.tags["seed"] == "0"
    assert parent.data.tags.get("mlflow.source.git.commit") == run.commit
    assert set(children) == {e.name for e in run.leaderboard}
    for entry in run.leaderboard:
        child = children[entry.name]
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.info.status == "FINISHED"
        assert child.data.metrics["validation_roc_auc"] == pytest.approx(entry.score)
        assert float(child.data.params["rate"]) == entry.parameters["rate"]
    curve = client.get_metric_history(children["plain"].info.run_id, "fold_1_validation_loss")
    fitted = next(f for f, _ in run.blend.members if f.candidate.name.startswith("squares"))
    assert len(curve) == 50  # thinned from 60
    assert (curve[0].step, curve[-1].step) == (1, len(fitted.curves[1].steps))
    kept = {f.path for f in client.list_artifacts(parent.info.run_id)}
    assert kept == {"plan.json", "bundle"}
    assert (tmp_path / "mlruns" / "toy").is_dir()
    assert capfd.readouterr() == ("", "")  # not a word of chatter


def test_an_unfinished_run_is_taken_up_and_no_trial_written_twice(tmp_path, read):
    for status in ("failed", "finished"):
        tracker = MLflowTracker(tmp_path, "toy")
        tracker.start("one", {"rows": 5}, {"seed": "0"})
        tracker.trial("a", {"x": 1}, {"seconds": 1.0}, {})
        if status == "finished":
            tracker.trial(
                "b", {"x": 2}, {"seconds": 1.0, "odd": float("nan")}, {"c": tuple((i, 0.5) for i in range(2500))}
            )
        tracker.finish(status)
    client, parents, children = read()
    assert [p.info.status for p in parents] == ["FINISHED"]
    assert set(children) == {"a", "b"}
    assert "odd" not in children["b"].data.metrics
    assert len(client.get_metric_history(children["b"].info.run_id, "c")) == 2500


def test_a_finished_run_of_the_same_name_is_left_alone(tmp_path, read):
    for _ in range(2):
        tracker = MLflowTracker(tmp_path, "toy")
        tracker.start("one", {}, {})
        tracker.finish("finished")
    assert len(read()[1]) == 2


def test_training_that_fails_is_marked_so(tmp_path, read):
    from toy_family import candidate

    data = dataset()
    with pytest.raises(TrainingError, match="No candidate"):
        train(
            plan_of(data, (candidate("x", fails=True),)), parts_of(data), family=Toy(), name="n",
            tracker=MLflowTracker(tmp_path, "toy"),
        )  # fmt: skip
    assert [p.info.status for p in read()[1]] == ["FAILED"]


def test_a_database_that_is_none_is_told(tmp_path):
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to be taken for the header of one" * 9)
    tracker = MLflowTracker(tmp_path, "toy")
    tracker.start("one", {}, {})
    with pytest.raises(WorkspaceError, match="tracking database cannot be written"):
        tracker.metrics({"x": 1.0})
    with pytest.raises(WorkspaceError):
        tracker.finish("failed")


def test_nothing_calls_out(tmp_path, read, monkeypatch):
    called = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: called.append(address))
    tracker = MLflowTracker(tmp_path, "toy")
    tracker.start("one", {"long": "x" * 9000}, {})
    tracker.metrics({"x": 1.0})
    tracker.finish("finished")
    assert called == []
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        assert database.execute("select length(value) from params where key = 'long'").fetchone()[0] <= 6000
    database.close()
