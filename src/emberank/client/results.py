"""An answer in, a result for a program out. Knows no transport and no route."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from emberank.client.answer import Answer
from emberank.client.record import R, read
from emberank.contract.errors import ServerFault
from emberank.contract.inference import Chunk

N = TypeVar("N", int, float)


class _Place(NamedTuple):
    index: int  # type: ignore[assignment]  # in the place of tuple.index, which nobody asks a place for
    logit: float


class RankedPassage(_Place):
    """A passage's place: `index, logit = passage`. `score` is there when a `score_mode` was asked for, `chunk` when the passage was read in pieces."""

    score: float | None = None
    chunk: Chunk | None = None

    def __new__(cls, index: int, logit: float, score: float | None = None, chunk: Chunk | None = None) -> RankedPassage:
        """Of its index among the passages that were sent."""
        made = super().__new__(cls, index, logit)
        vars(made).update(score=score, chunk=chunk)
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name!r} cannot be set: a place in a ranking does not change")

    def __repr__(self) -> str:
        more = "".join(f", {name}={value!r}" for name, value in vars(self).items() if value is not None)
        return f"RankedPassage(index={self.index}, logit={self.logit}{more})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Passages in order. What a server does not say is None, or missing in `timings`.

    Of more passages than one request takes, tokens, cost and times are sums over the requests, and `request_id` is the first one's.
    """

    rankings: tuple[RankedPassage, ...]  # best first; each is (index among the passages, logit)
    prompt_tokens: int | None
    request_id: str | None
    target: tuple[str, str] | None  # (gpu_type, region) on which it ran; None when it ran on several
    cost_usd: float | None
    timings: dict[str, float]  # milliseconds: tokenize, queue, engine, …
    score: str | None = None  # what the scores are: logit, sigmoid or calibrated


def merged(parts: Sequence[Ranking], starts: Sequence[int], top_n: int | None) -> Ranking:
    """One ranking of the rankings of several requests with the same query, whose passages begin at `starts`. Equal logits stay in the passages' order."""
    found = [
        RankedPassage(place.index + start, place.logit, place.score, place.chunk) for part, start in zip(parts, starts, strict=True) for place in part.rankings
    ]
    found.sort(key=lambda place: (-place.logit, place.index))
    targets = {part.target for part in parts}
    return Ranking(
        rankings=tuple(found[:top_n]),
        prompt_tokens=_sum([part.prompt_tokens for part in parts]),
        request_id=parts[0].request_id,
        target=parts[0].target if len(targets) == 1 else None,
        cost_usd=_sum([part.cost_usd for part in parts]),
        timings={name: sum(part.timings.get(name, 0.0) for part in parts) for name in dict.fromkeys(name for part in parts for name in part.timings)},
        score=parts[0].score,
    )


def _sum(values: Sequence[N | None]) -> N | None:
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if len(known) == len(values) else None


def read_object(answer: Answer) -> dict[str, Any]:
    """The JSON object of an answer."""
    loaded = _loaded(answer)
    if not isinstance(loaded, dict):
        raise ServerFault("the server's answer is not a JSON object: is this an Emberank server?")
    return loaded


def read_list(answer: Answer) -> list[Any]:
    """The entries of an answer that is a list: `data`, or `keys`."""
    loaded = read_object(answer)
    found = loaded.get("data", loaded.get("keys"))
    if not isinstance(found, list):
        raise ServerFault("the server's answer holds no list: is this an Emberank server?")
    return found


def records(cls: type[R]) -> Callable[[Answer], list[R]]:
    """The reader of an answer that is a list of such records."""
    return lambda answer: [read(cls, each) for each in read_list(answer)]


def record(cls: type[R]) -> Callable[[Answer], R]:
    """The reader of an answer that is such a record."""
    return lambda answer: read(cls, read_object(answer))


def read_nothing(answer: Answer) -> None:
    """An answer of which only the status counts."""


def read_ranking(answer: Answer) -> Ranking:
    """NIM's ranking, and what the headers say of the run."""
    body = read_object(answer)
    try:
        rankings = tuple(_place(each) for each in body["rankings"])
        usage = body.get("usage") or {}
        tokens = usage.get("prompt_tokens")
    except (KeyError, TypeError, ValueError, AttributeError) as cause:
        raise ServerFault("the server's answer is not a ranking") from cause
    target = (answer.header("x-emberank-target") or "").split("/", 1)
    return Ranking(
        rankings=rankings,
        prompt_tokens=tokens if isinstance(tokens, int) else None,
        request_id=answer.header("x-request-id"),
        target=(target[0], target[1]) if len(target) == 2 else None,
        cost_usd=_number(answer.header("x-emberank-cost-usd")),
        timings=read_timings(answer),
        score=answer.header("emberank-score"),
    )


def _place(fields: dict[str, Any]) -> RankedPassage:
    score, chunk = fields.get("score"), fields.get("chunk")
    return RankedPassage(
        int(fields["index"]),
        float(fields["logit"]),
        None if score is None else float(score),
        None if chunk is None else Chunk(int(chunk["start"]), int(chunk["end"]), int(chunk["number"]), int(chunk["of"])),
    )


def read_timings(answer: Answer) -> dict[str, float]:
    """Milliseconds out of Server-Timing (https://www.w3.org/TR/server-timing/) and of headers such as X-Emberank-Cold-Start-Ms (`cold-start`)."""
    found: dict[str, float] = {}
    for part in (answer.header("server-timing") or "").split(","):
        name, *parameters = (each.strip() for each in part.split(";"))
        for parameter in parameters:
            value = _number(parameter.removeprefix("dur=")) if parameter.startswith("dur=") else None
            if name and value is not None:
                found[name] = value
    for key, raw in answer.headers:
        if key.startswith(b"x-emberank-") and key.endswith(b"-ms") and (value := _number(raw.decode("latin-1"))) is not None:
            found[key[11:-3].decode("latin-1")] = value
    return found


def read_vectors(answer: Answer) -> NDArray[np.float32]:
    """(inputs, dimensions) float32, in the order of the inputs, out of OpenAI's list in base64 or in numbers."""
    body = read_object(answer)
    try:
        rows = sorted(body["data"], key=lambda row: int(row["index"]))
        return np.stack([_vector(row["embedding"]) for row in rows])
    except (KeyError, TypeError, ValueError, binascii.Error) as cause:
        raise ServerFault("the server's answer holds no embeddings, or not of one length") from cause


def _vector(value: str | list[float]) -> NDArray[np.float32]:
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4").astype(np.float32, copy=False)
    return np.asarray(value, dtype=np.float32)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _loaded(answer: Answer) -> Any:
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError as cause:
        raise ServerFault("the server's answer is not JSON: is this an Emberank server?") from cause
