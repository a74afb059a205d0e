"""The prediction log: whole records come back whatever happened to the file's end."""

from __future__ import annotations

import os
import struct
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.errors import ServingError, WorkspaceError
from modelyard.core.files import hold
from modelyard.serving.log import SUFFIX, Entry, Label, PredictionLog, Record, read_log, recover
from modelyard.serving.predictions.frames import frame, frames

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
RECORDS = st.builds(
    Record,
    id=st.text(min_size=1, max_size=20),
    at=st.floats(0, 1e10),
    model=st.text(max_size=10),
    bundle=st.text(max_size=10),
    rows=st.lists(st.dictionaries(st.text(max_size=8), VALUES, max_size=4), max_size=3),
    answers=st.lists(st.dictionaries(st.text(max_size=8), VALUES, max_size=3), max_size=3),
    milliseconds=st.floats(0, 1e6),
)


def record(number: int) -> Record:
    return Record(f"r{number}", 1e9 + number, "m", "b", [{"x": number}], [{"prediction": number}], 0.5)


SEEDS = (
    b"\xf5MYP",
    b"\xf5MYL",
    b"\xf5MY",
    frame(Entry.of(record(3))),
    frame([Label("r", 1)]),
    struct.pack("<II", 2**32 - 1, 7),
)


def written(folder, records) -> bytes:
    log = PredictionLog(folder)
    assert all(log.append(r) for r in records)
    log.close()
    return b"".join(path.read_bytes() for path in sorted(folder.glob(f"*{SUFFIX}")))


@given(records=st.lists(RECORDS, max_size=5))
def test_what_is_written_is_read(tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("log")
    written(folder, records)
    assert list(read_log(folder)) == records


@given(data=st.data())
def test_a_torn_tail_costs_only_the_torn_record(tmp_path_factory, data):
    records = [record(i) for i in range(4)]
    content = written(tmp_path_factory.mktemp("log"), records)
    cut = data.draw(st.integers(0, len(content)))
    found = list(recover(content[:cut]))
    assert found == records[: len(found)]
    assert len(found) >= cut * 4 // len(content) - 1
    # What is appended after the tear is found again.
    assert list(recover(content[:cut] + content))[-4:] == records


@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_damaged_byte_never_gives_a_false_record(tmp_path_factory, at, flip):
    records = [record(i) for i in range(4)]
    content = bytearray(written(tmp_path_factory.mktemp("log"), records))
    content[at % len(content)] ^= flip
    found = list(recover(bytes(content)))
    assert len(found) == 3
    assert all(r in records for r in found)


@given(records=st.lists(RECORDS, min_size=1, max_size=4), data=st.data())
def test_frames_say_where_they_begin_and_end_between_any_tears(records, data):
    """Whole frames among torn ones and noise: each is found, in order, at its own place."""
    written: list[tuple[int, int, Record]] = []
    content = b""
    for item in records:
        whole = frame(Entry.of(item))
        content += data.draw(st.binary(max_size=12)) + whole[: data.draw(st.integers(0, len(whole) - 1))]
        written.append((len(content), len(content) + len(whole), item))
        content += whole
    found = [(begin, end, held.record()) for held, begin, end in frames(content)]
    assert found == written
    assert [held.record() for held, _, _ in frames(content, written[0][1])] == records[1:]


@given(content=st.binary(max_size=400), seeds=st.lists(st.tuples(st.integers(0, 400), st.sampled_from(SEEDS))))
def test_any_bytes_are_recovered_from_without_an_error(content, seeds):
    for at, seed in seeds:
        content = content[:at] + seed + content[at:]
    for held, begin, end in frames(content):
        assert isinstance(held, (Entry, list))
        assert zlib.crc32(content[begin + 12 : end]) == struct.unpack_from("<I", content, begin + 8)[0]


def test_frames_of_an_earlier_server_are_read():
    """An entry without the fields that have defaults."""
    content = msgspec.msgpack.encode(["r1", 1e9, "m", "b", b'[{"x":1}]', b"[{}]", 1, 0.5])
    old = struct.pack("<4sII", b"\xf5MYP", len(content), zlib.crc32(content)) + content
    assert list(recover(old)) == [Record("r1", 1e9, "m", "b", [{"x": 1}], [{}], 0.5)]
    assert list(recover(old))[0].version == ""  # noqa: RUF015


def test_labels_stand_among_records_and_an_earlier_reader_passes_them_over(tmp_path):
    labels = [Label("r0", 1, 2, 5.0, 6.0, "k"), Label("r1", "late")]
    content = written(tmp_path, [record(0), labels, record(1)])
    assert [held for held, _, _ in frames(content)] == [Entry.of(record(0)), labels, Entry.of(record(1))]
    assert list(recover(content)) == [record(0), record(1)]


@given(number=st.integers(2**64, 10**40), sign=st.sampled_from([1, -1]))
def test_numbers_of_any_size_are_written(number, sign):
    rows, labels = [{"x": sign * number, "y": [7]}], [Label("r", sign * number)]
    ((held, _, _),) = frames(frame(Entry.of(Record("r", 1.0, "m", "b", rows, [{}], 0.5))))
    assert held.record().rows == rows
    assert [held for held, _, _ in frames(frame(labels))] == [labels]


def test_a_file_is_held_while_it_is_written_and_no_other_is_seen(tmp_path):
    log = PredictionLog(tmp_path)
    log.append(record(0))
    (path,) = tmp_path.glob(f"*{SUFFIX}")
    with path.open("rb") as file:
        assert not hold(file.fileno(), alone=True, wait=False)
        log.close()
        assert hold(file.fileno(), alone=True, wait=False)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_files_are_begun_anew_and_read_in_order(tmp_path):
    log = PredictionLog(tmp_path, file_bytes=200)
    for i in range(20):
        assert log.append(record(i))
    log.close()
    assert len(list(tmp_path.glob(f"*{SUFFIX}"))) > 5
    assert [r.id for r in read_log(tmp_path)] == [f"r{i}" for i in range(20)]


def test_a_full_disk_drops_the_record_and_keeps_the_file_whole(tmp_path, monkeypatch):
    log = PredictionLog(tmp_path)
    assert log.append(record(0))
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, content: real(file, content[:7]))  # what a full disk does first
    assert not log.append(record(1))
    monkeypatch.undo()
    assert log.append(record(2))
    log.close()
    (path,) = tmp_path.glob(f"*{SUFFIX}")
    assert [r.id for r in recover(path.read_bytes())] == ["r0", "r2"]
    assert path.stat().st_size == len(written(tmp_path / "other", [record(0), record(2)]))


def test_of_many_records_a_disk_that_fills_up_takes_those_it_has_room_for(tmp_path, monkeypatch):
    log = PredictionLog(tmp_path)
    assert log.append(*map(record, range(3))) == 3
    room = 2 * len(written(tmp_path / "other", [record(0)])) + 5
    real = os.write

    def little(file, content):
        nonlocal room
        count = real(file, content[:room])
        room -= count if count == len(content) else 0  # the rest is taken back
        return count

    monkeypatch.setattr(os, "write", little)
    assert log.append(*map(record, range(3, 7))) == 2
    monkeypatch.undo()
    log.close()
    (path,) = tmp_path.glob(f"*{SUFFIX}")
    assert [r.id for r in recover(path.read_bytes())] == ["r0", "r1", "r2", "r3", "r4"]


def test_a_log_that_cannot_be_written_is_said_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ServingError, match="cannot be written"):
        PredictionLog(tmp_path / "file" / "log")


def test_no_log(tmp_path):
    with pytest.raises(WorkspaceError, match="no prediction log"):
        list(read_log(tmp_path / "none"))
