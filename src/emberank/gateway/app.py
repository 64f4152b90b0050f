"""Many models on one port: who asks → what for → may they → an endpoint, waiting for it if it is cold → its answer → what it cost.

`infer` is the life of a request; the rest stands below it in the order it is called. Knows no weights and no database.
"""

from __future__ import annotations

import time

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from emberank import __version__
from emberank.contract.errors import QueueFull
from emberank.contract.fleet import Principal, Scope
from emberank.dialects import nim, rerank
from emberank.gateway.ask import Asks, Reader
from emberank.gateway.auth import ANONYMOUS, check_scope
from emberank.gateway.bill import Bills
from emberank.gateway.metrics import GatewayMetrics
from emberank.gateway.relay import Relay
from emberank.gateway.routes import Routes
from emberank.gateway.snapshot import SnapshotFeed
from emberank.gateway.upstream import Run, Upstream
from emberank.gateway.usage import Usage
from emberank.gateway.view import View
from emberank.serving.exchange import Exchange, Exchanges
from emberank.serving.metrics import CONTENT_TYPE
from emberank.serving.paths import PlainPaths
from emberank.settings import GatewaySettings
from emberank.telemetry import Traces

# What the forge answers: everything below these paths, and `/` itself. Its /internal is nobody else's.
RELAYED = (
    "/",
    "/docs",
    "/openapi.json",
    "/assets",
    "/v1/models",
    "/v1/model-families",
    "/v1/keys",
    "/v1/probes",
    "/v1/targets",
    "/v1/usage",
    "/v1/schedules",
    "/v1/openapi.json",
)


class GatewayApp:
    """The HTTP surface of one gateway."""

    def __init__(
        self, settings: GatewaySettings, view: View, upstream: Upstream, usage: Usage, relay: Relay, feed: SnapshotFeed, metrics: GatewayMetrics
    ) -> None:
        self.draining = False
        self._settings = settings
        self._view = view
        self._upstream = upstream
        self._usage = usage
        self._relay = relay
        self._feed = feed
        self._metrics = metrics
        self._asks = Asks(settings)
        self._bills = Bills(usage, view.limits, metrics)
        self._in_flight = 0

    async def infer(self, exchange: Exchange, read: Reader, route: str) -> bytes:
        """One inference request, from key to answer. Its errors are rendered in the caller's dialect by `Exchanges`."""
        principal = self._identify(exchange, "inference")
        ask = read(exchange, self._view.names, principal)
        exchange.model = ask.model.slug
        run = Run(ask, exchange)
        now, wall_s = time.monotonic(), time.time()
        self._check_room()
        with self._view.limits.admitted(principal, now, wall_s), self._bills.billed(run, principal, route, now, wall_s):
            self._in_flight += 1
            try:
                answer = await self._upstream.run(run)
            finally:
                self._in_flight -= 1
            self._bills.read(run, answer)
        if ask.render is not None:
            return ask.render(answer.body, exchange.request_id)
        return nim.cut_ranking(answer.body, ask.top_n) if ask.top_n is not None else answer.body

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

    def _check_room(self) -> None:
        if self._in_flight >= self._settings.max_in_flight:
            raise QueueFull("the gateway is answering as many requests as it may", status=self._settings.queue_full_status, retry_after_s=1)

    async def models(self, exchange: Exchange) -> bytes:
        """GET /v1/models, in NIM's shape: the models that the key may use."""
        principal = self._identify(exchange, None)
        allowed = [model for model in self._view.names if not principal.models or model.slug in principal.models]
        return nim.render_models((model.id, model.created, model.owner) for model in allowed)

    async def live(self, exchange: Exchange) -> bytes:
        """The process runs and its event loop turns."""
        return nim.render_health(True, "live", word="live")

    async def version(self, exchange: Exchange) -> bytes:
        """GET /v1/version: `release` is ours, `api` the wire's."""
        return orjson.dumps({"release": __version__, "api": "1"})

    async def health(self, request: Request) -> Response:
        """Ready when there is a snapshot to serve from, and no more once draining."""
        ready = self._view.ready and not self.draining
        message = "ready" if ready else "shutting down" if self.draining else "waiting for the forge"
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
        routes = Routes(RELAYED, exchanges.endpoint("relay", self._relay.answer))

        def inference(path: str, read: Reader, *, openai_errors: bool = False, route: str | None = None) -> None:
            label = route or path

            async def handle(exchange: Exchange) -> bytes:
                return await self.infer(exchange, read, label)

            routes.add("POST", path, exchanges.endpoint(label, handle, openai_errors=openai_errors))

        hosted = "/v1/retrieval/{org}/{model}/reranking"
        inference("/v1/ranking", self._asks.ranking)
        inference("/v1/reranking", self._asks.ranking)
        inference(hosted, self._asks.ranking)
        inference("/v1/retrieval/{org}/reranking", self._asks.ranking, route=hosted)  # RAGFlow and Dify name no model in the path
        for path in rerank.PATHS:
            inference(path, self._asks.rerank)
        inference("/v1/embeddings", self._asks.embeddings, openai_errors=True)
        inference("/embeddings", self._asks.embeddings, openai_errors=True, route="/v1/embeddings")
        inference("/v1/inference/{slug:path}", self._asks.native, route="/v1/inference/{slug}")
        routes.add("GET", "/v1/models", exchanges.endpoint("/v1/models", self.models))
        routes.add("GET", "/v1/health/live", exchanges.endpoint("/v1/health/live", self.live))
        routes.add("GET", "/v1/health/ready", self.health)
        routes.add("GET", "/v1/version", exchanges.endpoint("/v1/version", self.version))
        routes.add("GET", "/v1/metrics", self.metrics)
        return PlainPaths(routes)
