"""A batch in, the index arrays of the device out, on the host and with NumPy only: where sequences begin, and padding to a graph's size.

Padding, where there is any, stands behind the last token as sequences of its own, none longer than `longest`: it meets no real token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emberank.runtime.engines.base import Batch

Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What a captured graph was made for: rows of the packed tensors, sequences (empty ones included) and the longest of them."""

    tokens: int
    sequences: int
    longest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One batch as the device reads it. `numbers` is everything that is copied there in one piece."""

    size: Size
    lengths: tuple[int, ...]  # of the real sequences, tokens
    numbers: Ints  # ids (tokens,), positions (tokens,), types (tokens,), starts (sequences + 1,), one behind the other

    @property
    def real(self) -> int:
        """Tokens that are no padding."""
        return sum(self.lengths)


# Rows of graphs: fine enough that padding costs little, few enough that each is met again soon.
_STEPS = ((256, 32), (1024, 64), (4096, 256))
_SEQUENCES = (8, 32, 128)
_LONGEST = (64, 256, 1024, 4096)


def exact(lengths: Ints) -> Size:
    """No padding at all."""
    return Size(tokens=int(lengths.sum()), sequences=len(lengths), longest=int(lengths.max()))


def bucket(lengths: Ints, most_tokens: int) -> Size | None:
    """The graph's size that holds sequences of these lengths; None when there is none of at most `most_tokens` rows.

    Every token of padding needs a place in a sequence behind the real ones, so there are enough of those too.
    """
    tokens, longest = int(lengths.sum()), int(lengths.max())
    rows = next((-(-tokens // step) * step for most, step in _STEPS if tokens <= most), most_tokens + 1)
    if rows > most_tokens:
        return None
    reach = next((most for most in _LONGEST if longest <= most), None)
    if reach is None:
        return None
    slots = len(lengths) + -(-(rows - tokens) // reach)
    sequences = next((most for most in _SEQUENCES if slots <= most), None)
    return None if sequences is None else Size(tokens=rows, sequences=sequences, longest=reach)


def lay_out(batch: Batch, size: Size | None = None) -> Layout:
    """The batch's index arrays, padded to `size` where one is given."""
    size = size or exact(batch.lengths)
    ends = np.cumsum(_with_padding(batch.lengths, size), dtype=np.int32)
    tokens, n = size.tokens, len(batch.ids)
    numbers = np.zeros(3 * tokens + size.sequences + 1, np.int32)
    numbers[:n] = batch.ids
    numbers[tokens : tokens + n] = batch.positions()
    numbers[2 * tokens : 2 * tokens + n] = batch.types
    numbers[3 * tokens + 1 :] = ends
    return Layout(size=size, lengths=tuple(batch.lengths.tolist()), numbers=numbers)


def _with_padding(lengths: Ints, size: Size) -> Ints:
    """Lengths of all of the size's sequences: the real ones, those that hold padding, empty ones."""
    left = size.tokens - int(lengths.sum())
    slots = size.sequences - len(lengths)
    if left < 0 or slots < 0 or slots * size.longest < left or int(lengths.max()) > size.longest:
        raise ValueError(f"sequences of lengths {lengths.tolist()} do not fit into {size}")
    held = np.clip(left - size.longest * np.arange(slots), 0, size.longest)
    return np.concatenate([lengths, held]).astype(np.int32)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Group:
    """Sequences of like lengths as rows of one length: what attention without packing works on."""

    sequences: tuple[int, ...]  # places in the batch
    length: int  # of the longest, tokens
    rows: NDArray[np.int64]  # (sequences · length,): which token stands there; padding reads the sequence's first token
    real: NDArray[np.bool_]  # (sequences, length)


_SLACK = 8  # tokens by which two lengths always are alike
_RATIO = 1.125  # and by which factor


def like_lengths(lengths: Ints) -> list[list[int]]:
    """Places in the batch, in groups of like lengths: within one, no row is padded by more than an eighth or 8 tokens, whichever is more."""
    groups: list[list[int]] = []
    shortest = 0
    for place in np.argsort(lengths, kind="stable").tolist():
        length = int(lengths[place])
        if groups and length <= max(shortest + _SLACK, int(shortest * _RATIO)):
            groups[-1].append(place)
        else:
            groups.append([place])
            shortest = length
    return groups


def grouped(lengths: Ints) -> list[Group]:
    """The batch in groups, with the tokens that stand in each group's rows."""
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    groups = []
    for places in like_lengths(lengths):
        own = lengths[places]
        length = int(own.max())
        place = np.arange(length)
        real = place[None, :] < own[:, None]
        rows = starts[places][:, None] + np.where(real, place[None, :], 0)
        groups.append(Group(sequences=tuple(places), length=length, rows=rows.reshape(-1), real=real))
    return groups


def grouped_rows(lengths: Ints) -> int:
    """Rows of all groups, padding included."""
    return sum(len(places) * max(int(lengths[place]) for place in places) for places in like_lengths(lengths))
