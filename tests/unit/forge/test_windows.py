"""What is kept of samples, in which order, for how long, and when a derived figure is made anew."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from emberank.contract.fleet import FailureReason
from emberank.forge.samples import KINDS, WEIGHTS_FROM, Sample
from emberank.forge.windows import Series, Windows
from measured import CPU, L40S, SLUG, VERSION, probes, run

MS = st.none() | st.just(0.0) | st.floats(1e-6, 1e7)
COUNT = st.none() | st.integers(0, 2_000_000)
SAMPLES = st.builds(
    Sample,
    at_s=st.floats(0, 4e9),
    slug=st.sampled_from(["a", "b"]),
    version=st.just("v1"),
    gpu_type=st.just("CPU"),
    region=st.sampled_from(["local", "far"]),
    kind=st.sampled_from(KINDS),
    ok=st.booleans(),
    reason=st.none() | st.sampled_from(get_args(FailureReason)),
    cold_start_ms=MS,
    weights_from=st.none() | st.sampled_from(WEIGHTS_FROM),
    peak_memory_bytes=st.none() | st.integers(0, 1 << 50),
    request_ms=MS,
    model_ms=MS,
    tokens=COUNT,
    passages=COUNT,
    shape=st.text(max_size=3),
)


def kept(sample: Sample) -> Sample:
    """As it comes back: the shape of a user's request is not kept."""
    return replace(sample, shape="") if sample.kind == "traffic" else sample


class AnySamples(RuleBasedStateMachine):
    """Samples of a few series in any order; plain queues say what must be left."""

    MOST = 7

    def __init__(self) -> None:
        super().__init__()
        self.windows = Windows(most_samples=self.MOST)
        self.left: dict[Any, deque[Sample]] = {}

    @rule(sample=SAMPLES)
    def add(self, sample: Sample) -> None:
        self.windows.add(sample)
        self.left.setdefault((sample.slug, sample.version, sample.target, sample.kind), deque(maxlen=self.MOST)).append(kept(sample))

    @invariant()
    def every_series_is_its_latest_samples_in_order(self) -> None:
        for key, samples in self.left.items():
            assert list(self.windows.of(*key)) == list(samples)
        assert len(self.windows) == sum(map(len, self.left.values()))
        assert len(self.windows.known()) == len(self.left)


TestAnySamples = AnySamples.TestCase
TestAnySamples.settings = hypothesis_settings(max_examples=60, stateful_step_count=40)


@given(SAMPLES)
def test_a_sample_comes_back_as_it_was(sample: Sample) -> None:
    found = Windows([sample])
    assert list(found.of(sample.slug, sample.version, sample.target, sample.kind)) == [kept(sample)]


def test_what_was_never_measured_is_an_empty_series_that_is_not_kept() -> None:
    found = Windows()
    assert list(found.of(SLUG, VERSION, CPU, "probe")) == []
    assert found.known() == ()


def test_the_series_added_to_longest_ago_goes_first() -> None:
    found = Windows([run(at_s=i, target=("CPU", region)) for i, region in enumerate("abacd")], most_series=3)
    assert [key.region for key in found.known()] == ["a", "c", "d"]


def test_a_derived_figure_is_made_once_until_a_sample_comes() -> None:
    calls: list[int] = []

    def count(series: Series) -> int:
        calls.append(len(series))
        return len(series)

    found = Windows(probes([1.0]))
    assert [found.of(SLUG, VERSION, CPU, "probe").derive(count) for _ in range(3)] == [1, 1, 1]
    found.add(probes([2.0], target=L40S)[0])
    assert found.of(SLUG, VERSION, CPU, "probe").derive(count) == 1
    assert calls == [1], "a sample of another series changes nothing"
    found.add(probes([2.0])[0])
    assert found.of(SLUG, VERSION, CPU, "probe").derive(count) == 2
    assert calls == [1, 2]


def test_a_full_series_makes_derived_figures_anew_although_its_length_stays() -> None:
    found = Windows(probes([1.0, 2.0]), most_samples=2)
    series = found.of(SLUG, VERSION, CPU, "probe")
    newest = lambda series: list(series)[-1].model_ms  # noqa: E731
    assert series.derive(newest) == 2.0
    found.add(probes([3.0])[0])
    assert series.derive(newest) == 3.0


def test_a_derived_figure_may_lag_behind_by_as_many_samples_as_allowed() -> None:
    found = Windows(probes([1.0]))
    series = found.of(SLUG, VERSION, CPU, "probe")
    seen = []
    for sample in probes([2.0] * 4):
        seen.append(series.derive(len, lag=2))
        found.add(sample)
    assert seen == [1, 1, 1, 4]


def test_shapes_are_bounded_however_many_come() -> None:
    found = Windows(most_samples=10)
    for i in range(1_000):
        found.add(run("probe", shape=f"{i} tokens"))
        found.add(run("traffic", shape=f"{i} tokens"))
    assert len(found.of(SLUG, VERSION, CPU, "probe").shapes) <= 2 * 10 + 2
    assert [sample.shape for sample in found.of(SLUG, VERSION, CPU, "probe")] == [f"{i} tokens" for i in range(990, 1_000)]
    assert found.of(SLUG, VERSION, CPU, "traffic").shapes == ("",)


def test_samples_stay_in_order_when_the_clock_was_set_back() -> None:
    found = Windows(run(at_s=at_s) for at_s in (500.0, 400.0, 450.0))
    rows = found.of(SLUG, VERSION, CPU, "probe").rows()
    assert list(rows["at_s"]) == [500.0, 400.0, 450.0]
    assert list(rows["number"]) == [1, 2, 3]


@pytest.mark.parametrize("foul", [-1.0, float("inf"), float("nan"), 1e300])
def test_a_time_that_cannot_be_was_not_measured(foul: float) -> None:
    found = Windows([run(model_ms=foul, request_ms=foul, tokens=1 << 40, passages=-3)])
    sample = next(iter(found.of(SLUG, VERSION, CPU, "probe")))
    assert (sample.model_ms, sample.request_ms, sample.tokens, sample.passages) == (None,) * 4


@pytest.mark.parametrize("count", [999, 1_000, 1_001, 2_000, 2_345])
def test_a_sample_takes_64_bytes(count: int) -> None:
    found = Windows(probes([1.0] * count))
    rows = found.of(SLUG, VERSION, CPU, "probe").rows()
    assert rows.itemsize == 64
    assert len(rows) == min(count, 1_000)
