"""Many models on one port: who asks → what for → may they → an endpoint, waiting for it if it is cold → its answer → what it cost.

`infer` is the life of a request whose sender is known; the rest stands below it in the order it is called. Knows no weights and no database.
"""

from __future__ import annotations

import contextlib
import time

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from emberank import __version__
from emberank.contract.errors import NotFound, NotReady, QueueFull, TargetUnavailable
from emberank.contract.fleet import ModelRow, Principal, Scope
from emberank.dialects import nim, served
from emberank.dialects.errors import ErrorStyle, render_error, style_of
from emberank.dialects.routes import OF_A_MODEL, ROUTES
from emberank.dialects.served import Served
from emberank.gateway.ask import Asks, Reader
from emberank.gateway.auth import ANONYMOUS, check_scope
from emberank.gateway.bill import Bills
from emberank.gateway.errors import UnknownModel
from emberank.gateway.fallback import Fallbacks
from emberank.gateway.metrics import GatewayMetrics
from emberank.gateway.page_sessions import PageSessions
from emberank.gateway.relay import Relay
from emberank.gateway.routes import Routes
from emberank.gateway.run import Run
from emberank.gateway.snapshot import SnapshotFeed
from emberank.gateway.upstream import Upstream
from emberank.gateway.usage import Usage
from emberank.gateway.view import View
from emberank.serving.exchange import Exchange, Exchanges, request_id_of
from emberank.serving.metrics import CONTENT_TYPE
from emberank.serving.neighbours import NoStrangers
from emberank.serving.paths import MODEL, PlainPaths
from emberank.serving.together import together
from emberank.settings import GatewaySettings
from emberank.telemetry import Traces

# What the forge answers: everything below these paths, and `/` itself. Its /internal is nobody else's.
RELAYED = (
    "/",
    "/docs",
    "/openapi.json",
    "/assets",
    "/web",
    "/signin",
    "/signout",
    "/account",
    "/status",
    "/playground",
    "/v1/models",
    "/v1/model-families",
    "/v1/keys",
    "/v1/probes",
    "/v1/targets",
    "/v1/usage",
    "/v1/schedules",
    "/v1/openapi.json",
)

_PAGES_ROUTE = "/web/api/v1/inference/{slug}"  # the one of the pages' calls that is not the forge's


class GatewayApp:
    """The HTTP surface of one gateway."""

    def __init__(
        self,
        settings: GatewaySettings,
        view: View,
        upstream: Upstream,
        usage: Usage,
        relay: Relay,
        sessions: PageSessions,
        feed: SnapshotFeed,
        metrics: GatewayMetrics,
    ) -> None:
        self.draining = False
        self._settings = settings
        self._view = view
        self._upstream = upstream
        self._fallbacks = Fallbacks(upstream, view, metrics)
        self._usage = usage
        self._relay = relay
        self._sessions = sessions
        self._feed = feed
        self._metrics = metrics
        self._asks = Asks(settings)
        self._bills = Bills(usage, view.limits, metrics)
        self._in_flight = 0

    async def infer(self, exchange: Exchange, principal: Principal, read: Reader, route: str) -> bytes:
        """One inference request, from what it asks for to its answer. Its errors are rendered in the caller's dialect by `Exchanges`."""
        ask = read(exchange, self._view.names, principal)
        exchange.model = ask.model.slug
        run = Run(ask, exchange, self._settings.max_passages)
        now, wall_s = time.monotonic(), time.time()
        self._check_room()
        with self._view.limits.admitted(principal, now, wall_s), self._bills.billed(run, principal, route, now, wall_s):
            self._in_flight += 1
            try:
                self._bills.read(run, await self._fallbacks.answer(run, principal))
                while not run.done:
                    await self._more(run, principal)
            finally:
                self._in_flight -= 1
        return run.rendered()

    async def infer_by_session(self, exchange: Exchange) -> bytes:
        """The native route for a page's script: its visitor's session takes the place of a key, and neither opens the other's route."""
        return await self.infer(exchange, await self._identify_visitor(exchange), self._asks.native, _PAGES_ROUTE)

    async def _more(self, run: Run, principal: Principal) -> None:
        """The next piece, or several small ones at one time."""
        self._view.limits.check_budget(principal, time.time(), usd=run.cost_usd, tokens=run.tokens)  # a piece may have used up what there was
        branches = run.branches(self._view.places.warm(run.ask.wish))
        if not branches:
            self._bills.read(run, await self._fallbacks.answer(run, principal))
            return
        try:
            await together([self._branch(branch) for branch in branches])
        finally:
            for branch in branches:
                run.absorb(branch)
                if branch.parts:
                    self._bills.read(run, branch.parts[0].answer)

    async def _branch(self, branch: Run) -> None:
        with contextlib.suppress(NotReady, TargetUnavailable):  # then its piece is asked for once more, alone, and by a fallback if need be
            await self._upstream.run(branch)

    def _identify(self, exchange: Exchange, scope: Scope | None) -> Principal:
        """Who asks; everybody is the same where keys are off. Raises Unauthorized, Forbidden, NotReady."""
        self._view.require()
        if self._settings.auth == "none":
            return ANONYMOUS
        principal = self._view.keys.identify(exchange.request.scope["headers"], time.time())
        exchange.extra["key_id"] = principal.key_id
        self._usage.key_used(principal.key_id, time.monotonic())
        if scope is not None:
            check_scope(principal, scope)
        return principal

    async def _identify_visitor(self, exchange: Exchange) -> Principal:
        """Who sends it from one of our pages, by a session in the place of a key. Raises what `_identify` does."""
        self._view.require()
        principal = await self._sessions.principal(exchange)
        exchange.extra["key_id"] = principal.key_id
        check_scope(principal, "inference")
        return principal

    def _check_room(self) -> None:
        if self._in_flight >= self._settings.max_in_flight:
            raise QueueFull("the gateway is answering as many requests as it may", status=self._settings.queue_full_status, retry_after_s=1)

    def _listed(self, exchange: Exchange) -> list[Served]:
        """The models that the key may use; below a model's own base URL, that one."""
        principal = self._identify(exchange, None)
        names = self._view.names
        own = exchange.request.scope.get(MODEL)
        asked = names if own is None else [names.of_any_task(own, principal.models)]
        return [self._served(model) for model in asked if not principal.models or model.slug in principal.models]

    def _served(self, model: ModelRow) -> Served:
        most = self._settings.max_documents if model.task == "rank" else self._settings.max_inputs
        return Served(id=model.id, task=model.task, created=model.created, owner=model.owner, max_entries=most, max_requests=self._settings.max_in_flight)

    async def models(self, exchange: Exchange) -> bytes:
        """GET /v1/models: OpenAI's list."""
        return served.render_models(self._listed(exchange))

    async def infinity_models(self, exchange: Exchange) -> bytes:
        """GET /models: the same list for Infinity's clients."""
        return served.render_infinity_models(self._listed(exchange))

    async def info(self, exchange: Exchange) -> bytes:
        """GET /info: TEI's, of the model in the path; else of the first reranker, or of the first model where there is none."""
        listed = self._listed(exchange)
        if not listed:
            raise UnknownModel(exchange.request.scope.get(MODEL, ""), [])
        return served.render_info(served.first(listed), __version__)

    async def live(self, exchange: Exchange) -> bytes:
        """The process runs and its event loop turns."""
        return nim.render_health(True, "live", word="live")

    async def version(self, exchange: Exchange) -> bytes:
        """GET /v1/version: `release` is ours, `api` the wire's."""
        return orjson.dumps({"release": __version__, "api": "1"})

    def _state(self) -> tuple[bool, str]:
        """Ready when there is a snapshot to serve from, and no more once draining; and the words for it."""
        ready = self._view.ready and not self.draining
        return ready, "ready" if ready else "shutting down" if self.draining else "waiting for the forge"

    async def plain_health(self, request: Request) -> Response:
        """GET /health, TEI's, vLLM's and Infinity's."""
        ready, message = self._state()
        own = request.scope.get(MODEL)
        if ready and own is not None:
            try:
                self._view.names.of_any_task(own)
            except UnknownModel:
                unknown = NotFound(f"there is no model {own[:200]!r} here")  # whoever asks has shown no key: which ones there are is not said
                return Response(render_error(unknown, request_id_of(request), "tei"), 404, media_type="application/json")
        if ready:
            return Response(served.render_health(time.time()), media_type="application/json")
        error = NotReady(f"the gateway is {message}", retry_after_s=1)
        return Response(render_error(error, request_id_of(request), "tei"), 503, media_type="application/json", headers={"Retry-After": "1"})

    async def health(self, request: Request) -> Response:
        """GET /v1/health/ready, NIM's."""
        ready, message = self._state()
        headers = {} if ready else {"Retry-After": "1"}
        return Response(nim.render_health(ready, message, word="ready"), 200 if ready else 503, media_type="application/json", headers=headers)

    async def metrics(self, request: Request) -> Response:
        """GET /v1/metrics."""
        now = time.monotonic()
        self._usage.observe(now)
        self._metrics.in_flight.set(self._in_flight)
        self._metrics.ready.set(self._view.ready and not self.draining)
        if self._view.ready:
            self._metrics.snapshot_age.set(self._feed.age_s(now))
        return Response(self._metrics.render(), media_type=CONTENT_TYPE)

    def asgi(self, traces: Traces | None = None) -> ASGIApp:
        """The ASGI application."""
        exchanges = Exchanges(self._settings, self._metrics, traces)
        relay = exchanges.endpoint("relay", self._relay.answer, pages=True)
        routes = Routes(RELAYED, relay)

        def inference(path: str, read: Reader, *, errors: ErrorStyle = "nim", route: str = "") -> None:
            label = route or path

            async def handle(exchange: Exchange) -> bytes:
                return await self.infer(exchange, self._identify(exchange, "inference"), read, label)

            routes.add("POST", path, exchanges.endpoint(label, handle, errors=errors))

        for each in ROUTES:
            inference(each.path, self._asks.reader(each), errors=each.errors, route=each.label)
        inference("/v1/inference/{slug:path}", self._asks.native, route="/v1/inference/{slug}")
        routes.add("POST", "/web/api/v1/inference/{slug:path}", exchanges.endpoint(_PAGES_ROUTE, self.infer_by_session))
        for path, handler in (("/v1/models", self.models), ("/models", self.infinity_models), ("/info", self.info)):
            routes.add("GET", path, exchanges.endpoint(path, handler, errors=style_of(path)))
        routes.add("GET", "/models/{slug}", relay)  # a model's page; what stands below it is the model's own base URL
        routes.add("GET", "/health", self.plain_health)
        routes.add("GET", "/v1/health/live", exchanges.endpoint("/v1/health/live", self.live))
        routes.add("GET", "/v1/health/ready", self.health)
        routes.add("GET", "/v1/version", exchanges.endpoint("/v1/version", self.version))
        routes.add("GET", "/v1/metrics", self.metrics)
        app = PlainPaths(routes, OF_A_MODEL)
        return NoStrangers(app, self._settings.public_url) if self._settings.auth == "none" else app
