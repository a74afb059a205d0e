"""Networks among the candidates: only where time, rows or the brief call for one. Nothing here needs torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from modelyard.brief.brief import Brief, Budget, Latency
from modelyard.brief.model_type import parse_model_type
from modelyard.core.errors import BriefError, MissingExtra
from modelyard.data.profile import profile
from modelyard.data.read import read_data
from modelyard.data.splitting import split
from modelyard.families.deep import DEEP_ROWS, NAMES, wants_network
from modelyard.families.fitted import Candidate
from modelyard.families.tabular import networks
from modelyard.families.tabular.probe import Pace, Probe
from modelyard.families.tabular.tabular import Tabular
from modelyard.selection.left_out import left_out
from modelyard.selection.select import select
from tabular_cases import TASKS, brief, frame

LONG = Budget(240)


@pytest.fixture(autouse=True)
def steady(monkeypatch):
    """A machine with torch, whose pace does not depend on who else is using it."""
    monkeypatch.setattr(Probe, "pace", lambda self, parameters: Pace(1e-3, 1e-7))
    monkeypatch.setattr(Probe, "linear_seconds", lambda self, rows: 0.1)
    monkeypatch.setattr(Probe, "epoch_seconds", lambda self, parameters, rows: 0.1)
    monkeypatch.setattr(networks, "has", lambda module: True)
    monkeypatch.setattr(networks, "need", lambda *words: None)


def proposed(asked: Brief) -> dict[str, Candidate]:
    data = read_data(frame(asked.task or "binary", 1_000), asked)
    learnt = split(data, asked).development
    return {one.name: one for one in Tabular().candidates(asked, profile(learnt), learnt)}


@pytest.mark.parametrize("task", TASKS)
def test_a_long_budget_brings_a_network_last(task):
    found = proposed(replace(brief(task), budget=LONG))
    assert list(found)[-1] == "mlp"
    one = found["mlp"]
    assert one.title == "Neural network"
    assert one.reason.startswith("240 s for 80")
    assert "epochs" in one.size
    assert one.cost.megabytes > 0
    assert one.cost.seconds == pytest.approx(64 * 0.1 * 2, rel=0.5)
    assert one.guard is not None
    assert one.guard >= 120
    for name, range_ in one.space.items():
        value = one.parameters[name]
        assert value in range_.choices if range_.kind == "choice" else range_.low <= value <= range_.high


def test_a_table_of_texts_alone_brings_none_and_naming_it_says_why():
    words = np.random.default_rng(0).choice(["good", "bad", "late", "early", "never"], (600, 30))
    table = pl.DataFrame(
        {"note": [" ".join(said) for said in words], "label": np.where(words[:, 0] < "d", "yes", "no")}
    )
    asked = replace(brief("binary"), budget=LONG)
    data = read_data(table, asked)
    learnt = split(data, asked).development
    assert [c.kind for c in data.schema.features] == ["text"]
    found = Tabular().candidates(asked, profile(learnt), learnt)
    assert "mlp" not in [one.name for one in found]
    assert "reads no texts" in {left.title: left.reason for left in left_out(asked, data, found)}["deep tabular"]
    with pytest.raises(BriefError, match="reads no texts"):
        Tabular().candidates(replace(asked, model="mlp"), profile(learnt), learnt)


def test_a_short_budget_brings_none():
    assert "mlp" not in proposed(replace(brief("binary"), budget=Budget(239)))
    assert "mlp" not in proposed(replace(brief("binary"), budget=LONG, model="xgboost"))


def test_many_rows_bring_one_whatever_the_budget():
    assert wants_network(brief("binary"), DEEP_ROWS)
    assert not wants_network(brief("binary"), DEEP_ROWS - 1)
    assert not wants_network(replace(brief("binary"), model="xgboost"), DEEP_ROWS)


@pytest.mark.parametrize("name", [*NAMES, "neural_network", "MLP", "RealMLP"])
def test_a_brief_may_name_it(name):
    asked = replace(brief("binary"), model=name)
    assert list(proposed(asked)) == ["mlp"]
    (one,) = select(asked, read_data(frame("binary", 400), asked)).candidates
    assert one.reason.startswith("the brief asks for it")


@pytest.mark.parametrize("name", NAMES)
def test_a_sentence_may_name_it(name):
    found = parse_model_type(f"{name} classifier")
    assert wants_network(replace(brief("binary"), model=found.name), 1)
    assert found.task is None
    assert not found.purpose


def test_epochs_are_what_its_share_of_the_budget_pays_for(monkeypatch):
    monkeypatch.setattr(Probe, "epoch_seconds", lambda self, parameters, rows: 1.0)
    one = proposed(replace(brief("binary"), budget=LONG))["mlp"]
    assert 8 < one.parameters["rounds"] < 64
    assert one.cost.seconds <= 0.2 * 240
    assert "its share of the budget pays for" in one.size


def test_without_time_for_a_few_epochs_there_is_none_unless_named(monkeypatch):
    monkeypatch.setattr(Probe, "epoch_seconds", lambda self, parameters, rows: 1_000.0)
    assert "mlp" not in proposed(replace(brief("binary"), budget=LONG))
    assert proposed(replace(brief("binary"), model="mlp"))["mlp"].parameters["rounds"] == 8


def test_a_tight_latency_limit_leaves_it_out_unless_named():
    tight = replace(brief("binary"), budget=LONG, latency=Latency(99, 0.05))
    assert "mlp" not in proposed(tight)
    assert "mlp" in proposed(replace(tight, latency=Latency(99, 10.0)))
    assert "mlp" in proposed(replace(tight, model="mlp"))


def test_without_torch_there_is_none_and_naming_it_says_what_to_install(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(networks, "has", lambda module: False)

    def need(module: str, extra: str, purpose: str) -> None:
        raise MissingExtra(f"{purpose} needs {module}", do=f"modelyard[{extra}]")

    monkeypatch.setattr(networks, "need", need)
    assert "mlp" not in proposed(replace(brief("binary"), budget=LONG))
    with pytest.raises(MissingExtra, match=r"modelyard\[nets\]"):
        proposed(replace(brief("binary"), model="mlp"))
