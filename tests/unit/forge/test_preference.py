"""A version's targets in order: the fastest verified first, then what can run, then what failed, then what cannot."""

from __future__ import annotations

from emberank.forge.preference import preferred
from emberank.forge.reliability import ordered, row_of
from emberank.forge.targets import Offer, Target
from measured import B200, CPU, H100, L40S, MODEL, offer, probes, run, start, traffic, windows

VERSION = MODEL.versions[0]
SPARE = Target("A10", "cellar")


def order(offers: list[Offer], *groups: list[object], pending: tuple[Target, ...] = ()) -> list[tuple[str, str]]:
    rows = preferred(MODEL, VERSION, offers, windows(*groups), pending)  # type: ignore[arg-type]
    return [(row.gpu_type, row.status) for row in rows]


def test_with_nothing_measured_the_pools_own_order_stands_and_what_cannot_run_is_last() -> None:
    offers = [offer(H100, here=False), offer(CPU), offer(B200), offer(L40S, reason="it is closed")]
    assert order(offers) == [("CPU", "not probed"), ("B200", "not probed"), ("H100", "unavailable"), ("L40S", "unavailable")]


def test_verified_targets_stand_before_all_others_by_their_speed() -> None:
    offers = [offer(CPU), offer(B200), offer(L40S), offer(SPARE)]
    measured = [probes([400.0] * 6, CPU), probes([186.0] * 6, B200), probes([35.0] * 6, L40S)]
    assert [name for name, _ in order(offers, *measured)] == ["L40S", "B200", "CPU", "A10"]


def test_the_order_of_verified_targets_is_that_of_the_target_table() -> None:
    offers = [offer(CPU), offer(B200), offer(L40S), offer(SPARE)]
    groups = [probes([400.0] * 6, CPU), probes([186.0] * 9, B200), probes([35.0] * 6, L40S, passages=9, tokens=99), traffic([5.0] * 8, SPARE)]
    table = ordered([row_of(MODEL, VERSION, one, windows(*groups), now_s=0.0) for one in offers])
    assert order(offers, *groups) == [(row["gpu_type"], row["status"]) for row in table]


def test_a_target_that_works_goes_before_one_that_is_faster_and_has_begun_to_fail() -> None:
    failing = [*probes([35.0] * 6, L40S), *(run("probe", L40S, ok=False) for _ in range(3))]
    assert order([offer(L40S), offer(CPU), offer(B200)], failing, probes([400.0] * 6, CPU)) == [
        ("CPU", "works"),
        ("B200", "not probed"),
        ("L40S", "unavailable"),
    ]


def test_a_failed_start_puts_a_target_behind_those_that_were_never_tried() -> None:
    failed = [start(0.0, target=CPU, ok=False, reason="out_of_memory")]
    assert order([offer(CPU), offer(B200)], failed) == [("B200", "not probed"), ("CPU", "unavailable")]


def test_a_probe_that_waits_is_seen_in_the_status() -> None:
    assert order([offer(CPU), offer(B200)], pending=(B200,)) == [("CPU", "not probed"), ("B200", "awaiting probe")]


def test_a_row_says_what_routing_needs() -> None:
    (row,) = preferred(MODEL, VERSION, [offer(H100, usd=3.5, here=False)], windows())
    assert (row.gpu_type, row.region, row.runnable, row.price_usd_per_hour) == ("H100", "", False, 3.5)
    assert row.reason
    (row,) = preferred(MODEL, VERSION, [offer(CPU)], windows())
    assert (row.runnable, row.price_usd_per_hour, row.reason) == (True, None, "")
