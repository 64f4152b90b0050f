"""A file in, its sha256 and the tensors in it that are not all finite out, every byte read once. Knows safetensors' layout, and no network.

One thread reads and looks for NaN and infinity, another hashes what was read: hashing is the slower of the two (1.2 GB/s on one core), so the search
costs no time. Memory is a few blocks, whatever the file's size.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from emberank.contract.errors import WeightsCorrupt
from emberank.runtime.checkpoint import DTYPES, Tensor, map_file, parse

BLOCK_BYTES = 4 << 20
_BLOCKS = 4  # in flight: one being filled, the others read and not yet hashed
_ALONE_BYTES = 16 << 20  # a smaller file is hashed before another thread would have helped

# Stored type → (integers of that width, the least bits without the sign that do not come out finite as float32).
_LIMITS: Mapping[str, tuple[str, int]] = {
    "BF16": ("2", 0x7F80),
    "F16": ("2", 0x7C00),
    "F32": ("4", 0x7F80_0000),
    "F64": ("8", 0x47EF_FFFF_F000_0000),  # the least that rounds to infinity in float32
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """What reading a whole file has shown. `not_finite`: names of tensors with a NaN or an infinity, in the file's order."""

    sha256: str
    not_finite: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A run of one tensor's numbers inside a block: at byte `at`, `count` of them."""

    name: str
    dtype: str
    at: int
    count: int


def scan(path: Path) -> Scanned:
    """Read all of `path`. A safetensors file that is malformed is only hashed: opening it says what is wrong. Raises OSError."""
    with path.open("rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)  # the kernel reads further ahead
        digest, not_finite = hashlib.sha256(), dict[str, None]()
        small = os.fstat(file.fileno()).st_size <= _ALONE_BYTES
        with closing(_read(file, blocks(_tensors(path)))) as read:
            if small:
                for block, parts in read:
                    digest.update(block)
                    not_finite |= dict.fromkeys(_not_finite(block, parts))
            else:
                _together(read, digest, not_finite)
    return Scanned(sha256=digest.hexdigest(), not_finite=tuple(not_finite))


def _together(read: Iterator[tuple[memoryview, list[Part]]], digest: Any, not_finite: dict[str, None]) -> None:
    """Hash on a thread of its own, a few blocks behind the reading: as many as there are buffers that may still be read from."""
    behind: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as hasher:
        for block, parts in read:
            behind.append(hasher.submit(digest.update, block))
            not_finite |= dict.fromkeys(_not_finite(block, parts))
            if len(behind) == _BLOCKS - 1:
                behind.popleft().result()
        for one in behind:
            one.result()


def _read(file: IO[bytes], plan: Iterable[tuple[int, list[Part]]]) -> Generator[tuple[memoryview, list[Part]]]:
    """The planned blocks, then whatever the file still has. A block's memory is used again `_BLOCKS` blocks later."""
    buffers = [bytearray(BLOCK_BYTES) for _ in range(_BLOCKS)]
    number = 0
    for length, parts in plan:
        for at in range(0, length, BLOCK_BYTES):  # only a header may be longer than a block, and it has no parts
            view = memoryview(buffers[number % _BLOCKS])[: min(BLOCK_BYTES, length - at)]
            number += 1
            if _fill(file, view) < len(view):
                raise WeightsCorrupt(f"{file.name}: it was cut short while it was being read")
            yield view, parts
    while True:
        view = memoryview(buffers[number % _BLOCKS])
        number += 1
        if not (got := _fill(file, view)):
            return
        yield view[:got], []


def _fill(file: IO[bytes], view: memoryview) -> int:
    got = 0
    while got < len(view) and (more := file.readinto(view[got:])):  # type: ignore[attr-defined]  # a raw file has it
        got += more
    return got


def blocks(tensors: Mapping[str, Tensor]) -> Iterator[tuple[int, list[Part]]]:
    """How to read a file of these tensors: (bytes, the numbers in them), one after the other.

    No number lies across two blocks, and all but the first, which is the header, are at most BLOCK_BYTES long.
    """
    length, parts = 0, list[Part]()
    ordered = sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop))
    if ordered:
        yield ordered[0][1].start, []
    for name, tensor in ordered:
        size, at = DTYPES[tensor.dtype].itemsize, tensor.start
        while at < tensor.stop:
            if count := min(tensor.stop - at, BLOCK_BYTES - length) // size:
                parts.append(Part(name, tensor.dtype, length, count))
                length += count * size
                at += count * size
            if at < tensor.stop:
                yield length, parts
                length, parts = 0, []
    if length:
        yield length, parts


def _tensors(path: Path) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        return {}
    try:
        mapped = map_file(path)
    except WeightsCorrupt:
        return {}
    with closing(mapped):
        try:
            return parse(mapped, path.name, str(path))
        except WeightsCorrupt:
            return {}


def _not_finite(block: memoryview, parts: Iterable[Part]) -> Iterator[str]:
    """Names of the parts with a number that is not finite."""
    for part in parts:
        if part.dtype in _LIMITS and part.count:
            width, limit = _LIMITS[part.dtype]
            # All ones in the exponent means NaN or infinity. As signed integers the positive of them are the greatest, as unsigned ones the
            # negative of them are: two greatest values, at memory speed and without a copy.
            signed = np.frombuffer(block, f"<i{width}", part.count, part.at)
            if signed.max() >= limit or signed.view(f"<u{width}").max() >= limit | 1 << (8 * int(width) - 1):
                yield part.name
