"""Hidden states in, a vector or a logit out. Knows no network and no engine.

All arithmetic is float32 on hidden states that an engine hands over as float32, whatever it computed in. A head is found by the name that
recognition gives it, made from the checkpoint's tensors, and pools by itself: an engine that has pooled already hands it one row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from emberank.contract.errors import WeightsCorrupt
from emberank.dialects.vectors import unit as unit
from emberank.runtime.networks.ops import Weights

Floats = NDArray[np.float32]
Pooling = Literal["mean", "cls", "max", "mean_sqrt_len", "last", "sum"]


def pool(hidden: Floats, how: Pooling) -> Floats:
    """(tokens, hidden) → (hidden,), special tokens included as sentence-transformers does (`Pooling` module). One row is its own pooling."""
    if how == "cls":
        return hidden[0].copy()
    if how == "last":
        return hidden[-1].copy()
    if how == "max":
        return hidden.max(0)
    total: Floats = hidden.sum(0, dtype=np.float32)
    if how == "sum":
        return total
    return total / np.float32(len(hidden) if how == "mean" else np.sqrt(len(hidden)))


class Head(Protocol):
    """What turns one pair's states into its logit."""

    @property
    def pooling(self) -> Pooling:
        """How it pools, so that an engine may do it."""

    def score(self, hidden: Floats) -> float:
        """States (tokens, hidden) of one pair, or (1, hidden) pooled already → its raw logit, no sigmoid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadFacts:
    """What a head needs beside its tensors. `answers` are the tokens of a yes and a no."""

    hidden: int
    pooling: Pooling = "cls"
    temperature: float = 1.0
    eps: float = 1e-5
    tied: bool = False  # the output rows of a language model are its token table
    answers: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class CrossEncoder:
    """BERT's sequence-classification head with one label: classifier · tanh(pooler · h_[CLS]), and XLM-RoBERTa's, which is the same under other names.

    Sources: transformers `BertForSequenceClassification`, `XLMRobertaClassificationHead`.
    """

    pooler_weight: Floats  # (hidden, hidden)
    pooler_bias: Floats  # (hidden,)
    weight: Floats  # (1, hidden)
    bias: Floats  # (1,)

    @property
    def pooling(self) -> Pooling:
        """The first token."""
        return "cls"

    def score(self, hidden: Floats) -> float:
        """(tokens, hidden) of one pair → its logit."""
        pooled = np.tanh(self.pooler_weight @ hidden[0] + self.pooler_bias)
        return float((self.weight @ pooled + self.bias)[0])


@dataclass(frozen=True, slots=True)
class ModernBertHead:
    """classifier · LayerNorm(gelu(dense · pooled)), exact GELU. Source: transformers `ModernBertForSequenceClassification`."""

    pooling: Pooling  # cls or mean
    dense: Floats  # (hidden, hidden)
    dense_bias: Floats | float  # (hidden,), or 0.0 where there is none
    norm: Floats  # (hidden,)
    norm_bias: Floats | float
    eps: float
    weight: Floats  # (1, hidden)
    bias: Floats  # (1,)

    def score(self, hidden: Floats) -> float:
        """(tokens, hidden) of one pair → its logit."""
        x = self.dense @ pool(hidden, self.pooling) + self.dense_bias
        x = (x * 0.5 * (1.0 + _erf(x * np.float32(math.sqrt(0.5))))).astype(np.float32)
        x = (x - x.mean()) / np.sqrt(x.var() + np.float32(self.eps)) * self.norm + self.norm_bias
        return float((self.weight @ x + self.bias)[0])


@dataclass(frozen=True, slots=True)
class LinearHead:
    """score · pooled / temperature, no bias: NVIDIA's rerankers (mean) and classifiers made of language models (last).

    Source: NVIDIA Automodel, `llama_bidirectional/model.py`. Theirs runs in the model's bf16, this in float32.
    """

    pooling: Pooling
    weight: Floats  # (hidden,)
    temperature: float

    def score(self, hidden: Floats) -> float:
        """(tokens, hidden) of one pair → its logit."""
        return float(self.weight @ pool(hidden, self.pooling)) / self.temperature


@dataclass(frozen=True, slots=True)
class YesNoHead:
    """A language model's logit of "yes" less its logit of "no" after the last token; the sigmoid of it is the probability of yes.

    Source: the model card of Qwen3-Reranker, whose softmax over the two is that sigmoid; vLLM `from_2_way_softmax`.
    """

    weight: Floats  # (hidden,), row of yes − row of no
    pooling: Pooling = "last"

    def score(self, hidden: Floats) -> float:
        """(tokens, hidden) of one prompt → the difference of the two logits."""
        return float(self.weight @ hidden[-1])


def head(name: str, weights: Weights, facts: HeadFacts) -> Head:
    """The head of that name from a checkpoint's tensors. Raises WeightsCorrupt for one that is missing or has another shape."""
    return HEADS[name](weights, facts)


def _bert(weights: Weights, facts: HeadFacts) -> Head:
    h = facts.hidden
    return CrossEncoder(*_tensors(weights, {"pooler.dense.weight": (h, h), "pooler.dense.bias": (h,), "classifier.weight": (1, h), "classifier.bias": (1,)}))


def _xlm_roberta(weights: Weights, facts: HeadFacts) -> Head:
    h, at = facts.hidden, "classifier"
    shapes = {f"{at}.dense.weight": (h, h), f"{at}.dense.bias": (h,), f"{at}.out_proj.weight": (1, h), f"{at}.out_proj.bias": (1,)}
    return CrossEncoder(*_tensors(weights, shapes))


def _modernbert(weights: Weights, facts: HeadFacts) -> Head:
    h = facts.hidden
    dense, norm, weight, bias = _tensors(weights, {"head.dense.weight": (h, h), "head.norm.weight": (h,), "classifier.weight": (1, h), "classifier.bias": (1,)})
    dense_bias, norm_bias = (_tensors(weights, {name: (h,)})[0] if weights.has(name) else 0.0 for name in ("head.dense.bias", "head.norm.bias"))
    return ModernBertHead(facts.pooling, dense, dense_bias, norm, norm_bias, facts.eps, weight, bias)


def _linear(weights: Weights, facts: HeadFacts) -> Head:
    (weight,) = _tensors(weights, {"score.weight": (1, facts.hidden)})
    return LinearHead(facts.pooling, weight[0], facts.temperature)


def _yes_no(weights: Weights, facts: HeadFacts) -> Head:
    assert facts.answers is not None, "recognition or the tokenizer says which tokens answer"
    name = "embed_tokens.weight" if facts.tied and not weights.has("lm_head.weight") else "lm_head.weight"
    dtype, table = weights.stored(name)
    rows, width = table.shape if table.ndim == 2 else (0, 0)
    if width != facts.hidden or rows <= max(facts.answers):
        raise WeightsCorrupt(f"tensor {name!r} has shape {list(table.shape)}: it has to have a row of {facts.hidden} for each of the tokens {facts.answers}")
    # Two rows of a table that may be as large as the rest of the model together: it is not converted as a whole.
    chosen = table[list(facts.answers)]
    yes, no = (chosen.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else chosen.astype(np.float32)
    return YesNoHead(yes - no)


HEADS: Mapping[str, Callable[[Weights, HeadFacts], Head]] = {
    "bert": _bert,
    "xlm_roberta": _xlm_roberta,
    "modernbert": _modernbert,
    "linear": _linear,
    "yes_no": _yes_no,
}


def _tensors(weights: Weights, shapes: Mapping[str, tuple[int, ...]]) -> list[Floats]:
    for name, shape in shapes.items():
        found = weights.shape(name)
        if found != shape:
            # The last layer has a row for each label.
            labels = f": a classifier of {found[0]} labels is not a reranker" if shape[0] == 1 and len(found) == len(shape) and found[1:] == shape[1:] else ""
            raise WeightsCorrupt(f"tensor {name!r} has shape {list(found)}, config.json says {list(shape)}{labels}")
    return [weights.get(name).copy() for name in shapes]  # copies: the engine's pages of the file are given back


def _erf(x: Floats) -> NDArray[np.float64]:
    return np.fromiter((math.erf(value) for value in x), np.float64, len(x))
