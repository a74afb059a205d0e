"""What callers may ask for beside a prediction stays, in releases and in rollouts alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bundles import bundle
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.compatible import breaking
from modelyard.bundle.load import load_bundle
from modelyard.core.errors import ServingError
from modelyard.flow.releases import _compatible
from modelyard.registry.release import Release
from modelyard.registry.store import Registry
from modelyard.serving.app import App
from modelyard.serving.follow import Follower
from modelyard.serving.rollout.control import start
from modelyard.serving.rollout.rollout import Plan
from modelyard.serving.rollout.store import Rollouts
from serving_client import packed_linear

GONE = (
    "sets of classes of coverage 0.8, 0.9, 0.95 are no longer there: ?coverage= would be refused",
    "the out-of-distribution score is no longer there: ?ood=true would be refused",
    "explanations are no longer there: /v1/explain would be refused",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle with all there is to ask for."""
    return packed_linear("binary", tmp_path_factory.mktemp("whole") / "bundle")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, whole: Bundle) -> Bundle:
    """Return a bundle of the same columns and classes with nothing to ask for."""
    folder = tmp_path_factory.mktemp("bare") / "bundle"
    return bundle(folder, "binary", schema=whole.schema, name=whole.manifest.name)


def test_what_may_be_asked_for_must_stay(whole: Bundle, bare: Bundle) -> None:
    assert breaking(whole, bare) == GONE
    assert breaking(bare, whole) == ()
    assert breaking(whole, whole) == ()


def test_one_coverage_less_is_named(whole: Bundle) -> None:
    held = whole.uncertainty
    assert held is not None
    bounds = replace(held.bounds, sets=tuple(s for s in held.bounds.sets if s.coverage != 0.9))
    fewer = replace(whole, uncertainty=replace(held, bounds=bounds))
    assert breaking(whole, fewer) == (
        "sets of classes of coverage 0.9 are no longer there: ?coverage= would be refused",
    )
    assert breaking(fewer, whole) == ()


def test_numbers_and_forecasts_lose_intervals(tmp_path) -> None:
    full = packed_linear("regression", tmp_path / "full")
    bare = bundle(tmp_path / "bare", "regression", schema=full.schema)
    assert breaking(full, bare)[0].startswith("intervals of coverage 0.8, 0.9, 0.95 are")
    ahead = bundle(tmp_path / "ahead", "forecast")
    assert breaking(ahead, ahead) == ()


def test_the_gate_of_a_release_says_so(whole: Bundle, bare: Bundle) -> None:
    live, next_ = (
        Release("who-leaves", i, "staging", str(one.path), one.hash, "run", "2026-01-01T00:00:00Z")
        for i, one in enumerate((whole, bare), 1)
    )
    gate = _compatible(next_, live)
    assert gate.answer == "fail"
    assert all(one in gate.why for one in GONE)
    assert _compatible(live, next_).answer == "pass"
    assert _compatible(live, replace(next_, bundle="/nowhere")).answer == "inconclusive"


def test_a_rollout_refuses_such_a_candidate(tmp_path, whole: Bundle, bare: Bundle) -> None:
    stable = (str(whole.path), load_bundle(whole.path))
    with pytest.raises(ServingError, match="cannot answer the requests") as caught:
        start(tmp_path / "rollouts", Plan(steps=(0.05,)), stable, str(bare.path), "anna")
    assert caught.value.where == "; ".join(GONE)
    assert not Rollouts(tmp_path / "rollouts").all()


def test_a_server_that_follows_the_registry_refuses_such_a_release(tmp_path, whole: Bundle, bare: Bundle) -> None:
    store, name = Registry(tmp_path / "registry.db"), whole.manifest.name
    for version, one in enumerate((whole, bare), 1):
        store.register(name, one.path, one.hash, "run", by="tests")
        for _ in range(2):
            store.promote(name, version, by="tests", approved_by="tests", why="tests")
    app = App(load_bundle(whole.path))
    Follower(app, store.path).look()
    assert app.bundle.hash == whole.hash
    assert b'result="refused"} 1.0' in app.metrics.text()
