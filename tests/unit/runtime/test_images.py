"""Data URLs to pixels: every format as Pillow reads it, every limit at its edge, and files made to do harm."""

from __future__ import annotations

import base64
import io
import logging
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from emberank.contract.errors import BadRequest
from emberank.runtime import images
from picture_files import chunk, data_url, photo, png, saved, segment, tiff

PHOTO = photo(61, 37)
SECRET = "c2VjcmV0"


def read(data: bytes, kind: str = "png") -> np.ndarray[Any, Any]:
    return np.asarray(images.decode(images.parse(data_url(data, kind), "input[2]"), "input[2]").pixels)


def refused(data: bytes | str) -> str:
    with pytest.raises(BadRequest) as caught:
        images.decode(images.parse(data if isinstance(data, str) else data_url(data), "input[2]"), "input[2]")
    assert caught.value.message.startswith("input[2] ")
    return caught.value.message.removeprefix("input[2] ")


@pytest.fixture(autouse=True)
def nothing_else_changes() -> Iterator[None]:
    """Whatever a file holds: no warning, and Pillow's own settings stay."""
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, sorted(Image.OPEN))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, sorted(Image.OPEN)) == before


GREY16 = Image.fromarray(np.asarray(PHOTO.convert("L")).astype(np.uint16) * 256 + 17)
FILES = {
    **{f"{mode} png": saved(PHOTO.convert(mode), "PNG") for mode in ("RGB", "RGBA", "L", "LA", "P", "1")},
    **{f"{mode} tiff": saved(PHOTO.convert(mode), "TIFF") for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK")},
    **{f"{mode} gif": saved(PHOTO.convert(mode), "GIF") for mode in ("RGB", "RGBA", "L", "P", "1")},
    **{f"{mode} webp": saved(PHOTO.convert(mode), "WEBP") for mode in ("RGB", "RGBA")},
    **{f"{mode} bmp": saved(PHOTO.convert(mode), "BMP") for mode in ("RGB", "RGBA", "L", "P", "1")},
    **{f"{mode} jpeg": saved(PHOTO.convert(mode), "JPEG") for mode in ("RGB", "L", "CMYK")},
    **{f"tiff {kind}": saved(PHOTO, "TIFF", compression=kind) for kind in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")},
    "tiff fax": saved(PHOTO.convert("1"), "TIFF", compression="group4"),
    "tiff ycbcr": saved(PHOTO.convert("YCbCr"), "TIFF", compression="jpeg"),
    "progressive jpeg": saved(PHOTO, "JPEG", progressive=True),
    "lossless webp": saved(PHOTO, "WEBP", lossless=True),
    "webp with exif": saved(PHOTO.convert("RGBA"), "WEBP", exif=b"Exif\0\0abc", xmp=b"<x/>"),
    "animated png": saved(PHOTO, "PNG", save_all=True, append_images=[PHOTO.rotate(180)]),
    "animated gif": saved(PHOTO, "GIF", save_all=True, append_images=[PHOTO.rotate(180)], disposal=2),
    "animated webp": saved(PHOTO, "WEBP", save_all=True, append_images=[PHOTO.rotate(180)]),
    "tiff of pages": saved(PHOTO, "TIFF", save_all=True, append_images=[PHOTO.rotate(180)]),
    "palette with transparency": saved(PHOTO.convert("P"), "PNG", transparency=bytes(range(200))),
    "gif with transparency": saved(PHOTO.convert("P"), "GIF", transparency=3),
    "interlaced gif": saved(PHOTO.convert("P"), "GIF", interlace=True),
}


def by_pillow(data: bytes) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        image.info.pop("transparency", None)
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_that_pillow_converts_to_rgb(name: str) -> None:
    found = read(FILES[name])
    assert found.shape == (37, 61, 3)
    assert np.array_equal(found, by_pillow(FILES[name]))


@pytest.mark.claim("nim:images:formats")
@pytest.mark.parametrize("name", ["animated png", "animated gif", "animated webp", "tiff of pages"])
def test_of_several_frames_the_first_counts(name: str) -> None:
    first = saved(PHOTO, {"png": "PNG", "gif": "GIF", "webp": "WEBP"}.get(name.split()[-1], "TIFF"))
    assert np.abs(read(FILES[name]).astype(int) - by_pillow(first)).mean() < 15  # as far as palettes and lossy codecs differ
    assert np.abs(read(FILES[name]).astype(int) - np.asarray(PHOTO.rotate(180))).mean() > 20


def test_an_exif_orientation_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(PHOTO, "JPEG", exif=exif.tobytes())
    assert np.array_equal(read(turned), read(saved(PHOTO, "JPEG")))


def test_alpha_is_dropped_and_not_laid_on_a_colour() -> None:
    clear = PHOTO.copy()
    clear.putalpha(0)
    assert np.array_equal(read(saved(clear, "PNG")), np.asarray(PHOTO))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_sixteen_bits_keeps_its_upper_byte(kind: str) -> None:
    assert np.array_equal(read(saved(GREY16, kind))[:, :, 0], np.asarray(PHOTO.convert("L")))


def test_a_media_type_may_lie_where_the_bytes_are_another_known_format() -> None:
    assert np.array_equal(read(saved(PHOTO, "BMP"), "jpeg"), np.asarray(PHOTO))


@pytest.mark.claim("nim:images:formats")
@pytest.mark.parametrize("data", [b"<svg/>", b"%PDF-1.7", b"\0\0\0\x20ftypavif" + bytes(50), b"\0" * 100, b"x"])
def test_bytes_of_no_known_format_are_refused_whatever_they_are_called(data: bytes) -> None:
    assert refused(data) == "holds an image that is no PNG, JPEG, WebP, GIF, BMP or TIFF"


@pytest.mark.claim("nim:images:unreadable")
# A facsimile's missing rows are white: the format was made for bad lines.
@pytest.mark.parametrize("name", [name for name in FILES if name != "tiff fax"])
@pytest.mark.parametrize("part", [0.3, 0.7])
def test_a_truncated_file_is_refused(name: str, part: float) -> None:
    data = FILES[name]
    if "animated" in name or "pages" in name:
        part /= 2  # in the first frame
    assert refused(data[: int(len(data) * part)]).endswith((" it is truncated", "it is truncated or corrupt; send the whole file"))


# --- the data URL itself


@pytest.mark.parametrize(
    "url",
    ["https://example.com/a.png", "data:,", "data:image/png,AAAA", "data:text/plain;base64,AAAA", "", f"data:image/png;base32,{SECRET}"],
)
def test_what_is_no_base64_data_url_of_an_image_is_refused(url: str) -> None:
    assert refused(url) == "must hold an image as a base64 data URL such as data:image/png;base64,…"


@pytest.mark.parametrize("text", ["AAA", "A===", "AA=A", "AAAA====", "AAAA\n", "AA AA", "AAA-", "AAA_", "AAAé", "%2BAAA", "=AAA"])
def test_base64_is_read_strictly(text: str) -> None:
    said = "holds an image whose base64 is not valid; send the standard alphabet with padding and no line breaks"
    assert refused(f"data:image/png;base64,{text}") == said


def test_an_image_of_no_bytes_is_refused() -> None:
    assert refused("data:image/png;base64,").startswith("holds an image of no bytes")


@pytest.mark.claim("nim:images:unreadable")
def test_no_sentence_repeats_what_was_sent() -> None:
    for data in (base64.b64decode(SECRET), png(1 << 20, 9, chunk(b"tEXt", b"secret")), png(8, 8, pixels=b"secret")):
        assert "secret" not in refused(data)
        assert SECRET not in refused(data)


# --- limits


@pytest.mark.claim("nim:images:limits")
def test_a_file_may_have_25_mib_and_not_a_byte_more() -> None:
    most = 25 << 20
    padded = png(8, 8, chunk(b"tEXt", bytes(most - len(png(8, 8)) - 12)))
    assert len(padded) == most
    assert read(padded).shape == (8, 8, 3)
    for more in (1, 2, 3):
        assert refused(padded + bytes(more)) == f"holds an image of {most + more} bytes; at most 26214400 (25 MiB) are allowed"


def test_too_large_a_file_is_refused_before_its_bytes_are_made() -> None:
    url = "data:image/png;base64," + "A" * (40 << 20)
    tracemalloc.start()
    try:
        assert "bytes; at most" in refused(url)
        # The text behind the comma is one copy of it; the bytes would be another 30 MB.
        assert tracemalloc.get_traced_memory()[1] < 45 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.claim("nim:images:limits")
@pytest.mark.parametrize("size", [(8192, 16384), (16384, 8192)])
def test_the_largest_size_passes_the_header(size: tuple[int, int]) -> None:
    file = images.parse(data_url(png(*size, pixels=b"")), "input[0]")
    assert (file.width, file.height) == size


@pytest.mark.claim("nim:images:limits")
@pytest.mark.parametrize("size", [(8193, 16384), (16384, 8193), (16385, 1), (1, 16385), (2**31 - 1, 2**31 - 1), (8193, 8193)])
def test_one_pixel_more_is_refused(size: tuple[int, int]) -> None:
    said = f"holds an image of {size[0]} x {size[1]} pixels; at most 8192 x 16384 or 16384 x 8192 are allowed"
    assert refused(png(*size, pixels=b"")) == said


# --- files made to do harm


def bomb(name: str) -> bytes:
    """A small file that says it is 60,000 pixels wide and high, or as many as the format can."""
    size = 60_000
    match name:
        case "PNG":
            return png(size, size, pixels=b"")
        case "JPEG":
            frame = segment(0xC2, struct.pack(">BHHB", 8, size, size, 1) + b"\1\x11\0")
            return b"\xff\xd8" + segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0") + frame + segment(0xDA, b"\1\1\0\0\x3f\0") + bytes(10)
        case "GIF":
            return b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + b"\x2c" + struct.pack("<HHHHB", 0, 0, size, size, 0) + b"\x08\0\x3b"
        case "WebP":
            body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + (size - 1).to_bytes(3, "little") * 2
            return b"RIFF" + struct.pack("<I", len(body)) + body
        case "BMP":
            return b"BM" + struct.pack("<IIIIiiHHIIIIII", 54, 0, 54, 40, size, -size, 1, 24, 0, 0, 0, 0, 0, 0)
        case _:
            return tiff([(256, 4, 1, size), (257, 4, 1, size), (259, 3, 1, 1)])


@pytest.mark.claim("nim:images:unreadable")
@pytest.mark.parametrize("name", ["PNG", "JPEG", "GIF", "WebP", "BMP", "TIFF"])
def test_a_decompression_bomb_is_refused_from_its_header(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_OPENERS", {})  # nobody opens it
    assert refused(bomb(name)) == "holds an image of 60000 x 60000 pixels; at most 8192 x 16384 or 16384 x 8192 are allowed"


def test_text_that_inflates_is_not_inflated() -> None:
    inflating = b"note\0\0" + zlib.compress(bytes(60_000_000), 9)
    tracemalloc.start()
    try:
        assert read(png(8, 8, *[chunk(b"zTXt", inflating)] * 20)).shape == (8, 8, 3)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_exif_whose_tags_overlap_is_not_read() -> None:
    entries = b"".join(struct.pack("<HHII", tag, 7, 60_000, 8) for tag in range(5_000))
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 5_000) + entries
    data = saved(PHOTO, "JPEG")
    assert np.array_equal(read(data[:2] + segment(0xE1, exif) + data[2:]), read(data))


def test_a_tiff_of_a_thousand_directories_is_read_once() -> None:
    plain = saved(Image.new("L", (4, 4), 7), "TIFF")
    start = struct.unpack_from("<I", plain, 4)[0]
    count = struct.unpack_from("<H", plain, start)[0]
    looped = bytearray(plain)
    struct.pack_into("<I", looped, start + 2 + 12 * count, start)  # the next directory is this one
    assert read(bytes(looped)).tolist() == [[[7, 7, 7]] * 4] * 4


def test_a_jpeg_that_says_more_than_it_holds_is_refused() -> None:
    data = bytearray(saved(PHOTO, "JPEG"))
    frame = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, frame + 5, 4000, 4000)
    assert refused(bytes(data)) == "holds a JPEG image that cannot be read: it is truncated"


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (800, 600), (1000, 8)])
def test_the_smallest_honest_jpeg_is_not_taken_for_a_truncated_one(size: tuple[int, int], subsampling: int) -> None:
    for image in (Image.new("RGB", size), Image.new("L", size)):
        options = {} if image.mode == "L" else {"subsampling": subsampling}
        assert read(saved(image, "JPEG", optimize=True, quality=1, **options)).shape == (size[1], size[0], 3)


def test_a_pixel_stream_that_ends_early_is_refused() -> None:
    assert "truncated or corrupt" in refused(png(64, 64, pixels=zlib.compress(b"\0" * 100)))
    assert "truncated or corrupt" in refused(png(64, 64, pixels=b"no zlib at all"))


def test_a_checksum_that_is_wrong_is_refused() -> None:
    data = bytearray(FILES["RGB png"])
    data[data.index(b"IDAT") + 10] ^= 1
    assert "truncated or corrupt" in refused(bytes(data))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_of_32_bits_are_refused(mode: str) -> None:
    assert refused(saved(PHOTO.convert(mode), "TIFF")) == "holds a TIFF image that cannot be read: its pixels have 32 bits a channel; send 8"


@pytest.mark.claim("nim:images:unreadable")
def test_a_decoder_that_finds_another_size_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    file = images.parse(data_url(FILES["RGB png"]), "input[2]")
    with pytest.raises(BadRequest, match="cannot be read: it says two sizes"):
        images.decode(images.ImageFile(format="PNG", width=60, height=37, data=file.data), "input[2]")


def test_a_tiff_over_pillow_s_own_limit_is_read_without_a_word() -> None:
    wide = saved(Image.new("1", (8192, 11_000)), "TIFF", compression="group4")
    assert (Image.MAX_IMAGE_PIXELS or 0) < 8192 * 11_000
    bitmap = images.decode(images.parse(data_url(wide), "input[2]"), "input[2]")
    assert (bitmap.width, bitmap.height) == (8192, 11_000)


def test_a_broken_facsimile_leaves_no_line_behind(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    data = bytearray(FILES["tiff fax"])
    data[10:60] = bytes(range(50))
    with caplog.at_level(logging.DEBUG):
        read(bytes(data))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", FILES)
def test_no_byte_of_a_file_brings_anything_but_pixels_or_a_refusal(name: str) -> None:
    random = np.random.default_rng(len(name))
    for _ in range(60):
        data = bytearray(FILES[name])
        for _ in range(random.integers(1, 4)):
            data[random.integers(len(data)) if random.random() < 0.5 else random.integers(min(200, len(data)))] = random.integers(256)
        try:
            assert read(bytes(data)).shape[2] == 3
        except BadRequest as refusal:
            assert refusal.message.startswith("input[2] holds a")  # noqa: PT017
