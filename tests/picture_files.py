"""Numbers in, image files of every format out: some as Pillow writes them, some that no honest program would write."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """An RGB image with something everywhere: a colour ramp under coarse noise."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 128, (height // 4 + 1, width // 4 + 1, 3))
    noise = coarse.repeat(4, 0).repeat(4, 1)[:height, :width]
    ramp = np.stack(np.broadcast_arrays(np.arange(width) * 127 // width, (np.arange(height) * 127 // height)[:, None], 64), axis=-1)
    return Image.fromarray((noise + ramp).astype(np.uint8))


def saved(image: Image.Image, name: str, **options: Any) -> bytes:
    """The image as a file of a format."""
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def data_url(data: bytes, kind: str = "png") -> str:
    """The file as a data URL."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *more: bytes, pixels: bytes | None = None) -> bytes:
    """A PNG that says it has this size, with further chunks before its pixels; a whole one-bit image of zeros unless told otherwise."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    rows = zlib.compress(b"\0" * ((width + 7) // 8 + 1) * height) if pixels is None else pixels
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def tiff(entries: list[tuple[int, int, int, int]], body: bytes = b"", following: int = 0) -> bytes:
    """A little-endian TIFF: `body` from byte 8 on, then one directory of (tag, type, count, value) and where the next is."""
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory
