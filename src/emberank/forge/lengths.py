"""A call's texts in, how many tokens a model will read of them out: by what was measured of it, else by a rule of thumb. Tokenises nothing.

What a model reads is counted, not what was sent: a reranker reads the query once with every passage, and nothing reads beyond its context.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from emberank.contract.inference import EmbedCall, RankCall, Task
from emberank.forge.figures import RequestFigures
from emberank.forge.payloads import PASSAGES, QUERY, sample_payload

CHARS_PER_TOKEN = 4.0  # of English prose in the vocabularies of these models
CountedBy: TypeAlias = Literal["caller", "measured", "assumed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """What a request holds."""

    chars: int | None
    passages: int | None


def length_of(call: RankCall | EmbedCall, context_tokens: int | None = None) -> Length:
    """What a model reads of a call, in characters; a text beyond the context counts as far as it is read."""
    most = None if context_tokens is None else round(context_tokens * CHARS_PER_TOKEN)
    if isinstance(call, RankCall):
        query = len(call.query.text or "")
        texts = [query + len(passage.text or "") for passage in call.passages]
    else:
        texts = [len(content.text or "") for content in call.inputs]
    return Length(chars=sum(texts if most is None else [min(text, most) for text in texts]), passages=len(texts))


def sample_chars(task: Task) -> int:
    """What a model reads of the probes' sample payload, in characters."""
    return sum(len(QUERY) + len(passage) for passage in PASSAGES) if task == "rank" else len(QUERY) + sum(map(len, PASSAGES))


def tokens_of(chars: int, task: Task, probed: RequestFigures) -> tuple[int, CountedBy]:
    """About how many tokens a model makes of so many characters: as many in proportion as of the sample, if that was measured."""
    if probed.tokens and probed.passages == sample_payload(task).passages:
        return max(1, round(chars * probed.tokens / sample_chars(task))), "measured"
    return max(1, round(chars / CHARS_PER_TOKEN)), "assumed"
