"""Steps on disk: a run that was killed goes on from the last finished one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from modelyard.core.errors import WorkspaceError
from modelyard.training.store import load_fitted, save_fitted, save_run
from modelyard.training.train import train
from toy_family import Toy, candidate, dataset, parts_of, plan_of

CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_training_resume import started
started(Path({folder!r}), pause=0.1)
"""


def started(folder, pause=0.0, seed=0, trials=6):
    data = dataset()
    plan = plan_of(data, trials=trials, seed=seed)
    return train(plan, parts_of(data), folder=folder, family=Toy(pause, folder.with_suffix(".log")))


def fits(folder):
    return Path(folder).with_suffix(".log").read_text().splitlines()


def steps(folder):
    return sorted(p.name.rsplit("-", 1)[0] for p in (folder / "steps").glob("*"))


def test_a_killed_run_is_taken_up_without_fitting_again_what_was_finished(tmp_path):
    whole = started(tmp_path / "whole")
    folder = tmp_path / "killed"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(tests=str(Path(__file__).parent), folder=str(folder))],
        stderr=subprocess.PIPE,
    )
    until = time.monotonic() + 60
    while len(list((folder / "steps").glob("*"))) < 4 and child.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.15)  # into the middle of the next fit
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, child.stderr.read()
    child.stderr.close()
    done, fitted = steps(folder), fits(folder)
    assert len(done) >= 4
    assert "squares" in done
    before = {p: p.stat().st_mtime_ns for p in (folder / "steps").rglob("*")}
    run = started(folder)
    again = fits(folder)[len(fitted) :]
    assert not {line.split()[0] for line in again if line.endswith(" 180")} & set(
        done
    )  # nothing finished was fitted once more
    assert again  # but the rest was
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert run.answers.tobytes() == whole.answers.tobytes()  # as if it had never been killed
    assert [(e.name, e.parameters) for e in run.leaderboard] == [(e.name, e.parameters) for e in whole.leaderboard]
    assert not list(folder.glob(".*.part"))


def test_a_finished_run_started_again_fits_nothing(tmp_path):
    one = started(tmp_path / "r")
    before = len(fits(tmp_path / "r"))
    (tmp_path / "r" / ".plain-12ab.99.part").mkdir()
    (tmp_path / "r" / ".training.json.99.part").write_text("torn")
    two = started(tmp_path / "r")
    assert not list((tmp_path / "r").glob(".*.part"))
    assert len(fits(tmp_path / "r")) == before
    assert two.answers.tobytes() == one.answers.tobytes()


def test_time_spent_before_the_kill_counts(tmp_path):
    data = dataset()
    plan = plan_of(data, seconds=2.0, trials=None)
    log = tmp_path / "fits.log"
    train(plan, parts_of(data), folder=tmp_path / "r", family=Toy(0.1, log))
    before = len(log.read_text().splitlines())
    run = train(plan, parts_of(data), folder=tmp_path / "r", family=Toy(0.1, log))
    assert len(log.read_text().splitlines()) - before <= 3  # one more trial at most, where the first run's end was near
    assert run.seconds > 1.0


def test_how_right_the_probe_was_is_known_after_the_kill(tmp_path):
    # The first takes far longer than was reckoned: four times what is reckoned of the second does not fit.
    data = dataset()
    plan = plan_of(data, (candidate("plain", seconds=0.001), candidate("squares", seconds=20.0)))
    notes = []
    for pause in (0.1, 0.0):
        run = train(plan, parts_of(data), folder=tmp_path / "r", family=Toy(pause))
        notes.append(next(entry.note for entry in run.leaderboard if entry.name == "squares"))
    assert [note.startswith("not tried, no time left: it takes about 80 s") for note in notes] == [True, True]


@pytest.mark.parametrize("change", ["seed", "rows", "folds", "parameters"])
def test_steps_of_another_question_are_not_taken_up(tmp_path, change):
    data = dataset()
    train(plan_of(data), parts_of(data), folder=tmp_path / "r", family=Toy())
    log = tmp_path / "again.log"
    log.touch()
    other = dataset(seed=1) if change == "rows" else data
    plan = plan_of(other, seed=1 if change == "seed" else 0)
    if change == "parameters":
        plan = plan_of(other, (candidate("plain", rate=0.2), candidate("squares", squares=True)))
        (tmp_path / "r" / "steps.json").unlink()  # else the first attempt's candidates are gone on with
    train(plan, parts_of(other, folds=2 if change == "folds" else 3), folder=tmp_path / "r", family=Toy(log=log))
    again = {line.split()[0] for line in log.read_text().splitlines()}
    assert again == ({"plain"} if change == "parameters" else {"plain", "squares"})


def test_candidates_that_a_second_probe_sizes_otherwise_do_not_lose_the_steps(tmp_path):
    started(tmp_path / "r", trials=0)
    before = fits(tmp_path / "r")
    data = dataset()
    resized = plan_of(data, (candidate("plain", rate=0.1), candidate("squares", rate=0.1, squares=True)))
    run = train(resized, parts_of(data), folder=tmp_path / "r", family=Toy(log=(tmp_path / "r").with_suffix(".log")))
    assert fits(tmp_path / "r") == before
    assert {c.parameters["rate"] for c in run.plan.candidates} == {0.3}


def test_a_damaged_step_is_fitted_again(tmp_path):
    one = started(tmp_path / "r", trials=0)
    before = len(fits(tmp_path / "r"))
    step = next((tmp_path / "r" / "steps").glob("plain-*"))
    (step / "arrays.npz").write_bytes(b"PK\x03\x04 torn")
    two = started(tmp_path / "r", trials=0)
    assert fits(tmp_path / "r")[before:] == ["plain 0 180", "plain 1 180", "plain 2 180"]
    assert two.answers.tobytes() == one.answers.tobytes()


def test_nothing_on_disk_is_a_pickle(tmp_path):
    save_run(started(tmp_path / "r", trials=1), tmp_path / "r")
    for path in (tmp_path / "r").rglob("*.np[yz]"):
        loaded = np.load(path, allow_pickle=False)
        for array in [loaded[k] for k in loaded.files] if path.suffix == ".npz" else [loaded]:
            assert array.dtype != object


def test_a_full_disk_keeps_what_was_finished(tmp_path, monkeypatch):
    import errno

    import modelyard.training.store as store

    kept, real = [], store.save_fitted

    def failing(fitted, folder):
        if kept:
            raise OSError(errno.ENOSPC, "No space left on device", str(folder))
        kept.append(folder)
        return real(fitted, folder)

    monkeypatch.setattr("modelyard.training.steps.save_fitted", failing)
    with pytest.raises(WorkspaceError, match="The disk is full"):
        started(tmp_path / "r")
    assert steps(tmp_path / "r") == ["plain"]
    assert not list((tmp_path / "r").glob(".*.part"))


def test_learning_curves_without_a_training_loss_survive(tmp_path):
    import dataclasses

    data = dataset()
    fitted = Toy().fit(candidate("plain"), parts_of(data), 0)
    nan = tuple(float("nan") for _ in fitted.curves[0].train)
    fitted = dataclasses.replace(fitted, curves=(dataclasses.replace(fitted.curves[0], train=nan),))
    again = load_fitted(save_fitted(fitted, tmp_path / "f"))
    assert np.isnan(again.curves[0].train).all()
    assert again.curves[0].validation == fitted.curves[0].validation
