"""API keys: nothing but a hash is kept, secrets overlap while they rotate, and running servers notice."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from click.testing import CliRunner

from modelyard.cli.main import cli
from modelyard.core.errors import ServingError, WorkspaceError
from modelyard.serving.guard import keyring
from modelyard.serving.guard.key import PREFIX
from modelyard.serving.guard.keyring import KeyRing
from modelyard.serving.guard.limit import Limit
from modelyard.serving.guard.store import KeyStore
from modelyard.serving.problem import HttpProblem


@pytest.fixture
def store(tmp_path):
    return KeyStore(tmp_path / "keys.db")


@pytest.fixture
def ring(store):
    store.create("first", by="anna")
    return ring_of(store)


def ring_of(store, **options) -> KeyRing:
    _rings.append(KeyRing(store.path, Limit.a_minute(600), **options))
    return _rings[-1]


_rings: list[KeyRing] = []


@pytest.fixture(autouse=True)
def closed():
    yield
    while _rings:
        _rings.pop().close()


def refused(ring: KeyRing, secret: str) -> str:
    with pytest.raises(HttpProblem) as caught:
        ring.find(secret.encode())
    assert caught.value.status == 401
    return caught.value.detail


def looks(ring: KeyRing) -> KeyRing:
    """Let its next question be one that looks at the file."""
    ring._due = 0.0
    return ring


def test_a_secret_lets_its_key_in(store):
    key, secret = store.create("ward", ["labels", "predict"], by="anna", rate=60, burst=7)
    assert secret.startswith(f"{PREFIX}{key.id}_")
    assert len(secret.removeprefix(f"{PREFIX}{key.id}_")) == 43  # 256 bits in base64
    caller = ring_of(store, workers=2).find(secret.encode())
    assert (caller.id, caller.permissions) == (key.id, {"predict", "labels"})
    assert (caller.limit.burst, caller.limit.interval) == (7, 10**9)
    assert (caller.part.burst, caller.part.interval) == (3, 2 * 10**9)


def test_no_secret_is_in_the_file(store):
    key, first = store.create("ward", by="anna")
    _, second = store.rotate("ward", overlap=60)
    ring_of(store)  # another connection, so that the log of changes is there too
    for path in store.path.parent.iterdir():
        held = path.read_bytes()
        assert not any(s.removeprefix(f"{PREFIX}{key.id}_").encode() in held for s in (first, second)), path


def test_secrets_are_never_the_same(store):
    assert len({store.create(f"key {i}", by="anna")[1] for i in range(50)}) == 50


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s[:-1],
        lambda s: s + "A",
        lambda s: s[:-1] + ("A" if s[-1] != "A" else "B"),
        lambda s: s.swapcase(),
        lambda s: s[: len(PREFIX)] + "zzzzzzzz" + s[len(PREFIX) + 8 :],
        lambda s: s[:18],
        lambda _: "",
        lambda _: "\x00" * 62,
    ],
)
def test_a_changed_secret_lets_nobody_in(store, change):
    _, secret = store.create("ward", by="anna")
    ring = ring_of(store)
    assert ring.find(secret.encode())
    assert refused(ring, change(secret)) == "The key is not known."


def test_an_unknown_id_takes_a_comparison_too(store, monkeypatch):
    _, secret = store.create("ward", by="anna")
    ring = ring_of(store)
    compared = []
    monkeypatch.setattr(keyring, "compare_digest", lambda a, b: compared.append((a, b)) or a == b)
    ring.find(secret.encode())
    refused(ring, secret[:-1] + "?")
    refused(ring, f"{PREFIX}zzzzzzzz_{secret[-43:]}")
    assert len(compared) == 3


def test_older_secrets_go_on_for_the_overlap(store, monkeypatch):
    key, first = store.create("ward", by="anna")
    same, second = store.rotate("ward", overlap=60)
    assert same.id == key.id
    ring = ring_of(store)
    assert ring.find(first.encode()).id == ring.find(second.encode()).id == key.id
    assert store.listed()[0].state(time.time()) == "rotating"
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    assert refused(ring, first) == "The key has ended."  # without another look at the file
    assert ring.find(second.encode())
    assert store.listed()[0].state(time.time()) == "live"


def test_rotating_again_never_gives_an_older_secret_more_time(store):
    store.create("ward", by="anna")
    store.rotate("ward", overlap=10)
    key, _ = store.rotate("ward", overlap=1_000)
    ends = [secret.ends - time.time() for secret in key.secrets if secret.ends is not None]
    assert ends == [pytest.approx(1_000, abs=5), pytest.approx(10, abs=5)]
    store.rotate("ward", overlap=0)
    ring = ring_of(store)
    assert len(store.listed()[0].secrets) == 4
    assert sum(caller.ends > time.time() for _, caller in ring._held[key.id.encode()]) == 1


def test_keys_end(store, monkeypatch):
    key, secret = store.create("ward", by="anna", seconds=60)
    ring = ring_of(store)
    assert ring.find(secret.encode())
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    assert refused(ring, secret) == "The key has ended."
    assert store.listed()[0].state(time.time()) == "expired"
    with pytest.raises(ServingError, match="has expired"):
        store.rotate("ward", overlap=0)
    _, renewed = store.rotate(key.id, overlap=0, seconds=60)
    assert looks(ring).find(renewed.encode())


def test_a_running_server_notices(store, ring):
    _, secret = store.create("ward", by="anna")
    assert refused(ring, secret)
    assert looks(ring).find(secret.encode())
    store.revoke("ward")
    assert ring.find(secret.encode())  # it looks once a second
    assert refused(looks(ring), secret) == "The key is not known."


def test_it_notices_another_process(store, ring):
    code = f"""
from pathlib import Path
from modelyard.serving.guard.store import KeyStore
print(KeyStore(Path({str(store.path)!r})).create("ward", by="bo")[1])
"""
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert looks(ring).find(made.stdout.strip().encode())


def test_an_unchanged_file_is_not_read_again(ring, monkeypatch):
    monkeypatch.setattr(keyring, "read_keys", lambda _: pytest.fail("read"))
    refused(looks(ring), "modelyard_x")


def test_it_notices_a_file_restored_from_a_copy(store, ring, tmp_path):
    _, secret = store.create("ward", by="anna")
    assert looks(ring).find(secret.encode())
    other = KeyStore(tmp_path / "other" / "keys.db")
    _, restored = other.create("restored", by="anna")
    with closing(sqlite3.connect(other.path)) as db, db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    for name in ("keys.db-wal", "keys.db-shm"):
        (store.path.parent / name).unlink(missing_ok=True)
    shutil.copy(other.path, tmp_path / "copy")
    (tmp_path / "copy").replace(store.path)
    assert looks(ring).find(restored.encode())
    assert refused(ring, secret)


def test_while_the_file_is_gone_the_keys_last_read_go_on(store, ring, caplog):
    _, secret = store.create("ward", by="anna")
    assert looks(ring).find(secret.encode())
    for path in store.path.parent.glob("keys.db*"):
        path.unlink()
    for _ in range(3):
        assert looks(ring).find(secret.encode())
    (line,) = [r.getMessage() for r in caplog.records if r.name == "modelyard.serving"]
    assert json.loads(line)["event"] == "keys_lost"


def test_no_file_and_no_store(tmp_path):
    with pytest.raises(ServingError, match="There are no keys"):
        KeyRing(tmp_path / "keys.db", Limit.a_minute())
    (tmp_path / "keys.db").write_text("not a store of keys, but a text that is long enough to be looked at")
    with pytest.raises(WorkspaceError, match="cannot be used"):
        KeyStore(tmp_path / "keys.db")
    newer = KeyStore(tmp_path / "newer.db")
    with closing(sqlite3.connect(newer.path)) as db, db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(WorkspaceError, match="format 9"):
        newer.listed()


def test_names_and_permissions_are_checked(store):
    store.create("ward", by="anna")
    with pytest.raises(ServingError, match="a key called 'ward'"):
        store.create("ward", by="anna")
    with pytest.raises(ServingError, match="no permission 'all'"):
        store.create("other", ["predict", "all"], by="anna")
    with pytest.raises(ServingError, match="needs a permission"):
        store.create("other", [], by="anna")
    with pytest.raises(ServingError, match="needs a name"):
        store.create("line\nbreak", by="anna")
    with pytest.raises(ServingError, match="rate cannot be 0"):
        store.create("other", by="anna", rate=0)
    with pytest.raises(ServingError, match="Did you mean 'ward'"):
        store.revoke("wart")
    store.revoke("ward")
    with pytest.raises(ServingError, match="is revoked"):
        store.rotate("ward", overlap=0)
    assert store.create("ward", by="anna")[0].id != store.listed()[0].id


def run(workspace, *words: str):
    result = CliRunner().invoke(cli, ["keys", *words, "--workspace", str(workspace)], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_the_command_line_makes_nothing_where_it_only_looks(tmp_path):
    for words in (["list"], ["rotate", "ward"], ["revoke", "ward"]):
        with pytest.raises(ServingError, match="There are no keys"):
            run(tmp_path / "yard", *words)
    assert not (tmp_path / "yard").exists()


def test_the_command_line(tmp_path):
    made = json.loads(run(tmp_path, "create", "ward", "--scope", "predict", "--scope", "labels", "--json"))
    assert made["permissions"] == ["predict", "labels"]
    ring = ring_of(KeyStore(tmp_path / "keys.db"))
    assert ring.find(made["secret"].encode()).id == made["id"]

    shown = run(tmp_path, "create", "lab", "--expires", "90d", "--rate", "60", "--burst", "5")
    assert shown.count(PREFIX) == 1
    listing = run(tmp_path, "list")
    assert "ward" in listing
    assert "60/min, 5 at once" in listing
    assert PREFIX not in listing
    assert 'secret"' not in run(tmp_path, "list", "--json")

    turned = json.loads(run(tmp_path, "rotate", "ward", "--overlap", "2h", "--json"))
    assert turned["id"] == made["id"]
    assert turned["secret"] != made["secret"]
    assert turned["state"] == "rotating"
    assert looks(ring).find(turned["secret"].encode()).id == ring.find(made["secret"].encode()).id

    assert "Revoked" in run(tmp_path, "revoke", made["id"])
    assert "ward" not in run(tmp_path, "list")
    states = {key["name"]: key["state"] for key in json.loads(run(tmp_path, "list", "--all", "--json"))}
    assert states == {"ward": "revoked", "lab": "live"}
