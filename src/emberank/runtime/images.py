"""A data URL in, pixels in RGB out. The only module that knows Pillow; knows no model.

Limits are the embedding NIM's: 25 MiB of file, 8192 × 16384 pixels in either direction. They are held before a pixel is decoded.
Pixels are what Pillow's `convert("RGB")` gives, as the published processors have them: alpha is dropped, not laid on a colour; an
EXIF orientation is not applied (a TIFF's own orientation tag is); of an animation the first frame counts. Grey of 16 bits keeps its
upper byte, where Pillow would make nearly all of it white. A palette is applied before an image is resized, not after.
"""

from __future__ import annotations

import binascii
import contextlib
import ctypes
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL import ImageFile as PillowFile

from emberank.contract.errors import BadRequest
from emberank.runtime.image_file import FORMATS, ImageFile, UnreadableImage, examine, recognised

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_BYTES = 25 << 20
MOST_PIXELS = (8192, 16384)  # shorter and longer side

_BASE64 = ";base64,"
_PIECE = 1 << 18  # characters, a multiple of four
_LISTED = ", ".join(FORMATS[:-1]) + " or " + FORMATS[-1]


@dataclass(frozen=True, slots=True)
class Bitmap:
    """A decoded image; see tiles.py for what is wanted of it."""

    pixels: Image.Image

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.pixels.width

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.pixels.height

    def resized(self, width: int, height: int) -> NDArray[np.uint8]:
        """Its RGB bytes at another size, (height, width, 3), bicubic with anti-aliasing, as Pillow resizes."""
        if (width, height) == self.pixels.size:
            return np.asarray(self.pixels)
        return np.asarray(self.pixels.resize((width, height), Image.Resampling.BICUBIC))


def parse(url: str, place: str) -> ImageFile:
    """The file in a data URL, examined and within the limits, not decoded. Raises BadRequest; `place` is where the URL stood."""
    data = _payload(url, place)
    name = recognised(data)
    if name is None:
        raise BadRequest(f"{place} holds an image that is no {_LISTED}")
    try:
        file = examine(data, name)
    except UnreadableImage as cause:
        raise _unreadable(place, name, str(cause)) from cause
    short, long = sorted((file.width, file.height))
    if short > MOST_PIXELS[0] or long > MOST_PIXELS[1]:
        raise BadRequest(
            f"{place} holds an image of {file.width} x {file.height} pixels; at most {MOST_PIXELS[0]} x {MOST_PIXELS[1]} "
            f"or {MOST_PIXELS[1]} x {MOST_PIXELS[0]} are allowed"
        )
    return file


def _payload(url: str, place: str) -> bytes:
    head, separator, text = url.partition(_BASE64)
    if not separator or not head.startswith("data:image/"):
        raise BadRequest(f"{place} must hold an image as a base64 data URL such as data:image/png;base64,…")
    padding = 2 if text.endswith("==") else 1 if text.endswith("=") else 0
    size = len(text) // 4 * 3 - padding
    if size > MOST_BYTES:  # before the bytes are there twice
        raise BadRequest(f"{place} holds an image of {size} bytes; at most {MOST_BYTES} (25 MiB) are allowed")
    try:
        if len(text) % 4 or text.find("=", 0, len(text) - 2) >= 0:  # the strict mode lets more padding pass than there should be
            raise ValueError("padding")
        # Piece by piece: one call for it all would hold every other thread of the process up, for a tenth of a second.
        data = b"".join(binascii.a2b_base64(text[at : at + _PIECE], strict_mode=True) for at in range(0, len(text), _PIECE))
    except ValueError as cause:
        raise BadRequest(f"{place} holds an image whose base64 is not valid; send the standard alphabet with padding and no line breaks") from cause
    if not data:
        raise BadRequest(f"{place} holds an image of no bytes; send a {_LISTED} file")
    return data


def _unreadable(place: str, name: str, why: str) -> BadRequest:
    return BadRequest(f"{place} holds a {name} image that cannot be read: {why}")


def _quiet_libtiff() -> None:
    """libtiff writes a line to stderr for every row it cannot read: a caller's file would fill the log."""
    with contextlib.suppress(OSError, AttributeError):  # where it is linked in such a way that it cannot be found
        ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)  # type: ignore[attr-defined]


_quiet_libtiff()


class _Tiff(TiffImagePlugin.TiffImageFile):
    """Without Pillow's own limit, which is lower than NIM's and warns through the whole process; the size is known to be allowed."""

    def load_prepare(self) -> None:
        if self._im is None:
            self.im = Image.new(self.mode, self._tile_size).im
        PillowFile.ImageFile.load_prepare(self)


# Opened by class, not by Image.open: no format but these can be reached, and no global limit or registry is touched.
_OPENERS: dict[str, Callable[[io.BytesIO], Image.Image]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": _Tiff,
}
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")


def decode(file: ImageFile, place: str) -> Bitmap:
    """Its pixels; takes 4 bytes a pixel for the result and once to three times that while decoding. Blocks. Raises BadRequest."""
    try:
        with _OPENERS[file.format](io.BytesIO(file.data)) as image:
            if sorted(image.size) != sorted((file.width, file.height)):  # sorted: Pillow turns a TIFF that lies on its side
                raise UnreadableImage("it says two sizes")
            image.load()
            return Bitmap(_rgb(image))
    except UnreadableImage as cause:
        raise _unreadable(place, file.format, str(cause)) from cause
    except MemoryError:
        raise
    except Exception as cause:  # Pillow raises nearly anything on a broken file, and all of it means that
        raise _unreadable(place, file.format, "it is truncated or corrupt; send the whole file") from cause


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise UnreadableImage("its pixels have 32 bits a channel; send 8")
    if image.mode in _SIXTEEN_BITS:
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    image.info.pop("transparency", None)  # convert would warn of it, through the whole process
    return image if image.mode == "RGB" else image.convert("RGB")
