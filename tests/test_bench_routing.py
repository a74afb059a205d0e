"""The benchmark of routing: it times what it says it does, and says so where it did not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import routing

WAYS = ["alone", "choosing", "canary", "canary by key", "shadow"]


def test_every_way_is_timed_beside_the_one_without():
    words = [sys.executable, routing.__file__, "--rounds", "2", "--requests", "200", "--trees", "5"]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *rows, last = done.stdout.splitlines()[1:]
    assert last == "routing: 2 rounds, every candidate answered"
    found = [re.fullmatch(r"(\D+?) +([\d.]+) +(\S+) +\S+ to \S+ +([\d.]+) *([\d.]*)", row).groups() for row in rows]
    assert [name for name, *_ in found] == WAYS
    assert (float(found[0][2]), float(found[0][3])) == (0.0, 1.0)
    assert all(float(own) > 0 for _, own, *_ in found)
    assert [bool(beside) for *_, beside in found] == [False, False, False, False, True]


@pytest.fixture(scope="module")
def ways(tmp_path_factory):
    with routing._ways(tmp_path_factory.mktemp("ways"), 5) as (ways, bodies):
        yield ways, bodies


def test_requests_go_the_way_that_is_named(ways):
    made, bodies = ways
    assert list(made) == WAYS
    for name, way in made.items():
        way.round(bodies, 400)
        scored = way._scored()
        if name == "shadow":
            assert scored == 400  # every one was copied, before the round was over
        else:
            assert (0 < scored < 60) == name.startswith("canary")  # 20 of 400 are expected at 5 %
            assert way.shadow == [0.0]
    assert {way.failed() for way in made.values()} == {0}


def test_a_request_that_is_not_answered_is_not_timed(ways):
    made, _ = ways
    with pytest.raises(SystemExit, match="another way"):
        made["canary"].round([b"{}"], 1)


def test_it_ends_with_an_error_where_a_candidate_failed(ways, monkeypatch, capsys):
    made, bodies = ways
    for way in made.values():
        way.round(bodies, 10)
    monkeypatch.setattr(made["canary"], "failed", lambda: 3)
    assert routing._report(made) == 1
    assert capsys.readouterr().out.endswith("THE CANDIDATE FAILED: canary\n")
