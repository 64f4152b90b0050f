"""`/v1/probes…` and `/v1/schedules…`: measure now, and measure or prewarm at fixed times."""

from __future__ import annotations

from typing import Any, Literal

from starlette.responses import Response

from emberank.contract.errors import BadRequest, NotFound, TargetUnavailable
from emberank.contract.fleet import Principal
from emberank.dialects.reading import choice, kind, text_field
from emberank.forge.answers import listed, probe_row, schedule_row, written
from emberank.forge.asked import FILTERS, Asked, fields_of, pin_of, query_of
from emberank.forge.callers import check_model
from emberank.forge.model_routes import why_not
from emberank.forge.parts import Parts
from emberank.forge.rules import Rule, answered
from emberank.forge.schedule_book import Plan
from emberank.serving.exchange import Exchange

_KINDS: tuple[Literal["prewarm", "probe"], ...] = ("prewarm", "probe")


class ProbeRoutes:
    """What measures, and when."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def rules(self) -> list[Rule]:
        """To look takes `read`; a probe keeps a machine busy, so it takes `manage`."""
        return [
            Rule("GET", "/v1/probes", ("read", "manage"), self.probes),
            Rule("POST", "/v1/probes", ("manage",), self.probe),
            Rule("GET", "/v1/probes/{probe_id}", ("read", "manage"), self.one_probe),
            Rule("GET", "/v1/schedules", ("read", "manage"), self.schedules),
            Rule("POST", "/v1/schedules", ("manage",), self.schedule),
            Rule("DELETE", "/v1/schedules/{schedule_id}", ("manage",), self.unschedule),
        ]

    async def probes(self, exchange: Exchange, caller: Principal) -> bytes:
        """The last ones, newest first."""
        query = query_of(exchange.request, "model")
        slug = self._parts.catalog().resolve(query["model"]).slug if "model" in query else None
        visible = [one for one in self._parts.probes.all() if slug in (None, one.slug) and (not caller.models or one.slug in caller.models)]
        return listed([probe_row(one) for one in visible])

    async def one_probe(self, exchange: Exchange, caller: Principal) -> bytes:
        """One, by its id."""
        probe_id: str = exchange.request.path_params["probe_id"]
        found = next((one for one in self._parts.probes.all() if one.id == probe_id), None)
        if found is None:
            raise NotFound(f"there is no probe {probe_id[:80]!r}; GET /v1/probes lists the last ones")
        check_model(caller, found.slug)
        return written(probe_row(found))

    async def probe(self, exchange: Exchange, caller: Principal) -> Response:
        """Queue one; 202, for it takes a while."""
        fields = fields_of(exchange.body, "slug", "model", "cold", *FILTERS)
        cold = fields.pop("cold", None)
        if cold is not None and not isinstance(cold, bool):
            raise BadRequest(f"cold must be true or false, not {kind(cold)}")
        asked = self._asked(exchange, caller, fields)
        version = asked.version.name if asked.version else None
        runnable = [offer.target for offer in asked.here if offer.runnable]
        # One target is left: its row awaits a probe from now on, and not only when the scheduler has chosen it.
        gpu_type, region = runnable[0] if len(runnable) == 1 else (asked.gpu_type, asked.region)
        probe = self._parts.probes.request(asked.model.slug, version, gpu_type, region, cold=bool(cold))
        self._parts.snapshots.models_changed([asked.model.slug])
        exchange.headers["Location"] = f"/v1/probes/{probe.id}"
        return answered(written(probe_row(probe)), 202, exchange)

    async def schedules(self, exchange: Exchange, caller: Principal) -> bytes:
        """All of them, oldest first."""
        query_of(exchange.request)
        book = self._parts.schedules
        visible = [one for one in book.all() if not caller.models or one.slug in caller.models]
        return listed([schedule_row(one, book.next_at(one)) for one in visible])

    async def schedule(self, exchange: Exchange, caller: Principal) -> Response:
        """Another one."""
        fields = fields_of(exchange.body, "slug", "model", "kind", "cron", *FILTERS)
        line = text_field(fields, "cron")
        what = choice(fields, "kind", _KINDS, "prewarm")
        asked = self._asked(exchange, caller, fields)
        version = asked.version.name if asked.version else None
        plan = Plan(slug=asked.model.slug, version=version, gpu_type=asked.gpu_type, region=asked.region, kind=what, cron=line)
        one = await self._parts.schedules.add(plan, caller.key_id)
        await self._parts.audit(caller, "schedule.create", one.id)
        exchange.headers["Location"] = f"/v1/schedules/{one.id}"
        return answered(written(schedule_row(one, self._parts.schedules.next_at(one))), 201, exchange)

    async def unschedule(self, exchange: Exchange, caller: Principal) -> bytes:
        """One less."""
        schedule_id: str = exchange.request.path_params["schedule_id"]
        known = next((one for one in self._parts.schedules.all() if one.id == schedule_id), None)
        if known is not None:
            check_model(caller, known.slug)
        one = await self._parts.schedules.remove(schedule_id)
        await self._parts.audit(caller, "schedule.delete", one.id)
        return written(schedule_row(one, None))

    def _asked(self, exchange: Exchange, caller: Principal, fields: dict[str, Any]) -> Asked:
        """The model and target that a body names. Raises TargetUnavailable where nothing can run it."""
        names = [name for name in ("slug", "model") if fields.get(name) is not None]
        if len(names) != 1:
            raise BadRequest("slug: name one model, by its slug or another of its names")
        asked = self._parts.ask(caller, text_field(fields, names[0]), pin_of(fields))
        exchange.model = asked.model.slug
        if not any(offer.runnable for offer in asked.here):
            raise TargetUnavailable(f"{why_not(asked)}; GET /v1/models/{asked.model.slug}/inference-routes lists where it can run")
        return asked
