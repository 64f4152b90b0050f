"""`GET /status`: what runs, what it takes, what fails and what is due, as far as its visitor may see it; and the forms that start, stop and keep warm.

Complete without a script; the page's script asks for the same page again when something changes. What is not known is not shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from emberank.contract.errors import Unauthorized
from emberank.contract.fleet import Principal
from emberank.forge.asked import FILTERS, Asked
from emberank.forge.callers import check_scope
from emberank.forge.catalog import Model
from emberank.forge.deployments import Deployment, Key
from emberank.forge.family_routes import FamilyRoutes
from emberank.forge.moments import iso
from emberank.forge.parts import Parts
from emberank.forge.web.forms import Form
from emberank.forge.web.gate import Gate
from emberank.forge.web.model.page import STARTERS
from emberank.forge.web.model.selection import selection_of
from emberank.forge.web.page import Pages
from emberank.forge.web.sight import may_see
from emberank.forge.web.signin.page import on_a_page, to
from emberank.forge.web.status.answered_lately import AnsweredLately, by_target
from emberank.forge.web.status.looked_for import PHASES, LookedFor, looked_for, word_of
from emberank.forge.web.status.planned import Planned
from emberank.forge.web.status.running_now import can_start, chosen, cold_models, endpoint_lines, pool_lines, seen, sees_all
from emberank.forge.web.status.starts_lately import start_lines, starts_lately
from emberank.forge.web.status.wellbeing import Wellbeing
from emberank.forge.web.visitor import Visitor
from emberank.serving.exchange import Exchange, Handler

_LOOKERS = {"read", "manage"}  # who may see more than what runs
_MOST_BACK = 1200  # characters


class Status:
    """The page and its forms."""

    def __init__(self, parts: Parts, pages: Pages) -> None:
        self._parts = parts
        self._pages = pages
        self._gate = Gate(parts)
        self._answered = AnsweredLately(parts)
        self._wellbeing = Wellbeing(parts)
        self._planned = Planned(parts)

    def handlers(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        forms: list[tuple[str, str, Handler]] = [
            ("POST", "/web/status/start", on_a_page(self.start, self._pages, self._gate)),
            ("POST", "/web/status/stop", on_a_page(self.stop, self._pages, self._gate)),
            ("POST", "/web/status/keep", on_a_page(self.keep, self._pages, self._gate)),
        ]
        return [("GET", "/status", self.page), *forms]

    async def page(self, exchange: Exchange) -> Response:
        """The page."""
        request = exchange.request
        visitor = self._parts.visitors.of(request, used="live" not in request.query_params)
        wanted = looked_for(request.query_params.multi_items(), [pool.target for pool in self._parts.pools])
        values = self._what_runs(visitor, wanted)
        values |= await self._what_else(visitor, wanted)
        return self._pages.render("status.html", title="Status", visitor=visitor, active="status", **values)

    async def start(self, exchange: Exchange) -> Response:
        """Prewarm."""
        _, caller, form = self._sent(exchange)
        check_scope(caller, *STARTERS)
        asked = self._asked(exchange, caller, form)
        FamilyRoutes(self._parts).wake(asked, caller)
        return to(_back(form))

    async def keep(self, exchange: Exchange) -> Response:
        """Keep it warm until it is stopped, or let it stop when it is idle."""
        _, caller, form = self._sent(exchange)
        check_scope(caller, "manage")
        asked, keeps = self._asked(exchange, caller, form), form.get("keep_warm") == "1"
        found = FamilyRoutes(self._parts).wake(asked, caller, keep_warm=keeps)
        await self._parts.audit(caller, "model.keep_warm" if keeps else "model.let_idle", "/".join(found.key))
        return to(_back(form))

    async def stop(self, exchange: Exchange) -> Response:
        """Drain it and free its memory. What is in use or is kept warm is asked about first."""
        visitor, caller, form = self._sent(exchange)
        check_scope(caller, "manage")
        asked = self._asked(exchange, caller, form)
        running = self._running(asked)
        in_flight = sum(self._parts.intake.in_flight(one.id) for one in running)
        kept = any(one.keep_warm for one in running)
        if (in_flight or kept) and form.get("sure") != "1":
            key = Key(asked.model.slug, asked.chosen.name, asked.gpu_type or "", asked.region or "")
            values: dict[str, Any] = {"key": key, "model": asked.model, "in_flight": in_flight, "kept": kept, "back": _back(form)}
            return self._pages.render("status_stop.html", title="Stop it?", visitor=visitor, active="status", **values)
        stopped = self._parts.life.stop(asked.model.slug, asked.chosen.name, asked.gpu_type, asked.region)
        if stopped:
            await self._parts.audit(caller, "model.stop", "/".join(filter(None, (asked.model.slug, asked.chosen.name, asked.gpu_type, asked.region))))
        return to(_back(form))

    def _sent(self, exchange: Exchange) -> tuple[Visitor, Principal, Form]:
        """Who sent a form. Raises Forbidden, BadRequest, LimitExceeded, Unauthorized."""
        visitor = self._gate.visitor(exchange.request)
        form = self._gate.form(exchange, visitor)
        if visitor.principal is None:
            raise Unauthorized("you are not signed in, or your session has ended, and nothing was done: sign in, and press the button again")
        self._parts.callers.count(visitor.principal)
        exchange.extra["key_id"] = visitor.principal.key_id
        return visitor, visitor.principal, form

    def _asked(self, exchange: Exchange, caller: Principal, form: Form) -> Asked:
        selection = selection_of(form.get("slug"), [(name, form.get(name)) for name in FILTERS])
        asked = self._parts.ask(caller, selection.slug, selection.pin)
        exchange.model = asked.model.slug
        return asked

    def _running(self, asked: Asked) -> list[Deployment]:
        wanted = (asked.model.slug, asked.chosen.name, asked.gpu_type, asked.region)
        return [one for one in self._parts.life.deployments() if all(name in (None, value) for name, value in zip(wanted, one.key, strict=True))]

    def _what_runs(self, visitor: Visitor, wanted: LookedFor) -> dict[str, Any]:
        """Endpoints and models without any: what everybody sees, of the models that they may see."""
        parts, principal = self._parts, visitor.principal
        all_seen = seen(parts, principal)
        found = chosen(all_seen, wanted)
        cold = cold_models(parts.catalog(), all_seen, principal, wanted)
        listed = cold if wanted.phase == "COLD" or (wanted.q and wanted.phase is None) else []
        scopes = set(principal.scopes) if principal is not None else set()
        return {
            "wanted": wanted,
            "targets": [(word_of(pool.target), str(pool.target)) for pool in parts.pools],
            "phases": PHASES,
            "counts": Counter(each.one.phase for each in all_seen) + Counter({"COLD": len(cold)} if not wanted.q else {}),
            "endpoints": endpoint_lines(parts, found[: wanted.rows]),
            "endpoints_left": len(found[wanted.rows :]),
            "running": len(all_seen),
            "cold": [(model, can_start(parts, model)) for model in listed[: wanted.rows]],
            "cold_left": len(listed[wanted.rows :]),
            "may_start": bool(set(STARTERS) & scopes),
            "may_manage": "manage" in scopes,
            "may_look": bool(_LOOKERS & scopes),
            "ready": parts.readiness.ready,
            "state": parts.readiness.state,
            "now_s": parts.wall_s(),
            "now": iso(parts.wall_s()),
            "back": replace(wanted, ignored=()).url(),
        }

    async def _what_else(self, visitor: Visitor, wanted: LookedFor) -> dict[str, Any]:
        """Memory, requests, starts, plans and gateways: for who is signed in. What the key may not see is not there."""
        parts, principal = self._parts, visitor.principal
        if principal is None:
            return {"pools": [], "starts": None, "answered": None, "store": None, "gateways": [], "schedules": [], "probes": []}
        models = {model.slug: model for model in parts.catalog()}
        names = _names(models, principal, wanted)
        values: dict[str, Any] = {"pools": pool_lines(parts, wanted, principal), "starts": None, "answered": None, "store": None}
        values |= {"gateways": [], "schedules": [], "probes": []}
        if not _LOOKERS & set(principal.scopes):
            return values
        starts = starts_lately(parts.windows, lambda key: names(key.slug) and wanted.on(key.target), 4 * wanted.rows)
        answered = await self._answered.of(names, wanted.on)
        return values | {
            "starts": [(line, iso(line.start.at_s)) for line in start_lines(starts, parts.life.deployments(), wanted.rows)],
            "answered": answered,
            "answered_at": by_target(answered.lines),
            "store": await self._wellbeing.store(),
            "gateways": parts.intake.heard(),
            "schedules": [(due.schedule, iso(due.next_at_s)) for due in self._planned.schedules(names)],
            "probes": self._planned.probes(names),
        }


def _names(models: dict[str, Model], principal: Principal, wanted: LookedFor) -> Callable[[str], bool]:
    """Whether a model's lines are shown: it may be seen, and is looked for."""
    known: dict[str, bool] = {}

    def shown(slug: str) -> bool:
        if slug not in known:
            model = models.get(slug)
            visible = sees_all(principal) if model is None else may_see(principal, model)
            known[slug] = visible and wanted.names(slug, model)
        return known[slug]

    return shown


def _back(form: Form) -> str:
    """The page that the form stood on."""
    given = form.get("back")
    return given if (given == "/status" or given.startswith("/status?")) and len(given) <= _MOST_BACK and given.isascii() and given.isprintable() else "/status"
