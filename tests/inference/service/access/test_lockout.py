"""Lock-out and rate limits: waits that grow, buckets that fill, and no way to fill the memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_access import Clock

from pathoprog.inference.service.access import lockout as lockouts
from pathoprog.inference.service.access import rate_limits
from pathoprog.inference.service.access.access_config import AccessSettings
from pathoprog.inference.service.access.lockout import Lockout, address_key
from pathoprog.inference.service.access.rate_limits import RateLimits


@pytest.fixture
def clock():
    return Clock(100.0)


def test_waits_grow_then_lock_out_and_are_forgotten_in_time(clock):
    lockout = Lockout(AccessSettings(lockout_failures=5, lockout_seconds=60), clock)
    waits = []
    for _ in range(7):
        lockout.failed(["a"])
        waits.append(lockout.wait_s("a"))
        clock.now += waits[-1]
        assert lockout.wait_s("a") == 0.0
    assert waits == [1.0, 2.0, 4.0, 8.0, 60.0, 60.0, 60.0]
    assert lockout.wait_s("b") == 0.0
    clock.now += 59.9
    lockout.failed(["a"])
    assert lockout.wait_s("a") == 60.0, "not yet forgotten"
    clock.now += 120
    lockout.failed(["a"])
    assert lockout.wait_s("a") == 1.0


def test_a_success_is_a_new_start_and_a_wait_never_beyond_the_lock_out(clock):
    lockout = Lockout(AccessSettings(lockout_failures=1000, lockout_seconds=10), clock)
    for _ in range(200):
        lockout.failed(["a", "b"])
    assert lockout.wait_s("a") == 10.0
    lockout.succeeded("a")
    lockout.succeeded("nobody")
    assert lockout.wait_s("a") == 0.0 and lockout.wait_s("b") == 10.0


def test_many_addresses_cannot_fill_the_memory(clock, monkeypatch):
    monkeypatch.setattr(lockouts, "MOST_KEPT", 50)
    monkeypatch.setattr(rate_limits, "MOST_KEPT", 50)
    settings = AccessSettings(requests_at_once=1)
    lockout, limits = Lockout(settings, clock), RateLimits(settings, clock)
    for n in range(500):
        lockout.failed([f"address 10.0.{n // 250}.{n % 250}", "token 12345678"])
        limits.take(f"address {n}")
        assert len(lockout) <= 50 and len(limits) <= 50
        assert n < 5 or lockout.wait_s("token 12345678") == 300.0, "who goes on failing is not forgotten"
    assert lockout.wait_s("address 10.0.0.0") == 0.0 and lockout.wait_s("address 10.0.1.249") == 1.0


def test_addresses_count_by_what_one_customer_has():
    assert address_key("10.1.2.3") == "10.1.2.3" == address_key("::ffff:10.1.2.3")
    assert address_key("2001:db8:1:2:3::4") == address_key("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert address_key("2001:db8:1:3::4") == "2001:db8:1:3::/64"
    assert address_key("::1") == "::/64"
    assert address_key("") == "" and address_key("testclient") == "testclient" and len(address_key("x" * 999)) == 64


def test_a_bucket_gives_its_requests_then_what_time_brings(clock):
    limits = RateLimits(AccessSettings(requests_per_minute=60, requests_at_once=3), clock)
    assert [limits.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 1.0]
    assert limits.take("b") == 0.0
    clock.now += 0.25
    assert limits.take("a") == pytest.approx(0.75)
    clock.now += 0.75
    assert limits.take("a") == 0.0 and limits.take("a") == pytest.approx(1.0)
    clock.now += 3600
    assert [limits.take("a") == 0.0 for _ in range(5)] == [True, True, True, False, False]


@given(
    st.floats(1.0, 1e6),
    st.integers(1, 1000),
    st.lists(st.floats(0.0, 100.0), min_size=1, max_size=60),
)
def test_no_more_than_the_rate_ever_passes_and_who_waits_is_let_in(per_minute, at_once, pauses):
    clock = Clock()
    limits = RateLimits(AccessSettings(requests_per_minute=per_minute, requests_at_once=at_once), clock)
    passed = 0
    for pause in pauses:
        clock.now += pause
        wait = limits.take("a")
        passed += wait == 0.0
        assert passed <= at_once + per_minute / 60 * clock.now + 1e-3
        if wait:
            clock.now += wait
            assert limits.take("a") == 0.0
            passed += 1
