"""A text that is longer than is read at one time in, the pieces it is read in out. Pure: knows no tokenizer, no query and no network.

The rule. A piece begins where the one before it ended, behind white space. It has at most `Ruler.most` tokens, counted where a passage stands.
It ends at the last end of a sentence or line among its last tenth of tokens; where there is none, at the last white space there; where there is
none either, between two tokens, and not before a combining mark. White space at either end of a piece belongs to no piece.
A character that has more tokens than a piece may have is a piece of its own; whoever reads it cuts it.

The time is linear in the text: it is tokenised in windows for several pieces, and each piece once more, because a part of a text may have other
tokens by itself than inside the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_CHUNKS = 1000  # of one passage
MOST_PIECES = 8192  # of all passages of one call that are read in several: the bound on what a call's sequences take

Begins = NDArray[np.int64]  # (tokens,), the character that each token begins with, in order
Span = tuple[int, int]  # characters [start, end)

_CHARS_PER_TOKEN = 32  # of the first window: enough for several pieces in nearly every language
_LEAST_WINDOW, _MOST_WINDOW = 2048, 1 << 19  # characters
_PIECES_IN_A_WINDOW = 4
_MARKS = 16  # combining marks that are kept with their letter
_CLOSING = 4  # characters that close what a sentence's last mark ends

_SPACES = re.compile(r"\s*")
_TO_LAST_SPACE = re.compile(r".*\s", re.DOTALL)
# A mark that ends a sentence, with what closes behind it; in scripts that write no spaces none has to follow.
_SENTENCE = re.compile(r"""[.!?…؟۔।]["'”’»)\]]*(?=\s)|[。！？｡]["'”’」』）]*|\n""")
_ZERO_WIDTH_JOINER = "\u200d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruler:
    """What a passage may be long beside one query, in the model's own tokens."""

    most: int  # tokens; below 1 where the query leaves no room
    count: Callable[[str], int]  # tokens that a text takes there
    begins: Callable[[str], Begins]  # of the tokens of a text by itself
    status: int = 400  # of a refusal


@dataclass(frozen=True, slots=True)
class Pieces:
    """At least one piece, in order; `whole` when nothing but white space is left out."""

    spans: list[Span]
    whole: bool


def split(text: str, ruler: Ruler, at_most: int) -> Pieces:
    """The first `at_most` pieces of `text`. `ruler.most` and `at_most` are 1 or more. A text of nothing but white space is one empty piece."""
    spans: list[Span] = []
    window: _Window | None = None
    start = _behind_spaces(text, 0)
    while start < len(text) and len(spans) < at_most:
        if window is None or not window.reaches(start, ruler.most):
            window = _Window(text, start, ruler)
        end = _end(text, start, window, ruler)
        spans.append((start, start + len(text[start:end].rstrip())))
        start = _behind_spaces(text, end)
    return Pieces(spans or [(0, 0)], start >= len(text))


class _Window:
    """A part of the text, tokenised. Has the tokens of several pieces, or all that is left, or as many characters as are read at one time."""

    def __init__(self, text: str, start: int, ruler: Ruler) -> None:
        size = max(_LEAST_WINDOW, _CHARS_PER_TOKEN * ruler.most)
        while True:
            size = min(size, _MOST_WINDOW)
            self.end = _window_end(text, start, size)
            self._begins = start + ruler.begins(text[start : self.end])
            self._last = self.end == len(text)
            if self._last or size == _MOST_WINDOW or len(self._begins) >= _PIECES_IN_A_WINDOW * ruler.most:
                return
            size *= 8

    def reaches(self, start: int, tokens: int) -> bool:
        """Whether it has more than so many tokens behind `start`, or all there are."""
        return self._last or self._place(start) + tokens < len(self._begins)

    def behind(self, start: int, tokens: int) -> int:
        """The character behind so many tokens from `start` on."""
        place = self._place(start) + tokens
        return int(self._begins[place]) if place < len(self._begins) else self.end

    def _place(self, start: int) -> int:
        return int(np.searchsorted(self._begins, start))


def _end(text: str, start: int, window: _Window, ruler: Ruler) -> int:
    """Where the piece from `start` on ends, its white space included."""
    tokens, tries = ruler.most, 0
    while tokens >= 0 and (hard := window.behind(start, tokens)) > start:
        # The last token that the shortest piece would have: a sentence may end with it.
        soft = max(start, window.behind(start, max(0, tokens - max(1, tokens // 10) - 1)))
        end = hard if hard == len(text) else _border(text, start, soft, hard)
        excess = ruler.count(text[start:end].rstrip()) - ruler.most
        if excess <= 0:
            return end
        tries += 1
        tokens = min(tokens - 1, max(tokens - excess, tokens // 2) if tries < 4 else tokens // 2)
    return start + 1


def _border(text: str, start: int, soft: int, hard: int) -> int:
    """The best place behind `soft` to end the piece from `start` on, `hard` at the latest."""
    sentence = 0
    for found in _SENTENCE.finditer(text, max(start, soft - _CLOSING), hard + 1):
        sentence = found.end() if soft < found.end() <= hard else sentence
    if sentence:
        return sentence
    if (spaced := _TO_LAST_SPACE.match(text, soft, hard + 1)) and spaced.end() - 1 > soft:
        return spaced.end() - 1
    for end in range(hard, max(start, hard - _MARKS), -1):
        if not _joins(text, end):
            return end
    return hard


def _joins(text: str, place: int) -> bool:
    """Whether the character at `place` belongs to the one before it: combining marks, variation selectors, skin tones, and what a joiner joins."""
    after = text[place]
    return unicodedata.category(after)[0] == "M" or "\U0001f3fb" <= after <= "\U0001f3ff" or _ZERO_WIDTH_JOINER in (after, text[place - 1])


def _window_end(text: str, start: int, size: int) -> int:
    """A window's end: before white space in its second half, so that no word is halved; where there is none, anywhere."""
    end = start + size
    if end >= len(text):
        return len(text)
    spaced = _TO_LAST_SPACE.match(text, start + size // 2, end + 1)
    return spaced.end() - 1 if spaced else end


def _behind_spaces(text: str, place: int) -> int:
    found = _SPACES.match(text, place)
    assert found is not None, "no white space is white space too"
    return found.end()
