"""A NIM's body in, what it asks for and how that is answered out: NIM's wire as one of the dialects. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from emberank.dialects import nim
from emberank.dialects.answers import Ranking
from emberank.dialects.asked import AskedRank, Told
from emberank.dialects.long_documents import rendered_chunk
from emberank.dialects.scores import Score, read_score, scored_as

MOST_HOSTED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How a ranking is to be written. `score` None leaves the field out: an entry is then a NIM's own."""

    top_n: int | None
    score: Score | None


def ask_ranking(fields: dict[str, Any], rules: nim.Rules) -> AskedRank:
    """POST /v1/ranking and the hosted form of it. `logit` is always the logit; with `score_mode` an entry has a `score` beside it. Raises BadRequest."""
    parsed = nim.read_ranking(fields, rules)
    call = parsed.call
    if call.top_n is None and "score_mode" not in fields:  # most are, and there are thousands a second
        return AskedRank(calls=(call,), score="logit", render=_WHOLE, ignored=parsed.ignored, plain=True)
    score = read_score(fields, "logit")
    named = fields.get("score_mode") is not None
    wanted = Wanted(top_n=call.top_n, score=score if named else None)
    return AskedRank(
        calls=(replace(call, top_n=None),), score=score, render=partial(render_rankings, wanted), ignored=parsed.ignored, plain=not named, top_n=call.top_n
    )


def ask_hosted(fields: dict[str, Any], rules: nim.Rules) -> AskedRank:
    """The hosted form: the same body, of up to 1000 passages, as the schema of NVIDIA's hosted reranker has it. Raises BadRequest."""
    return ask_ranking(fields, replace(rules, max_passages=max(rules.max_passages, MOST_HOSTED)))


def render_rankings(wanted: Wanted, rankings: Sequence[Ranking], told: Told) -> bytes:
    """NIM's `rankings` and `usage`."""
    (ranking,) = rankings
    entries = []
    for one in ranking.ranked[: wanted.top_n]:
        entry: dict[str, object] = {"index": one.index, "logit": np.float32(one.logit), **rendered_chunk(one)}
        if wanted.score is not None:
            entry["score"] = scored_as(one.logit, wanted.score, told.calibration)
        entries.append(entry)
    return nim.rankings_body(entries, ranking.prompt_tokens)


_WHOLE = partial(render_rankings, Wanted(top_n=None, score=None))
