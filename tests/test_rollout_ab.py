"""A/B tests: intervals that hold, a sample ratio that is checked, and nothing decided before the end."""

from __future__ import annotations

import json

import numpy as np
import pytest

from modelyard.core.errors import ServingError
from modelyard.serving.rollout.ab import outcome
from modelyard.serving.rollout.ab_document import ab_document
from modelyard.serving.rollout.control import outcome_of_file
from modelyard.serving.rollout.rollout import TWO_WEEKS, Arm, Plan, Rollout
from modelyard.serving.rollout.router import place

PLAN = Plan(kind="ab", steps=(0.5,), metric="sales", bake=TWO_WEEKS, horizon=TWO_WEEKS)
ROLLOUT = Rollout(7, "churn", PLAN, Arm("old", "a" * 64), Arm("new", "b" * 64), "held", 0, 0.0, 0.0, 0.0)
OVER = TWO_WEEKS + 1.0


def drawn(n: int, lift: float, seed: int):
    random = np.random.default_rng(seed)
    keys = [f"{seed}-{i}" for i in range(n)]
    in_b = np.array([place(key.encode(), b"7") < 0.5 for key in keys])
    before = random.normal(size=n)
    return keys, 2 * before + random.normal(size=n) + lift * in_b, before


def test_an_identical_b_is_found_different_as_often_as_promised_and_cuped_is_narrower():
    plain = adjusted = 0
    for seed in range(400):
        keys, values, before = drawn(200, 0.0, seed)
        found = outcome(ROLLOUT, keys, values, before, now=OVER)
        plain += not found.plain.low <= 0 <= found.plain.high
        adjusted += not found.adjusted.low <= 0 <= found.adjusted.high
        assert found.adjusted.high - found.adjusted.low < 0.7 * (found.plain.high - found.plain.low)
    assert 8 <= plain <= 36  # 5 % of 400 is 20
    assert 8 <= adjusted <= 36


def test_a_better_b_is_found_at_the_end_and_not_before():
    keys, values, before = drawn(2_000, 0.4, 1)
    found = outcome(ROLLOUT, keys, values, before, now=OVER)
    assert found.verdict == "yes"
    assert found.adjusted.low <= 0.4 <= found.adjusted.high
    assert found.explained == pytest.approx(0.8, abs=0.05)
    assert outcome(ROLLOUT, keys, values, before, now=TWO_WEEKS / 2).verdict == "not over"
    assert outcome(ROLLOUT, keys, -values, before, now=OVER).verdict == "no"
    assert outcome(ROLLOUT, *drawn(2_000, 0.0, 2), now=OVER).verdict in {"undecided", "no"}


def test_requests_of_one_key_count_once():
    keys, values, _ = drawn(300, 0.0, 3)
    once = outcome(ROLLOUT, keys, values, now=OVER)
    often = outcome(ROLLOUT, keys * 5, np.tile(values, 5), now=OVER)
    assert often.plain.low == pytest.approx(once.plain.low)
    assert often.keys == once.keys


def test_lost_outcomes_and_keys_in_the_wrong_arm_make_it_invalid():
    keys, values, _ = drawn(2_000, 0.4, 4)
    in_b = np.array([place(key.encode(), b"7") < 0.5 for key in keys])
    kept = ~in_b | (np.arange(2_000) % 5 > 0)
    lost = outcome(ROLLOUT, list(np.array(keys)[kept]), values[kept], now=OVER)
    assert (lost.verdict, lost.ratio_p < 0.001) == ("invalid", True)
    variants = {key: "b" if b else "a" for key, b in zip(keys, in_b, strict=True)}
    assert outcome(ROLLOUT, keys, values, variants=variants, now=OVER).verdict == "yes"
    logged = {key: "b" if b else "stable" for key, b in zip(keys, in_b, strict=True)}  # as the log has them
    assert outcome(ROLLOUT, keys, values, variants={**logged, keys[1]: None}, now=OVER).verdict == "yes"
    variants[keys[0]] = "a" if in_b[0] else "b"
    assert outcome(ROLLOUT, keys, values, variants=variants, now=OVER).verdict == "invalid"


def test_the_report_says_what_was_registered_and_found(tmp_path):
    keys, values, before = drawn(500, 0.4, 5)
    path = tmp_path / "outcomes.csv"
    rows = [f"{k},{v},{b}" for k, v, b in zip(keys, values, before, strict=True)]
    path.write_text("\n".join(["key,value,before", *rows]))
    found = outcome_of_file(ROLLOUT, path)
    markdown, page = ab_document(ROLLOUT, found).write(tmp_path, "ab")
    text = markdown.read_text()
    assert "sales" in text
    assert f"{found.adjusted.low:.4g} to {found.adjusted.high:.4g}" in text
    assert "Sample" in text.title()
    assert page.read_text().startswith("<!")
    # A key is text, whatever it looks like: its arm follows from its characters.
    numbers = [f"{i:05}" for i in range(1_000)]
    arms = ["b" if place(key.encode(), b"7") < 0.5 else "" if i % 2 else "a" for i, key in enumerate(numbers)]
    lines = [f"{key},{i % 7},{arm}" for i, (key, arm) in enumerate(zip(numbers, arms, strict=True))]
    (tmp_path / "numbers.csv").write_text("\n".join(["key,value,variant", *lines]))
    found = outcome_of_file(ROLLOUT, tmp_path / "numbers.csv")
    assert found.verdict != "invalid"
    assert found.keys == (1_000 - arms.count("b"), arms.count("b"))
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ServingError, match="cannot be read"):
        outcome_of_file(ROLLOUT, tmp_path / "bad.csv")
    with pytest.raises(ServingError, match="outcomes of"):
        outcome(ROLLOUT, ["a", "b"], np.zeros(2), now=OVER)


def test_the_command_line_plans_starts_moves_and_tells(tmp_path, capsys, monkeypatch):
    from bundles import make
    from modelyard.cli.main import _run

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # as in a container, where a number has no name
    where = ["--workspace", str(tmp_path / "yard")]
    assert _run(["rollout", "plan", "--rate", "2", "--horizon", "1h"]) == 3
    old, new = make(tmp_path / "old"), make(tmp_path / "new", facts={"trees": 2})
    assert _run(["rollout", "status", "churn", *where]) == 1
    assert _run(["rollout", "start", str(old), str(new), "--steps", "5,50", *where]) == 0
    assert _run(["rollout", "pause", "churn", *where]) == 0
    assert _run(["rollout", "pause", "churn", *where]) == 1
    assert _run(["rollout", "rollback", "churn", "--by", "anna", *where]) == 0
    capsys.readouterr()
    assert _run(["rollout", "status", "churn", "--json", *where]) == 2
    shown = json.loads(capsys.readouterr().out)
    assert (shown["state"], shown["plan"]["steps"]) == ("rolled_back", [0.05, 0.5])
    assert shown["decisions"][-1]["by"] == "anna"
    other = make(tmp_path / "other", name="other")
    assert _run(["rollout", "start", str(old), str(other), *where]) == 1
    assert "use case" in capsys.readouterr().err
    test = ["--kind", "ab", "--metric", "sales"]
    for words in (["plan", "--rate", "9"], ["start", str(old), str(new), *where]):
        assert _run(["rollout", *words, *test, "--horizon", "7d"]) == 1
        assert "with a reason" in capsys.readouterr().err
    assert _run(["rollout", "plan", "--rate", "9", *test, "--effect", "0.1", "--sd", "1", "--keys", "2"]) == 3
    assert "4,203 keys" in capsys.readouterr().out
    assert _run(["rollout", "start", str(old), str(new), *test, "--horizon", "7d", "--reason", "it ends", *where]) == 0
    keys, values, _ = drawn(200, 0.0, 6)
    outcomes = tmp_path / "outcomes.csv"
    outcomes.write_text("\n".join(["key,value", *(f"{k},{v}" for k, v in zip(keys, values, strict=True))]))
    assert _run(["rollout", "report", "churn", str(outcomes), "-o", str(tmp_path / "out"), *where]) == 3  # not over
    assert "it ends" in (tmp_path / "out" / "ab-churn-2.html").read_text()
