"""Token buckets: what they never let through, what they never refuse, and what they say of themselves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.core.errors import ServingError
from modelyard.serving.guard.buckets import Buckets
from modelyard.serving.guard.limit import Limit

SECOND = 10**9
limits = st.builds(Limit.a_minute, st.integers(1, 100_000), st.integers(1, 40))
gaps = st.lists(st.one_of(st.just(0), st.integers(0, 10**7), st.integers(0, 300 * SECOND)), max_size=60)


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 10**15

    def __call__(self) -> int:
        return self.now


@settings(deadline=None)
@given(limits, gaps)
def test_no_stretch_of_time_has_more_than_the_burst_and_what_came_meanwhile(limit, gaps):
    clock = Clock()
    buckets = Buckets(clock)
    admitted = []
    for gap in gaps:
        clock.now += gap
        if buckets.take("a", limit) >= 0:
            admitted.append(clock.now)
    for i, first in enumerate(admitted):
        for j, last in enumerate(admitted[i:], 1):
            assert j <= limit.burst + (last - first) / limit.interval


@settings(deadline=None)
@given(limits, st.lists(st.integers(0, 10**12), max_size=40))
def test_who_keeps_to_the_rate_is_never_refused(limit, pauses):
    clock = Clock()
    buckets = Buckets(clock)
    for pause in pauses:
        assert buckets.take("a", limit) >= 0
        clock.now += limit.interval + pause


@settings(deadline=None)
@given(limits)
def test_the_whole_burst_comes_at_once_and_the_next_after_the_wait_that_is_told(limit):
    clock = Clock()
    buckets = Buckets(clock)
    left = [buckets.take("a", limit) // limit.interval for _ in range(limit.burst)]
    assert left == list(range(limit.burst - 1, -1, -1))
    wait = -buckets.take("a", limit)
    assert wait == limit.interval
    clock.now += wait - 1
    assert buckets.take("a", limit) == -1
    clock.now += 1
    assert buckets.take("a", limit) == 0


@settings(deadline=None)
@given(st.integers(1, 100_000), st.integers(8, 1_000), st.integers(1, 8))
def test_parts_of_a_limit_are_together_no_more_than_the_limit(rate, burst, workers):
    whole = Limit.a_minute(rate, burst)
    part = whole.divided(workers)
    assert part.burst * workers <= whole.burst
    assert part.interval >= whole.interval * workers


def test_callers_do_not_share_a_bucket():
    buckets = Buckets(Clock())
    once = Limit.a_minute(1, 1)
    assert buckets.take("a", once) >= 0 > buckets.take("a", once)
    assert buckets.take("b", once) >= 0


def test_buckets_that_are_full_again_are_let_go_of(monkeypatch):
    monkeypatch.setattr("modelyard.serving.guard.buckets._MOST", 100)
    clock = Clock()
    buckets = Buckets(clock)
    limit = Limit.a_minute(60, 1)
    for i in range(1_000):
        assert buckets.take(f"caller {i}", limit) >= 0
        clock.now += limit.interval // 10
    assert len(buckets._full) <= 101
    assert buckets.take("caller 999", limit) < 0  # not full yet: kept


def test_headers_say_what_is_left_and_when_there_is_more():
    limit = Limit.a_minute(1_000)
    policy = (b"ratelimit-policy", b'"default";q=1000;w=60')
    assert limit.headers(1_000) == (policy, (b"ratelimit", b'"default";r=1000;t=0'))
    assert limit.headers(999) == (policy, (b"ratelimit", b'"default";r=999;t=1'))
    assert limit.headers(0) == (policy, (b"ratelimit", b'"default";r=0;t=1'))
    assert limit.headers(0, 3)[1] == (b"ratelimit", b'"default";r=0;t=3')
    assert Limit.a_minute(60, 5).headers(5)[0] == (b"ratelimit-policy", b'"default";q=5;w=5')


@pytest.mark.parametrize(("rate", "burst"), [(0, None), (-1, 5), (10, 0), (10**7, None)])
def test_limits_out_of_range(rate, burst):
    with pytest.raises(ServingError, match="cannot be"):
        Limit.a_minute(rate, burst)
