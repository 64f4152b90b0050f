"""What a program asks for in; one call after the other out, each as the answer to the last one has it, and the result at the end. Knows no transport.

A *talk* is a generator. It yields a `Call`, and is sent what that call's answer was read as; a `Pause`, after which it goes on; or a `Progress`, which is for
the program. What it returns is the result. Both clients hold the same talks, the one with threads' waits and the other with a loop's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from emberank.client import calls
from emberank.client.calls import Call, Passage, Value
from emberank.client.record import read
from emberank.client.records import EndpointStatus, Started, Status
from emberank.client.results import Ranking, merged
from emberank.contract.errors import BadRequest

T = TypeVar("T")
PASSAGES_PER_CALL = 512  # what a NIM takes, and our own server unless its setting says otherwise
TEXTS_PER_CALL = 2048
_LEAST_LOOK_S, _MOST_LOOK_S = 1, 5  # between two looks at a start
_LOOKS_PER_START = 20


class Pause(NamedTuple):
    """Go on after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the start of a model is. The last one has the phase WARM."""

    slug: str
    version: str
    gpu_type: str
    region: str
    phase: str
    step: str | None = None  # fetching, loading, …; None when there is nothing to say
    done_bytes: int | None = None  # of this step
    total_bytes: int | None = None
    percent: float | None = None
    took_s: float | None = None
    eta_s: float | None = None  # what earlier starts let one expect
    message: str = ""  # what it waits for


Talk: TypeAlias = Generator[Call[Any] | Pause | Progress, Any, T]


def once(call: Call[T]) -> Talk[T]:
    """One call."""
    answered: T = yield call
    return answered


def rank(query: str, passages: Sequence[Passage], per_call: int, options: Mapping[str, Value]) -> Talk[Ranking]:
    """Ranked in requests of at most `per_call` passages: a passage's logit does not depend on the others."""
    if isinstance(passages, str):
        raise BadRequest("passages must be a list of passages; for one passage send a list of one")
    starts = range(0, max(1, len(passages)), per_call)
    parts = []
    for start in starts:
        part: Ranking = yield calls.rank(query, passages[start : start + per_call], options)
        parts.append(part)
    top_n = options.get("top_n")
    return parts[0] if len(parts) == 1 else merged(parts, starts, int(top_n) if top_n else None)


def embed(texts: Sequence[str], per_call: int, options: Mapping[str, Value]) -> Talk[NDArray[np.float32]]:
    """Embedded in requests of at most `per_call` texts."""
    if isinstance(texts, str):
        raise BadRequest("texts must be a list of strings; for one text send a list of one")
    parts = []
    for start in range(0, max(1, len(texts)), per_call):
        part: NDArray[np.float32] = yield calls.embed(texts[start : start + per_call], options)
        parts.append(part)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def start(slug: str, target: Mapping[str, Value], *, run_until_stopped: bool | None = None, clock: Callable[[], float] = time.monotonic) -> Talk[Started]:
    """Start a model, and say how far it is until it is warm.

    Between two looks the server is asked to answer when the model is warm, so that this is known at once; how long it waits with that depends on how
    long the start is expected to take.
    """
    answered: Started = yield calls.start(slug, target, run_until_stopped=run_until_stopped, wait_s=0)
    cold = answered.phase != "WARM"
    while answered.phase != "WARM":
        status: Status = yield calls.status(slug, answered.version)
        progress = _progress(answered, _of(status, answered))
        if progress.phase != "WARM":  # which is said once, at the end
            yield progress
        wait_s = look_after_s(progress.eta_s)
        asked_at = clock()
        answered = yield calls.start(slug, target, wait_s=wait_s)
        waited_s = clock() - asked_at
        if answered.phase != "WARM" and waited_s < wait_s / 2:  # a server that does not wait
            yield Pause(wait_s - waited_s)
    if cold and not answered.was_cold_start:  # it became warm between two looks
        last: Status = yield calls.status(slug, answered.version)
        found = _of(last, answered)
        answered = read(Started, {**answered, "was_cold_start": True, "startup_ms": found.startup_ms if found else None})
    yield _progress(answered, None)
    return answered


def look_after_s(eta_s: float | None) -> int:
    """Whole seconds until the next look at a start of which `eta_s` are left, as far as is known."""
    return _LEAST_LOOK_S if eta_s is None else max(_LEAST_LOOK_S, min(_MOST_LOOK_S, round(eta_s / _LOOKS_PER_START)))


def _of(status: Status, started: Started) -> EndpointStatus | None:
    wanted = (started.version, started.gpu_type, started.region)
    return next((one for one in status.endpoints if (one.version, one.gpu_type, one.region) == wanted), None)


def _progress(started: Started, now: EndpointStatus | None) -> Progress:
    step = now.progress if now else None
    return Progress(
        slug=started.slug,
        version=started.version,
        gpu_type=started.gpu_type,
        region=started.region,
        phase=now.phase if now else started.phase,
        step=step.step if step else None,
        done_bytes=step.done_bytes if step else None,
        total_bytes=step.total_bytes if step else None,
        percent=step.percent if step else None,
        took_s=step.took_s if step else None,
        eta_s=now.eta_s if now else None,
        message=now.message if now else "",
    )
