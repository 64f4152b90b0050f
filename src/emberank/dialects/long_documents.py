"""What a body says of documents that are longer than a model reads, in; and which piece of one was the best, out. Pure; the same in every rerank dialect.

The fields are Cohere's: `max_tokens_per_doc` (v2) cuts a document, `max_chunks_per_doc` (v1) reads it in pieces, of which the best counts. Without them a document is
cut or refused, as `truncate` says.
"""

from __future__ import annotations

from typing import Any

from emberank.contract.errors import BadRequest
from emberank.contract.inference import Ranked
from emberank.dialects.reading import optional_count

FIELDS = ("max_tokens_per_doc", "max_chunks_per_doc")
_MOST_CHUNKS = 1000


def max_passage_tokens(fields: dict[str, Any]) -> int | None:
    """Tokens of one document, or of one piece of it. Null and 0 are absent."""
    return optional_count(fields, "max_tokens_per_doc")


def max_chunks(fields: dict[str, Any]) -> int | None:
    """Pieces of one document. Null and 0 are absent; raises BadRequest over 1000."""
    count = optional_count(fields, "max_chunks_per_doc")
    if count is not None and count > _MOST_CHUNKS:
        raise BadRequest(f"max_chunks_per_doc must be at most {_MOST_CHUNKS}; got {count}")
    return count


def rendered_chunk(one: Ranked) -> dict[str, object]:
    """Fields for an answer's entry: characters [start, end) of the document, and which piece of how many; none where it was read whole."""
    chunk = one.chunk
    return {} if chunk is None else {"chunk": {"start": chunk.start, "end": chunk.end, "number": chunk.number, "of": chunk.of}}
