"""The forge's values in, JSON answers out. Shows no key, no digest, no secret and no path of the server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from emberank.contract.errors import EmberankError, NotReady
from emberank.contract.fleet import Phase
from emberank.contract.inference import Task
from emberank.forge.catalog import Model, Version
from emberank.forge.deployments import Deployment
from emberank.forge.keys import Keys
from emberank.forge.lifecycle import idle_s
from emberank.forge.loads import Load
from emberank.forge.moments import iso
from emberank.forge.needs import needs_gb
from emberank.forge.probes import Probe
from emberank.forge.random_weights import has_random_weights
from emberank.forge.snapshot import created, owner
from emberank.forge.standing import SENTENCES
from emberank.forge.store.keys import StoredKey
from emberank.forge.store.schedules import Schedule
from emberank.forge.store.usage import UsageHour
from emberank.forge.targets import Pool, needs_in

Row = dict[str, Any]
TASKS: Mapping[Task, str] = {"rank": "text→ranking", "embed": "text→embedding"}
# What a model's phase is when its endpoints are in several: the first of these.
_FOREMOST: tuple[Phase, ...] = ("WARM", "STARTING", "DRAINING", "FAILED")
_SUMMED = ("requests", "errors", "tokens", "passages", "model_ms", "cost_usd")


def written(answer: object) -> bytes:
    """JSON. What is not Unicode (a path's bytes, in somebody's name for a file) is written with replacement marks."""
    try:
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError:
        return orjson.dumps(_unicode(answer), option=orjson.OPT_SERIALIZE_NUMPY)


def listed(data: Sequence[object], **more: object) -> bytes:
    """A list, as every list here is written."""
    return written({"object": "list", "data": data, **more})


def inference_path(model: Model) -> str:
    """The native route."""
    return f"/v1/inference/{model.slug}"


def status_path(slug: str, version: str) -> str:
    """Where the runtime state is to be had."""
    return f"/v1/model-families/{slug}/status?version={version}"


def phase_of(deployments: Iterable[Deployment]) -> Phase:
    """One phase for all of them."""
    phases = {one.phase for one in deployments}
    return next((phase for phase in _FOREMOST if phase in phases), "COLD")


def model_line(model: Model, phase: Phase) -> Row:
    """A model in a list: OpenAI's fields, and ours."""
    return {
        "id": model.id,
        "object": "model",
        "created": created(model),
        "owned_by": owner(model),
        "root": model.id,
        "slug": model.slug,
        "title": model.title,
        "task": TASKS[model.task],
        "category": model.category,
        "tags": list(model.tags),
        "versions": [version.name for version in model.versions],
        "phase": phase,
        "random_weights": has_random_weights(model.versions[0]),
    }


def model_page(model: Model, names: Sequence[str], phase: Phase) -> Row:
    """A catalogue entry without its versions."""
    golden = None if model.golden is None else {"query": model.golden.query, "passages": list(model.golden.passages), "scores": list(model.golden.scores)}
    return {
        **model_line(model, phase),
        "names": list(names),
        "source": model.source,
        "licenses": list(model.licenses),
        "added": model.added or None,
        "description": model.description,
        "context_window": model.context_tokens,
        "parameters": model.parameters,
        "dimensions": model.dimensions,
        "shorter_dimensions": list(model.shorter_dimensions),
        "modalities": list(model.modalities),
        "weights_dtype": model.dtype or None,
        "minimum_memory_gb": model.min_memory_gb,
        "links": dict(model.links),
        "golden": golden,
        "fallbacks": list(model.fallbacks),
        "method": "POST",
        "route": inference_path(model),
        "model_field": model.slug,
        "routes": ["/v1/ranking", f"/v1/retrieval/{model.id}/reranking"] if model.task == "rank" else ["/v1/embeddings"],
    }


def memory_of(model: Model, version: Version, rows: Sequence[Row], pool: Pool | None = None) -> Row:
    """What a version needs: seen where it works, else known or reckoned from its size and from how `pool` would run it."""
    seen = [row for row in rows if row["memory_peak_bytes"] is not None]
    most = max(seen, key=lambda row: int(row["memory_peak_bytes"]), default=None)
    return {
        "observed_bytes": None if most is None else most["memory_peak_bytes"],
        "observed_n": sum(row["memory_peak_n"] for row in seen),
        "observed_on": None if most is None else {"gpu_type": most["gpu_type"], "region": most["region"]},
        "expected_gb": needs_gb(model, version) if pool is None else needs_in(model, version, pool),
    }


def endpoint_status(one: Deployment, in_flight: int, eta_s: float | None, idle_after_s: float, now: float, wall_s: float) -> Row:
    """One deployment now. `now` is monotonic, `wall_s` Unix time."""
    idle = idle_s(one, Load(in_flight=in_flight), now) if one.phase == "WARM" else None
    stops = wall_s + max(0.0, idle_after_s - idle) if idle is not None and not one.keep_warm else None
    return {
        "version": one.key.version,
        "gpu_type": one.key.gpu_type,
        "region": one.key.region,
        "phase": one.phase,
        "endpoint_id": one.id or None,
        "since": iso(wall_s - (now - one.since)),
        "idle_for_s": None if idle is None else round(idle, 1),
        "stops_at": iso(stops),
        "idle_after_s": idle_after_s,
        "keep_warm": one.keep_warm,
        "queue_depth": in_flight,
        "memory_bytes": one.memory_bytes or None,
        "startup_ms": None if one.startup_ms is None else round(one.startup_ms, 1),
        "progress": _progress(one, now),
        "eta_s": None if eta_s is None else round(eta_s, 1),
        "reason": one.reason,
        "message": message_of(one),
        "failures": one.failures,
        "retry_in_s": None if one.phase != "FAILED" or one.retry_at is None else round(max(0.0, one.retry_at - now), 1),
    }


def message_of(one: Deployment) -> str:
    """What there is to say of a deployment: why it failed, or what it waits for."""
    if one.phase == "FAILED" and one.reason is not None:
        return one.message or SENTENCES[one.reason]
    if one.phase == "STARTING" and one.started_at is None:
        return "it waits until there is room for it"
    return one.message


def failure_of(one: Deployment, now: float) -> EmberankError:
    """The error for a start that came to nothing."""
    retry_s = None if one.retry_at is None else max(1.0, one.retry_at - now)
    reason = f" ({one.reason})" if one.reason else ""
    return NotReady(f"{one.key.slug} {one.key.version} could not be started on {one.key.target}{reason}: {message_of(one)}", retry_after_s=retry_s)


def started(one: Deployment, was_cold: bool) -> Row:
    """The answer to a prewarm."""
    return {
        "slug": one.key.slug,
        "version": one.key.version,
        "gpu_type": one.key.gpu_type,
        "region": one.key.region,
        "phase": one.phase,
        "startup_ms": round(one.startup_ms, 1) if was_cold and one.phase == "WARM" and one.startup_ms is not None else None,
        "was_cold_start": was_cold,
        "keep_warm": one.keep_warm,
        "status_url": status_path(one.key.slug, one.key.version),
    }


def key_row(key: StoredKey, keys: Keys) -> Row:
    """A key without the key."""
    usd, tokens = keys.spent(key.key_id)
    state = "revoked" if key.revoked_at_s is not None else "active" if keys.is_in_force(key) else "expired"
    return {
        "key_id": key.key_id,
        "name": key.name,
        "state": state,
        "scopes": list(key.scopes),
        "models": list(key.models),
        "created_at": iso(key.created_at_s),
        "expires_at": iso(key.expires_at_s),
        "revoked_at": iso(key.revoked_at_s),
        "last_used_at": iso(key.last_used_at_s),
        "requests_per_minute": key.requests_per_minute,
        "concurrency": key.concurrency,
        "monthly_usd": key.monthly_usd,
        "monthly_tokens": key.monthly_tokens,
        "spent_usd_this_month": round(usd, 9),
        "spent_tokens_this_month": tokens,
        "rotated_from": key.rotated_from,
    }


def probe_row(probe: Probe) -> Row:
    """A probe and what became of it."""
    return {
        "id": probe.id,
        "slug": probe.slug,
        "model_version": probe.version,
        "gpu_type": probe.gpu_type,
        "region": probe.region,
        "cold": probe.cold,
        "state": probe.state,
        "asked_at": iso(probe.asked_s),
        "ended_at": iso(probe.ended_s),
        "samples": probe.samples,
        "reason": probe.reason,
        "message": probe.message or (SENTENCES[probe.reason] if probe.reason else ""),
    }


def schedule_row(one: Schedule, next_at_s: float | None) -> Row:
    """A schedule and when it is due next."""
    return {
        "id": one.id,
        "kind": one.kind,
        "cron": one.cron,
        "slug": one.slug,
        "model_version": one.version,
        "gpu_type": one.gpu_type,
        "region": one.region,
        "created_at": iso(one.created_at_s),
        "next_at": iso(next_at_s),
        "key_id": one.key_id,
    }


def usage_rows(hours: Iterable[UsageHour], step_s: int) -> list[Row]:
    """Sums by step, key, model, version and target, oldest first."""
    sums: dict[tuple[int, str, str, str, str, str], Row] = {}
    for hour in hours:
        row = sums.setdefault((hour.hour_s // step_s * step_s, hour.key_id, hour.slug, hour.version, hour.gpu_type, hour.region), dict.fromkeys(_SUMMED, 0))
        for name in _SUMMED:
            row[name] += getattr(hour, name)
    names = ("key_id", "slug", "model_version", "gpu_type", "region")
    ordered = sorted(sums.items(), key=lambda item: item[0])
    return [{"start": iso(labels[0]), **dict(zip(names, labels[1:])), **_rounded(row)} for labels, row in ordered]


def usage_total(rows: Iterable[Row]) -> Row:
    """What rows come to together."""
    total: Row = dict.fromkeys(_SUMMED, 0)
    for row in rows:
        for name in _SUMMED:
            total[name] += row[name]
    return _rounded(total)


def _rounded(row: Row) -> Row:
    return row | {"model_ms": round(row["model_ms"], 3), "cost_usd": round(row["cost_usd"], 9)}


def _progress(one: Deployment, now: float) -> Row | None:
    found = one.progress
    if one.phase != "STARTING" or found is None:
        return None
    percent = round(100 * found.done / found.total, 1) if found.done is not None and found.total else None
    return {"step": found.step, "done_bytes": found.done, "total_bytes": found.total, "percent": percent, "took_s": round(now - one.since, 1)}


def _unicode(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_unicode(name): _unicode(item) for name, item in value.items()}
    return [_unicode(item) for item in value] if isinstance(value, list | tuple) else value
