"""What is read of a file before any pixel: its format by its bytes, its size, and that what pixels do not need is left out or refused."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from PIL import Image

from emberank.runtime import image_file
from emberank.runtime.image_file import UnreadableImage, examine, recognised
from picture_files import chunk, photo, png, saved, segment, tiff

WIDTH, HEIGHT = 61, 37
FILES = {
    "PNG": saved(photo(WIDTH, HEIGHT), "PNG"),
    "JPEG": saved(photo(WIDTH, HEIGHT), "JPEG"),
    "WebP": saved(photo(WIDTH, HEIGHT), "WEBP"),
    "GIF": saved(photo(WIDTH, HEIGHT), "GIF"),
    "BMP": saved(photo(WIDTH, HEIGHT), "BMP"),
    "TIFF": saved(photo(WIDTH, HEIGHT), "TIFF"),
}
VARIANTS = [
    ("JPEG", saved(photo(WIDTH, HEIGHT), "JPEG", progressive=True)),
    ("JPEG", b"\xff\xd8" + b"\xff" * 3 + FILES["JPEG"][2:]),
    ("WebP", saved(photo(WIDTH, HEIGHT), "WEBP", lossless=True)),
    ("WebP", saved(photo(WIDTH, HEIGHT).convert("RGBA"), "WEBP", exif=b"Exif\0\0")),
    ("BMP", b"BM" + bytes(12) + struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24)),
    ("BMP", FILES["BMP"][:22] + struct.pack("<i", -HEIGHT) + FILES["BMP"][26:]),
    ("TIFF", b"MM\0*" + struct.pack(">IHHHIHHHHIHHI", 8, 2, 256, 3, 1, WIDTH, 0, 257, 3, 1, HEIGHT, 0, 0)),
]


@pytest.mark.parametrize("name", FILES)
def test_a_format_is_known_by_its_bytes(name: str) -> None:
    assert recognised(FILES[name]) == name


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF", b"GIF88a", b"<svg/>", b"%PDF-1.7", b"RIFF\0\0\0\0WAVE", b"\x89PNG", b"\0\0\0\x20ftypavif", b"II+\0", b"MM\0+", b"text", b"8BPS", b"\0\0\1\0"],
)
def test_other_bytes_are_of_no_format(data: bytes) -> None:
    assert recognised(data) is None


@pytest.mark.parametrize(("name", "data"), [*FILES.items(), *VARIANTS])
def test_the_size_is_read_without_decoding(name: str, data: bytes) -> None:
    file = examine(data, name)
    assert (file.format, file.width, file.height) == (name, WIDTH, HEIGHT)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_ends_in_its_header_is_truncated(name: str) -> None:
    header = {"PNG": 30, "JPEG": 100, "WebP": 40, "GIF": 785, "BMP": 30, "TIFF": 100}[name]
    for length in range(8, header):
        assert refused(FILES[name][:length], name)


def refused(data: bytes, name: str) -> str:
    with pytest.raises(UnreadableImage) as caught:
        examine(data, name)
    return str(caught.value)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0)])
def test_an_image_without_pixels_is_refused(width: int, height: int) -> None:
    assert refused(png(width, height), "PNG") == "it has no pixels"


def test_a_png_is_kept_without_its_metadata() -> None:
    pixels = png(8, 8)
    notes = [chunk(kind, b"x" * 1000) for kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP", b"acTL", b"tRNS")]
    assert examine(png(8, 8, *notes), "PNG").data == pixels


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b""), "it does not begin with its header"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"1"), "it does not begin with its header"),
        (png(8, 8)[:-12], "it is truncated"),
        (png(8, 8).replace(b"IDAT", b"IDOT")[:-30], "it is truncated"),
    ],
)
def test_a_png_whose_chunks_are_wrong_is_refused(data: bytes, said: str) -> None:
    assert refused(data, "PNG") == said


def test_a_png_of_too_many_chunks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_file, "_MOST_CHUNKS", 10)
    assert examine(png(8, 8, *[chunk(b"tEXt", b"")] * 7), "PNG").width == 8
    assert refused(png(8, 8, *[chunk(b"tEXt", b"")] * 8), "PNG") == "it has more than 10 chunks"


def jpeg(*more: bytes) -> bytes:
    return FILES["JPEG"][:2] + b"".join(more) + FILES["JPEG"][2:]


def test_a_jpeg_is_kept_without_its_metadata() -> None:
    notes = [segment(marker, b"x" * 60_000) for marker in (0xE1, 0xE2, 0xED, 0xFE) for _ in range(20)]
    assert examine(jpeg(*notes), "JPEG").data == FILES["JPEG"]


def test_what_says_a_jpegs_colours_is_kept() -> None:
    adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0\1")
    assert adobe in examine(jpeg(adobe), "JPEG").data


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (jpeg(segment(0xC0, b"\x08\0\x05\0\x05\1\1\x11\0")), "it says its size twice"),
        (b"\xff\xd8" + segment(0xDA, b""), "it does not say its size"),
        (b"\xff\xd8\xff\xe0\0\x04ab?", "its segments do not follow one another"),
        (b"\xff\xd8" + segment(0xFE, b"x" * 99)[:50], "it is truncated"),
        (FILES["JPEG"][:2] + segment(0xFE, b"") * 4_096 + FILES["JPEG"][2:], "it has more than 4096 segments before its first scan"),
        (FILES["JPEG"] + segment(0xDA, b"") * 100, "it has more than 100 scans"),
    ],
)
def test_a_jpeg_whose_segments_are_wrong_is_refused(data: bytes, said: str) -> None:
    assert refused(data, "JPEG") == said


def gif(extensions: bytes, left: int = 0, top: int = 0) -> bytes:
    made = bytearray(FILES["GIF"])
    start = 13 + 768
    assert made[start] == 0x2C
    made[start + 1 : start + 5] = struct.pack("<HH", left, top)
    return bytes(made[:start]) + extensions + bytes(made[start:])


def sub_blocks(content: bytes) -> bytes:
    return b"".join(bytes([len(content[i : i + 255])]) + content[i : i + 255] for i in range(0, len(content), 255)) + b"\0"


def test_a_gif_is_kept_without_its_comments_and_applications() -> None:
    notes = b"\x21\xfe" + sub_blocks(b"a comment" * 1000) + b"\x21\xff" + sub_blocks(b"NETSCAPE2.0") + b"\x21\x01" + sub_blocks(b"text")
    assert examine(gif(notes), "GIF").data == FILES["GIF"]


def test_how_a_gif_s_frame_is_removed_is_left_out_and_its_transparent_colour_stays() -> None:
    control = b"\x21\xf9\x04\x0d\x00\x00\x07\x00"  # disposal 3, transparent colour 7
    assert b"\x21\xf9\x04\x01\x00\x00\x07\x00" in examine(gif(control), "GIF").data


def test_a_gif_s_frame_that_reaches_beyond_its_screen_counts() -> None:
    file = examine(gif(b"", left=1000, top=2000), "GIF")
    assert (file.width, file.height) == (1000 + WIDTH, 2000 + HEIGHT)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (gif(b"\x21\xfe" + sub_blocks(b"x" * (1 << 20))), "it has more than 1048576 bytes of extensions before its first frame"),
        (gif(b"\x3b"), "it has no frame"),
        (gif(b"", left=0xFFFF), "its first frame lies outside of every screen"),
        (gif(b"\x21\xfe" + b"\xff" * 20)[: 13 + 768 + 22], "it is truncated"),
    ],
)
def test_a_gif_whose_blocks_are_wrong_is_refused(data: bytes, said: str) -> None:
    assert refused(data, "GIF") == said


def test_a_webp_that_is_shorter_than_it_says_is_truncated() -> None:
    assert refused(FILES["WebP"][:-1], "WebP") == "it is truncated"
    assert refused(b"RIFF\x10\0\0\0WEBPALPH" + bytes(20), "WebP") == "it does not begin with its header"


@pytest.mark.parametrize("compression", [1, 2])
def test_a_run_length_encoded_bmp_is_refused(compression: int) -> None:
    data = FILES["BMP"][:30] + struct.pack("<I", compression) + FILES["BMP"][34:]
    assert refused(data, "BMP") == "its pixels are run-length encoded; send it uncompressed or as PNG"


SIZE = [(256, 4, 1, 4), (257, 3, 1, 3)]


def test_a_tiff_is_kept_with_one_directory_of_the_tags_that_pixels_need() -> None:
    file = examine(tiff([*SIZE, (258, 3, 1, 8), (270, 2, 9, 8), (34665, 4, 1, 0), (65000, 7, 2, 0)], b"a comment", following=8), "TIFF")
    start = struct.unpack_from("<I", file.data, 4)[0]
    assert struct.unpack_from("<H", file.data, start) == (3,)
    assert [struct.unpack_from("<H", file.data, start + 2 + 12 * n)[0] for n in range(3)] == [256, 257, 258]
    assert file.data[start + 2 + 36 :] == b"\0\0\0\0"
    assert (file.width, file.height) == (4, 3)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (tiff([SIZE[0]]), "it does not say its size"),
        (tiff([(256, 2, 1, 4), SIZE[1]]), "its size is no number"),
        (tiff([(256, 4, 2, 4), SIZE[1]]), "its size is no number"),
        (tiff([*SIZE, (259, 3, 1, 34925)]), "its compression is not known here; send Deflate, LZW, JPEG, PackBits, CCITT or none"),
        (tiff([*SIZE, (277, 3, 1, 7)]), "it has more than 6 samples a pixel"),
        (tiff([*SIZE, (273, 4, 1000, 8)]), "it is truncated"),
        (tiff([*SIZE, (273, 4, 200_000, 8), (279, 4, 200_000, 8)], bytes(800_000)), "its tags hold more than 1048576 bytes"),
        (tiff([(i, 4, 1, 0) for i in range(1_025)]), "it has more than 1024 tags"),
        (tiff([*SIZE, (322, 3, 1, 60_000), (323, 3, 1, 60_000)]), "its tiles are larger than the image"),
        (tiff([*SIZE, (322, 3, 1, 16)]), "it does not say its size"),
        (tiff(SIZE)[:-20], "it is truncated"),
        (b"II*\0" + struct.pack("<I", 1 << 31), "it is truncated"),
    ],
)
def test_a_tiff_whose_tags_are_wrong_is_refused(data: bytes, said: str) -> None:
    assert refused(data, "TIFF") == said


def test_tags_that_pixels_do_not_need_may_say_what_they_like() -> None:
    assert examine(tiff([*SIZE, *[(40_000 + i, 7, 1 << 31, 8) for i in range(1_000)]]), "TIFF").width == 4


def test_of_a_tag_that_is_there_twice_the_first_counts() -> None:
    assert examine(tiff([*SIZE, (256, 4, 1, 99)]), "TIFF").width == 4


def test_what_is_kept_is_still_the_same_image() -> None:
    image: Any
    for name, data in FILES.items():
        with Image.open(__import__("io").BytesIO(examine(data, name).data)) as image:
            assert (image.format, image.size) == ("WEBP" if name == "WebP" else name, (WIDTH, HEIGHT))
