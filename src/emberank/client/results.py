"""An answer in, a result for a program out. Knows no transport and no route."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from emberank.client.answer import Answer
from emberank.contract.errors import ServerFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Passages in order. What a server does not say is None, or missing in `timings`."""

    rankings: tuple[tuple[int, float], ...]  # (index among the passages, logit), best first
    prompt_tokens: int | None
    request_id: str | None
    target: tuple[str, str] | None  # (gpu_type, region) on which it ran
    cost_usd: float | None
    timings: dict[str, float]  # milliseconds: tokenize, queue, engine, …


def read_object(answer: Answer) -> dict[str, Any]:
    """The JSON object of an answer."""
    loaded = _loaded(answer)
    if not isinstance(loaded, dict):
        raise ServerFault("the server's answer is not a JSON object: is this an Emberank server?")
    return loaded


def read_list(answer: Answer) -> list[dict[str, Any]]:
    """The entries of an answer that is a list: `data`, or `keys`."""
    loaded = read_object(answer)
    found = loaded.get("data", loaded.get("keys"))
    if not isinstance(found, list):
        raise ServerFault("the server's answer holds no list: is this an Emberank server?")
    return found


def read_nothing(answer: Answer) -> None:
    """An answer of which only the status counts."""


def read_ranking(answer: Answer) -> Ranking:
    """NIM's ranking, and what the headers say of the run."""
    body = read_object(answer)
    try:
        rankings = tuple((int(each["index"]), float(each["logit"])) for each in body["rankings"])
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
