"""Words in, the parts of the documentation that have them out, best first, each with the words around the hit. Knows no page and no request.

A part is found when each word is in its title, its heading or its text, as a word or as the beginning of one. A word of the title or of the heading tells more than
one of the text, a rare word more than a common one. When no part has all of them, parts that have some are found.
"""

from __future__ import annotations

import math
import re
import unicodedata
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

MOST_CHARS = 200
MOST_WORDS = 12
_WORD = re.compile(r"[^\W_]+")
_TITLE, _HEADING, _TEXT, _AS_WRITTEN = 6.0, 8.0, 1.0, 6.0  # what a hit weighs there
_BEGINNING = 0.6  # of a word, against the word itself
_AROUND = 200  # characters of a snippet
_MOST_HITS = 300  # of a part that are looked at for its snippet


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One part of a page, as it is searched."""

    address: str
    title: str
    heading: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A part that was found. `snippet` is words, each run with whether it was searched for."""

    entry: Entry
    snippet: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was found, the best of `total` parts; `complete` says whether every word is in each."""

    found: tuple[Found, ...]
    total: int
    complete: bool


class Index:
    """The words of all parts."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = list(entries)
        self._weights: dict[str, dict[int, float]] = defaultdict(dict)
        for number, entry in enumerate(self._entries):
            for word, weight in _weights(entry):
                self._weights[word][number] = weight
        self._words = sorted(self._weights)
        self._written = [_fold(f"{entry.title} {entry.heading} {entry.text}") for entry in self._entries]

    def find(self, query: str, most: int = 20) -> Answer:
        """The best parts."""
        words = words_of(query)
        if not words:
            return Answer(found=(), total=0, complete=True)
        scores = [self._scores(word) for word in words]
        complete = set.intersection(*map(set, scores))
        numbers = complete or set[int]().union(*scores)
        written = " ".join(_fold(query[:MOST_CHARS]).split())

        def rank(number: int) -> tuple[float, float, int]:
            hits = [each[number] for each in scores if number in each]
            return -len(hits), -sum(hits) - (_AS_WRITTEN if written in self._written[number] else 0.0), number

        best = sorted(numbers, key=rank)[:most]
        found = (Found(entry=self._entries[each], snippet=snippet_of(self._entries[each].text, words)) for each in best)
        return Answer(found=tuple(found), total=len(numbers), complete=bool(complete))

    def _scores(self, word: str) -> dict[int, float]:
        """What each part that has the word, or longer ones that begin with it, has by it."""
        found: dict[int, float] = {}
        at = bisect_left(self._words, word)
        while at < len(self._words) and self._words[at].startswith(word):
            exact = self._words[at] == word
            if exact or len(word) > 1:
                for number, weight in self._weights[self._words[at]].items():
                    found[number] = max(found.get(number, 0.0), weight if exact else weight * _BEGINNING)
            at += 1
        rarity = math.log(1 + len(self._entries) / max(1, len(found)))
        return {number: weight * rarity for number, weight in found.items()}


def words_of(query: str) -> list[str]:
    """The words that are searched for, each once; what is too long is cut."""
    return list(dict.fromkeys(_WORD.findall(_fold(query[:MOST_CHARS]))))[:MOST_WORDS]


def snippet_of(text: str, words: Sequence[str]) -> tuple[tuple[str, bool], ...]:
    """The place in a text that has most of the words, with those marked. Without any, it is the text's beginning."""
    pattern = re.compile(
        r"(?<![^\W_])(?:" + "|".join(re.escape(word) + ("" if len(word) > 1 else r"(?![^\W_])") for word in words) + r")[^\W_]*", re.IGNORECASE
    )
    hits = [found.span() for found, _ in zip(pattern.finditer(text), range(_MOST_HITS))]
    begin = _best_place(text, hits)
    end = min(len(text), begin + _AROUND)
    begin = text.rfind(" ", 0, begin) + 1 if begin else 0
    end = len(text) if end == len(text) else max(text.rfind(" ", begin, end), *(hit[1] for hit in hits if hit[0] < end), begin + 1)
    return tuple(_marked(text, begin, end, hits))


def _best_place(text: str, hits: Sequence[tuple[int, int]]) -> int:
    """Where to begin so that most different words stand in sight; a little before the first of them."""
    if not hits:
        return 0

    def seen(first: int) -> int:
        return len({text[begin:end].lower() for begin, end in hits if first <= begin and end <= first + _AROUND - 40})

    first = max((begin for begin, _ in hits), key=lambda begin: (seen(begin), -begin))
    return max(0, first - 40)


def _marked(text: str, begin: int, end: int, hits: Iterable[tuple[int, int]]) -> Iterator[tuple[str, bool]]:
    if begin:
        yield "… ", False
    at = begin
    for first, last in hits:
        if begin <= first and last <= end:
            if first > at:
                yield text[at:first], False
            yield text[first:last], True
            at = last
    if at < end:
        yield text[at:end], False
    if end < len(text):
        yield " …", False


def _weights(entry: Entry) -> Iterator[tuple[str, float]]:
    """Each word of a part with what it weighs there. A word that comes often weighs more, but never much more. A page's title is the heading of its first part."""
    text, heading, title = (Counter(_WORD.findall(_fold(each))) for each in (entry.text, entry.heading, entry.title))
    in_title = _TITLE if entry.heading else _TITLE + _HEADING
    for word in text | heading | title:
        often = _TEXT * (1 + math.log(text[word])) if text[word] else 0.0
        yield word, often + (_HEADING if word in heading else 0.0) + (in_title if word in title else 0.0)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
