"""Gates answer from what was decided elsewhere; register keeps the answers with a real bundle."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest

import bundles
from modelyard.brief.brief import Latency
from modelyard.bundle.latency import Timing
from modelyard.core.errors import GateFailed
from modelyard.data.compatible import breaking
from modelyard.data.finding import Finding
from modelyard.data.schema import Column, Schema
from modelyard.metrics.intervals import Gain
from modelyard.registry import gates
from modelyard.registry.register import register
from modelyard.registry.release import Gate, Release
from modelyard.registry.store import Registry

LIVE = Release("churn", 4, "production", "/x", "h", "run-4", "2026-01-01T00:00:00Z")


@pytest.fixture(scope="module")
def report():
    run, _ = bundles.trained("binary")
    return bundles.report(run)


@pytest.mark.parametrize(("met", "answer"), [("yes", "pass"), ("no", "fail"), ("inconclusive", "inconclusive")])
def test_the_target_gate_repeats_the_report(report, met, answer):
    gate = gates.target_met(replace(report, target_met=met))
    assert gate.answer == answer
    assert gate.why == "roc_auc >= 0.7: roc_auc 0.8 [0.75, 0.85], n = 60"


def test_the_baseline_gate_repeats_the_report(report):
    assert gates.beats_baseline(report).answer == "pass"
    assert gates.beats_baseline(replace(report, beats_baseline=False)).answer == "fail"
    assert gates.beats_baseline(replace(report, baselines=())).answer == "inconclusive"


@pytest.mark.parametrize(
    ("low", "high", "answer"), [(0.01, 0.03, "pass"), (-0.03, -0.01, "fail"), (-0.01, 0.03, "inconclusive")]
)
def test_better_than_production_by_both_ends_of_the_interval(low, high, answer):
    gate = gates.better_than_production(LIVE, Gain((low + high) / 2, low, high, 0.04), n=1200)
    assert gate.answer == answer
    assert "version 4" in gate.why
    assert "n = 1,200" in gate.why


def test_production_without_a_rival_or_without_rows():
    assert gates.better_than_production(None, None).answer == "pass"
    assert gates.better_than_production(LIVE, None, missing="no rows").why == "version 4: no rows"
    assert gates.better_than_production(LIVE, None).answer == "inconclusive"


@pytest.mark.parametrize(
    ("asked", "p99", "answer"),
    [
        (None, None, "pass"),
        (Latency(99, 10), 9_999.0, "pass"),
        (Latency(99, 10), 10_000.0, "fail"),
        (Latency(99, 10), None, "inconclusive"),
        (Latency(50, 10), 9_000.0, "pass"),
        (Latency(50, 10), 11_000.0, "inconclusive"),
        (Latency(99.9, 10), 9_000.0, "inconclusive"),
        (Latency(99.9, 10), 11_000.0, "fail"),
    ],
)
def test_latency_answers_only_what_was_measured(asked, p99, answer):
    assert gates.latency(asked, p99).answer == answer


AGE = Column("age", "number", "feature", "integer", missing=0.1)
WARD = Column("ward", "category", "feature", "string", levels=("a", "b"))
LEFT = Column("left", "category", "label", "integer", levels=("0", "1"))
KNOWN = Schema((AGE, WARD, LEFT), "binary", ("0", "1"))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ((AGE, WARD, LEFT), None),
        ((AGE, replace(WARD, missing=0.2), LEFT), None),
        ((AGE, WARD, Column("new", "number", "feature", "float", missing=0.5), LEFT), None),
        ((AGE, replace(WARD, role="ignored"), LEFT), None),
        ((replace(AGE, missing=0.0), WARD, LEFT), "'age' may no longer be missing"),
        ((AGE, WARD, Column("new", "number", "feature", "float"), LEFT), "'new' is newly required"),
        ((AGE, LEFT), "'ward' is removed"),
        ((replace(AGE, kind="category", physical="string"), WARD, LEFT), "'age' was a number and is a text"),
        ((AGE, WARD, replace(LEFT, physical="string")), "written as integer and are as string"),
        ((replace(AGE, minimum=0.0), WARD, LEFT), "'age' was allowed every value and is 0 or more"),
        ((AGE, replace(WARD, allowed=("a", "b", "c")), LEFT), "'ward' was allowed every value and is a, b, c"),
    ],
)
def test_compatible_when_callers_can_go_on(columns, said):
    broken = breaking(KNOWN, Schema(columns, "binary", ("0", "1")))
    gate = gates.compatible(LIVE, broken)
    assert gate.answer == ("pass" if said is None else "fail")
    assert said is None or said in gate.why
    assert "version 4" in gate.why


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"minimum": None, "maximum": None}, None),
        ({"minimum": -1.0, "maximum": 121.0}, None),
        ({"minimum": 18.0}, "'age' was allowed 0 to 120 and is 18 to 120"),
        ({"maximum": 119.5}, "'age' was allowed 0 to 120 and is 0 to 119.5"),
    ],
)
def test_a_narrower_range_breaks_callers_and_a_wider_one_does_not(changes, said):
    age = replace(AGE, minimum=0.0, maximum=120.0)
    found = breaking(replace(KNOWN, columns=(age, WARD, LEFT)), replace(KNOWN, columns=(replace(age, **changes), LEFT)))
    assert [f for f in found if "age" in f] == ([] if said is None else [f"the column {said}"])


def test_fewer_levels_break_callers_and_more_do_not():
    known = replace(KNOWN, columns=(AGE, replace(WARD, allowed=("a", "b")), LEFT))
    for allowed in (("b", "a"), ("a", "b", "c"), ()):
        assert not breaking(known, replace(KNOWN, columns=(AGE, replace(WARD, allowed=allowed), LEFT)))
    fewer = replace(KNOWN, columns=(AGE, replace(WARD, allowed=("b", "c")), LEFT))
    assert breaking(known, fewer) == ("the column 'ward' is no longer allowed a",)


def test_ends_of_dates_are_compared_as_dates():
    seen = Column("seen", "date", "feature", "date", maximum=86_400.0 * 365)
    sooner = replace(seen, maximum=86_400.0 * 364)
    found = breaking(*(Schema((one, LEFT), "binary", ("0", "1")) for one in (seen, sooner)))
    assert found == ("the column 'seen' was allowed 1971-01-01 or earlier and is 1970-12-31 or earlier",)


def test_other_classes_or_another_task_break_callers():
    assert breaking(KNOWN, replace(KNOWN, classes=("0", "2")))[0] == "the classes change: 1, 2"
    assert "answers were binary" in breaking(KNOWN, replace(KNOWN, task="regression", classes=()))[0]
    assert gates.compatible(None, None).answer == "pass"
    assert gates.compatible(LIVE, None).answer == "inconclusive"


def test_parity_and_leaks():
    assert gates.parity(1e-6, 1e-5, 900).answer == "pass"
    assert gates.parity(1e-4, 1e-5, 900).answer == "fail"
    assert gates.parity(None, 1e-5).answer == "inconclusive"
    leak = Finding("leak", "stop", "discharge", "discharge alone reaches 0.97", "m", "d")
    assert gates.no_open_leak([replace(leak, severity="warn")]).answer == "pass"
    assert gates.no_open_leak([leak]) == Gate("no open leak", "fail", "discharge alone reaches 0.97")


def test_the_verdict_is_the_worst_answer():
    one = {answer: Gate("g", answer, "") for answer in ("pass", "fail", "inconclusive")}
    assert gates.verdict([one["pass"]]) == "pass"
    assert gates.verdict([one["pass"], one["inconclusive"]]) == "inconclusive"
    assert gates.verdict([one["inconclusive"], one["fail"]]) == "fail"
    assert gates.verdict([]) == "inconclusive"


class Shown:
    def __init__(self):
        self.calls = []

    def show(self, release, releases):
        self.calls.append((release.version, len(releases)))


class Down:
    def show(self, release, releases):
        raise ConnectionError("nobody there")


@pytest.fixture
def packed(tmp_path):
    return bundles.bundle(tmp_path / "bundle", "binary")


def test_register_keeps_the_evidence_of_a_bundle(tmp_path, packed, report):
    registry = Registry(tmp_path / "registry.db")
    shown = Shown()
    timing = Timing(60.0, 95.0, 1000, 1e5, 10_000)
    release = register(packed, report, registry=registry, latency=timing, by="anna", mirror=shown)
    assert (release.version, release.stage, release.hash) == (1, "development", packed.hash)
    assert release.bundle == str(packed.path)
    assert shown.calls == [(1, 1)]
    (event,) = registry.history(release.name)
    assert event.by == "anna"
    names = ["target met", "beats baseline", "latency", "size", "parity", "no open leak"]
    assert [gate.name for gate in event.gates] == names


def test_a_bad_bundle_is_entered_and_refused_later(tmp_path, packed, report):
    registry = Registry(tmp_path / "registry.db")
    release = register(packed, replace(report, target_met="no"), registry=registry)
    with pytest.raises(GateFailed, match="target met fail"):
        registry.promote(release.name, by="anna")


def test_a_mirror_that_fails_holds_nothing_up_and_is_said(tmp_path, packed, report):
    registry = Registry(tmp_path / "registry.db")
    with pytest.warns(UserWarning, match="ConnectionError: nobody there"):
        release = register(packed, report, registry=registry, mirror=Down())
    assert registry.release(release.name) == release


def test_the_default_registry_lies_in_the_workspace(tmp_path, packed, report, monkeypatch):
    monkeypatch.setenv("MODELYARD_WORKSPACE", str(tmp_path / "yard"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        release = register(packed, report)
    assert Registry(tmp_path / "yard" / "registry.db").release(release.name) == release
