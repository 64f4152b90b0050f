"""One call's items in; sequences to run, and the call's numbers once they have run, out. The three shapes of retrieval work.

A plan is made off the event loop (it tokenises), is fed by the engines' threads through `take_tile` and `take`, and is read when its job is
done. Equal items of one call are tokenised and run once. Pictures come first: every tile's states have to be taken before the sequences run.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Many
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emberank.contract.inference import Chunk, InputType, Truncate
from emberank.runtime.composer import Composer
from emberank.runtime.engines.base import Features
from emberank.runtime.heads import Floats, Head, Pooling, pool
from emberank.runtime.items import Item, Picture
from emberank.runtime.job import Sequence
from emberank.runtime.late_interaction import LateInteraction, Query
from emberank.runtime.passages import Distinct, Passages
from emberank.runtime.tokenizer import Encoded, TextTokenizer


class Plan(Protocol):
    """What the pipeline needs of a plan."""

    sequences: list[Sequence]
    tiles: list[Sequence]  # for the vision network, one for every tile of every picture
    leads: bool  # sequence 0 is taken before any other
    pooling: Pooling | None  # the engine may pool so, and `take` gets one row
    prompt_tokens: int
    truncated: tuple[int, ...]

    def take_tile(self, index: int, states: Floats) -> None:
        """Put the states (tokens of a tile, hidden) of tile `index` where its picture stands in the sequences."""

    def take(self, index: int, hidden: Floats) -> None:
        """Keep what is needed of the states (tokens, hidden) of sequence `index`, or of (1, hidden) when it was pooled already."""

    def values(self) -> Floats:
        """Logits (passages,), or pooled vectors (inputs, hidden) of whatever length they have, one per item of the call, in its order."""

    def chunks(self) -> Mapping[int, Chunk]:
        """The best piece of each item of the call that was read in several."""


class _Tiles:
    """The tiles of some items' pictures, each picture once, and the places that wait for their states."""

    def __init__(self, items: Many[Item], encoded: Many[Encoded]) -> None:
        waiting: dict[Picture, list[NDArray[np.float32]]] = {}
        for item, one in zip(items, encoded):
            if item.picture is not None and one.sequence.features is not None:
                waiting.setdefault(item.picture, []).append(one.sequence.features.values)
        self.sequences = [_tile(tile) for picture in waiting for tile in picture.tiles]
        # Of each tile its number in its picture, and the states of every sequence that the picture stands in: written in place.
        self._places = [(n, places) for picture, places in waiting.items() for n in range(len(picture.tiles))]

    def take(self, index: int, states: Floats) -> None:
        n, places = self._places[index]
        for values in places:
            values[n * len(states) : (n + 1) * len(states)] = states


def _tile(patches: NDArray[np.float32]) -> Sequence:
    """(patches, patch width) as a sequence: pixels in the place of token ids."""
    at = np.arange(len(patches), dtype=np.int32)
    return Sequence(np.zeros_like(at), features=Features(at, patches))


class EmbedPlan:
    """Each item → one vector, as pooled: its length is the network's, and cutting, normalising and coding it is for whoever asked."""

    leads = False

    def __init__(self, composer: Composer, pooling: Pooling, items: Many[Item], input_type: InputType | None, truncate: Truncate) -> None:
        self.pooling: Pooling | None = pooling
        self._how: Pooling = pooling
        self._distinct = Distinct(items)
        encoded = composer.embed(self._distinct.items, input_type, truncate)
        self._tiles = _Tiles(self._distinct.items, encoded)
        self.sequences = [e.sequence for e in encoded]
        self.tiles = self._tiles.sequences
        self.prompt_tokens = self._distinct.tokens(encoded)
        self.truncated = self._distinct.truncated(encoded)
        self._vectors: list[Floats | None] = [None] * len(encoded)

    def take_tile(self, index: int, states: Floats) -> None:
        """Copy them."""
        self._tiles.take(index, states)

    def take(self, index: int, hidden: Floats) -> None:
        """Pool at once: a vector is a hundredth of the hidden states."""
        self._vectors[index] = pool(hidden, self._how)

    def values(self) -> Floats:
        """(inputs, hidden)."""
        return np.stack([self._vectors[place] for place in self._distinct.places])  # type: ignore[misc]

    def chunks(self) -> Mapping[int, Chunk]:
        """None: what is embedded is read whole."""
        return {}


class PairPlan:
    """Each (query, passage) pair is one sequence → one logit: a cross-encoder. A passage read in pieces is a pair for each of them."""

    leads = False

    def __init__(
        self,
        composer: Composer,
        head: Head,
        query: str,
        passages: Many[Item],
        truncate: Truncate,
        max_passage_tokens: int | None = None,
        max_chunks: int | None = None,
    ) -> None:
        self.pooling: Pooling | None = head.pooling
        self._head = head
        self._passages = Passages(
            passages,
            lambda items, how: composer.rank(query, items, how, max_passage_tokens),
            truncate,
            max_chunks,
            partial(composer.ruler, query, max_passage_tokens),
        )
        encoded = self._passages.encoded
        self._tiles = _Tiles(self._passages.items, encoded)
        self.sequences = [e.sequence for e in encoded]
        self.tiles = self._tiles.sequences
        self.prompt_tokens = self._passages.tokens
        self.truncated = self._passages.truncated
        self._logits = np.zeros(len(encoded), np.float32)

    def take_tile(self, index: int, states: Floats) -> None:
        """Copy them."""
        self._tiles.take(index, states)

    def take(self, index: int, hidden: Floats) -> None:
        """Score the pair."""
        self._logits[index] = self._head.score(hidden)

    def values(self) -> Floats:
        """(passages,)."""
        return self._passages.best(self._logits)

    def chunks(self) -> Mapping[int, Chunk]:
        """Of the passages that were read in pieces."""
        return self._passages.chunks(self._logits)


class LatePlan:
    """The query is one sequence and each passage, or piece of one, one; it is scored against the query's token states: late interaction. Texts only."""

    leads = True  # the query is taken first, so that no passage's states need to be kept
    pooling: Pooling | None = None  # every token's state is compared

    def __init__(
        self,
        tokenizer: TextTokenizer,
        head: LateInteraction,
        query: str,
        passages: Many[Item],
        truncate: Truncate,
        max_passage_tokens: int | None = None,
        max_chunks: int | None = None,
    ) -> None:
        self._head = head
        lead = tokenizer.singles([query], truncate)[0]
        self._passages = Passages(
            passages,
            lambda items, how: tokenizer.singles([item.text or "" for item in items], how, max_passage_tokens),
            truncate,
            max_chunks,
            partial(tokenizer.ruler_of_singles, max_passage_tokens),
        )
        self.sequences = [lead.sequence, *(e.sequence for e in self._passages.encoded)]
        self.tiles: list[Sequence] = []
        # As NIM counts: the query once per pair.
        self.prompt_tokens = self._passages.tokens + self._passages.pairs * len(lead.sequence.ids)
        self.truncated = tuple(range(len(passages))) if lead.truncated else self._passages.truncated
        self._query: Query | None = None
        self._logits = np.zeros(len(self._passages.encoded), np.float32)

    def take_tile(self, index: int, states: Floats) -> None:
        """Never called: there are no tiles."""
        raise AssertionError("late interaction reads texts only")

    def take(self, index: int, hidden: Floats) -> None:
        """Keep the query's states; score a passage."""
        if index == 0:
            self._query = self._head.query(hidden, self.sequences[0].ids)
        else:
            assert self._query is not None, "the leading sequence is taken first"
            self._logits[index - 1] = self._head.score(self._query, hidden)

    def values(self) -> Floats:
        """(passages,)."""
        return self._passages.best(self._logits)

    def chunks(self) -> Mapping[int, Chunk]:
        """Of the passages that were read in pieces."""
        return self._passages.chunks(self._logits)
