"""NVIDIA's retrieval NIM over HTTP: parse → pipeline → render; health, models, metadata, manifest, license, version, metrics.

Routes: the HTTP references of the reranking and embedding NIM, and the paths real clients use besides (LiteLLM, RAGFlow).
Knows no batching and no network.
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import unquote

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from emberank import __version__
from emberank.contract.errors import BadRequest, EmberankError, MethodNotAllowed, NotFound, NotReady
from emberank.contract.inference import EmbedResult, RankCall, RankResult
from emberank.dialects import nim, rerank
from emberank.dialects.answers import Ranking
from emberank.dialects.reading import body_object
from emberank.runtime import about, openapi
from emberank.runtime.metrics import Metrics
from emberank.runtime.openapi_page import page
from emberank.runtime.pipeline import Pipeline
from emberank.runtime.roster import Roster
from emberank.serving.exchange import Exchange, Exchanges, request_id_of
from emberank.serving.metrics import CONTENT_TYPE
from emberank.serving.paths import PlainPaths
from emberank.settings import RuntimeSettings
from emberank.telemetry import Traces
from emberank.telemetry.traces import INPUTS, PASSAGES, PROMPT_TOKENS


class RuntimeServer:
    """The HTTP surface of one process. `roster` is empty until loading is done; `ready` is False until the golden examples came out right."""

    def __init__(self, settings: RuntimeSettings, pipeline: Pipeline, metrics: Metrics, traces: Traces | None = None) -> None:
        self.roster = Roster()
        self.ready = False
        self.state = "loading"  # what a caller is told while not ready
        self._settings = settings
        self._pipeline = pipeline
        self._metrics = metrics
        self._traces = traces
        self._rules = nim.Rules(
            max_passages=settings.max_passages,
            max_inputs=settings.max_inputs,
            default_truncate=settings.default_truncate,
            ranking_unknown_fields=settings.ranking_unknown_fields,
            embeddings_unknown_fields=settings.embeddings_unknown_fields,
        )
        self._document = openapi.document(settings)

    def app(self) -> ASGIApp:
        """The ASGI application."""
        exchanges = Exchanges(self._settings, self._metrics, self._traces)

        def get(path: str, handler: object, route: str | None = None) -> Route:
            return Route(path, exchanges.endpoint(route or path, handler), methods=["GET"])  # type: ignore[arg-type]

        ranking = exchanges.endpoint("/v1/ranking", self.rank)
        retrieval = exchanges.endpoint("/v1/retrieval/{org}/{model}/reranking", self.rank)
        embeddings = exchanges.endpoint("/v1/embeddings", self.embed, openai_errors=True)
        routes = [
            Route("/v1/ranking", ranking, methods=["POST"]),
            Route("/v1/retrieval/{org}/{model}/reranking", retrieval, methods=["POST"]),
            # RAGFlow and Dify name no model in the path; the body does.
            Route("/v1/retrieval/{org}/reranking", retrieval, methods=["POST"]),
            Route("/v1/reranking", ranking, methods=["POST"]),
            *(Route(path, exchanges.endpoint(path, self.rerank), methods=["POST"]) for path in rerank.PATHS),
            Route("/v1/embeddings", embeddings, methods=["POST"]),
            get("/v1/models", self.models),
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
        return PlainPaths(app)

    async def rank(self, exchange: Exchange) -> bytes:
        """POST /v1/ranking and the hosted form of it; a model in the path goes before the one in the body."""
        parsed = nim.parse_ranking(exchange.body, self._rules)
        call: RankCall = parsed.call
        path = exchange.request.path_params
        if "model" in path:
            call = replace(call, model=f"{path['org']}/{path['model']}")
        model = self._loaded().resolve(call.model, "rank")
        exchange.model = model.name
        if exchange.trace is not None:
            exchange.trace.note({PASSAGES: len(call.passages)})
        result = await self._pipeline.rank(model, call, exchange.deadline, exchange.trace)
        self._conclude(exchange, result, parsed.ignored)
        return nim.render_ranking(result)

    async def rerank(self, exchange: Exchange) -> bytes:
        """POST /v1/rerank, /v2/rerank, /rerank: Cohere's body and its relatives', or TEI's."""
        asked = rerank.read(body_object(exchange.body), self._settings.max_passages, exchange.request.scope["path"])
        model = self._loaded().resolve(asked.call.model, "rank")
        exchange.model = model.name
        if exchange.trace is not None:
            exchange.trace.note({PASSAGES: len(asked.call.passages)})
        result = await self._pipeline.rank(model, asked.call, exchange.deadline, exchange.trace)
        self._conclude(exchange, result, asked.ignored)
        exchange.headers["Emberank-Score"] = asked.score
        ranking = Ranking(ranked=result.ranked, prompt_tokens=result.usage.prompt_tokens)
        return rerank.render(asked, ranking, model=model.name, request_id=exchange.request_id)

    async def embed(self, exchange: Exchange) -> bytes:
        """POST /v1/embeddings."""
        parsed = nim.parse_embeddings(exchange.body, self._rules)
        call = parsed.call
        model, suffix = self._loaded().resolve_embedder(call.model)
        exchange.model = model.name
        if suffix is not None:
            call = replace(call, input_type=suffix)
            if suffix == "query" and any(content.image is not None for content in call.inputs):
                raise BadRequest(nim.IMAGE_AS_QUERY)
        if exchange.trace is not None:
            exchange.trace.note({INPUTS: len(call.inputs)})
        result = await self._pipeline.embed(model, call, exchange.deadline, exchange.trace)
        self._conclude(exchange, result, parsed.ignored)
        return nim.render_embeddings(result, call.encoding_format)

    def _loaded(self) -> Roster:
        """The models. While draining they are still there: a request that came before the signal is answered."""
        if not len(self.roster):
            raise NotReady(f"the server is {self.state}", retry_after_s=1)
        return self.roster

    def _conclude(self, exchange: Exchange, result: RankResult | EmbedResult, ignored: tuple[str, ...]) -> None:
        """Say in headers what a NIM body has no place for."""
        t = result.timings
        exchange.headers["Server-Timing"] = f"tokenize;dur={t.tokenize_ms:.2f}, queue;dur={t.queue_ms:.2f}, engine;dur={t.engine_ms:.2f}"
        if t.decode_ms:
            exchange.headers["Server-Timing"] += f", decode;dur={t.decode_ms:.2f}"
        exchange.headers["Emberank-Prompt-Tokens"] = str(result.usage.prompt_tokens)
        if self.roster.named(result.model).random_weights:
            exchange.headers["Emberank-Random-Weights"] = "true"
        if exchange.trace is not None:
            exchange.trace.note({PROMPT_TOKENS: result.usage.prompt_tokens})
        if result.truncated:
            exchange.headers["Emberank-Truncated"] = ",".join(map(str, result.truncated[:50])) + (",..." if len(result.truncated) > 50 else "")
        if ignored:
            exchange.headers["Emberank-Ignored-Fields"] = ", ".join(re.sub(r"[^A-Za-z0-9_.-]", "?", name)[:40] for name in ignored[:10])
        self._metrics.served(model=result.model, prompt_tokens=result.usage.prompt_tokens, tokenize_s=t.tokenize_ms / 1e3)

    async def models(self, exchange: Exchange) -> bytes:
        """GET /v1/models."""
        return nim.render_models((model.name, model.created, about.owner(model)) for model in self.roster)

    async def model(self, exchange: Exchange) -> bytes:
        """GET /v1/models/{name}; the OpenAI SDK sends the name's slash as %2F."""
        model = self.roster.named(unquote(exchange.request.path_params["name"]))
        return orjson.dumps(nim.model_entry(model.name, model.created, about.owner(model)))

    async def live(self, exchange: Exchange) -> bytes:
        """The process runs and its event loop turns."""
        return nim.render_health(True, "live", word="live")

    async def _health_ready(self, request: Request) -> Response:
        """Ready only after every golden example came out right, and no more once draining or when the engine keeps failing."""
        failing = any(backend.batcher.failing for model in self.roster for backend in (model.backend, model.vision) if backend is not None)
        ready = self.ready and not failing
        message = "ready" if ready else self.state if not self.ready else "the engine fails"
        headers = {} if ready else {"Retry-After": "1"}
        return Response(nim.render_health(ready, message, word="ready"), 200 if ready else 503, media_type="application/json", headers=headers)

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
        """Starlette's own 404 and 405 in NIM's body."""
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
        return Response(nim.render_error(error, request_id, openai=False), status, media_type="application/json", headers=headers)
