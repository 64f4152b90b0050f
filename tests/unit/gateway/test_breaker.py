"""A circuit breaker over time, as tables: a clock that is a number."""

from __future__ import annotations

from emberank.gateway.breaker import Breaker


def broken(now: float = 0.0, failures: int = 3) -> Breaker:
    """One whose circuit has just opened."""
    breaker = Breaker(failures=failures, first_s=10.0, most_s=60.0)
    opened = [breaker.failed(now, trial=breaker.begin()) for _ in range(failures)]
    assert opened == [False] * (failures - 1) + [True]
    return breaker


def test_it_opens_after_so_many_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker(failures=3)
    for _ in range(2):
        breaker.failed(0.0, trial=breaker.begin())
    assert (breaker.state(0.0), breaker.admits(0.0), breaker.failures) == ("closed", True, 2)
    breaker.begin()
    breaker.succeeded()
    for _ in range(2):
        breaker.failed(0.0, trial=breaker.begin())
    assert breaker.admits(0.0), "a success in between begins the count anew"
    assert breaker.failed(0.0, trial=breaker.begin())
    assert (breaker.state(0.0), breaker.admits(0.0)) == ("open", False)


def test_when_its_time_is_over_one_request_is_let_through() -> None:
    breaker = broken()
    assert (breaker.state(9.9), breaker.admits(9.9), breaker.retry_in_s(4.0)) == ("open", False, 6.0)
    assert (breaker.state(10.0), breaker.admits(10.0)) == ("half-open", True)
    assert breaker.begin(), "it is the trial"
    assert (breaker.admits(10.0), breaker.retry_in_s(11.0)) == (False, 0.0)
    breaker.succeeded()
    assert (breaker.state(10.0), breaker.admits(10.0), breaker.failures) == ("closed", True, 0)


def test_each_trial_that_fails_doubles_the_time_up_to_a_bound() -> None:
    breaker, now, waits = broken(), 0.0, []
    for _ in range(5):
        wait_s = breaker.retry_in_s(now)
        waits.append(wait_s)
        now += wait_s
        assert breaker.failed(now, trial=breaker.begin())
    assert waits == [10.0, 20.0, 40.0, 60.0, 60.0]
    now += breaker.retry_in_s(now)
    breaker.begin()
    breaker.succeeded()
    for _ in range(3):
        breaker.failed(now, trial=breaker.begin())
    assert breaker.retry_in_s(now) == 10.0, "what is forgiven is forgotten"


def test_a_trial_that_nobody_waited_for_makes_room_for_another_one() -> None:
    breaker = broken()
    trial = breaker.begin()
    breaker.abandoned(trial=trial)
    assert breaker.admits(10.0)
    breaker.begin()
    breaker.abandoned(trial=False)
    assert not breaker.admits(10.0), "a request of before the circuit opened says nothing of the trial"


def test_requests_that_were_under_way_when_it_opened_do_not_open_it_again() -> None:
    breaker = Breaker(failures=2, first_s=10.0)
    early = [breaker.begin() for _ in range(4)]
    assert [breaker.failed(0.0, trial=trial) for trial in early] == [False, True, False, False]
    assert breaker.retry_in_s(0.0) == 10.0
    breaker.succeeded()
    assert breaker.admits(0.0), "and a late success is one"


def test_a_server_that_says_when_to_come_back_is_left_alone_until_then_within_bounds() -> None:
    breaker = Breaker(failures=1, first_s=10.0, most_s=60.0)
    breaker.failed(0.0, trial=breaker.begin(), retry_after_s=30.0)
    assert breaker.retry_in_s(0.0) == 30.0
    breaker.failed(30.0, trial=breaker.begin(), retry_after_s=3600.0)
    assert breaker.retry_in_s(30.0) == 60.0
