"""A call's passages in, what is read of them out: each distinct one once, whole or in pieces; and of the pieces' numbers each passage's. Knows no network.

A passage in several pieces has the logit of its best piece. A passage with an image is never split: its text is cut, or the call refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Many
from typing import Protocol

import numpy as np

from emberank.contract.errors import BadRequest, InputTooLong
from emberank.contract.inference import Chunk, Truncate
from emberank.runtime.chunks import MOST_CHUNKS, MOST_PIECES, Pieces, Ruler, split
from emberank.runtime.heads import Floats
from emberank.runtime.items import Item
from emberank.runtime.tokenizer import Encoded

_MOST_COUNTED = 1 << 20  # characters of a refused text that are counted


class Encode(Protocol):
    """Passages → sequences beside one query. Raises InputTooLong, BadRequest."""

    def __call__(self, items: Many[Item], truncate: Truncate) -> list[Encoded]:
        """One sequence an item, in their order."""


class Distinct:
    """Items without repeats, and which of them each item of the call is."""

    def __init__(self, items: Many[Item]) -> None:
        places = {item: place for place, item in enumerate(dict.fromkeys(items))}
        self.items = list(places)
        self.places = [places[item] for item in items]

    def tokens(self, encoded: Many[Encoded]) -> int:
        """Of all items of the call, repeats included."""
        return sum(len(encoded[place].sequence.ids) for place in self.places)

    def truncated(self, encoded: Many[Encoded]) -> tuple[int, ...]:
        """Items of the call that were cut."""
        return tuple(i for i, place in enumerate(self.places) if encoded[place].truncated)


class Passages:
    """`items` are what is read, without repeats, and `encoded` their sequences; logits come in the order of both. Making it tokenises: it blocks."""

    def __init__(self, passages: Many[Item], encode: Encode, truncate: Truncate, max_chunks: int | None, ruler: Callable[[], Ruler]) -> None:
        """`ruler` is asked for only where a passage does not fit. Raises as `encode` does; InputTooLong with truncate NONE where `max_chunks` pieces do not hold a passage."""
        self._encode = encode
        self._truncate: Truncate = truncate
        self._distinct = Distinct(passages)
        self._split: dict[int, Pieces] = {}  # of distinct passages that do not fit
        self.items = self._distinct.items
        self.encoded = encode(self.items, truncate if max_chunks is None else "END")
        if max_chunks is not None:
            self._split_long(max_chunks, ruler)

    def _split_long(self, most: int, ruler: Callable[[], Ruler]) -> None:
        cut = [place for place, one in enumerate(self.encoded) if one.truncated]
        texts = [place for place in cut if self.items[place].picture is None]
        length = ruler() if texts else None
        if length is None or length.most < 1:  # where the query alone fills the sequence, there is no room for any piece
            texts = []
        if self._truncate == "NONE" and len(texts) < len(cut):  # refused in the words it always is
            self._encode([self.items[place] for place in sorted(set(cut) - set(texts))], "NONE")
        if length is not None and texts:
            self._read_split(texts, length, most)

    def _read_split(self, long: Many[int], ruler: Ruler, most: int) -> None:
        pieces = 0
        for place in long:
            text = self.items[place].text or ""
            # To say how many pieces would do, they have to be counted.
            found = split(text, ruler, MOST_CHUNKS if self._truncate == "NONE" else min(most, MOST_PIECES - pieces + 2))
            if self._truncate == "NONE":
                _refuse_what_is_left_out(text, found, ruler, most)
            pieces += len(found.spans) if len(found.spans) > 1 else 0
            if pieces > MOST_PIECES:
                raise BadRequest(
                    f"max_chunks_per_doc {most} with pieces of at most {ruler.most} tokens splits the passages into more than {MOST_PIECES} pieces; "
                    "lower max_chunks_per_doc, raise max_tokens_per_doc, or send fewer passages in one call"
                )
            self._split[place] = found
        self._read(ruler)

    def _read(self, ruler: Ruler) -> None:
        known = {item: one for place, (item, one) in enumerate(zip(self.items, self.encoded)) if place not in self._split}
        parts = [self._parts(place) for place in range(len(self.items))]
        fresh = [item for item in dict.fromkeys(item for part in parts for item in part) if item not in known]
        read = known | dict(zip(fresh, self._encode(fresh, "END")))
        if self._truncate == "NONE" and any(read[item].truncated for item in fresh):  # a character of more tokens than there is room for
            item = next(item for item in fresh if read[item].truncated)
            raise InputTooLong(ruler.count(item.text or ""), ruler.most, status=ruler.status)
        self.items, self.encoded = list(read), list(read.values())
        order = {item: number for number, item in enumerate(read)}
        self._pieces = np.array([order[item] for part in parts for item in part])  # (pieces,) which of `items`
        self._first = np.cumsum([0, *(len(part) for part in parts)])  # (distinct passages + 1,) where each one's pieces begin

    def _parts(self, place: int) -> list[Item]:
        item, found = self._distinct.items[place], self._split.get(place)
        return [item] if found is None else [Item((item.text or "")[start:end]) for start, end in found.spans]

    @property
    def tokens(self) -> int:
        """Of all sequences, those of repeated passages and pieces as often as they were sent."""
        if not self._split:
            return self._distinct.tokens(self.encoded)
        lengths = np.array([len(one.sequence.ids) for one in self.encoded])
        return int(np.add.reduceat(lengths[self._pieces], self._first[:-1])[self._distinct.places].sum())

    @property
    def pairs(self) -> int:
        """Times that the query is read with something: passages, and the pieces of those that are split."""
        if not self._split:
            return len(self._distinct.places)
        return int(np.diff(self._first)[self._distinct.places].sum())

    @property
    def truncated(self) -> tuple[int, ...]:
        """Passages of the call of which something was not read."""
        if not self._split:
            return self._distinct.truncated(self.encoded)
        cut = np.array([one.truncated for one in self.encoded])
        some = np.logical_or.reduceat(cut[self._pieces], self._first[:-1])
        some[[place for place, found in self._split.items() if not found.whole]] = True
        return tuple(i for i, place in enumerate(self._distinct.places) if some[place])

    def best(self, logits: Floats) -> Floats:
        """(items,) → (passages of the call,): each one's highest."""
        if not self._split:
            return logits[self._distinct.places]
        best: Floats = np.maximum.reduceat(logits[self._pieces], self._first[:-1])[self._distinct.places]
        return best

    def chunks(self, logits: Floats) -> Mapping[int, Chunk]:
        """The best piece of each passage of the call that was read in several; of equal ones the first."""
        several = {place: self._winner(place, found, logits) for place, found in self._split.items() if len(found.spans) > 1}
        return {i: several[place] for i, place in enumerate(self._distinct.places) if place in several} if several else {}

    def _winner(self, place: int, found: Pieces, logits: Floats) -> Chunk:
        number = int(logits[self._pieces[self._first[place] : self._first[place + 1]]].argmax())
        return Chunk(*found.spans[number], number, len(found.spans))


def _refuse_what_is_left_out(text: str, found: Pieces, ruler: Ruler, most: int) -> None:
    needed = len(found.spans)
    if found.whole and needed <= most:
        return
    size = f"pieces of at most {ruler.most} tokens"
    does = f"it takes {needed} {size}" if found.whole else f"not even {MOST_CHUNKS} {size} hold it"
    length = max(ruler.count(text[:_MOST_COUNTED]), ruler.most + 1)
    raise InputTooLong(length, ruler.most, status=ruler.status, more=f": {does}, and max_chunks_per_doc is {most}")
