"""The target table and the estimate in a terminal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.forge.estimates import Payload, run_estimate
from emberank.forge.reliability import reliability
from emberank.forge.run_table import as_lines, as_table
from emberank.forge.targets import Target
from measured import B200, CPU, H100, L40S, MODEL, SLUG, VERSION, offer, price, probes, run, start, traffic, windows


def answer() -> dict[str, Any]:
    samples = windows(
        [
            start(93_000.0, target=B200, peak_memory_bytes=22_600_000_000),
            start(20_900.0, "network", L40S),
            run("start", H100, ok=False, reason="out_of_memory"),
        ],
        probes([186.0, 187.0, 189.0] * 40, B200),
        probes([35.0, 36.0, 34.0] * 3, L40S),
    )
    offers = [
        offer(CPU),
        offer(B200, 7.15),
        offer(L40S, 1.82),
        offer(H100),
        offer(Target("A-very-long-name-of-a-GPU", "some-far-away-region-7"), 3.0, "closed"),
    ]
    return reliability(MODEL, MODEL.versions[0], offers, samples, now_s=2_000.0)


def test_the_table_shows_each_target_in_a_row() -> None:
    lines = as_table(answer(), 200).splitlines()
    assert lines[0] == "tiny-rerank v1: 2/5 verified · 1 awaiting probe · 2 unavailable"
    assert lines[2].split() == ["target", "status", "memory", "start", "model", "p50", "95", "%", "p95", "p99", "n", "speed", "tok/s", "$/h", "ok"]
    rows = [" ".join(line.split()) for line in lines[3:8]]
    assert rows[0] == "L40S/eu-north1 *$ works - (20.9 s) 35 ms 34..36 - - 9 100% 1514 $1.82 100%"
    assert rows[1] == "B200/us-central1 works 22.6 GB 1m 33s 187 ms 187..187 189 ms 189 ms 120 19% 283 $7.15 100%"
    assert rows[2] == "CPU/local not probed - - - - - - 0 - - - -"
    assert "* fastest: L40S/eu-north1: lowest median warm model time of a probe of 3 passages, 53 tokens, among 2 verified with it" in lines
    assert "a start in brackets is the first, uncached one" in lines
    assert "H100: the latest start failed: it does not fit into the memory there" in lines
    assert "measured with 3 passages, 53 tokens (probe)" in lines


@pytest.mark.parametrize("width", [100, 120, 80])
def test_the_table_is_never_wider_than_asked_and_its_columns_stand_below_each_other(width: int) -> None:
    lines = as_table(answer(), width).splitlines()
    assert max(map(len, lines)) <= width
    title = next(line for line in lines if line.startswith("target"))
    assert len({len(line.rstrip()) for line in lines[2:5]}) <= 2
    assert "model p50" in title
    assert "status" in title


@given(st.text(min_size=1, max_size=60), st.text(max_size=60), st.integers(80, 160))
def test_no_name_makes_it_wider(gpu_type: str, region: str, width: int) -> None:
    found = reliability(MODEL, MODEL.versions[0], [offer(Target(gpu_type, region), 1e9, "x" * 200)], windows(), now_s=0.0)
    assert all(len(line) <= width for line in as_table(found, width).split("\n"))


def test_an_answer_without_rows_is_its_first_line() -> None:
    found = reliability(MODEL, MODEL.versions[0], [], windows(), now_s=0.0)
    assert as_table(found) == "tiny-rerank v1: 0/0 verified"
    assert as_table(found | {"random_weights": True}) == "tiny-rerank v1 (random weights): 0/0 verified"


def test_a_narrow_lead_is_said() -> None:
    close = windows(probes([10.0, 11.0, 12.0] * 3, B200), probes([10.5, 11.5, 12.5] * 3, L40S))
    assert "(the next is within the doubt)" in as_table(reliability(MODEL, MODEL.versions[0], [offer(B200), offer(L40S)], close, now_s=0.0))


def test_an_estimate_is_a_line_a_figure() -> None:
    samples = windows([start(900.0)], probes([34.0, 35.0, 36.0] * 10), traffic([9.0]))
    lines = as_lines(run_estimate(samples, SLUG, VERSION, CPU, None, price(1.82), idle_after_s=900.0)).splitlines()
    assert lines == [
        "tiny-rerank v1 on CPU/local: 3 texts, 53 tokens",
        "warm request        37 ms, $0.000018  n=30, high, off by 3% (n=30)",
        "first cold request  937 ms, $0.00047  n=1, low",
        "1,000 passages      $0.0059",
        "an hour             $1.82             a price list, 2026-11-01",
        "staying warm after  $0.46             15m 00s",
    ]


def test_an_estimate_of_nothing_says_what_to_do() -> None:
    lines = as_lines(run_estimate(windows(), SLUG, VERSION, CPU, Payload(tokens=500))).splitlines()
    assert lines[1].split() == ["warm", "request", "-", "n=0,", "none"]
    assert "emberank probe tiny-rerank" in " ".join(lines[2:])
