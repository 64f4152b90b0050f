"""What a request took: timings and tokens as endpoints say them, and what that costs."""

from __future__ import annotations

import pytest

from emberank.gateway.bill import cost, timings, tokens_in


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("tokenize;dur=0.21, queue;dur=0.05, engine;dur=2.40", {"tokenize": 0.21, "queue": 0.05, "engine": 2.4}),
        ("engine;dur=12", {"engine": 12.0}),
        ('engine;dur=3;desc="GPU",cache;desc="hit"', {"engine": 3.0}),
        ("engine;dur=fast, queue;dur=1", {"queue": 1.0}),
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
        (b"[]", 0),
        (b"not json", 0),
    ],
)
def test_tokens_are_what_the_answer_says_or_none(body: bytes, tokens: int) -> None:
    assert tokens_in(body) == tokens


def test_a_cost_is_model_time_times_price() -> None:
    assert cost(3_600_000, 7.15) == pytest.approx(7.15)
    assert cost(35, 1.82) == pytest.approx(1.7694e-5, rel=1e-3)
    assert cost(35, None) == cost(35, 0.0) == 0
