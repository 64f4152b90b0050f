"""What gateway and forge tell each other: the snapshot (down), a wish to wake (up), usage and load (up). Frozen values; knows no wire and no clock.

Times are ages in seconds wherever they cross a process, so that two clocks need not agree; `at_s` of a usage record, which is kept, is Unix time.
Money is US dollars. A *target* is (gpu_type, region); a CPU machine's gpu_type is `CPU`, this machine's region `local`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from emberank.contract.inference import Task

Phase: TypeAlias = Literal["COLD", "STARTING", "WARM", "DRAINING", "FAILED"]
Scope: TypeAlias = Literal["inference", "read", "manage"]
TargetStatus: TypeAlias = Literal["works", "unavailable", "not probed", "awaiting probe"]
# golden_mismatch: it runs, and its golden example came out wrong · no_capacity: no pool of its target has a free slot · request_failed: ready, and a probe failed
FailureReason: TypeAlias = Literal[
    "weights_unavailable", "weights_corrupt", "unsupported_architecture", "golden_mismatch", "bad_setting", "out_of_memory",
    "start_timeout", "crashed", "unreachable", "no_capacity", "request_failed",
]  # fmt: skip
# What an endpoint is asked in: NIM's wire with our own fields beside it, NIM's alone, or Cohere's rerank.
EndpointDialect: TypeAlias = Literal["emberank", "nim", "cohere"]
SCOPES: tuple[Scope, ...] = ("inference", "read", "manage")
# The scheduler's default version is the first of a model's list.


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRow:
    """One target of a version, as routing sees it. A version's rows stand in order of preference, best verified first."""

    gpu_type: str
    region: str
    status: TargetStatus
    runnable: bool  # a pool here can run it; False for a target that is known from published figures only
    price_usd_per_hour: float | None = None
    reason: str = ""  # why not, in words, when it is not runnable or not available


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """One set of weights and settings of a model."""

    name: str
    targets: tuple[TargetRow, ...]
    calibration: tuple[float, float] | None = None  # (a, b): σ(a · logit + b) is how often such a passage was relevant, measured on judged data


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """A model that may be asked for, cold or warm. `names` are all names it answers to, slug and id among them; versions[0] is the default."""

    slug: str
    id: str
    task: Task
    names: tuple[str, ...]
    created: int  # Unix time
    owner: str
    versions: tuple[VersionRow, ...]
    fallbacks: tuple[str, ...] = ()  # slugs of models for the same task that are asked, in this order, when no endpoint of this one can answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Something that answers, will soon, or failed to, for (model, version, target). A COLD one is not listed."""

    id: str
    slug: str
    version: str
    gpu_type: str
    region: str
    phase: Phase
    url: str = ""  # http://host:port without a path; empty unless WARM or DRAINING
    served_name: str = ""  # what the endpoint itself calls the model
    secret: str = field(default="", repr=False)  # sent as Bearer to a remote endpoint
    price_usd_per_hour: float | None = None
    dialect: EndpointDialect = "emberank"
    path: str = ""  # where it takes its model's calls, when that is not the dialect's own path
    score: Literal["logit", "sigmoid"] = "logit"  # what its scores are
    max_passages: int | None = None  # in one call; None: as the gateway's setting says
    timeout_s: float | None = None  # of one try at a remote endpoint; None: as the gateway's setting says
    usd_per_request: float | None = None  # of a remote endpoint, as its owner charges
    usd_per_million_tokens: float | None = None
    reason: FailureReason | None = None
    message: str = ""  # why it failed, for callers
    retry_in_s: float | None = None  # FAILED: when the next start may be tried
    eta_s: float | None = None  # STARTING: what history lets one expect


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who a key stands for, and what it may do and spend. `digest` is the keyed hash of the key, in hex; the key itself is nowhere."""

    key_id: str
    name: str
    digest: str = field(repr=False)
    scopes: tuple[Scope, ...]
    models: tuple[str, ...] = ()  # slugs; empty: all
    expires_at_s: float | None = None  # Unix time
    revoked: bool = False
    requests_per_minute: int | None = None
    concurrency: int | None = None
    monthly_usd: float | None = None
    monthly_tokens: int | None = None
    month: str = ""  # "2026-11" (UTC): the month of the two sums below
    spent_usd: float = 0.0
    spent_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Revisions:
    """Which state of each part of a snapshot is known; 0 is none. A number changes whenever its part does, and never comes back."""

    models: int = 0
    endpoints: int = 0
    principals: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a gateway needs to serve. A part that is None has not changed since the revisions that were asked with."""

    forge_id: str  # new with every start of the forge: revisions of two forges do not compare
    revisions: Revisions
    models: tuple[ModelRow, ...] | None = None
    endpoints: tuple[Endpoint, ...] | None = None
    principals: tuple[Principal, ...] | None = None
    key_secret: str = field(default="", repr=False)  # hex: what keys are hashed with
    counted: int = 0  # the asking gateway's last report that `spent_*` includes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Make this model warm. None leaves the choice to the forge."""

    slug: str
    version: str | None = None
    gpu_type: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRecord:
    """One request, as it is billed. `model_ms` is the engine's own time; `chars` what the call's texts hold."""

    at_s: float
    request_id: str
    key_id: str
    slug: str
    version: str
    gpu_type: str
    region: str
    route: str
    status: int
    tokens: int
    passages: int
    chars: int
    request_ms: float
    model_ms: float
    queue_ms: float
    cold_start_ms: float
    cost_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointLoad:
    """What one gateway has at one endpoint now."""

    endpoint_id: str
    in_flight: int
    idle_s: float  # since the last request came or was answered


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """One gateway's news. `number` counts up by one; a report that is sent twice is counted once."""

    gateway_id: str
    number: int
    usage: tuple[UsageRecord, ...] = ()
    loads: tuple[EndpointLoad, ...] = ()
    unreachable: tuple[str, ...] = ()  # endpoint ids that refused or broke a connection
    key_last_used: tuple[tuple[str, float], ...] = ()  # (key id, seconds ago)
