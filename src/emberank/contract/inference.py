"""One inference in, one result out: what every dialect parses to and every runtime answers. Knows no wire format.

Field meanings follow NVIDIA's retrieval NIM (https://docs.nvidia.com/nim/nemo-retriever/), which the other dialects map onto.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Truncate: TypeAlias = Literal["NONE", "START", "END"]
InputType: TypeAlias = Literal["query", "passage"]
Modality: TypeAlias = Literal["text", "image", "text_image"]
EmbeddingType: TypeAlias = Literal["float", "int8", "uint8", "binary", "ubinary"]
EncodingFormat: TypeAlias = Literal["float", "base64"]
Task: TypeAlias = Literal["rank", "embed"]

MODALITIES: tuple[Modality, ...] = ("text", "image", "text_image")
EMBEDDING_TYPES: tuple[EmbeddingType, ...] = ("float", "binary", "ubinary", "int8", "uint8")
ENCODING_FORMATS: tuple[EncodingFormat, ...] = ("float", "base64")


@dataclass(frozen=True, slots=True)
class Content:
    """One thing to be read by a model: text, an image (a data URL, not yet decoded), or both."""

    text: str | None = None
    image: str | None = None

    @property
    def modality(self) -> Modality:
        """What this content is made of."""
        if self.image is None:
            return "text"
        return "text_image" if self.text else "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class RankCall:
    """Order `passages` by their relevance to `query`. `model` None means the route's own model.

    With `max_chunks`, a passage longer than fits is read in up to so many pieces, and the best of them counts.
    """

    model: str | None
    query: Content
    passages: tuple[Content, ...]
    truncate: Truncate
    top_n: int | None = None
    max_passage_tokens: int | None = None  # of one passage, or of one piece of it; what is over is cut, whatever `truncate` says
    max_chunks: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedCall:
    """Turn each of `inputs` into a vector. `model` None means the route's own model; `dimensions` None means all."""

    model: str | None
    inputs: tuple[Content, ...]
    truncate: Truncate
    input_type: InputType | None = None
    dimensions: int | None = None
    embedding_type: EmbeddingType = "float"
    encoding_format: EncodingFormat = "float"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens the model read, special tokens and the query of every pair included, after truncation."""

    prompt_tokens: int

    @property
    def total_tokens(self) -> int:
        """Equal to `prompt_tokens`: retrieval models write no tokens."""
        return self.prompt_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where the time of one call went, in milliseconds."""

    tokenize_ms: float
    queue_ms: float
    engine_ms: float
    decode_ms: float = 0.0  # reading its images


@dataclass(frozen=True, slots=True)
class Chunk:
    """The piece of a passage that scored best: characters [start, end) of its text, and which of how many pieces it is, from 0 on."""

    start: int
    end: int
    number: int
    of: int


@dataclass(frozen=True, slots=True)
class Ranked:
    """One passage's place: its `index` in the call, its raw, unbounded `logit`, and its best piece where it was read in several."""

    index: int
    logit: float
    chunk: Chunk | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RankResult:
    """`ranked` is sorted by logit, highest first, equal logits by index. `truncated` lists the passages that were cut."""

    model: str
    ranked: tuple[Ranked, ...]
    usage: Usage
    timings: Timings
    truncated: tuple[int, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedResult:
    """`vectors` is (inputs, dimensions) float32, (inputs, dimensions) int8/uint8, or (inputs, dimensions/8) int8/uint8 when packed."""

    model: str
    vectors: NDArray[np.generic]
    usage: Usage
    timings: Timings
    truncated: tuple[int, ...] = field(default=())
