"""Times on the command line: one way to write them for every verb."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from modelyard.cli import keys, options, rollout


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0.0), ("90s", 90.0), ("15m", 900.0), ("1.5h", 5_400.0), ("14d", 1_209_600.0)]
)
def test_a_time_is_read_in_seconds(text, seconds):
    assert options.Time().convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "s", "-5s", "nan d", "infd", "1e3s", "1.s", ".5h", "5 m", "5w", "٣s", "1234567d"]
)
def test_what_is_no_time_is_refused_with_what_is(text):
    with pytest.raises(click.BadParameter, match="such as 90s or 14d"):
        options.Time().convert(text, None, None)


@pytest.mark.parametrize(
    ("command", "words"),
    [(keys.command, ["create", "ward-app", "--expires"]), (rollout.command, ["plan", "--rate", "1", "--bake"])],
)
def test_keys_and_rollouts_read_times_alike(command, words):
    done = CliRunner().invoke(command, [*words, "nand"])
    assert done.exit_code == 2
    assert "'nand' is no time." in done.output
