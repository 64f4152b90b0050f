"""A bare runtime over HTTP: every dialect's calls (`inference.py`), and NIM's health, models, metadata, manifest, license, version, metrics.

Routes: the HTTP references of the reranking and embedding NIM, and the table of `dialects/routes.py`.
Knows no batching and no network.
"""

from __future__ import annotations

import time
from urllib.parse import unquote

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from emberank import __version__
from emberank.contract.errors import BadRequest, EmberankError, MethodNotAllowed, ModelNotFound, NotFound, NotReady
from emberank.dialects import nim, served
from emberank.dialects.errors import render_error, style_of
from emberank.dialects.routes import OF_A_MODEL, ROUTES, InferenceRoute
from emberank.dialects.served import Served
from emberank.runtime import about, openapi
from emberank.runtime.inference import Inference
from emberank.runtime.metrics import Metrics
from emberank.runtime.openapi_page import page
from emberank.runtime.pipeline import Pipeline
from emberank.runtime.roster import Roster
from emberank.serving.exchange import Exchange, Exchanges, Handler, request_id_of
from emberank.serving.metrics import CONTENT_TYPE
from emberank.serving.paths import MODEL, PlainPaths
from emberank.settings import RuntimeSettings
from emberank.telemetry import Traces


class RuntimeServer:
    """The HTTP surface of one process. `roster` is empty until loading is done; `ready` is False until the golden examples came out right."""

    def __init__(self, settings: RuntimeSettings, pipeline: Pipeline, metrics: Metrics, traces: Traces | None = None) -> None:
        self.roster = Roster()
        self.ready = False
        self.state = "loading"  # what a caller is told while not ready
        self._settings = settings
        self._metrics = metrics
        self._traces = traces
        self._inference = Inference(settings, pipeline, metrics, self._loaded)
        self._document = openapi.document(settings)

    def app(self) -> ASGIApp:
        """The ASGI application."""
        exchanges = Exchanges(self._settings, self._metrics, self._traces)

        def get(path: str, handler: Handler, route: str | None = None) -> Route:
            return Route(path, exchanges.endpoint(route or path, handler, errors=style_of(path)), methods=["GET"])

        def inference(each: InferenceRoute) -> Route:
            async def handle(exchange: Exchange) -> bytes:
                return await self._inference.answer(each, exchange)

            return Route(each.path, exchanges.endpoint(each.label or each.path, handle, errors=each.errors), methods=["POST"])

        routes = [
            *map(inference, ROUTES),
            get("/v1/models", self.models),
            get("/models", self.infinity_models),
            get("/info", self.info),
            Route("/health", self._health, methods=["GET"]),
            get("/v1/models/{name:path}", self.model, "/v1/models/{model}"),
            get("/v1/health/live", self.live),
            Route("/v1/health/ready", self._health_ready, methods=["GET"]),
            get("/v1/metadata", self.metadata),
            get("/v1/manifest", self.manifest),
            get("/v1/license", self.license),
            get("/v1/version", self.version),
            Route("/v1/metrics", self._render_metrics, methods=["GET"]),
            get("/openapi.json", self.openapi),
            Route("/docs", self._page, methods=["GET"]),
            Route("/", self._page, methods=["GET"]),  # what a person opens first
        ]
        app = Starlette(routes=routes, exception_handlers={HTTPException: self._no_route})
        app.router.redirect_slashes = False  # a redirected POST loses its body in most clients
        return PlainPaths(app, OF_A_MODEL)

    def _loaded(self) -> Roster:
        """The models. While draining they are still there: a request that came before the signal is answered."""
        if not len(self.roster):
            raise NotReady(f"the server is {self.state}", retry_after_s=1)
        return self.roster

    def _listed(self, exchange: Exchange) -> list[Served]:
        """All models; below a model's own base URL, that one."""
        own = exchange.request.scope.get(MODEL)
        return [about.served(model, self._settings) for model in (self.roster if own is None else [self._loaded().named(own)])]

    async def models(self, exchange: Exchange) -> bytes:
        """GET /v1/models: OpenAI's list."""
        return served.render_models(self._listed(exchange))

    async def infinity_models(self, exchange: Exchange) -> bytes:
        """GET /models: the same list for Infinity's clients."""
        return served.render_infinity_models(self._listed(exchange))

    async def info(self, exchange: Exchange) -> bytes:
        """GET /info: TEI's, of the model in the path; else of the first reranker, or of the first model where there is none."""
        self._loaded()
        return served.render_info(served.first(self._listed(exchange)), __version__)

    async def model(self, exchange: Exchange) -> bytes:
        """GET /v1/models/{name}; the OpenAI SDK sends the name's slash as %2F."""
        model = self.roster.named(unquote(exchange.request.path_params["name"]))
        return orjson.dumps(served.model_entry(about.served(model, self._settings)))

    async def live(self, exchange: Exchange) -> bytes:
        """The process runs and its event loop turns."""
        return nim.render_health(True, "live", word="live")

    def _state(self) -> tuple[bool, str]:
        """Ready only after every golden example came out right, and no more once draining or when the engine keeps failing; and the word for it."""
        failing = any(backend.batcher.failing for model in self.roster for backend in (model.backend, model.vision) if backend is not None)
        ready = self.ready and not failing
        return ready, "ready" if ready else self.state if not self.ready else "the engine fails"

    async def _health_ready(self, request: Request) -> Response:
        """GET /v1/health/ready, NIM's."""
        ready, message = self._state()
        headers = {} if ready else {"Retry-After": "1"}
        return Response(nim.render_health(ready, message, word="ready"), 200 if ready else 503, media_type="application/json", headers=headers)

    async def _health(self, request: Request) -> Response:
        """GET /health, TEI's, vLLM's and Infinity's."""
        ready, message = self._state()
        own = request.scope.get(MODEL)
        if ready and own is not None:
            try:
                self.roster.named(own)
            except ModelNotFound as unknown:
                return Response(render_error(unknown, request_id_of(request), "tei"), 404, media_type="application/json")
        if ready:
            return Response(served.render_health(time.time()), media_type="application/json")
        error = NotReady(f"the server is {message}", retry_after_s=1)
        return Response(render_error(error, request_id_of(request), "tei"), 503, media_type="application/json", headers={"Retry-After": "1"})

    async def metadata(self, exchange: Exchange) -> bytes:
        """GET /v1/metadata: what is served, on what, at which precision, and what the golden examples said."""
        return orjson.dumps(about.metadata(self.roster))

    async def manifest(self, exchange: Exchange) -> bytes:
        """GET /v1/manifest: every file of every model with its size and sha256."""
        return orjson.dumps(about.manifest(self.roster))

    async def license(self, exchange: Exchange) -> bytes:
        """GET /v1/license."""
        return orjson.dumps(about.licenses(self.roster))

    async def version(self, exchange: Exchange) -> bytes:
        """GET /v1/version: `release` is ours, `api` the wire's."""
        return orjson.dumps({"release": __version__, "api": "1"})

    async def openapi(self, exchange: Exchange) -> bytes:
        """GET /openapi.json."""
        return orjson.dumps(self._document)

    async def _render_metrics(self, request: Request) -> Response:
        batchers = {id(model.backend.batcher): model.backend.batcher for model in self.roster}.values()
        self._metrics.queue_jobs.set(sum(batcher.queued_jobs for batcher in batchers))
        self._metrics.queue_tokens.set(sum(batcher.queued_tokens for batcher in batchers))
        self._metrics.ready.set(self.ready)
        return Response(self._metrics.render(), media_type=CONTENT_TYPE)

    async def _page(self, request: Request) -> Response:
        return HTMLResponse(
            page(self._document, str(request.base_url).rstrip("/")), headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        )

    async def _no_route(self, request: Request, cause: Exception) -> Response:
        """Starlette's own 404 and 405 in the words of whose path it looks like."""
        status = cause.status_code if isinstance(cause, HTTPException) else 500
        path = request.scope["path"][:200]
        error: EmberankError = BadRequest("the request cannot be read", status=status)
        if status == 404:
            error = NotFound(f"no route {path!r}; GET /openapi.json lists the routes")
        elif status == 405:
            allowed = (cause.headers or {}).get("Allow", "") if isinstance(cause, HTTPException) else ""
            error = MethodNotAllowed(f"{request.method} is not allowed on {path!r}; allowed: {allowed}")
        self._metrics.failed(route="none", kind=error.type)
        headers = dict(cause.headers or {}) if isinstance(cause, HTTPException) else {}
        headers["X-Request-Id"] = request_id = request_id_of(request)
        return Response(render_error(error, request_id, style_of(path)), status, media_type="application/json", headers=headers)
