"""A rerank body in, its call and its writer out: TEI's is told from Cohere's by `texts`. Pure.

Both stand on one path in the wild: `/rerank` is TEI's, vLLM's, Infinity's and many others'.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from emberank.dialects import cohere, tei
from emberank.dialects.answers import Ranking

Rerank: TypeAlias = cohere.Rerank | tei.Rerank

# Infinity gives documents back as strings, where everybody else's readers want objects; LiteLLM's sends both the same body, so that only a path can tell.
INFINITY = "/infinity/rerank"
PATHS = ("/v1/rerank", "/v2/rerank", "/rerank", INFINITY)


def read(fields: dict[str, Any], most: int, path: str) -> Rerank:
    """With `texts` it is TEI's, else Cohere's or a relative's. At most `most` documents. Raises BadRequest."""
    if fields.get("texts") is not None:
        return tei.read_rerank(fields, most)
    return cohere.read_rerank(fields, most, strings=path == INFINITY)


def render(asked: Rerank, ranking: Ranking, *, model: str, request_id: str) -> bytes:
    """The answer in the dialect that was asked in."""
    if isinstance(asked, tei.Rerank):
        return tei.render_rerank(asked, ranking)
    return cohere.render_rerank(asked, ranking, model=model, request_id=request_id)
