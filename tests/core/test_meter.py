"""The allowance of a client over time, with times made up here."""

from __future__ import annotations

import random

from mirror.core.meter import Meter, Rate

TEN_A_MINUTE = Rate(10, 60.0)


def test_an_allowance_may_be_spent_at_once_and_no_more() -> None:
    """Ten of ten in one moment are let in, the eleventh is not, and what remains counts down to nothing."""
    meter = Meter()
    standings = [meter.take("a", TEN_A_MINUTE, 5.0) for _ in range(11)]
    assert [one.permitted for one in standings] == [True] * 10 + [False]
    assert [one.remaining for one in standings] == [*range(9, -1, -1), 0]


def test_whoever_waits_as_told_is_let_in() -> None:
    """The wait of a refusal is enough for one request, and not for two."""
    meter = Meter()
    for _ in range(10):
        meter.take("a", TEN_A_MINUTE, 0.0)
    told = meter.take("a", TEN_A_MINUTE, 0.0).wait
    assert told == 6.0
    assert [meter.take("a", TEN_A_MINUTE, told).permitted for _ in range(2)] == [True, False]


def test_being_refused_costs_nothing() -> None:
    """A client that hammers is not kept out for longer than one that waits."""
    meter = Meter()
    for step in range(1000):
        meter.take("a", TEN_A_MINUTE, step * 0.001)
    assert meter.take("a", TEN_A_MINUTE, 6.001).permitted


def test_no_stretch_of_time_grants_twice_the_rate() -> None:
    """However requests are spread, no window of a minute holds more than one allowance and what came in at its pace."""
    chance, meter, let_in = random.Random(4), Meter(), []
    now = 0.0
    for _ in range(4000):
        now += chance.choice((0.0, 0.01, 1.0, 7.0, 40.0)) * chance.random()
        if meter.take("a", TEN_A_MINUTE, now).permitted:
            let_in.append(now)
    assert max(sum(start <= at < start + 60 for at in let_in) for start in let_in) <= 20
    assert len(let_in) <= now / 6 + 10


def test_clients_do_not_share() -> None:
    """One client's spent allowance is nobody else's."""
    meter = Meter()
    for _ in range(11):
        meter.take("a", TEN_A_MINUTE, 0.0)
    assert meter.take("b", TEN_A_MINUTE, 0.0).permitted


def test_a_slower_rate_does_not_linger() -> None:
    """A client that comes under a faster rate waits by that one, whatever it had spent before."""
    meter = Meter()
    meter.take("a", Rate(1, 3600.0), 0.0)
    assert meter.take("a", Rate(1, 2.0), 0.0).wait == 2.0


def test_memory_is_bounded_and_the_busy_are_kept() -> None:
    """A flood of new names forgets those that asked longest ago, and not the one that asks all the time."""
    meter = Meter(keys=100)
    for _ in range(11):
        meter.take("busy", TEN_A_MINUTE, 0.0)
    for number in range(10_000):
        meter.take(f"n{number}", TEN_A_MINUTE, 0.0)
        if number % 50 == 0:
            meter.take("busy", TEN_A_MINUTE, 0.0)
    assert len(meter) == 100
    assert not meter.take("busy", TEN_A_MINUTE, 0.0).permitted
