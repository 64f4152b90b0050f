"""Numbers as sentences say them."""

from __future__ import annotations

import pytest

from emberank.serving.amounts import counted, written_out


@pytest.mark.parametrize(
    ("number", "written"),
    [(1e-07, "0.0000001"), (1.697e-06, "0.000001697"), (5, "5"), (5.0, "5"), (0.1, "0.1"), (1_500_000, "1500000"), (0, "0"), (2.0000001, "2")],
)
def test_a_number_is_written_out(number: float, written: str) -> None:
    assert written_out(number) == written


def test_a_noun_stands_in_the_right_number() -> None:
    assert (counted(1, "request"), counted(0, "request"), counted(2, "request")) == ("1 request", "0 requests", "2 requests")
