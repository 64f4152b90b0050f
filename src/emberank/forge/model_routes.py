"""`/v1/models…`: what there is, where it runs, how reliably. Estimates are estimate_routes.py's."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import get_args

from emberank.contract.errors import BadRequest, NotFound
from emberank.contract.fleet import Principal
from emberank.contract.inference import Task
from emberank.dialects.reading import shown
from emberank.forge.answers import Row, inference_path, listed, memory_of, model_line, model_page, phase_of, status_path, written
from emberank.forge.asked import FILTERS, Asked, pin_of, query_of
from emberank.forge.catalog import Model, Version
from emberank.forge.parts import Parts
from emberank.forge.random_weights import SENTENCE, has_random_weights
from emberank.forge.reliability import reliability
from emberank.forge.remote_settings import remote_host
from emberank.forge.rules import Rule
from emberank.forge.targets import Offer, Target, matching
from emberank.serving.exchange import Exchange

MOST_ALTERNATIVES = 5
# What callers call the two tasks.
_TASKS: dict[str, Task] = {
    **dict.fromkeys(("rank", "ranking", "rerank", "reranking", "text→ranking", "text->ranking"), "rank"),
    **dict.fromkeys(("embed", "embedding", "embeddings", "text→embedding", "text->embedding"), "embed"),
}


class ModelRoutes:
    """The catalogue's routes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def rules(self) -> list[Rule]:
        """A suffix goes before the bare name: a name may hold slashes."""
        return [
            Rule("GET", "/v1/models", ("read", "inference", "manage"), self.models),
            Rule("GET", "/v1/models/{slug:path}/inference-routes", ("read", "inference", "manage"), self.inference_routes),
            Rule("GET", "/v1/models/{slug:path}/reliability", ("read", "inference", "manage"), self.reliability),
            Rule("GET", "/v1/models/{slug:path}", ("read", "inference", "manage"), self.model),
        ]

    async def models(self, exchange: Exchange, caller: Principal) -> bytes:
        """The catalogue, filtered by task, tags and words."""
        query = query_of(exchange.request, "task", "tag", "q")
        catalog = self._parts.catalog()
        tags = [tag.strip() for tag in query.get("tag", "").split(",") if tag.strip()]
        for tag in tags:
            if tag not in catalog.tags():
                raise NotFound(f"no model has the tag {shown(tag)}; known tags: {', '.join(catalog.tags()) or 'none'}")
        found = catalog.search(query.get("q", ""), task=_task(query.get("task")), tags=tags)
        running = self._parts.life.deployments()
        visible = [model for model in found if not caller.models or model.slug in caller.models]
        return listed([model_line(model, phase_of(one for one in running if one.key.slug == model.slug)) for model in visible])

    async def model(self, exchange: Exchange, caller: Principal) -> bytes:
        """One entry, with every version's target table."""
        return written(entry(self._parts, self._asked(exchange, caller)))

    async def reliability(self, exchange: Exchange, caller: Principal) -> bytes:
        """The target table of a version, and what to make of it."""
        asked = self._asked(exchange, caller, "baseline")
        return written(target_table(self._parts, asked, asked.chosen, _baseline(exchange, asked)))

    async def inference_routes(self, exchange: Exchange, caller: Principal) -> bytes:
        """Whether a target is there: the routes that lead to it, or why none does, and what would."""
        return written(routes_to(self._parts, self._asked(exchange, caller)))

    def _asked(self, exchange: Exchange, caller: Principal, *more: str) -> Asked:
        query = query_of(exchange.request, *FILTERS, *more)
        asked = self._parts.ask(caller, exchange.request.path_params["slug"], pin_of(query))
        exchange.model = asked.model.slug
        return asked


def entry(parts: Parts, asked: Asked) -> Row:
    """A catalogue entry with every version's target table, as `GET /v1/models/{slug}` answers it."""
    model = asked.model
    running = [one for one in parts.life.deployments() if one.key.slug == model.slug]
    page = model_page(model, parts.catalog().names(model), phase_of(running))
    versions = [_version(parts, asked, version) for version in model.versions if asked.version in (None, version)]
    idle_after_s = parts.idle_after_s(asked.chosen)
    sentence = f"After its last request an endpoint stays warm for {idle_after_s / 60:g} minutes, then its memory is freed; the next request starts it again."
    return {**page, "versions": versions, "warm_policy": {"idle_after_s": idle_after_s, "sentence": sentence}}


def routes_to(parts: Parts, asked: Asked) -> Row:
    """The routes that lead to what was asked for, as `GET …/inference-routes` answers it."""
    versions = [version for version in asked.model.versions if asked.version in (None, version)]
    routes = []
    for version in versions:
        offers = asked.offers[version.name]
        rows = parts.rows(asked.model, version, [offer for offer in offers if offer.runnable])
        routes += [route(parts, asked.model, version, _offer(offers, row), row) for row in rows]
    return {
        "slug": asked.model.slug,
        "id": asked.model.id,
        "filters": asked.filters,
        "routes": routes,
        "reason": "" if routes else why_not(asked),
        "alternatives": [] if routes else alternatives(parts, asked),
    }


def target_table(parts: Parts, asked: Asked, version: Version, baseline: Target | None) -> Row:
    """The target table of a version, as `GET …/reliability` answers it."""
    pending = parts.pending(asked.model.slug, version.name)
    offers = asked.everywhere[version.name]
    answer = reliability(asked.model, version, offers, parts.windows, now_s=parts.wall_s(), pending=pending, filters=asked.filters, baseline=baseline)
    return answer | {"random_weights": has_random_weights(version)}


def _version(parts: Parts, asked: Asked, version: Version) -> Row:
    answer = target_table(parts, asked, version, None)
    rows = answer.pop("rows")
    for name in ("slug", "model_version", "filters", "total_rows", "rules"):
        answer.pop(name)
    running = [one for one in parts.life.deployments() if one.key[:2] == (asked.model.slug, version.name)]
    pool = next((offer.pool for offer in asked.everywhere[version.name] if offer.runnable), None)
    return {
        "name": version.name,
        "note": " ".join(filter(None, (version.note, f"As it stands here {SENTENCE}." if answer["random_weights"] else ""))),
        "remote": remote_host(version, asked.model.task, os.environ),
        "phase": phase_of(running),
        "idle_after_s": parts.idle_after_s(version),
        "memory": memory_of(asked.model, version, rows, pool),
        "calibration": None if version.calibration is None else asdict(version.calibration),
        "quality": [asdict(figure) for figure in version.quality],
        **answer,
        "targets": rows,
    }


def route(parts: Parts, model: Model, version: Version, offer: Offer, row: Row) -> Row:
    """One way to a version on a target: what to send where, and whether there is room."""
    running = parts.deployment(model.slug, version.name, offer.target)
    pool = offer.pool
    free = parts.free_slots(pool) if pool is not None else 0
    unit = "slot" if offer.target.gpu_type == "CPU" else "GPU"
    names = ("status", "message", "model_ms_p50", "model_ms_n", "cold_start_ms_p50", "cost_per_gpu_hour_usd", "estimated_warm_request_cost_usd")
    return {
        "method": "POST",
        "path": inference_path(model),
        "model": model.slug,
        "version": version.name,
        "gpu_type": offer.target.gpu_type,
        "region": offer.target.region,
        "body_fields": {"model": model.slug, "model_version": version.name, "gpu_type": offer.target.gpu_type, "region": offer.target.region},
        "phase": running.phase if running else "COLD",
        "availability": {"free": free, "slots": pool.slots if pool else 0, "message": f"{free} free {unit}{'' if free == 1 else 's'}"},
        **{name: row[name] for name in names},
        "status_url": status_path(model.slug, version.name),
    }


def alternatives(parts: Parts, asked: Asked) -> list[Row]:
    """Where the model can run instead, best verified first: the version that was asked for before the others."""
    versions = sorted(asked.model.versions, key=lambda version: version is not asked.chosen)
    found = []
    for version in versions:
        rows = parts.rows(asked.model, version, [offer for offer in asked.everywhere[version.name] if offer.runnable])
        names = ("gpu_type", "region", "status", "model_ms_p50", "model_ms_n", "cost_per_gpu_hour_usd")
        found += [{"version": version.name, **{name: row[name] for name in names}} for row in rows]
    return found[:MOST_ALTERNATIVES]


def why_not(asked: Asked) -> str:
    """Why nothing that was asked for can run."""
    reasons = dict.fromkeys(offer.reason for _, offer in asked.pairs() if offer.reason)
    if reasons:
        return "; ".join(reasons)
    if asked.pinned:
        return f"there is no {Target(asked.gpu_type or 'target', asked.region or '')} for {asked.model.slug}"
    return f"no pool of this installation can run {asked.model.slug}"


def _offer(offers: tuple[Offer, ...], row: Row) -> Offer:
    return next(offer for offer in offers if offer.target == (row["gpu_type"], row["region"]))


def _task(name: str | None) -> Task | None:
    if name is None:
        return None
    found = _TASKS.get(name.lower())
    if found is None:
        raise NotFound(f"no model has the task {shown(name)}; known tasks: {', '.join(get_args(Task))}")
    return found


def _baseline(exchange: Exchange, asked: Asked) -> Target | None:
    return baseline_of(asked, exchange.request.query_params.get("baseline", "").strip())


def baseline_of(asked: Asked, text: str) -> Target | None:
    """`L40S/eu-north1`: the row that the others are compared with. Raises BadRequest and NotFound."""
    if not text:
        return None
    gpu_type, slash, region = text.partition("/")
    if not slash:
        raise BadRequest(f"baseline must be a GPU type and a region such as CPU/local; got {shown(text)}")
    found = matching(asked.everywhere[asked.chosen.name], gpu_type, region)
    if not found:
        raise NotFound(f"{asked.model.slug} has no target {gpu_type[:80]} in {region[:80]} to compare with")
    return found[0].target
