"""Where the image in a text is found, what is left of the text, and that no text takes long."""

from __future__ import annotations

import re
from typing import Any

import pytest

from emberank.dialects import embedded_image
from emberank.dialects.embedded_image import Embedded, SeveralImages, embedded, is_data_url

PNG = "data:image/png;base64,iVBORw0KGgo="
OTHER = "data:image/svg+xml;base64,PHN2Zy8+"


@pytest.mark.claim("nim:embeddings:modality-inferred")
@pytest.mark.parametrize(
    ("text", "rest"),
    [
        (PNG, ""),
        (f"  {PNG}\n", ""),
        (f"a page {PNG}", "a page"),
        (f"{PNG} a page", "a page"),
        (f"see {PNG}, page 3", "see , page 3"),
        (f"見よ{PNG}。", "見よ。"),
        (f'<img src="{PNG}"/>', ""),
        (f'see <img src="{PNG}"> here', "see  here"),
        (f"<img src='{PNG}' >tail", "tail"),
        (f"<img src={PNG}>", ""),
        (f'<IMG CLASS="a" SRC = "{PNG}" WIDTH=3>x', "x"),
        (f'<img\n  alt="a page"\n  src="{PNG}"\n  width="20"\n/>x', "x"),
        (f'<p><img src="{PNG}"></p>', "<p></p>"),
        (f'<img data-src="{PNG}">', '<img data-src="">'),
        (f"<img src=\"{PNG}' >", "<img src=\"' >"),  # no tag: its quotes do not match
        (f'<imgs src="{PNG}">', '<imgs src="">'),
        (f'<img src="{PNG}" ' + "x" * 5000 + ">", '<img src="" ' + "x" * 5000 + ">"),  # no tag of anybody's
        (f"![a page]({PNG})", "![a page]()"),
    ],
)
def test_an_image_is_found_wherever_it_stands_and_the_rest_is_the_text(text: str, rest: str) -> None:
    assert embedded(text) == Embedded(PNG, rest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a page",
        "it begins with data:image/ and is none",
        "data:image/png;base64,",
        "data:image/png;base64, and then nothing",
        "data:image/png,iVBORw0KGgo=",
        "data:image/svg+xml;utf8,<svg/>",
        "data:image/png;charset=utf-8;base64,AAAA",
        "data:image/;base64,AAAA",
        "data:text/plain;base64,AAAA",
        "https://example.com/a.png",
        '<img src="https://example.com/a.png">',
    ],
)
def test_what_is_no_data_url_of_an_image_is_text(text: str) -> None:
    assert embedded(text) is None


def test_a_data_url_that_is_none_does_not_hide_the_one_behind_it() -> None:
    assert embedded(f"data:image/png;base64, is how {PNG} begins") == Embedded(PNG, "data:image/png;base64, is how  begins")


@pytest.mark.parametrize("text", [f"{PNG} {OTHER}", f"{PNG}{PNG}", f'<img src="{PNG}"/><img src="{OTHER}"/>', f"{PNG} data:image/ {OTHER}"])
def test_a_second_image_is_not_passed_over(text: str) -> None:
    with pytest.raises(SeveralImages):
        embedded(text)


def test_a_text_that_mentions_another_image_has_one() -> None:
    assert embedded(f"{PNG} data:image/png;base64,") == Embedded(PNG, "data:image/png;base64,")


@pytest.mark.parametrize(("text", "is_one"), [(PNG, True), (OTHER, True), ("data:image/png;base64,", True), (f" {PNG}", False), ("data:image/png,AAAA", False)])
def test_a_data_url_is_known_by_its_beginning(text: str, is_one: bool) -> None:
    assert is_data_url(text) is is_one


class Counting(str):
    """A text that counts how often it is gone through."""

    __slots__ = ("finds",)
    finds: int

    def find(self, *arguments: Any) -> int:
        self.finds = getattr(self, "finds", 0) + 1
        return super().find(*arguments)


@pytest.mark.parametrize("piece", ["data:image/", "data:image/png;base64, ", "<img ", "<img src='", f"<img src='{PNG}", "data:image/" + "a" * 80])
def test_however_often_a_beginning_is_repeated_the_text_is_searched_twice_at_most(piece: str) -> None:
    text = Counting(piece * 2_000)
    try:
        embedded(text)
    except SeveralImages:
        assert PNG in piece
    assert text.finds <= 2


def test_the_pattern_that_reads_an_image_cannot_go_back() -> None:
    """Its repetitions are possessive, but for two padding signs: no text makes it try the same characters twice."""
    without_classes = re.sub(r"\[.*?\]", "c", embedded_image._URL.pattern)
    assert without_classes == "data:image/c{1,64}+;base64,c++={0,2}"


def test_only_so_much_of_a_tag_is_looked_at() -> None:
    far = "<img " + "a" * 3_000 + f' src="{PNG}">'
    assert embedded(far) == Embedded(PNG, re.sub("data.*=", "", far))
