"""Vectors and logits from hidden states, against values worked out by hand or by a loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from emberank.runtime.heads import CrossEncoder, Pooling, pool, quantise, unit

HIDDEN = np.array([[1, 2, -3], [3, -2, 5], [5, 6, -8], [-1, 2, 2]], np.float32)  # (tokens, hidden)
VECTORS = arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 40)), elements=st.floats(-1, 1, width=32) | st.just(0.0))


@pytest.mark.parametrize(
    ("how", "expected"),
    [("mean", [2, 2, -1]), ("cls", [1, 2, -3]), ("max", [5, 6, 5]), ("mean_sqrt_len", [4, 4, -2]), ("last", [-1, 2, 2])],
)
def test_every_pooling_is_what_its_name_says(how: Pooling, expected: list[float]) -> None:
    pooled = pool(HIDDEN, how)
    assert pooled.tolist() == expected
    assert pooled.dtype == np.float32


@pytest.mark.parametrize("how", ["mean", "cls", "max", "mean_sqrt_len", "last"])
def test_what_was_pooled_outlives_the_hidden_states(how: Pooling) -> None:
    hidden = HIDDEN.copy()  # an engine's next run overwrites them
    pooled = pool(hidden, how)
    before = pooled.copy()
    hidden[:] = 99
    assert pooled.tolist() == before.tolist()


def test_one_token_is_its_own_mean() -> None:
    assert pool(HIDDEN[:1], "mean").tolist() == [1, 2, -3]


def test_a_unit_vector_has_length_one_and_the_same_direction() -> None:
    assert unit(np.array([3, -4], np.float32)).tolist() == pytest.approx([0.6, -0.8])
    rows = unit(HIDDEN)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(4), abs=1e-6)
    assert rows.dtype == np.float32


def test_a_zero_vector_stays_zero() -> None:
    assert unit(np.zeros(5, np.float32)).tolist() == [0] * 5
    assert unit(np.array([[0, 0], [0, 2]], np.float32)).tolist() == [[0, 0], [0, 1]]


def test_a_cross_encoder_is_a_linear_layer_on_the_tanh_of_a_linear_layer_on_the_first_token() -> None:
    head = CrossEncoder(
        pooler_weight=np.array([[1, 0, 0], [0, 0.5, 0], [0.1, 0.2, 0.3]], np.float32),
        pooler_bias=np.array([-1, 0, 0.5], np.float32),
        weight=np.array([[2, -3, 10]], np.float32),
        bias=np.array([0.25], np.float32),
    )
    expected = 2 * math.tanh(0) - 3 * math.tanh(1) + 10 * math.tanh(0.1 + 0.4 - 0.9 + 0.5) + 0.25
    assert head.score(HIDDEN) == pytest.approx(expected, rel=1e-5)
    assert head.score(HIDDEN[:1]) == head.score(HIDDEN), "only the first token counts"


BY_HAND = np.array([[1, -1, 0, 0.5, -0.5, 0.004, -0.004, 0.003, 0.1, -0.99]], np.float32)
STEPS = [127, -127, 0, 64, -64, 1, -1, 0, 13, -126]  # 63.5 is rounded to the even neighbour; ±0.508, 0.381, 12.7, −125.73


def test_floats_are_left_as_they_are() -> None:
    assert quantise(BY_HAND, "float") is BY_HAND


def test_int8_is_a_127th_and_uint8_is_moved_by_128() -> None:
    signed, unsigned = quantise(BY_HAND, "int8"), quantise(BY_HAND, "uint8")
    assert (signed.dtype, unsigned.dtype) == (np.int8, np.uint8)
    assert signed.tolist() == [STEPS]
    assert unsigned.tolist() == [[step + 128 for step in STEPS]]


def test_rounding_errors_over_one_do_not_wrap_round() -> None:
    over = np.array([[1.009, -1.009, 1.5, -1.5]], np.float32)
    assert quantise(over, "int8").tolist() == [[127, -127, 127, -127]]
    assert quantise(over, "uint8").tolist() == [[255, 1, 255, 1]]


def test_bits_are_packed_from_the_highest_and_zero_is_no_bit() -> None:
    packed = quantise(BY_HAND, "ubinary")
    assert packed.dtype == np.uint8
    assert packed.tolist() == [[0b10010101, 0b10000000]]
    signed = quantise(BY_HAND, "binary")
    assert signed.dtype == np.int8
    assert signed.tolist() == [[0b10010101 - 128, 0b10000000 - 128]]


def bits(row: NDArray[np.float32]) -> list[int]:
    packed = []
    for start in range(0, len(row), 8):
        byte = 0
        for place, value in enumerate(row[start : start + 8]):
            if value > 0:
                byte |= 1 << (7 - place)
        packed.append(byte)
    return packed


@given(VECTORS)
def test_bits_are_those_of_a_plain_loop(vectors: NDArray[np.float32]) -> None:
    expected = [bits(row) for row in vectors]
    assert quantise(vectors, "ubinary").tolist() == expected
    assert quantise(vectors, "binary").tolist() == [[byte - 128 for byte in row] for row in expected]


@given(VECTORS)
def test_int8_is_never_further_off_than_half_a_step(vectors: NDArray[np.float32]) -> None:
    steps = quantise(vectors, "int8")
    assert np.abs(steps.astype(np.float64) / 127 - vectors).max() <= 0.5 / 127 + 1e-6
    assert (quantise(vectors, "uint8").astype(int) - 128).tolist() == steps.tolist()
