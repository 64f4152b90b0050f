"""A text in; the image data URL inside it, and the text around it, out. Pure; does not look into the image.

A text may be tens of megabytes, nearly all of it one image, and any text can come: every step goes through it once, by `find` or by a
pattern that never goes back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from emberank.contract.errors import BadRequest

_START = "data:image/"
_URL = re.compile(r"data:image/[A-Za-z0-9.+-]{1,64}+;base64,[A-Za-z0-9+/]++={0,2}")
_TAG_START, _TAG_END = re.compile(r"<img(?:\s[^<>]*)?\ssrc\s*=\s*([\"']?)\s*\Z", re.IGNORECASE), re.compile(r"\s*([\"']?)(?:\s[^<>]*|/)?>")
_TAG_ROOM = 2_048  # characters of an <img> tag before its data URL, or after it


class SeveralImages(Exception):
    """A text holds more than one image."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A base64 data URL, and the text without it: without the whole `<img>` tag, where the URL is the `src` of one."""

    url: str
    rest: str


def embedded(text: str) -> Embedded | None:
    """The image in a text; None where there is none. Raises SeveralImages."""
    first = text.find(_START)
    found = None if first < 0 else _URL.search(text, first)
    if found is None:
        return None
    start, end = found.span()
    second = text.find(_START, end)
    if second >= 0 and _URL.search(text, second):
        raise SeveralImages
    opening = _TAG_START.search(text, _tag(text, start), start)
    closing = None if opening is None else _TAG_END.match(text, end, end + _TAG_ROOM)
    if opening is not None and closing is not None and opening[1] == closing[1]:
        start, end = opening.start(), closing.end()
    return Embedded(found[0], (text[:start] + text[end:]).strip())


def _tag(text: str, before: int) -> int:
    """Where the last `<` before this place is, or this place."""
    found = text.rfind("<", max(0, before - _TAG_ROOM), before)
    return found if found >= 0 else before


def is_data_url(text: str) -> bool:
    """Whether a text begins as the data URL of an image in base64."""
    return re.match(r"data:image/[A-Za-z0-9.+-]{1,64}+;base64,", text) is not None


def image_url(value: object, at: str) -> str:
    """A field that has to hold the data URL of an image. Raises BadRequest naming it."""
    if not isinstance(value, str) or not is_data_url(value):
        raise BadRequest(f"{at} must be a base64 data URL such as data:image/png;base64,…; nothing is fetched from elsewhere")
    return value
