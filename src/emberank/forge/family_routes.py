"""`/v1/model-families/{slug}…`: what runs now, start it, stop it. Decides nothing: the reconciler does."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence

from starlette.responses import Response

from emberank.contract.errors import BadRequest, DeadlineExceeded, TargetUnavailable
from emberank.contract.fleet import Principal, Wish
from emberank.dialects.reading import kind
from emberank.forge.answers import Row, endpoint_status, failure_of, phase_of, started, status_path, written
from emberank.forge.asked import FILTERS, Asked, fields_of, pin_of, query_of
from emberank.forge.callers import check_budget, check_scope
from emberank.forge.costs import shown
from emberank.forge.deployments import Deployment
from emberank.forge.model_routes import MOST_ALTERNATIVES, alternatives, why_not
from emberank.forge.parts import Parts
from emberank.forge.random_weights import has_random_weights
from emberank.forge.remote_settings import remote_host
from emberank.forge.rules import Rule, answered
from emberank.forge.standing import measured_at
from emberank.serving.exchange import Exchange

# https://www.rfc-editor.org/rfc/rfc7240: `Prefer: respond-async, wait=10`
_WAIT = re.compile(r"wait\s*=\s*\"?(\d{1,6})\"?")


class FamilyRoutes:
    """The life cycle's routes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def rules(self) -> list[Rule]:
        """Whoever may send requests may have a model started, which their first request would do anyway."""
        return [
            Rule("GET", "/v1/model-families/{slug:path}/status", ("read", "inference", "manage"), self.status),
            Rule("POST", "/v1/model-families/{slug:path}/start", ("inference", "manage"), self.start),
            Rule("POST", "/v1/model-families/{slug:path}/stop", ("manage",), self.stop),
        ]

    async def status(self, exchange: Exchange, caller: Principal) -> bytes:
        """What runs of a model, or of a version, now."""
        return written(self.standing(self._asked(exchange, caller, {})))

    def standing(self, asked: Asked) -> Row:
        """What `status` answers."""
        parts = self._parts
        found = self._running(asked)
        answer: Row = {
            "slug": asked.model.slug,
            "version": asked.version.name if asked.version else None,
            "filters": asked.filters,
            "phase": phase_of(found),
            "endpoints": self._endpoints(asked, found),
            "warm_policy": {"idle_after_s": parts.idle_after_s(asked.chosen)},
        }
        if not found:
            answer["message"] = "nothing runs; the next request, or a start, makes it warm"
        return answer

    async def start(self, exchange: Exchange, caller: Principal) -> bytes | Response:
        """Make it warm, and answer when it is; with `Prefer: respond-async` answer 202 while it is not."""
        fields = fields_of(exchange.body, *FILTERS, "run_until_stopped")
        stays = _truth(fields, "run_until_stopped")
        asked = self._asked(exchange, caller, fields)
        if stays:
            check_scope(caller, "manage")  # only who may stop it may have it run for ever
        found = self.wake(asked, caller, keep_warm=True if stays else None)
        if stays:
            await self._parts.audit(caller, "model.keep_warm", "/".join(found.key))
        if found.phase == "WARM":
            return written(started(found, was_cold=False))
        return await self._until_warm(exchange, found)

    def wake(self, asked: Asked, caller: Principal, *, keep_warm: bool | None = None) -> Deployment:
        """Have it warm; returns at once. Raises LimitExceeded for a spent budget, TargetUnavailable where it cannot run."""
        check_budget(caller, self._parts.keys)
        self._require_runnable(asked)
        version = asked.version.name if asked.version else None
        return self._parts.life.wake(Wish(slug=asked.model.slug, version=version, gpu_type=asked.gpu_type, region=asked.region), keep_warm=keep_warm)

    async def stop(self, exchange: Exchange, caller: Principal) -> bytes:
        """Drain and free what runs of a model, of a version, or on a target."""
        asked = self._asked(exchange, caller, fields_of(exchange.body, *FILTERS))
        version = asked.version.name if asked.version else None
        stopped = self._parts.life.stop(asked.model.slug, version, asked.gpu_type, asked.region)
        if stopped:
            await self._parts.audit(caller, "model.stop", "/".join(filter(None, (asked.model.slug, version, asked.gpu_type, asked.region))))
        rows = [{"version": one.key.version, "gpu_type": one.key.gpu_type, "region": one.key.region, "phase": one.phase} for one in stopped]
        message = "" if rows else "nothing of it was running"
        return written({"slug": asked.model.slug, "filters": asked.filters, "stopped": rows, "message": message})

    def _asked(self, exchange: Exchange, caller: Principal, fields: Row) -> Asked:
        pin = pin_of(query_of(exchange.request, *FILTERS), fields)
        asked = self._parts.ask(caller, exchange.request.path_params["slug"], pin)
        exchange.model = asked.model.slug
        return asked

    def _running(self, asked: Asked) -> list[Deployment]:
        wanted = (asked.model.slug, asked.version.name if asked.version else None, asked.gpu_type, asked.region)
        return [one for one in self._parts.life.deployments() if all(name in (None, value) for name, value in zip(wanted, one.key)) and one.phase != "COLD"]

    def _endpoints(self, asked: Asked, found: Sequence[Deployment]) -> list[Row]:
        parts = self._parts
        etas = {endpoint.id: endpoint.eta_s for endpoint in parts.life.endpoints()}
        now, wall_s = parts.clock(), parts.wall_s()
        rows = []
        for one in found:
            version = next((version for version in asked.model.versions if version.name == one.key.version), asked.chosen)
            usual = measured_at(parts.windows, one.key.slug, one.key.version, one.key.target).starts.typical_ms
            row = endpoint_status(one, parts.intake.in_flight(one.id), etas.get(one.id), parts.idle_after_s(version), now, wall_s)
            row["random_weights"] = has_random_weights(version)
            row["remote"] = remote_host(version, asked.model.task, os.environ)
            rows.append(row | {"usual_cold_start_ms": shown(usual.value), "usual_cold_start_n": usual.n})
        return rows

    def _require_runnable(self, asked: Asked) -> None:
        """Raises TargetUnavailable, with the reason and what would work."""
        if any(offer.runnable for offer in asked.here):
            return
        others = [f"{one['gpu_type']} in {one['region']} ({one['version']}, {one['status']})" for one in alternatives(self._parts, asked)]
        instead = f"; it can run on: {', '.join(others[:MOST_ALTERNATIVES])}" if others else ""
        raise TargetUnavailable(why_not(asked) + instead, status=409 if asked.pinned else 503)

    async def _until_warm(self, exchange: Exchange, found: Deployment) -> bytes | Response:
        wait_s = _async_wait_s(exchange.request.headers.get("prefer", ""))
        deadline = exchange.deadline if wait_s is None else min(exchange.deadline, time.monotonic() + wait_s)
        try:
            one = found if wait_s == 0 else await self._parts.life.settled(found.key, deadline)
        except DeadlineExceeded as error:
            if wait_s is None:
                message = f"{error.message}; it goes on starting: GET {status_path(found.key.slug, found.key.version)} says how far it is"
                raise DeadlineExceeded(message, retry_after_s=5) from error
            one = found
        if one.phase == "WARM":
            return written(started(one, was_cold=True))
        if one.phase == "FAILED":
            raise failure_of(one, self._parts.clock())
        exchange.headers |= {"Location": status_path(one.key.slug, one.key.version), "Preference-Applied": "respond-async"}
        return answered(written(started(one, was_cold=True)), 202, exchange)


def _async_wait_s(prefer: str) -> float | None:
    """How long to wait before answering 202; None where that was not asked for."""
    if "respond-async" not in [part.strip().lower() for part in re.split(r"[,;]", prefer)]:
        return None
    found = _WAIT.search(prefer)
    return float(found[1]) if found else 0.0


def _truth(fields: Row, name: str) -> bool:
    value = fields.pop(name, None)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f"{name} must be true or false, not {kind(value)}")
    return bool(value)
