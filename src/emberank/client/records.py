"""The answers of a server's routes about models, runs and keys, as types. Data; docs/reference/forge-api.md says what each field means.

Times are in `_ms` or `_s`, sizes in `_bytes`, money in `_usd`. A figure that was not measured is None. `phase` is COLD, STARTING, WARM, DRAINING or FAILED;
`status` of a target is "works", "awaiting probe", "not probed" or "unavailable".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from emberank.client.record import Record

Interval: TypeAlias = tuple[float, float]  # 95 %


# --- models


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelEntry(Record):
    """A model in a list. A retrieval NIM says no more than `id`, `created` and `owned_by`."""

    id: str
    created: int | None = None  # Unix time
    owned_by: str | None = None
    slug: str | None = None
    title: str | None = None
    task: str | None = None  # text→ranking or text→embedding
    phase: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target(Record):
    """A model version on a GPU type in a region, and what was measured there."""

    gpu_type: str
    region: str
    status: str
    message: str = ""
    runnable: bool | None = None
    measured_by: str | None = None  # probe or traffic
    payload_shape: str = ""
    model_ms_p50: float | None = None
    model_ms_p50_interval: Interval | None = None
    model_ms_n: int = 0
    request_ms_p50: float | None = None
    cold_start_ms_p50: float | None = None
    memory_peak_bytes: int | None = None
    tokens_per_s: float | None = None
    cost_per_gpu_hour_usd: float | None = None
    estimated_warm_request_cost_usd: float | None = None
    observed_success_rate: float | None = None  # 0 to 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelVersion(Record):
    """One set of weights and settings of a model."""

    name: str
    phase: str | None = None
    readiness: str = ""
    note: str = ""
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelInfo(ModelEntry):
    """A catalogue entry. A server that has no catalogue says only what a list says."""

    names: tuple[str, ...] = ()
    source: str | None = None
    licenses: tuple[str, ...] = ()
    description: str = ""
    category: str = ""
    tags: tuple[str, ...] = ()
    context_window: int | None = None  # tokens
    parameters: int | None = None
    dimensions: int | None = None
    shorter_dimensions: tuple[int, ...] = ()
    modalities: tuple[str, ...] = ()
    weights_dtype: str | None = None
    route: str | None = None
    random_weights: bool = False  # they are there to measure speed with; scores mean nothing
    links: Mapping[str, str] = field(default_factory=dict)
    versions: tuple[ModelVersion, ...] = ()


# --- where they run, how fast, for how much


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Availability(Record):
    """Room on a target now."""

    free: int
    slots: int
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route(Record):
    """One way to a model on a target: what to send where. `body_fields` go into the body beside the call's own."""

    method: str
    path: str
    model: str
    version: str
    gpu_type: str
    region: str
    status: str
    phase: str
    availability: Availability
    body_fields: Mapping[str, str] = field(default_factory=dict)
    model_ms_p50: float | None = None
    model_ms_n: int = 0
    cold_start_ms_p50: float | None = None
    cost_per_gpu_hour_usd: float | None = None
    estimated_warm_request_cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alternative(Record):
    """Where a model can run instead."""

    version: str
    gpu_type: str
    region: str
    status: str
    model_ms_p50: float | None = None
    model_ms_n: int = 0
    cost_per_gpu_hour_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Routes(Record):
    """The routes that match, best verified first; where none does, `reason` and `alternatives`."""

    slug: str
    routes: tuple[Route, ...]
    filters: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimate(Record):
    """What one request is expected to take. `confidence` is none, low, medium or high; `error` is the median relative error of such estimates."""

    slug: str
    model_version: str
    gpu_type: str
    region: str
    confidence: str
    cold_confidence: str
    payload: Mapping[str, Any]
    estimated_model_ms: float | None = None
    estimated_warm_request_ms: float | None = None
    estimated_warm_request_cost_usd: float | None = None
    estimated_cold_request_ms: float | None = None
    estimated_cold_request_cost_usd: float | None = None
    cost_per_gpu_hour_usd: float | None = None
    idle_after_s: float | None = None
    idle_tail_cost_usd: float | None = None
    error: float | None = None
    samples: Mapping[str, int] = field(default_factory=dict)
    target_chosen_by: str | None = None  # pinned, warm, best or none
    phase: str | None = None
    runnable: bool = True
    reason: str = ""
    message: str = ""
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reliability(Record):
    """The target table of a version. No target is the fastest or the cheapest on too few measurements; the `…_reason` says why."""

    slug: str
    model_version: str
    reliability_status: str
    supported_rows: int
    total_rows: int
    rows: tuple[Target, ...]
    readiness: str = ""
    filters: Mapping[str, str] = field(default_factory=dict)
    fastest_supported_target: Target | None = None
    fastest_reason: str = ""
    lowest_cost_supported_target: Target | None = None
    lowest_cost_reason: str = ""
    status_counts: Mapping[str, int] = field(default_factory=dict)
    failure_reason_counts: Mapping[str, int] = field(default_factory=dict)
    random_weights: bool = False


# --- what runs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepProgress(Record):
    """How far a start's present step is. Sizes are None for a step that has none."""

    step: str
    done_bytes: int | None = None
    total_bytes: int | None = None
    percent: float | None = None
    took_s: float | None = None  # the start until now


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EndpointStatus(Record):
    """What runs, starts or has failed on one target."""

    version: str
    gpu_type: str
    region: str
    phase: str
    since: datetime | None = None
    idle_for_s: float | None = None
    stops_at: datetime | None = None
    keep_warm: bool = False
    queue_depth: int = 0
    memory_bytes: int | None = None
    startup_ms: float | None = None
    progress: StepProgress | None = None
    eta_s: float | None = None
    usual_cold_start_ms: float | None = None
    usual_cold_start_n: int = 0
    reason: str | None = None
    message: str = ""
    failures: int = 0
    retry_in_s: float | None = None
    random_weights: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Status(Record):
    """What runs of a model now. `phase` is the foremost of its endpoints'."""

    slug: str
    phase: str
    endpoints: tuple[EndpointStatus, ...]
    version: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Started(Record):
    """A model that was started. `phase` is WARM unless the call did not wait for it."""

    slug: str
    version: str
    gpu_type: str
    region: str
    phase: str
    was_cold_start: bool
    keep_warm: bool
    startup_ms: float | None = None
    status_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoppedEndpoint(Record):
    """One endpoint that drains."""

    version: str
    gpu_type: str
    region: str
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stopped(Record):
    """What a stop stopped; nothing, when nothing was running."""

    slug: str
    stopped: tuple[StoppedEndpoint, ...]
    message: str = ""


# --- keys


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Key(Record):
    """A key without the key. A limit of None is none."""

    key_id: str
    name: str
    state: str  # active, expired or revoked
    scopes: tuple[str, ...]
    models: tuple[str, ...] = ()  # empty: all
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    requests_per_minute: int | None = None
    concurrency: int | None = None
    monthly_usd: float | None = None
    monthly_tokens: int | None = None
    spent_usd_this_month: float | None = None
    spent_tokens_this_month: int | None = None
    rotated_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NewKey(Key):
    """A key that was made just now. `key` is shown this once, and not by `repr`."""

    key: str = field(repr=False)
    note: str = ""
