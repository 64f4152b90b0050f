"""A wish for a running version as a value: its phases, the moves between them, and its row in the store. Knows no clock and starts nothing.

Times are seconds of a monotonic clock, which counts neither sleep of the wall clock nor its jumps and starts anew with the machine. A row holds
Unix time. `saved` and `restored` are the only place where the two meet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from emberank.contract.fleet import Endpoint, FailureReason, Phase
from emberank.forge.launchers.base import Running
from emberank.forge.targets import Target

StopReason: TypeAlias = Literal["idle", "asked", "evicted", "closing"]  # closing: the forge itself ends

PHASES: Mapping[Phase, str] = {
    "COLD": "Nothing runs, and nothing is paid for.",
    "STARTING": "It is being started: weights are fetched, loaded and checked; requests for it are held.",
    "WARM": "It answers.",
    "DRAINING": "It takes no new requests, finishes what it has, and ends.",
    "FAILED": "It could not be started, or ended by itself; the reason is known, and when the next start may be tried.",
}
MOVES: Mapping[Phase, frozenset[Phase]] = {
    "COLD": frozenset({"STARTING", "FAILED"}),  # FAILED: it was to be started again, and there is no room
    "STARTING": frozenset({"WARM", "DRAINING", "FAILED"}),
    "WARM": frozenset({"DRAINING", "FAILED"}),
    "DRAINING": frozenset({"COLD"}),
    "FAILED": frozenset({"STARTING", "COLD", "FAILED"}),  # FAILED again: no room at the next try
}
# What a phase that is entered leaves behind of those before it.
_FRESH: Mapping[Phase, Mapping[str, Any]] = {
    "COLD": {"endpoint": None, "progress": None, "stopping": None, "told": False, "reason": None, "message": "", "retry_at": None, "started_at": None},
    "STARTING": {"progress": None, "stopping": None, "told": False, "reason": None, "message": "", "retry_at": None, "started_at": None, "startup_ms": None},
    "WARM": {"progress": None},
    "DRAINING": {"progress": None},
    "FAILED": {"progress": None, "stopping": None, "told": False},
}


class Key(NamedTuple):
    """What there is at most one deployment of."""

    slug: str
    version: str
    gpu_type: str
    region: str

    @property
    def target(self) -> Target:
        """(gpu_type, region)."""
        return Target(self.gpu_type, self.region)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a start is. `done` and `total` are bytes; `counts_from` is the time from which its deadline counts."""

    step: str
    done: int | None = None
    total: int | None = None
    moved_at: float
    counts_from: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One version on one target, wished for. Times are monotonic seconds."""

    key: Key
    phase: Phase = "COLD"
    since: float  # when it came into its phase
    wanted: bool = False  # somebody asked for it, and it was not stopped since
    keep_warm: bool = False
    endpoint: Running | None = None  # the last one that was started; of a FAILED one it is over
    memory_bytes: int = 0  # what is set aside for it
    stopping: StopReason | None = None  # it shall end, or is ending, and why
    told: bool = False  # DRAINING: the endpoint was asked to end
    failures: int = 0  # in a row: starts that came to nothing, and ends soon after a start
    reason: FailureReason | None = None
    message: str = ""  # why it failed, for callers
    retry_at: float | None = None  # FAILED: when the next start may be tried
    last_used: float
    started_at: float | None = None  # when the endpoint's start began; None while it waits for room
    startup_ms: float | None = None  # how long the last start took
    was_cold: bool = True  # as `wake` gives it back: it was not warm yet
    progress: Progress | None = None  # STARTING

    @property
    def id(self) -> str:
        """The endpoint's id; empty when there is none."""
        return self.endpoint.id if self.endpoint else ""

    @property
    def launched(self) -> bool:
        """Whether there may be something that runs."""
        return self.endpoint is not None and self.started_at is not None and self.phase in ("STARTING", "WARM", "DRAINING")


def cold(key: Key, now: float) -> Deployment:
    """One of which nothing is there yet."""
    return Deployment(key=key, since=now, last_used=now)


def move(deployment: Deployment, to: Phase, now: float, **changes: Any) -> Deployment:
    """The deployment in phase `to`, with `changes`. Raises ValueError for a move that is not in MOVES, and for a failure without its reason."""
    if to not in MOVES[deployment.phase]:
        raise ValueError(f"a deployment does not go from {deployment.phase} to {to}")
    if to == "FAILED" and (changes.get("reason") is None or changes.get("retry_at") is None):
        raise ValueError("a failure has a reason and a time to try again")
    return replace(deployment, phase=to, since=now, **{**_FRESH[to], **changes})


def endpoint_of(one: Deployment, now: float, *, price_usd_per_hour: float | None, usual_start_s: float | None) -> Endpoint:
    """What gateways are told of a deployment that is not cold."""
    endpoint = one.endpoint or Running(id="", launcher="")
    answers = one.phase in ("WARM", "DRAINING")
    began = one.since if one.started_at is None else one.started_at
    return Endpoint(
        id=endpoint.id,
        **one.key._asdict(),
        phase=one.phase,
        url=endpoint.url if answers else "",
        served_name=endpoint.served_name,
        secret=endpoint.secret if answers else "",
        price_usd_per_hour=price_usd_per_hour,
        **asdict(endpoint.wire),
        reason=one.reason,
        message=one.message,
        retry_in_s=None if one.retry_at is None else max(0.0, one.retry_at - now),
        eta_s=max(0.0, usual_start_s - (now - began)) if one.phase == "STARTING" and usual_start_s is not None else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedDeployment:
    """A deployment as a row: plain values only, `_at_s` is Unix time, absent text is empty. Holds no secret.

    All but the key has a default, so that what an older release wrote can be read.
    """

    slug: str
    version: str
    gpu_type: str
    region: str
    phase: str = "COLD"
    since_at_s: float = 0.0
    wanted: bool = False
    keep_warm: bool = False
    memory_bytes: int = 0
    stopping: str = ""
    told: bool = False
    failures: int = 0
    reason: str = ""
    message: str = ""
    retry_at_s: float | None = None
    last_used_at_s: float = 0.0
    started_at_s: float | None = None
    startup_ms: float | None = None
    endpoint_id: str = ""
    launcher: str = ""
    url: str = ""
    served_name: str = ""
    secret_env: str = ""
    pid: int | None = None
    pid_created_at: float | None = None  # seconds after boot, as in Running
    log_file: str = ""
    status_file: str = ""
    devices: str = ""  # comma-separated

    @property
    def key(self) -> Key:
        """What it is saved under."""
        return Key(self.slug, self.version, self.gpu_type, self.region)


def saved(deployment: Deployment, now: float, wall_now: float) -> SavedDeployment:
    """The row of a deployment; `now` is monotonic, `wall_now` Unix time."""
    endpoint = deployment.endpoint or Running(id="", launcher="")

    def at(time: float | None) -> float | None:
        return None if time is None else wall_now + (time - now)

    return SavedDeployment(
        **deployment.key._asdict(),
        phase=deployment.phase,
        since_at_s=cast(float, at(deployment.since)),
        wanted=deployment.wanted,
        keep_warm=deployment.keep_warm,
        memory_bytes=deployment.memory_bytes,
        stopping=deployment.stopping or "",
        told=deployment.told,
        failures=deployment.failures,
        reason=deployment.reason or "",
        message=deployment.message,
        retry_at_s=at(deployment.retry_at),
        last_used_at_s=cast(float, at(deployment.last_used)),
        started_at_s=at(deployment.started_at),
        startup_ms=deployment.startup_ms,
        endpoint_id=endpoint.id,
        launcher=endpoint.launcher,
        url=endpoint.url,
        served_name=endpoint.served_name,
        secret_env=endpoint.secret_env,
        pid=endpoint.pid,
        pid_created_at=endpoint.pid_created_at,
        log_file=endpoint.log_file,
        status_file=endpoint.status_file,
        devices=",".join(endpoint.devices),
    )


def restored(row: SavedDeployment, now: float, wall_now: float, most_wait_s: float) -> Deployment:
    """The deployment of a row. No time of the past comes out in the future, and no retry further away than `most_wait_s`, wherever the wall clock jumped."""

    def ago(at_s: float | None) -> float | None:
        return None if at_s is None else now - max(0.0, wall_now - at_s)

    wait_s = None if row.retry_at_s is None else min(max(0.0, row.retry_at_s - wall_now), most_wait_s)
    endpoint = Running(
        id=row.endpoint_id,
        launcher=row.launcher,
        url=row.url,
        served_name=row.served_name,
        secret_env=row.secret_env,
        pid=row.pid,
        pid_created_at=row.pid_created_at,
        log_file=row.log_file,
        status_file=row.status_file,
        devices=tuple(row.devices.split(",")) if row.devices else (),
    )
    return Deployment(
        key=row.key,
        phase=cast(Phase, row.phase),
        since=cast(float, ago(row.since_at_s)),
        wanted=row.wanted,
        keep_warm=row.keep_warm,
        endpoint=endpoint if row.endpoint_id else None,
        memory_bytes=row.memory_bytes,
        stopping=cast("StopReason | None", row.stopping or None),
        told=row.told,
        failures=row.failures,
        reason=cast("FailureReason | None", row.reason or None),
        message=row.message,
        retry_at=None if wait_s is None else now + wait_s,
        last_used=cast(float, ago(row.last_used_at_s)),
        started_at=ago(row.started_at_s),
        startup_ms=row.startup_ms,
    )
