"""Token states of a query and of a passage in, one logit out: a reranker made of an embedder's own weights. Knows no engine.

score = ½ · cosine(mean of q, mean of p) + ½ · Σ_t w_t · max_s cosine(q_t, p_s) / Σ_t w_t          (t query tokens, s passage tokens)
logit = 12 · score − 7

The second term is ColBERT's late interaction (Khattab and Zaharia 2020) with a weight per query token. The weight stands for the
token's idf without a corpus: WordPiece vocabularies are ordered by frequency, so a token's place says how rare it is (Zipf's law).
Measured on Cranfield, where the constants were chosen, in docs/behaviour/default-reranker.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emberank.runtime.heads import Floats, pool, unit

# bert-base-uncased's vocabulary, the one all-MiniLM-L6-v2 has. Special tokens weigh nothing.
_CLS, _SEP, VOCABULARY = 101, 102, 30522
_FIRST_WORD = 1996  # "the"; from here on ids run from frequent to rare
_SINGLE = ((1014, 1024), (1037, _FIRST_WORD))  # lone digits, letters and signs, in the order of code points: a middling weight
_FLOOR = 0.05  # even "the" counts a little
_MIX = 0.5
# A readable scale: the median relevant passage of Cranfield gets a sigmoid of about ½.
_SCALE, _SHIFT = 12.0, -7.0


def token_weights() -> Floats:
    """(vocabulary,) weights in 0 … 1, from each id alone."""
    ids = np.arange(VOCABULARY)
    rarity = np.log(np.maximum(ids - (_FIRST_WORD - 1), 1)) / np.log(VOCABULARY - _FIRST_WORD)
    for first, end in _SINGLE:
        rarity[first:end] = 0.5
    weights = _FLOOR + (1 - _FLOOR) * rarity**2
    weights[[_CLS, _SEP]] = 0.0
    return weights.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Query:
    """A query's part of the score, computed once for all its passages."""

    tokens: Floats  # (kept tokens, hidden), unit rows, only those with a weight
    weights: Floats  # (kept tokens,), sum 1
    sentence: Floats  # (hidden,), unit


class LateInteraction:
    """The head. Needs the states of each text's tokens, special tokens included, and their ids."""

    def __init__(self) -> None:
        self._weights = token_weights()

    def query(self, hidden: Floats, ids: NDArray[np.int32]) -> Query:
        """From the query's states (tokens, hidden) and ids (tokens,)."""
        weights = self._weights[ids]
        if not weights.any():
            weights = np.ones_like(weights)  # nothing but special tokens: then they are all there is
        kept = weights > 0
        weights = weights[kept] / weights.sum()
        return Query(unit(hidden[kept]), weights, unit(pool(hidden, "mean")))

    def score(self, query: Query, hidden: Floats) -> float:
        """The logit of a passage from its states (tokens, hidden)."""
        # The passage's norms are divided out after the product: fewer numbers to touch than normalising its states.
        norms = np.sqrt(np.einsum("ij,ij->i", hidden, hidden))
        best = ((query.tokens @ hidden.T) / np.maximum(norms, np.float32(1e-12))).max(1)
        tokens = float(query.weights @ best)
        sentence = float(query.sentence @ unit(pool(hidden, "mean")))
        return _SCALE * ((1 - _MIX) * sentence + _MIX * tokens) + _SHIFT
