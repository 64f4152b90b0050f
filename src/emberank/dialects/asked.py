"""What a body asks for, whatever its dialect, and how its answer is written: all that a server needs to know of a dialect. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from emberank.contract.inference import EmbedCall, RankCall
from emberank.dialects.answers import Embeddings, Ranking
from emberank.dialects.scores import Calibration, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an answer says besides its numbers."""

    model: str  # the name it is served under
    request_id: str
    calibration: Calibration | None = None  # of the version that answered


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRank:
    """One or several calls for the same model: a dialect that takes several queries at one time makes one call of each.

    `render` takes one ranking a call, in their order, every passage in each. `plain` says that it writes NIM's own answer of the one call that there is, so that a NIM's bytes
    may be passed on as they are, cut to `top_n`.
    """

    calls: tuple[RankCall, ...]  # without `top_n`: an answer is cut when it is written
    score: Score
    render: Callable[[Sequence[Ranking], Told], bytes]
    ignored: tuple[str, ...] = ()
    plain: bool = False
    top_n: int | None = None  # for `plain` only


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedEmbed:
    """One call. `plain` says that `render` writes NIM's own answer, so that a NIM's bytes may be passed on as they are."""

    call: EmbedCall
    render: Callable[[Embeddings, Told], bytes]
    ignored: tuple[str, ...] = ()
    plain: bool = False


Asked: TypeAlias = AskedRank | AskedEmbed
