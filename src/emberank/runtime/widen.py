"""bfloat16 bits in, float32 numbers out, exactly, by a few threads. Does not know files.

A bfloat16 is the upper half of a float32, so nothing is computed: bits are moved. What it costs is memory traffic and, in fresh memory, page faults,
and both are shared among threads (NumPy lets go of the interpreter lock).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from emberank.runtime.engines.cores import cores

_ALONE = 1 << 20  # numbers: fewer are converted before other threads have woken up
_THREADS = 4  # more than memory has channels for does not help
_PIECE = 1 << 15  # numbers: 192 KB of input and output, which stay in the cache between two passes


def widened(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """A new array with the numbers whose bfloat16 bits are given; any shape."""
    # Memory from calloc is zero without being written, so the lower halves cost nothing and the upper ones are the only thing written.
    out = np.zeros(bits.shape, np.float32)
    flat, halves = bits.reshape(-1), out.reshape(-1).view(np.dtype("<u2"))

    def part(start: int, stop: int) -> None:
        halves[2 * start + 1 : 2 * stop : 2] = flat[start:stop]

    _shared(part, flat.size)
    return out


def bf16_into(bits: NDArray[np.uint16], out: NDArray[np.float32]) -> None:
    """The same into `out` of the same shape, whatever it held before."""
    flat = bits.reshape(-1)
    wide = out.view(np.uint32) if out.flags.c_contiguous else None
    if wide is None:
        out[...] = widened(bits)
        return
    wide = wide.reshape(-1)

    def part(start: int, stop: int) -> None:
        for at in range(start, stop, _PIECE):
            piece = wide[at : min(at + _PIECE, stop)]
            np.copyto(piece, flat[at : at + len(piece)])
            np.left_shift(piece, 16, out=piece)

    _shared(part, flat.size)


def _shared(part: Callable[[int, int], None], size: int) -> None:
    """`part` over 0 … size, cut among threads when there is enough of it."""
    threads = min(cores(), _THREADS)
    if size < _ALONE or threads == 1:
        part(0, size)
        return
    step = -(-size // threads)
    starts = range(0, size, step)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, starts, (min(start + step, size) for start in starts)))
