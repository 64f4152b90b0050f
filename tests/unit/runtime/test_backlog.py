"""What runs together. The rules are stated a second time here, in their own words, and held against random work."""

from __future__ import annotations

from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from emberank.runtime.backlog import ATTENTION_TOKENS, RUN_TOKENS, Backlog, Waiting
from emberank.runtime.job import Job, Sequence

LENGTHS = st.integers(1, 512)


def job(*lengths: int, leads: bool = False) -> Job:
    return Job([Sequence(np.zeros(length, np.int32)) for length in lengths], lambda index, hidden: None, deadline=0.0, leads=leads)


def drained(backlog: Backlog, budget: int, most: int = 10_000) -> list[list[Waiting]]:
    batches = []
    while len(backlog):
        batches.append(backlog.next_batch(budget))
        assert len(batches) <= most, "the backlog never gets empty"
    return batches


def worth_it(batch: list[Waiting]) -> bool:
    """Whether every sequence, when it joined, made attention's padded work grow by less than a run of its own costs."""
    longest = batch[0].length
    for count, waiting in enumerate(batch[1:], 1):
        grown = max(longest, waiting.length)
        apart = count * longest**2 + waiting.length**2
        if ((count + 1) * grown**2 - apart) / ATTENTION_TOKENS > RUN_TOKENS:
            return False
        longest = grown
    return True


def places(batches: list[list[Waiting]], of: Job) -> list[int]:
    """The indices of a job's sequences in the order they came out."""
    return [waiting.index for batch in batches for waiting in batch if waiting.job is of]


class AnyWork(RuleBasedStateMachine):
    """Jobs come, go and run in any order; a plain list says what must be left."""

    def __init__(self) -> None:
        super().__init__()
        self.backlog = Backlog()
        self.left: dict[Job, dict[int, int]] = {}  # job → index → length, of what has neither run nor been dropped

    @rule(lengths=st.lists(LENGTHS | st.integers(1, 24), min_size=1, max_size=30), leads=st.booleans())
    def add(self, lengths: list[int], leads: bool) -> None:
        new = job(*lengths, leads=leads)
        self.backlog.add(new)
        self.left[new] = dict(enumerate(lengths))

    @precondition(lambda self: self.left)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(list(self.left)))
        self.backlog.drop(gone)
        del self.left[gone]

    @rule()
    def drop_a_stranger(self) -> None:
        self.backlog.drop(job(3))

    @rule(budget=st.integers(1, 2048))
    def next_batch(self, budget: int) -> None:
        batch = self.backlog.next_batch(budget)
        assert bool(batch) == bool(self.left), "something waits, so something runs"
        assert len(batch) == 1 or sum(waiting.length for waiting in batch) <= budget
        assert not batch or worth_it(batch)
        for waiting in batch:
            left = self.left[waiting.job]
            if waiting.job.leads and 0 in left:
                assert waiting.index == 0, "the leading sequence comes out first"
            assert left.pop(waiting.index) == waiting.length, "every sequence comes out once, as it went in"
            if not left:
                del self.left[waiting.job]

    @invariant()
    def counts_are_exact(self) -> None:
        assert self.backlog.tokens == sum(sum(left.values()) for left in self.left.values())
        assert len(self.backlog) == len(self.left)
        assert list(self.backlog.jobs()) == list(self.left)

    def teardown(self) -> None:
        while self.left:
            self.next_batch(512)
        self.counts_are_exact()


AnyWork.TestCase.settings = hypothesis_settings(max_examples=60, stateful_step_count=25)
test_whatever_comes_every_sequence_runs_once_or_is_dropped = AnyWork.TestCase


def test_an_empty_backlog_gives_no_batch() -> None:
    assert Backlog().next_batch(100) == []


def test_a_sequence_longer_than_the_budget_runs_alone() -> None:
    backlog = Backlog()
    backlog.add(job(300, 300))
    assert [[waiting.length for waiting in batch] for batch in drained(backlog, 100)] == [[300], [300]]


def test_like_lengths_of_different_jobs_share_a_batch() -> None:
    backlog = Backlog()
    jobs = [job(40), job(41), job(39)]
    for one in jobs:
        backlog.add(one)
    assert {waiting.job for waiting in backlog.next_batch(1024)} == set(jobs)


def test_a_short_and_a_long_sequence_do_not_share_a_batch() -> None:
    backlog = Backlog()
    backlog.add(job(8))
    backlog.add(job(500))
    assert [len(batch) for batch in drained(backlog, 1024)] == [1, 1]


def test_a_batch_is_filled_with_the_nearest_lengths_first() -> None:
    backlog = Backlog()
    backlog.add(job(64))
    backlog.add(job(100, 40, 66, 90))
    first = backlog.next_batch(64 + 66)
    assert [waiting.length for waiting in first] == [64, 66]


@given(st.lists(LENGTHS, min_size=1, max_size=60), st.integers(1, 1024))
def test_a_leading_sequence_comes_before_all_others_of_its_job(lengths: list[int], budget: int) -> None:
    backlog = Backlog()
    leading = job(*lengths, leads=True)
    backlog.add(job(*lengths))
    backlog.add(leading)
    order = places(drained(backlog, budget), leading)
    assert order[0] == 0
    assert sorted(order) == list(range(len(lengths)))


def test_until_a_leading_sequence_has_run_its_job_fills_nobody_elses_batch() -> None:
    backlog = Backlog()
    other, leading = job(*[20] * 40), job(200, *[20] * 40, leads=True)
    backlog.add(other)
    backlog.add(leading)
    assert {waiting.job for waiting in backlog.next_batch(20 * 60)} == {other}


@given(st.integers(0, 1000), LENGTHS, LENGTHS, st.integers(16, 2048), st.integers(0, 6))
@hypothesis_settings(max_examples=60)
def test_a_short_job_after_a_long_one_is_in_one_of_the_next_two_batches(seed: int, longest: int, short: int, budget: int, run_before: int) -> None:
    backlog = Backlog()
    backlog.add(job(*np.random.default_rng(seed).integers(1, longest + 1, 500).tolist()))
    for _ in range(run_before):
        backlog.next_batch(budget)
    assume(short <= budget < backlog.tokens / 2)  # or it is not the short one
    late = job(short)
    backlog.add(late)
    following = [backlog.next_batch(budget), backlog.next_batch(budget)]
    assert places(following, late) == [0]


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize(("short", "long", "budget"), [(8, 300, 300), (20, 512, 1024), (100, 400, 400)])
def test_a_long_job_keeps_its_share_while_short_ones_keep_coming(short: int, long: int, budget: int, at_once: int) -> None:
    backlog = Backlog()
    patient = job(*[long] * 500)
    backlog.add(patient)
    given_to = {True: 0, False: 0}  # tokens, by whether they went to the long job
    for _ in range(600):
        while len(backlog) <= at_once:  # the long job and always as many short ones
            backlog.add(job(short))
        for waiting in backlog.next_batch(budget):
            given_to[waiting.job is patient] += waiting.length
    fair = 1 / (1 + at_once)
    assert given_to[True] >= 0.6 * fair * sum(given_to.values()), given_to


@pytest.mark.parametrize("count", [2, 5])
def test_equal_jobs_finish_one_after_the_other_in_the_order_they_came(count: int) -> None:
    backlog = Backlog()
    jobs = [job(*range(300, 320)) for _ in range(count)]
    for one in jobs:
        backlog.add(one)
    order = [waiting.job for batch in drained(backlog, 400) for waiting in batch]
    assert [one for one, _ in groupby(order)] == jobs


def test_jobs_of_many_batches_do_not_keep_the_oldest_waiting_for_newer_ones_of_fewer() -> None:
    backlog = Backlog()
    oldest = job(*[400] * 64)
    backlog.add(oldest)
    led_by_oldest = 0
    for _ in range(40):
        while len(backlog) < 6:
            backlog.add(job(*[400] * 3))  # always five shorter ones
        led_by_oldest += backlog.next_batch(400)[0].job is oldest
    assert led_by_oldest == 10, "every fourth batch"


def test_within_a_job_the_batches_go_from_short_to_long() -> None:
    backlog = Backlog()
    backlog.add(job(400, 10, 200, 12, 401, 205, 11))
    longest = [max(waiting.length for waiting in batch) for batch in drained(backlog, 1024)]
    assert all(before <= after for before, after in pairwise(longest))
    assert len(longest) == 3
