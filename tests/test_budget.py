"""The budget: a clock that starts with the run, and what it keeps for what comes after training."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import modelyard.flow.develop as flow
from modelyard.families.around import after_seconds, before_seconds, fitting_seconds
from modelyard.selection.document import architecture_document
from modelyard.selection.select import select
from modelyard.selection.show import cost_line
from modelyard.training.clock import Clock
from modelyard.training.train import train
from toy_family import Toy, candidate, dataset, parts_of, plan_of


@pytest.fixture
def moment(monkeypatch):
    """What time it is, and how long this process has worked, for clocks alone."""
    now = [100.0, 1.0]
    told = SimpleNamespace(monotonic=lambda: now[0], process_time=lambda: now[1])
    monkeypatch.setattr("modelyard.training.clock.time", told)
    return now


def test_a_clock_counts_from_its_start_and_keeps_the_last_seconds(moment):
    clock = Clock(60.0)
    moment[0] += 5.0
    assert (clock.spent, clock.left, clock.elapsed) == (5.0, 55.0, 5.0)
    clock.keep(12.0)
    assert (clock.budget, clock.left) == (48.0, 43.0)
    clock.keep(15.0)  # of the budget as given, not of what was left of it
    assert (clock.budget, clock.left) == (45.0, 40.0)


def test_a_budget_may_have_begun_before_its_clock(moment):
    clock = Clock(60.0, moment[0] - 3.0)
    moment[0] += 1.0
    assert (clock.spent, clock.left, clock.elapsed) == (4.0, 56.0, 4.0)


def test_half_of_the_budget_is_left_whatever_is_kept_or_spent(moment):
    clock = Clock(60.0)
    moment[0] += 20.0
    clock.keep(25.0)
    assert clock.left == 30.0
    resumed = Clock(60.0)
    resumed.keep(50.0)
    resumed.credit(25.0)  # a step of the killed run
    assert (resumed.left, resumed.spent, resumed.elapsed) == (5.0, 25.0, 0.0)


def test_larger_tables_leave_less_for_fits_and_never_less_than_half():
    left = [fitting_seconds(60.0, rows, 20, 1) for rows in (1_000, 50_000, 200_000, 10**8)]
    assert 60 > left[0] > left[1] > left[2] > left[3] == 30
    assert fitting_seconds(60.0, 1_000, 80, 1) < fitting_seconds(60.0, 1_000, 8, 1)
    assert fitting_seconds(60.0, 50_000, 20, 10) < fitting_seconds(60.0, 50_000, 20, 1)
    # Of very many columns the dearest looks are at some: a further one costs a fraction.
    costs = [before_seconds(1_000, columns) + after_seconds(1_000, columns, 1) for columns in (50, 100, 150)]
    assert 0 < costs[2] - costs[1] < (costs[1] - costs[0]) / 3
    around = before_seconds(1_000, 20) + after_seconds(1_000, 20, 1)
    assert fitting_seconds(60.0, 1_000, 20, 1) == pytest.approx(60 - around)


def test_training_spends_what_an_earlier_clock_has_left(moment):
    data = dataset()
    # The first takes far less than was reckoned, so half of what is reckoned is expected of the other: 30 s.
    plan = plan_of(data, (candidate("plain", seconds=99.0), candidate("long", seconds=60.0)), seconds=60.0)
    alone = train(plan, parts_of(data), family=Toy())
    assert {e.name for e in alone.leaderboard if not e.note.startswith("not tried")} == {"plain", "long"}
    clock = Clock(60.0)
    moment[0] += 10.0
    clock.keep(30.0)
    run = train(plan, parts_of(data), family=Toy(), clock=clock)
    assert next(e for e in run.leaderboard if e.name == "long").note.startswith("not tried, no time left")
    assert run.seconds == 0.0  # its own, not those before it: for clocks, time stands still here


def test_develop_counts_from_its_start_and_keeps_what_the_plan_reckons(moment, monkeypatch, tmp_path):
    class Seen(Exception):
        pass

    data = dataset()
    parts, plan = parts_of(data), plan_of(data, seconds=60.0)
    planned = select(plan.brief, data, parts=parts, family=Toy())
    took = {"prepare": planned.before, "select": 0.1, "work": planned.before}

    def prepare(brief, table):
        moment[0] += took["prepare"]
        moment[1] += took["work"]
        return data, parts, ()

    def selected(brief, table, parts):
        moment[0] += took["select"]
        moment[1] += took["select"]
        return planned

    seen = []

    def trained(*given, clock, **more):
        seen.append((clock.spent, clock.budget))
        raise Seen

    for name, put in (("prepare", prepare), ("select", selected), ("train", trained)):
        monkeypatch.setattr(flow, name, put)
    with pytest.raises(Seen):
        flow.develop(plan.brief, workspace=tmp_path / "one")
    took["prepare"] += planned.before + 0.1  # others use half of the machine
    with pytest.raises(Seen):
        flow.develop(plan.brief, workspace=tmp_path / "other")
    took |= {"work": 3 * planned.before}  # a processor a third as fast counts as one that is half as fast
    with pytest.raises(Seen):
        flow.develop(plan.brief, workspace=tmp_path / "slow")
    usual, slow, slowest = seen
    assert slowest == pytest.approx(slow)
    assert usual == pytest.approx((planned.before + 0.1, 60 - planned.after))
    assert slow == pytest.approx((2 * planned.before + 0.2, 60 - 2 * planned.after))


def test_a_plan_says_what_goes_to_other_things_than_fits():
    data = dataset()
    plan = select(plan_of(data, seconds=60.0).brief, data, parts=parts_of(data), family=Toy())
    assert plan.before > 0
    assert plan.after > 0
    assert plan.fitting == pytest.approx(60 - plan.before - plan.after)
    assert plan.cost.seconds <= plan.fitting
    assert f"and {plan.before + plan.after:.0f} s of all else on this machine" in cost_line(plan)
    assert "60 s for the whole run: about " in architecture_document(plan).markdown()
