"""One call's texts in; sequences to run, and the call's numbers once they have run, out. The three shapes of retrieval work.

A plan is made off the event loop (it tokenises), is fed by the engine's thread through `take`, and is read when its job is done.
Equal texts of one call are tokenised and run once.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from typing import Protocol

import numpy as np

from emberank.contract.inference import Truncate
from emberank.runtime.heads import CrossEncoder, Floats, Pooling, pool, unit
from emberank.runtime.job import Sequence
from emberank.runtime.late_interaction import LateInteraction, Query
from emberank.runtime.tokenizer import Encoded, TextTokenizer


class Plan(Protocol):
    """What the pipeline needs of a plan."""

    sequences: list[Sequence]
    leads: bool
    prompt_tokens: int
    truncated: tuple[int, ...]

    def take(self, index: int, hidden: Floats) -> None:
        """Keep what is needed of the hidden states (tokens, hidden) of sequence `index`."""

    def values(self) -> Floats:
        """Logits (passages,) or vectors (inputs, hidden), one per text of the call, in its order."""


class _Distinct:
    """Texts without repeats, and which of them each text of the call is."""

    def __init__(self, texts: Many[str]) -> None:
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        self.texts = list(places)
        self.places = [places[text] for text in texts]

    def tokens(self, encoded: Many[Encoded]) -> int:
        return sum(len(encoded[place].sequence.ids) for place in self.places)

    def truncated(self, encoded: Many[Encoded]) -> tuple[int, ...]:
        return tuple(i for i, place in enumerate(self.places) if encoded[place].truncated)


class EmbedPlan:
    """Each text → one vector."""

    leads = False

    def __init__(self, tokenizer: TextTokenizer, pooling: Pooling, normalize: bool, texts: Many[str], truncate: Truncate) -> None:
        self._pooling: Pooling = pooling
        self._normalize = normalize
        self._distinct = _Distinct(texts)
        encoded = tokenizer.singles(self._distinct.texts, truncate)
        self.sequences = [e.sequence for e in encoded]
        self.prompt_tokens = self._distinct.tokens(encoded)
        self.truncated = self._distinct.truncated(encoded)
        self._vectors: list[Floats | None] = [None] * len(encoded)

    def take(self, index: int, hidden: Floats) -> None:
        """Pool at once: a vector is a hundredth of the hidden states."""
        vector = pool(hidden, self._pooling)
        self._vectors[index] = unit(vector) if self._normalize else vector

    def values(self) -> Floats:
        """(inputs, hidden)."""
        return np.stack([self._vectors[place] for place in self._distinct.places])  # type: ignore[misc]


class PairPlan:
    """Each (query, passage) pair is one sequence → one logit: a cross-encoder."""

    leads = False

    def __init__(self, tokenizer: TextTokenizer, head: CrossEncoder, query: str, passages: Many[str], truncate: Truncate) -> None:
        self._head = head
        self._distinct = _Distinct(passages)
        encoded = tokenizer.pairs(query, self._distinct.texts, truncate)
        self.sequences = [e.sequence for e in encoded]
        self.prompt_tokens = self._distinct.tokens(encoded)
        self.truncated = self._distinct.truncated(encoded)
        self._logits = np.zeros(len(encoded), np.float32)

    def take(self, index: int, hidden: Floats) -> None:
        """Score the pair."""
        self._logits[index] = self._head.score(hidden)

    def values(self) -> Floats:
        """(passages,)."""
        return self._logits[self._distinct.places]


class LatePlan:
    """The query is one sequence and each passage one; a passage is scored against the query's token states: late interaction."""

    leads = True  # the query is taken first, so that no passage's states need to be kept

    def __init__(self, tokenizer: TextTokenizer, head: LateInteraction, query: str, passages: Many[str], truncate: Truncate) -> None:
        self._head = head
        self._distinct = _Distinct(passages)
        lead = tokenizer.singles([query], truncate)[0]
        encoded = tokenizer.singles(self._distinct.texts, truncate)
        self.sequences = [lead.sequence, *(e.sequence for e in encoded)]
        # As NIM counts: the query once per pair.
        self.prompt_tokens = self._distinct.tokens(encoded) + len(passages) * len(lead.sequence.ids)
        self.truncated = tuple(range(len(passages))) if lead.truncated else self._distinct.truncated(encoded)
        self._query: Query | None = None
        self._logits = np.zeros(len(encoded), np.float32)

    def take(self, index: int, hidden: Floats) -> None:
        """Keep the query's states; score a passage."""
        if index == 0:
            self._query = self._head.query(hidden, self.sequences[0].ids)
        else:
            assert self._query is not None, "the leading sequence is taken first"
            self._logits[index - 1] = self._head.score(self._query, hidden)

    def values(self) -> Floats:
        """(passages,)."""
        return self._logits[self._distinct.places]
