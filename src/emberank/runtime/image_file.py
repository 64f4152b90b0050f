"""An image file's bytes in; its format, its size and the same file without what pixels do not need out. Decodes no pixel.

Whatever a file says of itself is read here first, within bounds, so that a decoder is only ever started on an image of a size that
is allowed, and never sees metadata: text chunks that inflate, EXIF tables whose entries overlap, directories of a million pages.
Formats: PNG (W3C, third edition), JPEG (ITU-T T.81), GIF89a, WebP (RFC 9649), BMP and TIFF 6.0.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_MOST_CHUNKS = 65_536  # of a PNG: more than any encoder writes, and soon walked through
_MOST_SEGMENTS = 4_096  # of a JPEG before its first scan
_MOST_SCANS = 100  # of a JPEG: each goes over the whole image, whatever little it holds
_MOST_EXTENSION_BYTES = 1 << 20  # of a GIF before its first frame
_MOST_TAGS = 1_024  # of a TIFF's first directory
_MOST_SAMPLES = 6  # of a pixel of a TIFF: CMYK and two more
_MOST_TAG_BYTES = 1 << 20  # where its strips or tiles are, and its palette


class UnreadableImage(Exception):
    """Why a file cannot be read, to be said after "holds a PNG image that cannot be read: "."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """A file that names a format and a size. `data` may still be corrupt where its pixels are."""

    format: str  # PNG, JPEG, WebP, GIF, BMP or TIFF
    width: int
    height: int
    data: bytes


_Essence = tuple[int, int, bytes]  # width, height, the file without its metadata
_TRUNCATED = "it is truncated"


def recognised(data: bytes) -> str | None:
    """The format whose signature the bytes begin with, whatever their sender calls them; None for none that is read here."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    return next((name for name, signatures in _SIGNATURES.items() if data.startswith(signatures)), None)


def examine(data: bytes, name: str) -> ImageFile:
    """A file of the format `name`. Raises UnreadableImage."""
    try:
        width, height, essence = _READERS[name](data)
    except (struct.error, IndexError, ValueError) as cause:
        raise UnreadableImage(_TRUNCATED) from cause
    if width < 1 or height < 1:
        raise UnreadableImage("it has no pixels")
    return ImageFile(format=name, width=width, height=height, data=essence)


def _png(data: bytes) -> _Essence:
    # What follows the signature is chunks: length, name, content, checksum. A decoder needs four kinds of them to give RGB.
    kept, at, seen = [data[:8]], 8, 0
    view = memoryview(data)
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        seen += 1
        if seen == 1 and (kind != b"IHDR" or length != 13):
            raise UnreadableImage("it does not begin with its header")
        if end > len(data):
            raise UnreadableImage(_TRUNCATED)
        if seen > _MOST_CHUNKS:
            raise UnreadableImage(f"it has more than {_MOST_CHUNKS} chunks")
        if kind in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            kept.append(view[at:end])  # type: ignore[arg-type]
        if kind == b"IEND":
            break
        at = end
    width, height = struct.unpack_from(">II", data, 16)
    return width, height, b"".join(kept)


# Start-of-frame markers, which hold the size: all of C0…CF but the tables C4, C8 and CC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Application data but JFIF (E0) and Adobe (EE), which say what the colours are; and comments.
_JPEG_METADATA = frozenset(range(0xE1, 0xF0)) - {0xEE} | {0xFE}


def _jpeg(data: bytes) -> _Essence:
    size: tuple[int, int] | None = None
    least = 0
    kept = [data[:2]]
    for marker, at, end in _jpeg_segments(data):
        if marker in _FRAMES:
            if size is not None:
                raise UnreadableImage("it says its size twice")
            height, width = struct.unpack_from(">HH", data, at + 5)
            size = width, height
            least = _jpeg_least_bytes(data, at) if marker in (0xC0, 0xC1) else 0
        if marker == 0xDA:
            if size is None:
                raise UnreadableImage("it does not say its size")
            if data.count(b"\xff\xda", at) > _MOST_SCANS:
                raise UnreadableImage(f"it has more than {_MOST_SCANS} scans")
            if len(data) - at < least:  # decoders make grey of what is missing, and say nothing
                raise UnreadableImage(_TRUNCATED)
            return *size, b"".join([*kept, data[at:]])
        if marker not in _JPEG_METADATA:
            kept.append(data[at:end])
    raise UnreadableImage(_TRUNCATED)


def _jpeg_least_bytes(data: bytes, frame: int) -> int:
    """What the pixels of a sequential JPEG take at the least: each block of 8 × 8 has a code for its mean and one for the rest, of a bit or more."""
    height, width, components = struct.unpack_from(">HHB", data, frame + 5)
    factors = [(data[frame + 11 + 3 * n] >> 4, data[frame + 11 + 3 * n] & 15) for n in range(components)]
    across, down = max(max(h for h, _ in factors), 1), max(max(v for _, v in factors), 1)
    units: int = (width // (8 * across)) * (height // (8 * down))
    return units * sum(h * v for h, v in factors) * 2 // 8


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment until the first scan, whose end is where its header ends."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        if data[at] != 0xFF:
            raise UnreadableImage("its segments do not follow one another")
        while data[at + 1] == 0xFF:  # any number of them may fill
            at += 1
        marker = data[at + 1]
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        if end > len(data):
            raise UnreadableImage(_TRUNCATED)
        yield marker, at, end
        at = end
    raise UnreadableImage(f"it has more than {_MOST_SEGMENTS} segments before its first scan")


def _gif(data: bytes) -> _Essence:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    table = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    at, control = table, b""
    while data[at] == 0x21:  # extensions: comments, applications, and how the frame is shown
        start, label = at, data[at + 1]
        at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
        if label == 0xF9 and at - start == 8:
            # How the frame makes way for the next is nobody's concern; which colour is transparent fills what the frame leaves free.
            control = bytes([*data[start : start + 3], data[start + 3] & ~0x1C, *data[start + 4 : at]])
        if at - table > _MOST_EXTENSION_BYTES:
            raise UnreadableImage(f"it has more than {_MOST_EXTENSION_BYTES} bytes of extensions before its first frame")
    if data[at] != 0x2C:
        raise UnreadableImage("it has no frame")
    left, top, across, down = struct.unpack_from("<HHHH", data, at + 1)
    # A frame may reach beyond the screen it is shown on, and decoders then enlarge the screen.
    width, height = max(width, left + across), max(height, top + down)
    if width > 0xFFFF or height > 0xFFFF:
        raise UnreadableImage("its first frame lies outside of every screen")
    screen = data[:6] + struct.pack("<HH", width, height) + data[10:table]
    return width, height, screen + control + data[at:]


def _webp(data: bytes) -> _Essence:
    # Three kinds of first chunk, each with the size at a place of its own.
    kind = data[12:16]
    if 8 + struct.unpack_from("<I", data, 4)[0] > len(data):
        raise UnreadableImage(_TRUNCATED)
    if kind == b"VP8X":
        low = struct.unpack_from("<HBHB", data, 24)
        return (low[0] | low[1] << 16) + 1, (low[2] | low[3] << 16) + 1, data
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, data
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF, data
    raise UnreadableImage("it does not begin with its header")


def _bmp(data: bytes) -> _Essence:
    header = struct.unpack_from("<I", data, 14)[0]
    if header == 12:  # OS/2's first
        width, height = struct.unpack_from("<HH", data, 18)
        return width, height, data
    width, height, _, _, compression = struct.unpack_from("<iiHHI", data, 18)
    if compression in (1, 2):  # a decoder in Python, a byte at a time
        raise UnreadableImage("its pixels are run-length encoded; send it uncompressed or as PNG")
    return width, abs(height), data


# The tags of TIFF 6.0 (and of its technical notes) that say where and how pixels are stored.
_TIFF_TAGS = frozenset(
    {256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 338, 339, 347, 529, 530, 531, 532}
)
# None, CCITT, LZW, JPEG, Deflate (by both its numbers) and PackBits: what scanners and editors write.
_TIFF_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, 7, 8, 32946, 32773})
_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # by type


def _tiff(data: bytes) -> _Essence:
    """The file with a directory of its own at its end, and none but that."""
    order = "<" if data[:2] == b"II" else ">"
    entries = _tiff_entries(data, order)
    width, height = (_tiff_number(entries, tag, order) for tag in (256, 257))
    if 259 in entries and _tiff_number(entries, 259, order) not in _TIFF_COMPRESSIONS:
        raise UnreadableImage("its compression is not known here; send Deflate, LZW, JPEG, PackBits, CCITT or none")
    if 277 in entries and _tiff_number(entries, 277, order) > _MOST_SAMPLES:
        raise UnreadableImage(f"it has more than {_MOST_SAMPLES} samples a pixel")
    if {322, 323} & set(entries):
        tile = _tiff_number(entries, 322, order) * _tiff_number(entries, 323, order)
        if tile > max(width * height, 1 << 20):  # a decoder holds a whole tile
            raise UnreadableImage("its tiles are larger than the image")
    padding = b"\0" * (len(data) % 2)
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + b"\0\0\0\0"
    return width, height, data[:4] + struct.pack(f"{order}I", len(data) + len(padding)) + data[8:] + padding + directory


def _tiff_entries(data: bytes, order: str) -> dict[int, bytes]:
    """The twelve bytes of each tag of the first directory that pixels need."""
    at = struct.unpack_from(f"{order}I", data, 4)[0]
    count = struct.unpack_from(f"{order}H", data, at)[0]
    if count > _MOST_TAGS:
        raise UnreadableImage(f"it has more than {_MOST_TAGS} tags")
    entries: dict[int, bytes] = {}
    taken = 0
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(f"{order}HHI", data, entry)
        place = struct.unpack_from(f"{order}I", data, entry + 8)[0]
        if tag not in _TIFF_TAGS or tag in entries:
            continue
        size = values * _TIFF_BYTES.get(kind, 0)
        if size > 4 and place + size > len(data):
            raise UnreadableImage(_TRUNCATED)
        taken += size
        entries[tag] = data[entry : entry + 12]
    if taken > _MOST_TAG_BYTES:
        raise UnreadableImage(f"its tags hold more than {_MOST_TAG_BYTES} bytes")
    return entries


def _tiff_number(entries: dict[int, bytes], tag: int, order: str) -> int:
    entry = entries.get(tag)
    if entry is None:
        raise UnreadableImage("it does not say its size")
    kind, count = struct.unpack_from(f"{order}HI", entry, 2)
    if count != 1 or kind not in (3, 4):
        raise UnreadableImage("its size is no number")
    found: int = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", entry, 8)[0]
    return found


_SIGNATURES: dict[str, tuple[bytes, ...]] = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": (b"BM",),
    "TIFF": (b"II*\0", b"MM\0*"),
}
_READERS: dict[str, Callable[[bytes], _Essence]] = {"PNG": _png, "JPEG": _jpeg, "WebP": _webp, "GIF": _gif, "BMP": _bmp, "TIFF": _tiff}
FORMATS = tuple(_READERS)
