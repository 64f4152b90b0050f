"""Arrays an engine derives from weights in, the same arrays out, looking at a mapped file: made once, kept by content, read by later starts.

Two things are won: a later start reads instead of computing, and the memory belongs to the file, so the kernel can take it back once an
engine has packed it. Where nothing can be kept (no folder, a full disk), arrays are ordinary memory and everything else is the same.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

LEAST_BYTES = 1 << 20  # smaller arrays are made anew: a file each would cost more
UNUSED_S = 30 * 24 * 3600.0
_MAGIC = b"emberank-prepared-1\n"
_ALIGNED = 4096  # arrays begin on a page, so that dropping one's pages drops no other's
_KINDS = {"|i1": 0, "<f4": 1, "<u2": 2}

Made = Callable[[], list[NDArray[Any]]]


def folder_for(cache_dir: Path, content_hash: str) -> Path:
    """Where the arrays of one checkpoint's content are kept."""
    return cache_dir / "prepared" / content_hash[:32]


def forget_unused(cache_dir: Path, now: float, unused_s: float = UNUSED_S) -> None:
    """Delete the folders that no start has opened for so long; `now` in seconds as time.time. A process that has them mapped keeps its pages."""
    with suppress(OSError):  # there is none yet, or it is not ours to clean
        for folder in (cache_dir / "prepared").iterdir():
            if folder.is_dir() and now - folder.stat().st_mtime > unused_s:
                log.info("prepared weights that nobody used are deleted", extra={"action": "prepared_forgotten", "folder": folder.name})
                shutil.rmtree(folder, ignore_errors=True)


class PreparedArrays:
    """One folder of prepared arrays, a file per key. Without a folder it keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        if folder is not None:
            with suppress(OSError):  # it is not there yet, or may only be read
                os.utime(folder)  # says that it is used
        self._maps: list[mmap.mmap] = []

    def get(self, key: str, make: Made) -> list[NDArray[Any]]:
        """The arrays of `key`: from its file, or made, written and mapped. Read-only for callers, whatever their flags say."""
        if self._folder is None:
            return make()
        path = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.arrays"
        try:
            if (found := self._mapped(path, key)) is not None:
                return found
            arrays = make()
            if sum(array.nbytes for array in arrays) < LEAST_BYTES:
                return arrays
            _write(path, key, arrays)
            return self._mapped(path, key) or arrays
        except OSError as error:
            log.warning("prepared weights are not kept: %s", error.strerror or error, extra={"action": "prepared_not_kept"})
            self._folder = None  # said once
            return make()

    def drop_pages(self) -> None:
        """Let the kernel take back what was read; for after an engine has packed it."""
        for mapped in self._maps:
            if hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)

    def _mapped(self, path: Path, key: str) -> list[NDArray[Any]] | None:
        """The arrays of a whole and fitting file; None when there is none such."""
        try:
            with path.open("rb") as file:
                # Copy-on-write and never written: OpenVINO shares memory only with buffers that say they can be written.
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except (FileNotFoundError, ValueError):  # ValueError: an empty file
            return None
        arrays = _parse(mapped, key)
        if arrays is None:
            mapped.close()
        else:
            self._maps.append(mapped)
        return arrays


def _write(path: Path, key: str, arrays: list[NDArray[Any]]) -> None:
    """Header, then each array on a page of its own; under its name only when it is whole and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    word = key.encode()
    header = _MAGIC + struct.pack("<II", len(word), len(arrays)) + word
    for array in arrays:
        header += struct.pack(f"<BB{array.ndim}Q", _KINDS[array.dtype.str], array.ndim, *array.shape)
    try:
        with part.open("wb") as file:
            file.write(header)
            for array in arrays:
                file.write(bytes(-file.tell() % _ALIGNED))
                np.ascontiguousarray(array).tofile(file)
            file.write(_MAGIC)  # a file that was cut short does not end so
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _parse(data: mmap.mmap, key: str) -> list[NDArray[Any]] | None:
    """Views of the arrays, or None for a file that is not whole, or of another key."""
    word, names = key.encode(), {number: name for name, number in _KINDS.items()}
    try:
        length, count = struct.unpack_from("<II", data, len(_MAGIC))
        place = len(_MAGIC) + 8
        if data[: len(_MAGIC)] != _MAGIC or data[-len(_MAGIC) :] != _MAGIC or data[place : place + length] != word or count > 16:
            return None
        place += length
        forms = []
        for _ in range(count):
            kind, dimensions = struct.unpack_from("<BB", data, place)
            shape = struct.unpack_from(f"<{dimensions}Q", data, place + 2)
            place += 2 + 8 * dimensions
            forms.append((np.dtype(names[kind]), shape))
        arrays = []
        for dtype, shape in forms:
            place += -place % _ALIGNED
            arrays.append(np.ndarray(shape, dtype, buffer=data, offset=place))
            place += arrays[-1].nbytes
    except (struct.error, KeyError, ValueError, TypeError):
        return None
    return arrays if place + len(_MAGIC) == len(data) else None
