"""Index arrays of a batch: padding to a graph's size, and groups of like lengths. Nothing here needs PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.runtime.engines.base import Batch
from emberank.runtime.engines.torch_layout import Size, bucket, exact, grouped, grouped_rows, lay_out, like_lengths

LENGTHS = st.lists(st.integers(1, 600), min_size=1, max_size=60).map(lambda lengths: np.array(lengths, np.int32))


def batch(lengths: list[int]) -> Batch:
    ids = np.arange(1, sum(lengths) + 1, dtype=np.int32)
    return Batch(ids=ids, types=ids % 2, lengths=np.array(lengths, np.int32))


def parts(numbers: np.ndarray, tokens: int) -> list[np.ndarray]:
    return np.split(numbers, [tokens, 2 * tokens, 3 * tokens])


def test_a_batch_without_padding_is_its_own_size() -> None:
    layout = lay_out(batch([3, 1, 2]))
    ids, positions, types, starts = parts(layout.numbers, 6)
    assert layout.size == Size(tokens=6, sequences=3, longest=3)
    assert ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert types.tolist() == [1, 0, 1, 0, 1, 0]
    assert starts.tolist() == [0, 3, 4, 6]


def test_padding_stands_behind_the_last_token_in_sequences_of_its_own() -> None:
    layout = lay_out(batch([3, 2]), Size(tokens=12, sequences=6, longest=4))
    ids, positions, types, starts = parts(layout.numbers, 12)
    assert ids.tolist() == [1, 2, 3, 4, 5] + [0] * 7
    assert positions.tolist() == [0, 1, 2, 0, 1] + [0] * 7, "a position of padding must not run past a table of positions"
    assert types.tolist() == [1, 0, 1, 0, 1] + [0] * 7
    assert starts.tolist() == [0, 3, 5, 9, 12, 12, 12], "two sequences of padding, two empty ones"
    assert (layout.lengths, layout.real) == ((3, 2), 5)


@pytest.mark.parametrize("size", [Size(tokens=4, sequences=2, longest=3), Size(tokens=20, sequences=3, longest=3), Size(tokens=5, sequences=2, longest=2)])
def test_what_does_not_fit_a_size_is_refused(size: Size) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        lay_out(batch([3, 2]), size)


@given(LENGTHS)
def test_a_bucket_holds_its_sequences_and_all_of_their_padding(lengths: np.ndarray) -> None:
    size = bucket(lengths, 1024)
    if size is None:
        assert lengths.sum() > 1024 - 64 or len(lengths) > 32 or lengths.max() > 1024
        return
    assert size.tokens <= max(32, lengths.sum() * 2)
    layout = lay_out(batch(lengths.tolist()), size)
    starts = parts(layout.numbers, size.tokens)[3]
    held = np.diff(starts)
    assert starts[-1] == size.tokens
    assert held[: len(lengths)].tolist() == lengths.tolist()
    assert held.max() <= size.longest
    assert held.min() >= 0


def test_buckets_are_few_and_a_seed_request_is_in_a_small_one() -> None:
    assert bucket(np.array([31, 34, 29], np.int32), 1024) == Size(tokens=96, sequences=8, longest=64)
    sizes = {bucket(np.array([length] * count, np.int32), 1024) for length in range(1, 1025) for count in (1, 2, 3, 5, 8, 16)}
    assert len(sizes - {None}) <= 80


@pytest.mark.parametrize("lengths", [[2000], [1] * 200, [5] * 127 + [100]])
def test_what_is_too_large_for_a_graph_has_no_bucket(lengths: list[int]) -> None:
    assert bucket(np.array(lengths, np.int32), 1024) is None
    assert exact(np.array(lengths, np.int32)) == Size(tokens=sum(lengths), sequences=len(lengths), longest=max(lengths))


@given(LENGTHS)
def test_groups_hold_every_token_once_and_little_padding(lengths: np.ndarray) -> None:
    starts = np.cumsum(lengths) - lengths
    seen: list[int] = []
    for group in grouped(lengths):
        rows = group.rows.reshape(len(group.sequences), group.length)
        assert group.real.sum(1).tolist() == [lengths[place] for place in group.sequences]
        for place, row, real in zip(group.sequences, rows, group.real, strict=True):
            assert row[real].tolist() == list(range(starts[place], starts[place] + lengths[place]))
            assert set(row[~real]) <= {starts[place]}
            assert group.length <= max(lengths[place] + 8, lengths[place] * 1.125)
            seen += row[real].tolist()
    assert sorted(seen) == list(range(lengths.sum()))
    assert grouped_rows(lengths) == sum(len(group.rows) for group in grouped(lengths))


def test_sequences_of_one_length_are_one_group() -> None:
    assert like_lengths(np.array([7, 7, 7], np.int32)) == [[0, 1, 2]]
    assert like_lengths(np.array([100, 8, 1], np.int32)) == [[2, 1], [0]]
