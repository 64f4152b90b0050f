"""The arithmetic of embeddings that servers answered: length one, codes, bytes, cosines."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from emberank.contract.inference import EMBEDDING_TYPES, EmbeddingType
from emberank.dialects.vectors import as_units, coded, cosines, in_base64
from emberank.runtime.outputs import finish

ENTRIES = st.floats(2.0**-20, 2.0**20, width=32) | st.floats(-(2.0**20), -(2.0**-20), width=32) | st.just(0.0)
POOLED = arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 40)), elements=ENTRIES)


@given(POOLED, st.sampled_from(EMBEDDING_TYPES), st.booleans())
def test_coding_answered_floats_gives_what_asking_for_the_type_would_have_given(vectors: NDArray[np.float32], kind: EmbeddingType, normalize: bool) -> None:
    floats = finish(vectors, normalize=normalize, dimensions=None, embedding_type="float")
    asked = finish(vectors, normalize=normalize, dimensions=None, embedding_type=kind)
    found = coded(floats, kind)
    assert found.dtype == asked.dtype
    if normalize or kind in ("float", "binary", "ubinary"):
        assert found.tolist() == asked.tolist()
    else:  # a length that is one but for a rounding is left, so that a code may be off by that rounding
        assert np.abs(found.astype(int) - asked.astype(int)).max() <= 1


def test_a_vector_of_length_one_is_not_touched_and_any_other_is_brought_to_it() -> None:
    one = np.array([[0.6, 0.8], [0.1, 0.99498744]], np.float32)
    assert as_units(one).tolist() == one.tolist()
    assert as_units(np.array([[3, 4], [0, 0], [0.0006, -0.0008]], np.float32)).tolist() == [pytest.approx([0.6, 0.8]), [0, 0], pytest.approx([0.6, -0.8])]


def test_what_is_in_base64_is_little_endian_and_a_code_is_one_byte() -> None:
    big = np.array([[0.1, -2.0]], ">f4")
    assert base64.b64decode(in_base64(big)[0]) == big.astype("<f4").tobytes()
    assert [base64.b64decode(text) for text in in_base64(np.array([[1, -1], [127, 0]], np.int8))] == [b"\x01\xff", b"\x7f\x00"]


def test_cosines_are_with_the_first_in_the_order_of_the_others_and_never_over_one() -> None:
    vectors = np.array([[3, 4], [30, 40], [-4, 3], [-3, -4], [0, 0], [1, 0]], np.float32)
    assert cosines(vectors) == pytest.approx([1, 0, -1, 0, 0.6], abs=1e-6)
    assert cosines(vectors[:2])[0] <= 1
    assert all(type(value) is float for value in cosines(vectors))


def test_a_big_endian_or_a_half_precision_answer_is_read_as_the_numbers_it_is() -> None:
    assert coded(np.array([[0.6, -0.8]], ">f4"), "int8").tolist() == [[76, -102]]
    assert cosines(np.array([[1, 0], [0.5, 0]], np.float16)) == [1.0]
