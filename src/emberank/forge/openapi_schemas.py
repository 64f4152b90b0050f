"""What goes in and comes out of the control plane's routes as JSON schemas. Data; tests send what it says and hold the answers to it."""

from __future__ import annotations

from typing import Any, get_args

from emberank.contract.fleet import SCOPES, FailureReason, Phase, TargetStatus

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
NUMBER_OR_NULL: Schema = {"type": ["number", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
COUNT_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 1}
TIME_OR_NULL: Schema = {"type": ["string", "null"], "description": "ISO 8601, UTC."}
TRUTH: Schema = {"type": "boolean"}
PHASE: Schema = {"enum": list(get_args(Phase))}
STATUS: Schema = {"enum": list(get_args(TargetStatus))}
REASON: Schema = {"enum": [*get_args(FailureReason), None]}
_BLANK: Schema = {}


def record(properties: Schema, *, required: bool | tuple[str, ...] = True, closed: bool = False, **more: Any) -> Schema:
    """An object; `required` True: all of its properties always are there."""
    names = list(properties) if required is True else list(required or ())
    return {"type": "object", "properties": properties, "required": names, **({"additionalProperties": False} if closed else {}), **more}


def array(items: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": items}


def ref(name: str) -> Schema:
    """A schema of this module, by name."""
    return {"$ref": f"#/components/schemas/{name}"}


_PIN: Schema = {
    "version": TEXT_OR_NULL | {"description": "Also `model_version`; the model's first where absent."},
    "model_version": TEXT_OR_NULL,
    "gpu_type": TEXT_OR_NULL | {"description": "A pin; absent: the scheduler chooses."},
    "region": TEXT_OR_NULL,
}
_LIMITS: Schema = {
    "models": {"type": ["array", "null"], "items": TEXT, "description": "Names of the models it may use; empty: all."},
    "expires_at": TIME_OR_NULL,
    "expires_in_days": {"type": ["number", "null"], "exclusiveMinimum": 0},
    "requests_per_minute": COUNT_OR_NULL,
    "concurrency": COUNT_OR_NULL,
    "monthly_usd": {"type": ["number", "null"], "exclusiveMinimum": 0},
    "monthly_tokens": COUNT_OR_NULL,
}
_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 100, "pattern": r"\S", "description": "Whose it is, for people."}
_SCOPES: Schema = array({"enum": list(SCOPES)}) | {"minItems": 1, "description": "All three make an admin key."}
_KEY: Schema = {
    "key_id": TEXT,
    "name": TEXT,
    "state": {"enum": ["active", "expired", "revoked"]},
    "scopes": array({"enum": list(SCOPES)}),
    "models": array(TEXT),
    **dict.fromkeys(("created_at", "expires_at", "revoked_at", "last_used_at"), TIME_OR_NULL),
    "requests_per_minute": COUNT_OR_NULL,
    "concurrency": COUNT_OR_NULL,
    "monthly_usd": NUMBER_OR_NULL,
    "monthly_tokens": COUNT_OR_NULL,
    "spent_usd_this_month": {"type": "number"},
    "spent_tokens_this_month": COUNT,
    "rotated_from": TEXT_OR_NULL,
}
_PROBE: Schema = {
    "id": TEXT,
    "slug": TEXT,
    "model_version": TEXT_OR_NULL,
    "gpu_type": TEXT_OR_NULL,
    "region": TEXT_OR_NULL,
    "cold": TRUTH,
    "state": {"enum": ["waiting", "running", "done", "failed"]},
    "asked_at": TIME_OR_NULL,
    "ended_at": TIME_OR_NULL,
    "samples": COUNT,
    "reason": REASON,
    "message": TEXT,
}
_SCHEDULE: Schema = {
    "id": TEXT,
    "kind": {"enum": ["prewarm", "probe"]},
    "cron": TEXT,
    "slug": TEXT,
    "model_version": TEXT_OR_NULL,
    "gpu_type": TEXT_OR_NULL,
    "region": TEXT_OR_NULL,
    "created_at": TIME_OR_NULL,
    "next_at": TIME_OR_NULL,
    "key_id": TEXT,
}
_ENDPOINT: Schema = {
    "version": TEXT,
    "gpu_type": TEXT,
    "region": TEXT,
    "phase": PHASE,
    "since": TIME_OR_NULL,
    "idle_for_s": NUMBER_OR_NULL,
    "stops_at": TIME_OR_NULL,
    "keep_warm": TRUTH,
    "queue_depth": COUNT | {"description": "Requests being answered there, and held for it."},
    "startup_ms": NUMBER_OR_NULL,
    "progress": {"type": ["object", "null"], "description": "Of a start: step, bytes done and in all, percent."},
    "eta_s": NUMBER_OR_NULL | {"description": "Of a start: what earlier ones let one expect."},
    "reason": REASON,
    "message": TEXT,
    "retry_in_s": NUMBER_OR_NULL,
    "random_weights": TRUTH,
    "remote": {"type": ["string", "null"], "description": "The host of somebody else's server."},
}
_ROUTE: Schema = {
    "method": TEXT,
    "path": TEXT,
    "model": TEXT,
    "version": TEXT,
    "gpu_type": TEXT,
    "region": TEXT,
    "status": STATUS,
    "phase": PHASE,
    "availability": record({"free": COUNT, "slots": COUNT, "message": TEXT}),
}
_TARGET: Schema = {
    "gpu_type": TEXT,
    "region": TEXT,
    "status": STATUS,
    "runnable": TRUTH,
    "message": TEXT,
    "measured_by": {"enum": ["probe", "traffic", None]},
    "payload_shape": TEXT,
    "model_ms_p50": NUMBER_OR_NULL,
    "model_ms_p50_interval": {"type": ["array", "null"], "items": {"type": "number"}, "description": "95 %."},
    "model_ms_n": COUNT,
    "request_ms_p50": NUMBER_OR_NULL,
    "cold_start_ms_p50": NUMBER_OR_NULL,
    "memory_peak_bytes": {"type": ["integer", "null"]},
    "tokens_per_s": NUMBER_OR_NULL,
    "cost_per_gpu_hour_usd": NUMBER_OR_NULL,
    "estimated_warm_request_cost_usd": NUMBER_OR_NULL,
    "observed_success_rate": NUMBER_OR_NULL,
    "published": {"type": ["object", "null"], "description": "What others published; never mixed with what was measured here."},
}
_USAGE: Schema = {
    "requests": COUNT,
    "errors": COUNT,
    "tokens": COUNT,
    "passages": COUNT,
    "model_ms": {"type": "number"},
    "cost_usd": {"type": "number"},
}
_ESTIMATE: Schema = {
    "slug": TEXT,
    "model_version": TEXT,
    "gpu_type": TEXT,
    "region": TEXT,
    "payload": {"type": "object"},
    **dict.fromkeys(
        (
            "estimated_warm_request_ms",
            "estimated_warm_request_cost_usd",
            "estimated_cold_request_ms",
            "estimated_cold_request_cost_usd",
            "cost_per_gpu_hour_usd",
            "error",
        ),
        NUMBER_OR_NULL,
    ),
    "confidence": {"enum": ["none", "low", "medium", "high"]},
    "cold_confidence": {"enum": ["none", "low", "medium", "high"]},
    "samples": {"type": "object", "additionalProperties": COUNT, "description": "How many measurements stand behind the figures."},
    "target_chosen_by": {"enum": ["pinned", "warm", "best", "none"]},
    "message": TEXT,
}
_RELIABILITY: Schema = {
    "slug": TEXT,
    "model_version": TEXT,
    "reliability_status": TEXT,
    "readiness": TEXT,
    "supported_rows": COUNT,
    "total_rows": COUNT,
    "filters": {"type": "object", "additionalProperties": TEXT},
    "fastest_supported_target": {"type": ["object", "null"]},
    "lowest_cost_supported_target": {"type": ["object", "null"]},
    "status_counts": {"type": "object", "additionalProperties": COUNT},
    "failure_reason_counts": {"type": "object", "additionalProperties": COUNT},
    "random_weights": TRUTH | {"description": "Its weights are random numbers, to measure speed with."},
    "rows": array(ref("Target")),
}
_MODEL: Schema = {"id": TEXT, "object": {"const": "model"}, "created": {"type": "integer"}, "owned_by": TEXT, "root": TEXT}


def _listed(row: Schema, **more: Schema) -> Schema:
    return record({"object": {"const": "list"}, "data": array(row), **more})


SCHEMAS: Schema = {
    "Models": _listed(record(_MODEL)),
    "Model": record(_MODEL | {"slug": TEXT, "title": TEXT, "task": TEXT, "names": array(TEXT), "phase": PHASE, "versions": array({"type": "object"})}),
    "Target": record(_TARGET),
    "InferenceRoutes": record(
        {"slug": TEXT, "id": TEXT, "filters": {"type": "object"}, "routes": array(record(_ROUTE)), "reason": TEXT, "alternatives": array({"type": "object"})}
    ),
    "RunEstimate": record(_ESTIMATE),
    "Reliability": record(_RELIABILITY),
    "FamilyStatus": record({"slug": TEXT, "version": TEXT_OR_NULL, "phase": PHASE, "endpoints": array(record(_ENDPOINT))}),
    "StartRequest": record(
        _PIN | {"run_until_stopped": {"type": ["boolean", "null"], "description": "Keep it warm until it is stopped."}},
        required=(),
        closed=True,
        examples=[{"version": "v1", "run_until_stopped": False}],
    ),
    "Started": record(
        {
            "slug": TEXT,
            "version": TEXT,
            "gpu_type": TEXT,
            "region": TEXT,
            "phase": PHASE,
            "startup_ms": NUMBER_OR_NULL,
            "was_cold_start": TRUTH,
            "keep_warm": TRUTH,
            "status_url": TEXT,
        }
    ),
    "StopRequest": record(_PIN, required=(), closed=True, examples=[{"version": "v1"}]),
    "Stopped": record({"slug": TEXT, "filters": {"type": "object"}, "stopped": array({"type": "object"}), "message": TEXT}),
    "KeyRequest": record(
        {"name": _NAME, "scopes": _SCOPES, **_LIMITS},
        required=("name", "scopes"),
        closed=True,
        examples=[{"name": "search", "scopes": ["inference", "read"], "requests_per_minute": 600, "monthly_usd": 20}],
    ),
    "KeyChange": record({"name": _NAME, "scopes": _SCOPES, **_LIMITS}, required=(), closed=True, examples=[{"monthly_usd": 50}]),
    "RotateRequest": record({"overlap_s": {"type": ["number", "null"], "minimum": 0}}, required=(), closed=True, examples=[{"overlap_s": 3600}]),
    "Key": record(_KEY),
    "NewKey": record({"key": TEXT | {"description": "The key itself. It is not shown again."}, "note": TEXT, **_KEY}),
    "Keys": _listed(ref("Key")),
    "Usage": _listed(
        record({"start": TIME_OR_NULL, "key_id": TEXT, "slug": TEXT, "model_version": TEXT, "gpu_type": TEXT, "region": TEXT, **_USAGE}), total=record(_USAGE)
    ),
    "Targets": _listed(
        record({"gpu_type": TEXT, "region": TEXT, "slots": COUNT, "free_slots": COUNT, "memory_bytes": {"type": ["integer", "null"]}, "price": _BLANK}),
        prices=array({"type": "object"}),
    ),
    "ProbeRequest": record(
        {"slug": TEXT_OR_NULL, "model": TEXT_OR_NULL, "cold": {"type": ["boolean", "null"], "description": "Stop it first, to measure a start."}, **_PIN},
        required=(),
        closed=True,
        examples=[{"slug": "all-minilm-l6-v2-rerank", "gpu_type": "CPU", "region": "local"}],
    ),
    "Probe": record(_PROBE),
    "Probes": _listed(ref("Probe")),
    "ScheduleRequest": record(
        {
            "slug": TEXT_OR_NULL,
            "model": TEXT_OR_NULL,
            "kind": {"enum": ["prewarm", "probe", None], "default": "prewarm"},
            "cron": TEXT | {"description": "Minute, hour, day of month, month, day of week, in UTC or after `CRON_TZ=zone`."},
            **_PIN,
        },
        required=("cron",),
        closed=True,
        examples=[{"slug": "all-minilm-l6-v2-rerank", "kind": "prewarm", "cron": "45 7 * * MON-FRI"}],
    ),
    "Schedule": record(_SCHEDULE),
    "Schedules": _listed(ref("Schedule")),
    "Health": record({"object": {"const": "health.response"}, "message": TEXT, "status": TEXT}),
    "Object": {"type": "object"},
    "Error": record(
        {
            "object": {"const": "error"},
            "message": TEXT,
            "type": TEXT,
            "code": {"type": "integer"},
            "detail": TEXT,
            "error": {"type": ["string", "object"]},
            "request_id": TEXT,
        }
    ),
}
