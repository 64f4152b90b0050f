"""Text in, token ids out: truncation, special tokens and pairs, from a checkpoint's tokenizer.json. Knows no model, no task and no template.

Calls block (they are long for long texts) and release the GIL: the pipeline runs them on its own threads.
Special tokens are put around ids here rather than by the tokenizer, so that truncation is exact, a query is tokenised once for all
its passages, and a ten-megabyte text costs no more than its first few hundred words.
A special token's own spelling in a caller's text (`</s>`, `<|eot_id|>`) is read as that token, as Hugging Face's tokenizers do by default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from emberank.contract.errors import BadRequest, InputTooLong, WeightsError
from emberank.contract.inference import Truncate
from emberank.runtime.chunks import Begins, Ruler
from emberank.runtime.job import Sequence

_MOST_CHARS = 1 << 20  # of one text; a tokenizer needs most of a second for so many without a word's end
_CHARS_PER_TOKEN = 16  # a first guess that is nearly always enough; a wrong one costs another round, never a wrong result
_CUT_WORD = 128  # tokens at the cut that may be wrong: half of a word that WordPiece knows only as a whole (100 letters at most)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One text, or one pair, ready for the network. `length` is its length before truncation to the model's limit, clipped at about twice that."""

    sequence: Sequence
    length: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """Tokens around one text or two, which truncation leaves alone: before, between, after, and the token type of each part."""

    before: list[int]
    between: list[int]
    after: list[int]
    types: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)  # before, first, between, second, after

    @property
    def size(self) -> int:
        """Tokens in all."""
        return len(self.before) + len(self.between) + len(self.after)


@dataclass(frozen=True, slots=True)
class Tail:
    """What follows a lead: a text, the longest sequence of its kind, the tokens that stand before the lead and are never cut (an image), and the most tokens
    of what is tokenised with the text: the text by itself, or the lead with it where the two do not divide."""

    text: str
    limit: int
    block: list[int] = field(default_factory=list)
    most: int | None = None


@dataclass(frozen=True, slots=True)
class _Read:
    """Ids without special tokens, and how many the whole text has: exact for a short text, else enough to say that it is too long."""

    ids: list[int]
    length: int
    whole: bool = True  # all of the text was read
    cut: bool = False

    def first(self, most: int | None) -> _Read:
        """Its first `most` tokens, as though there were no others; None: all."""
        return self if most is None or self.length <= most else _Read(self.ids[:most], most, self.whole, True)


class TextTokenizer:
    """A tokenizer.json, with `limit` the longest sequence in tokens, special tokens included."""

    def __init__(self, tokenizer: Tokenizer, limit: int, over_length_status: int = 400) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.limit = limit
        self._tokenizer = tokenizer
        self._over_length_status = over_length_status
        self._single = _frame(tokenizer.encode("a"))
        self._pair = _frame(tokenizer.encode("a", "b"))

    @classmethod
    def load(cls, folder: Path, limit: int, over_length_status: int = 400) -> TextTokenizer:
        """Read `folder`/tokenizer.json; raises WeightsError when it is missing or broken."""
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise WeightsError(f"{path} is missing: a checkpoint needs the fast tokenizer's file")
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as cause:  # the library raises bare Exception
            raise WeightsError(f"{path} cannot be read: {cause}") from cause
        return cls(tokenizer, limit, over_length_status)

    def singles(self, texts: list[str], truncate: Truncate, most: int | None = None) -> list[Encoded]:
        """Encode each text, or its first `most` tokens, by itself. Raises InputTooLong when truncate is NONE and what is left is too long for the model."""
        room = self.limit - self._single.size
        return [self._one(read.first(most), room, truncate) for read in self._read(texts, room, truncate)]

    def pairs(self, first: str, seconds: list[str], truncate: Truncate, most: int | None = None) -> list[Encoded]:
        """Encode (first, second) pairs, of a second its first `most` tokens; over-long pairs are cut from the right, starting with the second, as NIM's END says."""
        room = self.limit - self._pair.size
        head = self._read([first], room, "END")[0]
        return [self._two(head, read.first(most), room, truncate) for read in self._read(seconds, room, "END")]

    def joined(self, frame: Frame, lead: str, tails: list[Tail], truncate: Truncate, *, divides: bool = True) -> list[Encoded]:
        """Each of `tails` behind the one `lead` as one text, the tail's block before them, the frame around all.

        END cuts the tail first, then the lead; START cuts where the text begins, and is END where there is a lead. A block is never cut:
        where it does not fit by itself, BadRequest says so. With `divides` (see there) the lead is tokenised once for all.
        """
        rooms = [self._room(frame, tail) for tail in tails]
        most = max(rooms, default=0)
        truncate = "END" if lead and truncate == "START" else truncate
        head = _Read([], 0)
        texts = [tail.text for tail in tails]
        if lead and tails and divides:
            head = self._read([lead], most, truncate)[0]
        else:
            texts = [lead + text for text in texts]
        reads = [read.first(tail.most) for tail, read in zip(tails, self._read(texts, most, truncate))]
        return [self._joined(frame, tail, head, read, room, truncate) for tail, read, room in zip(tails, reads, rooms)]

    def divides(self, lead: str, tail: str) -> bool:
        """Whether tokenising `lead` and `tail` apart gives what tokenising them together gives."""
        return self.ids(lead) + self.ids(tail) == self.ids(lead + tail)

    def ids(self, text: str) -> list[int]:
        """All of a short text, without special tokens."""
        return self._encode([text])[0]

    def length(self, text: str) -> int:
        """Tokens of a text of any length without special tokens, clipped at about twice the limit."""
        return self._read([text], self.limit, "END")[0].length

    def ruler_of_singles(self, most: int | None) -> Ruler:
        """What a single text may be long."""
        return self.ruler(self.limit - self._single.size, most)

    def ruler_of_seconds(self, first: str, most: int | None) -> Ruler:
        """What the second of a pair may be long beside `first`."""
        return self.ruler(self.limit - self._pair.size - self.length(first), most)

    def ruler(self, room: int, most: int | None, fill: Callable[[str], str] = lambda text: text) -> Ruler:
        """What a text may be long inside of what `fill` makes of it, when that has room for so many tokens. The tokens of an empty text's are not its own."""
        base = self.length(fill(""))
        return Ruler(
            most=room - base if most is None else min(room - base, most),
            count=lambda text: len(self.ids(fill(text))) - base,
            begins=self._begins,
            status=self._over_length_status,
        )

    def _begins(self, text: str) -> Begins:
        offsets = self._tokenizer.encode_batch([text], add_special_tokens=False)[0].offsets
        # Tokens that a normalizer moved or made stand where the one before them does.
        return np.maximum.accumulate(np.array([begin for begin, _ in offsets], np.int64))

    def framed(self, opening: str = "", closing: str = "") -> Frame:
        """The tokens around a single text, `opening` and `closing` inside them."""
        return Frame([*self._single.before, *self.ids(opening)], [], [*self.ids(closing), *self._single.after])

    def token(self, word: str) -> int | None:
        """The id of a token by its spelling in the vocabulary."""
        found: int | None = self._tokenizer.token_to_id(word)
        return found

    @property
    def vocabulary(self) -> int:
        """How many tokens it may give: one more than the highest id."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def _room(self, frame: Frame, tail: Tail) -> int:
        room = tail.limit - frame.size - len(tail.block)
        if room < 0:
            said = f"Input length {tail.limit - room} exceeds maximum allowed token size {tail.limit}"
            raise BadRequest(f"{said}: the image alone takes {len(tail.block)} tokens, and an image is never cut", status=self._over_length_status)
        return room

    def _joined(self, frame: Frame, tail: Tail, head: _Read, read: _Read, room: int, truncate: Truncate) -> Encoded:
        # What follows a lead that was not read to its end is not read either: it would stand in the wrong place.
        ids = head.ids + (read.ids if head.whole else [])
        length = head.length + read.length
        total = frame.size + len(tail.block) + length
        if length > room:
            if truncate == "NONE":
                raise InputTooLong(total, tail.limit, status=self._over_length_status)
            ids = ids[max(0, len(ids) - room) :] if truncate == "START" else ids[:room]
        return Encoded(Sequence(np.array([*frame.before, *tail.block, *ids, *frame.after], np.int32)), total, length > room or read.cut)

    def _one(self, read: _Read, room: int, truncate: Truncate) -> Encoded:
        ids, length = read.ids, read.length + self._single.size
        if read.length > room:
            self._refuse(length, truncate)
            ids = ids[max(0, len(ids) - room) :] if truncate == "START" else ids[:room]
        return Encoded(_sequence(self._single, [ids]), length, read.length > room or read.cut)

    def _two(self, first: _Read, second: _Read, room: int, truncate: Truncate) -> Encoded:
        length = first.length + second.length
        ids, others = first.ids, second.ids
        if length > room:
            self._refuse(length + self._pair.size, truncate)
            ids = ids[:room]
            others = others[: room - len(ids)]
        return Encoded(_sequence(self._pair, [ids, others]), length + self._pair.size, length > room or second.cut)

    def _refuse(self, length: int, truncate: Truncate) -> None:
        if truncate == "NONE":
            raise InputTooLong(length, self.limit, status=self._over_length_status)

    def _read(self, texts: list[str], room: int, truncate: Truncate) -> list[_Read]:
        """Ids without special tokens; of a very long text only as many as decide the outcome (see _enough)."""
        # A first round over pieces of bounded size, all texts together in the library's own threads.
        size = _CHARS_PER_TOKEN * max(2 * room, 64)
        pieces = [_piece(text, size, truncate) for text in texts]
        encodings = self._encode(pieces)
        return [
            _Read(ids, len(ids), len(piece) == len(text)) if self._decides(piece, text, ids, room, truncate) else self._grown(text, size, room, truncate)
            for text, piece, ids in zip(texts, pieces, encodings)
        ]

    def _grown(self, text: str, size: int, room: int, truncate: Truncate) -> _Read:
        while True:
            size = min(size * 8, _MOST_CHARS)
            piece = _piece(text, size, truncate)
            ids = self._encode([piece])[0]
            if self._decides(piece, text, ids, room, truncate):
                return _Read(ids, len(ids), len(piece) == len(text))
            if size == _MOST_CHARS:
                # Megabytes that make hardly any tokens (one word, white space): what was not read counts as too long.
                return _Read(ids, max(len(ids), _enough(room)), len(piece) == len(text))

    def _decides(self, piece: str, text: str, ids: list[int], room: int, truncate: Truncate) -> bool:
        """Whether what will be kept of a piece's ids is what would be kept of the whole text's."""
        if len(piece) == len(text):
            return True
        if len(ids) < _enough(room):
            return False
        if truncate != "START" or _between(text, len(text) - len(piece)):
            return True
        # Cut within a word or a run of white space. Some tokenizers count from a word's beginning (digits in threes, runs of one letter in pairs): then a cut
        # elsewhere gives other tokens, and more of the text has to be read.
        other = self._encode([piece[1:]])[0]
        return room == 0 or other[-room:] == ids[-room:]

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def _enough(room: int) -> int:
    """Ids of a piece that decide what is kept: as many again as there is room for, and whatever a cut word may spoil."""
    return room + max(room, _CUT_WORD)


def _piece(text: str, size: int, truncate: Truncate) -> str:
    """The part of `text` that truncation keeps, cut between a word and white space so that neither is split; the whole text if it is short."""
    if len(text) <= size:
        return text
    if truncate == "START":
        cut = next((i for i in range(len(text) - size, len(text) - size // 2) if _between(text, i)), len(text) - size)
        return text[cut:]
    cut = next((i for i in range(size, size // 2, -1) if _between(text, i)), size)
    return text[:cut]


def _between(text: str, i: int) -> bool:
    """Whether a word ends before `i` and white space begins there: byte-level tokenizers read a run of white space as a word of its own."""
    return text[i].isspace() and not text[i - 1].isspace()


def _frame(encoding: Encoding) -> Frame:
    """Read the special tokens off an encoded probe instead of the tokenizer's configuration, which has many dialects."""
    places: list[int | None] = list(encoding.sequence_ids)
    texts = [i for i, place in enumerate(places) if place is not None]
    first = [i for i, place in enumerate(places) if place == 0]
    second = [i for i, place in enumerate(places) if place == 1]
    ids, types = encoding.ids, encoding.type_ids
    begin, end = texts[0], texts[-1] + 1
    middle = range(first[-1] + 1, second[0]) if second else range(0)

    def kind(indices: Iterable[int], default: int) -> int:
        return next((types[i] for i in indices), default)

    return Frame(
        before=ids[:begin],
        between=[ids[i] for i in middle],
        after=ids[end:],
        types=(kind(range(begin), 0), kind(first, 0), kind(middle, 0), kind(second, 0), kind(range(end, len(ids)), 0)),
    )


def _sequence(frame: Frame, texts: list[list[int]]) -> Sequence:
    parts = [frame.before, texts[0], frame.between, texts[1] if len(texts) > 1 else [], frame.after]
    ids: NDArray[np.int32] = np.array([token for part in parts for token in part], np.int32)
    if not any(frame.types):
        return Sequence(ids)
    return Sequence(ids, np.repeat(np.array(frame.types, np.int32), [len(part) for part in parts]))
