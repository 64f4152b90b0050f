"""The control plane over HTTP: every route, who may call it, and what a path that leads nowhere gets. Knows no answer: the modules named *_routes do."""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from emberank.contract.errors import BadRequest, EmberankError, MethodNotAllowed, NotFound
from emberank.dialects.errors import render_error
from emberank.forge.about_routes import AboutRoutes
from emberank.forge.callers import missing
from emberank.forge.estimate_routes import EstimateRoutes
from emberank.forge.family_routes import FamilyRoutes
from emberank.forge.internal_routes import InternalRoutes
from emberank.forge.key_routes import KeyRoutes
from emberank.forge.model_routes import ModelRoutes
from emberank.forge.parts import Parts
from emberank.forge.probe_routes import ProbeRoutes
from emberank.forge.rules import Rule, guarded
from emberank.forge.target_routes import TargetRoutes
from emberank.forge.usage_routes import UsageRoutes
from emberank.forge.web.page import Pages
from emberank.forge.web.routes import missing_page, web_routes
from emberank.serving.exchange import Exchanges, request_id_of
from emberank.serving.neighbours import NoStrangers
from emberank.serving.paths import PlainPaths

__all__ = ["Parts", "forge_app", "rules"]


def rules(parts: Parts) -> list[Rule]:
    """Every route that needs a key, in the order in which paths are tried: an estimate's path goes before a model's, whose name may hold slashes."""
    families = (EstimateRoutes, ModelRoutes, FamilyRoutes, KeyRoutes, UsageRoutes, TargetRoutes, ProbeRoutes)
    return [rule for family in families for rule in family(parts).rules()]


def forge_app(parts: Parts) -> ASGIApp:
    """The ASGI application of one forge."""
    exchanges, pages, guards = Exchanges(parts.settings, parts.metrics, parts.traces), Pages(), rules(parts)
    routes = [Route(path, exchanges.endpoint(path, handler), methods=[method]) for method, path, handler in AboutRoutes(parts).handlers()]
    # Gateways call every second: one line a request is for requests of users.
    internal = [(method, path, exchanges.endpoint(path, handler, level=logging.DEBUG)) for method, path, handler in InternalRoutes(parts).handlers()]
    routes += [Route(path, endpoint, methods=[method]) for method, path, endpoint in internal]
    routes += [Route(rule.path, exchanges.endpoint(_label(rule.path), guarded(rule, parts.callers)), methods=[rule.method]) for rule in guards]
    routes += web_routes(parts, exchanges, pages, guards)

    async def no_route(request: Request, cause: Exception) -> Response:
        """Starlette's own 404 and 405 in the body that every error has here."""
        status = cause.status_code if isinstance(cause, HTTPException) else 500
        path = request.scope["path"]
        error: EmberankError = BadRequest("the request cannot be read", status=status)
        headers = dict(cause.headers or {}) if isinstance(cause, HTTPException) else {}
        if status == 404 or path.startswith("/internal/"):
            error, headers = NotFound(missing(path)), {}
        elif status == 405:
            headers["Allow"] = ", ".join(sorted(headers.get("Allow", "").split(", ")))
            error = MethodNotAllowed(f"{request.method} is not allowed on {path[:200]!r}; allowed: {headers['Allow']}")
        parts.metrics.failed(route="none", kind=error.type)
        headers["X-Request-Id"] = request_id = request_id_of(request)
        page = missing_page(parts, pages, request) if status == 404 else None
        if page is not None:
            page.headers.update(headers)
            return page
        return Response(render_error(error, request_id, "nim"), error.http_status, media_type="application/json", headers=headers)

    app = Starlette(routes=routes, exception_handlers={HTTPException: no_route})
    app.router.redirect_slashes = False  # a redirected POST loses its body in most clients
    plain = PlainPaths(app)
    return plain if parts.callers.required else NoStrangers(plain, parts.settings.public_url)


def _label(path: str) -> str:
    return path.replace(":path}", "}")
