"""Whether a version works on a target: the rule of standing.py, a row a case, in the order the samples came."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from emberank.contract.fleet import FailureReason
from emberank.forge.figures import MIN_SAMPLES
from emberank.forge.samples import Sample
from emberank.forge.standing import SENTENCES, Measured, Standing, measured_at, standing
from measured import CPU, SLUG, VERSION, offer, probes, run, start, traffic, windows

ENOUGH = probes([35.0] * MIN_SAMPLES)
BROKEN = [run("probe", ok=False, reason="request_failed")]
NO_START = [run("start", ok=False, reason="out_of_memory")]
FULL = [run("start", ok=False, reason="no_capacity")]


def measured(*groups: list[Sample]) -> Measured:
    return measured_at(windows(*groups), SLUG, VERSION, CPU)


def judged(*groups: list[Sample], probe_pending: bool = False, reason: str = "") -> Standing:
    return standing(offer(reason=reason), measured(*groups), probe_pending=probe_pending)


@pytest.mark.parametrize(
    ("groups", "status", "reason"),
    [
        pytest.param([], "not probed", None, id="nothing measured"),
        pytest.param([[start(900.0)]], "awaiting probe", None, id="only a start"),
        pytest.param([FULL], "not probed", None, id="a full pool says nothing of the target"),
        pytest.param([ENOUGH[1:]], "awaiting probe", None, id="one too few"),
        pytest.param([ENOUGH], "works", None, id="enough probes"),
        pytest.param([traffic([35.0] * MIN_SAMPLES)], "works", None, id="enough traffic"),
        pytest.param([ENOUGH[:3], traffic([35.0] * 3)], "awaiting probe", None, id="probes and traffic are not added up"),
        pytest.param([ENOUGH, NO_START], "unavailable", "out_of_memory", id="the latest start failed"),
        pytest.param([ENOUGH, FULL], "works", None, id="the latest start found the pool full"),
        pytest.param([NO_START, [start(900.0)], ENOUGH], "works", None, id="a start failed and a later one did not"),
        pytest.param([ENOUGH, NO_START, traffic([35.0])], "works", None, id="a second endpoint failed to start and the first serves on"),
        pytest.param([ENOUGH, BROKEN * 2], "works", None, id="two failures in a row may be bad luck"),
        pytest.param([ENOUGH, BROKEN * 3], "unavailable", "request_failed", id="three are not"),
        pytest.param([ENOUGH, BROKEN * 2, [run("traffic", ok=False, reason="unreachable")]], "unavailable", "unreachable", id="of probes and traffic together"),
        pytest.param([ENOUGH, BROKEN * 3, traffic([35.0])], "works", None, id="one success ends it"),
        pytest.param([ENOUGH, BROKEN * 3, [start(900.0)]], "works", None, id="and so does a start"),
        pytest.param([BROKEN], "awaiting probe", None, id="one failure and nothing else"),
    ],
)
def test_the_status_follows_from_the_latest_runs(groups: list[list[Sample]], status: str, reason: Any) -> None:
    found = judged(*groups)
    assert (found.status, found.reason) == (status, reason)
    assert bool(found.message) == (status != "works")


def test_a_probe_that_waits_is_awaited_even_where_nothing_was_measured() -> None:
    assert judged(probe_pending=True).status == "awaiting probe"
    assert judged(ENOUGH, probe_pending=True).status == "works"


def test_a_target_that_cannot_run_it_is_unavailable_for_the_offers_reason_whatever_was_measured_once() -> None:
    assert judged(ENOUGH, reason="it needs 15.1 GB, and CPU has 4.0 GB") == Standing(status="unavailable", message="it needs 15.1 GB, and CPU has 4.0 GB")


@pytest.mark.parametrize(
    ("groups", "by"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([ENOUGH, traffic([9.0] * 500)], "probe", id="enough of both"),
        pytest.param([ENOUGH[1:], traffic([9.0] * MIN_SAMPLES)], "traffic", id="enough traffic"),
        pytest.param([ENOUGH[1:], traffic([9.0])], "probe", id="neither"),
        pytest.param([BROKEN, traffic([9.0])], "traffic", id="probes without a time"),
        pytest.param([BROKEN], "probe", id="failures only"),
    ],
)
def test_the_headline_is_of_probes_if_there_are_enough(groups: list[list[Sample]], by: str | None) -> None:
    assert measured(*groups).measured_by == by


def test_every_failure_has_a_sentence() -> None:
    assert set(SENTENCES) == set(get_args(FailureReason))
