"""What a terminal shows: a leaderboard with reasons, and progress in plain lines where nobody watches."""

from __future__ import annotations

import math

import pytest

from modelyard.cli.progress import Drawn
from modelyard.flow.look import board_lines
from modelyard.training.run import Entry


def entry(name: str, score: float, weight: float = 0.0, why: str = "", microseconds: float = 12.0) -> Entry:
    return Entry(name, name.title(), {}, score, weight, 3.2, "", microseconds, why)


def test_the_leaderboard_names_members_the_best_of_the_rest_and_every_failure() -> None:
    board = [entry(f"fit{i}", 0.9 - i / 100, why="adds nothing") for i in range(20)]
    board[0] = entry("fit0", 0.9, 0.75)
    board[15] = entry("fit15", 0.75, 0.25)
    board.append(entry("broken", math.nan, why="failed: ValueError: no", microseconds=math.nan))
    lines = board_lines(board, "roc_auc")
    text = "\n".join(lines)
    assert lines[0] == "Fits       ROC AUC out-of-fold, fit, answer, share or why not"
    assert lines[1].split() == ["fit0", "0.9", "3", "s", "12", "µs", "share", "75%"]
    assert lines[2].endswith("share 25%")
    assert "fit1 " in text
    assert "fit7 " not in text
    assert lines[-2].split(maxsplit=4) == ["broken", "–", "3", "s", "failed: ValueError: no"]
    assert lines[-1].strip() == "and 12 more in 2-training.md"
    assert len({line.index("  3 s") for line in lines[1:-1]}) == 1  # in columns
    free = board_lines([entry("ets", 0.9, 1.0, microseconds=0.0)], "mase")
    assert "µs" not in free[1]
    assert free[0] == "Fits       MASE out-of-fold, fit, share or why not"


def test_progress_without_a_terminal_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    note = "3 of 9 fits, 0:45 left, out-of-fold ROC AUC of the blend 0.7177 (+0.0004), catboost 0.7049, xgboost 1 of 5"
    with Drawn() as drawn:
        drawn.stage("train")
        drawn.step(3, 9, note)
        drawn.step(4, 9, "too soon after the last")
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == f"  train      3 of 9  {note}"  # one line, however narrow
    assert len(lines) == 2
    assert "\x1b" not in err
    assert lines[1].startswith("  train      done in ")
    with Drawn(quiet=True) as drawn:
        drawn.stage("train")
        drawn.step(3, 9, note)
    assert capsys.readouterr().err == ""
