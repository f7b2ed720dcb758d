"""Requests a minute, by a clock of the test's own."""

import pytest

from api import rates as module
from api.rates import Rates


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_minutes_requests_may_come_at_once_and_are_refilled_steadily() -> None:
    clock = Clock()
    rates = Rates(clock)
    taken = [rates.take("a", 6) for _ in range(7)]
    assert [one.remaining for one in taken] == [5, 4, 3, 2, 1, 0, 0]
    assert [one.is_exceeded for one in taken] == 6 * [False] + [True]
    assert (taken[5].full_s, taken[6].retry_s) == (60, 10)
    assert taken[0].headers == {
        "RateLimit-Policy": '"requests";q=6;w=60',
        "RateLimit": '"requests";r=5;t=10',
    }

    clock.now += 9.9
    assert rates.take("a", 6).is_exceeded
    clock.now += 0.2
    assert not rates.take("a", 6).is_exceeded
    assert rates.take("a", 6).is_exceeded

    clock.now += 3600
    assert rates.take("a", 6).remaining == 5, "never more than a minute's"


def test_keys_do_not_share_and_a_limit_that_changes_holds_at_once() -> None:
    rates = Rates(Clock())
    assert not rates.take("a", 1).is_exceeded
    assert rates.take("a", 1).is_exceeded
    assert not rates.take("b", 1).is_exceeded
    rates.take("c", 1000)
    assert rates.take("c", 2).remaining == 1


def test_buckets_do_not_grow_in_number_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    rates = Rates(Clock())
    for name in "ab":
        assert not rates.take(name, 1).is_exceeded
    assert rates.take("a", 1).is_exceeded, "what is known takes no room"
    rates.take("c", 1)
    assert not rates.take("a", 1).is_exceeded
