"""What a request took: timings and tokens as endpoints say them, and what that costs."""

from __future__ import annotations

import pytest

from emberank.gateway.bill import charge, cost, dollars, timings, tokens_in
from fleets import endpoint


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("tokenize;dur=0.21, queue;dur=0.05, engine;dur=2.40", {"tokenize": 0.21, "queue": 0.05, "engine": 2.4}),
        ("engine;dur=12", {"engine": 12.0}),
        ('engine;dur=3;desc="GPU",cache;desc="hit"', {"engine": 3.0}),
        ("engine;dur=fast, queue;dur=1", {"queue": 1.0}),
        ("engine;dur=nan, queue;dur=inf, tokenize;dur=-1", {}),
        ("", {}),
        (",,;;=", {}),
    ],
)
def test_what_can_be_read_of_server_timing_is(header: str, found: dict[str, float]) -> None:
    assert timings(header) == found


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b'{"usage":{"prompt_tokens":7,"total_tokens":7}}', 7),
        (b'{"usage":null}', 0),
        (b'{"usage":{"total_tokens":"7"}}', 0),
        (b'{"usage":{"total_tokens":-7}}', 0),
        (b'{"usage":{"prompt_tokens":7}}', 7),
        (b'{"meta":{"tokens":{"input_tokens":7.0}}}', 7),
        (b'{"meta":{"billed_units":{"total_tokens":7}},"usage":null}', 7),
        (b'{"usage":{"total_tokens":true}}', 0),
        (b'{"usage":{"total_tokens":1e300}}', 0),
        (b"[]", 0),
        (b"not json", 0),
    ],
)
def test_tokens_are_what_the_answer_says_or_none(body: bytes, tokens: int) -> None:
    assert tokens_in(body) == tokens


@pytest.mark.parametrize(
    ("fields", "tokens", "usd"),
    [
        ({}, 1000, 0.0),
        ({"usd_per_request": 0.002}, 1000, 0.002),
        ({"usd_per_million_tokens": 0.05}, 1000, 0.00005),
        ({"usd_per_request": 0.002, "usd_per_million_tokens": 0.05}, 1000, 0.00205),
        ({"usd_per_request": 0.0, "usd_per_million_tokens": 0.0}, 1000, 0.0),
    ],
)
def test_what_an_owner_charges_is_by_request_and_by_token(fields: dict[str, float], tokens: int, usd: float) -> None:
    assert charge(endpoint(**fields), tokens) == pytest.approx(usd)


def test_a_cost_is_model_time_times_price() -> None:
    assert cost(3_600_000, 7.15) == pytest.approx(7.15)
    assert cost(35, 1.82) == pytest.approx(1.7694e-5, rel=1e-3)
    assert cost(35, None) == cost(35, 0.0) == 0


@pytest.mark.parametrize(("header", "usd"), [("0.0000025", 2.5e-6), ("0", 0.0), ("", 0.0), ("-1", 0.0), ("nan", 0.0), ("inf", 0.0), ("much", 0.0)])
def test_a_providers_charge_is_an_amount_or_nothing(header: str, usd: float) -> None:
    assert dollars(header) == usd
