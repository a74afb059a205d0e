"""A write-ahead log, asked for while another connection holds the file."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing

import pytest

from modelyard.core.write_ahead import write_ahead


@pytest.fixture
def held(tmp_path):
    """Return a file that another connection has locked, and what lets it go."""
    path = tmp_path / "some.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE t (x)")
    other.execute("BEGIN EXCLUSIVE")
    yield path, other
    other.close()


def test_it_waits_for_who_holds_the_file(held):
    path, other = held
    free = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    free.start()
    with closing(sqlite3.connect(path, timeout=0.0)) as db:
        write_ahead(db, 30.0)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    free.join()


def test_it_does_not_wait_for_ever(held):
    began = time.monotonic()
    with closing(sqlite3.connect(held[0], timeout=0.0)) as db, pytest.raises(sqlite3.OperationalError, match="locked"):
        write_ahead(db, 0.2)
    assert time.monotonic() - began >= 0.2


def test_another_fault_is_told_at_once(tmp_path, monkeypatch):
    with closing(sqlite3.connect(tmp_path / "some.db")) as db, db:
        db.execute("CREATE TABLE t (x)")
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waits"))
    read = sqlite3.connect(f"file:{tmp_path / 'some.db'}?mode=ro", uri=True)
    with closing(read), pytest.raises(sqlite3.OperationalError, match="readonly"):
        write_ahead(read, 30.0)
