"""NIM's two routes over HTTP, answered by a provider: parse → ask → check → render. What the provider charged is in a header, for the gateway's bill.

`Emberank-Provider-Cost-USD` is there when LiteLLM knows the model's price; `Emberank-Ignored-Fields` names what the provider could not be told.
"""

from __future__ import annotations

import time
from typing import Protocol

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from emberank import __version__
from emberank.bridge.provider import Given
from emberank.bridge.settings import BridgeSettings
from emberank.contract.errors import BadRequest, ServerFault
from emberank.contract.fleet import Endpoint
from emberank.contract.inference import EmbedCall, RankCall, Task
from emberank.dialects import nim, nim_asked, openai_embeddings
from emberank.dialects.answers import read_embeddings
from emberank.dialects.asked import Told
from emberank.dialects.cohere_outgoing import read_rerank
from emberank.dialects.reading import body_object
from emberank.serving.exchange import Exchange, Exchanges
from emberank.serving.metrics import CONTENT_TYPE, DoorMetrics
from emberank.serving.paths import PlainPaths

COST_HEADER = "Emberank-Provider-Cost-USD"


class Asks(Protocol):
    """What answers: provider.Provider, or a test's own."""

    @property
    def model(self) -> str:
        """provider/name."""
        ...

    async def rank(self, call: RankCall, timeout_s: float) -> Given:
        """A score for every passage."""
        ...

    async def embed(self, call: EmbedCall, timeout_s: float) -> Given:
        """A vector for every input."""
        ...


class BridgeServer:
    """The surface of one process with one model, called `name`. `provider` is None until it is loaded."""

    def __init__(self, settings: BridgeSettings, name: str, task: Task) -> None:
        self.provider: Asks | None = None
        self.draining = False
        self._settings = settings
        self._name = name
        self._task = task
        self._metrics = DoorMetrics()
        self._rules = nim.Rules(max_passages=settings.max_passages, max_inputs=settings.max_inputs)

    def app(self) -> ASGIApp:
        """The ASGI application."""
        exchanges = Exchanges(self._settings, self._metrics)
        routes = [
            Route("/v1/ranking", exchanges.endpoint("/v1/ranking", self.rank), methods=["POST"]),
            Route("/v1/embeddings", exchanges.endpoint("/v1/embeddings", self.embed, errors="openai"), methods=["POST"]),
            Route("/v1/models", exchanges.endpoint("/v1/models", self.models), methods=["GET"]),
            Route("/v1/version", exchanges.endpoint("/v1/version", self.version), methods=["GET"]),
            Route("/v1/health/live", exchanges.endpoint("/v1/health/live", self.live), methods=["GET"]),
            Route("/v1/health/ready", self._ready, methods=["GET"]),
            Route("/v1/metrics", self._render_metrics, methods=["GET"]),
        ]
        app = Starlette(routes=routes)
        app.router.redirect_slashes = False
        return PlainPaths(app)

    async def rank(self, exchange: Exchange) -> bytes:
        """POST /v1/ranking: every passage with its logit, best first, whatever scale the provider has."""
        asks = self._asks("rank")
        asked = nim_asked.ask_ranking(body_object(exchange.body), self._rules)
        if asked.score == "calibrated":
            raise BadRequest("score_mode 'calibrated' cannot be had here: a calibration is kept by the gateway")
        (call,) = asked.calls
        exchange.model = self._name
        given = await asks.rank(call, self._timeout_s(exchange))
        body = orjson.dumps({"results": given.rows, "usage": {"prompt_tokens": given.tokens}})
        ranking = read_rerank(body, len(call.passages), self._scale(asks))
        self._conclude(exchange, given, asked.ignored)
        return asked.render([ranking], Told(model=self._name, request_id=exchange.request_id))

    async def embed(self, exchange: Exchange) -> bytes:
        """POST /v1/embeddings: a vector for every input."""
        asks = self._asks("embed")
        asked = openai_embeddings.read_embeddings(body_object(exchange.body), self._rules)
        exchange.model = self._name
        given = await asks.embed(asked.call, self._timeout_s(exchange))
        body = orjson.dumps({"data": given.rows, "usage": {"prompt_tokens": given.tokens}})
        found = read_embeddings(body, len(asked.call.inputs))
        if asked.call.dimensions not in (None, found.vectors.shape[1]):
            raise ServerFault from ValueError(f"the provider's vectors have {found.vectors.shape[1]} dimensions and not {asked.call.dimensions}")
        self._conclude(exchange, given, asked.ignored)
        return asked.render(found, Told(model=self._name, request_id=exchange.request_id))

    def _asks(self, task: Task) -> Asks:
        if self.provider is None:
            raise ServerFault("the bridge is still loading")
        if task != self._task:
            raise BadRequest(f"{self._name} is no model for this route: its task is {self._task!r}")
        return self.provider

    def _timeout_s(self, exchange: Exchange) -> float:
        return max(0.001, min(self._settings.timeout_s, exchange.deadline - time.monotonic()))

    def _scale(self, asks: Asks) -> Endpoint:
        """Of the provider's scores, as the reader of a Cohere answer wants to know it."""
        score = self._settings.score
        if score == "auto":
            score = "logit" if asks.model.startswith("nvidia_nim/") else "sigmoid"
        return Endpoint(id="", slug=self._name, version="", gpu_type="", region="", phase="WARM", dialect="cohere", score=score)

    def _conclude(self, exchange: Exchange, given: Given, ignored: tuple[str, ...]) -> None:
        exchange.headers["Emberank-Prompt-Tokens"] = str(given.tokens)
        if given.cost_usd is not None:
            exchange.headers[COST_HEADER] = f"{given.cost_usd:.12f}".rstrip("0").rstrip(".")
        unsaid = (*ignored, *given.unsaid)
        if unsaid:
            exchange.headers["Emberank-Ignored-Fields"] = ", ".join(name for name in unsaid if name.isidentifier())

    async def models(self, exchange: Exchange) -> bytes:
        """GET /v1/models: the one."""
        entry = {"id": self._name, "object": "model", "created": 0, "owned_by": self._name.partition("/")[0], "root": self._name}
        return orjson.dumps({"object": "list", "data": [entry]})

    async def version(self, exchange: Exchange) -> bytes:
        """GET /v1/version."""
        return orjson.dumps({"release": __version__, "api": "1"})

    async def live(self, exchange: Exchange) -> bytes:
        """The process runs and its event loop turns."""
        return nim.render_health(True, "live", word="live")

    async def _ready(self, request: Request) -> Response:
        """GET /v1/health/ready. Says nothing of the provider: asking it costs money."""
        ready = self.provider is not None and not self.draining
        message = "ready" if ready else "shutting down" if self.draining else "loading"
        return Response(nim.render_health(ready, message, word="ready"), 200 if ready else 503, media_type="application/json")

    async def _render_metrics(self, request: Request) -> Response:
        return Response(self._metrics.render(), media_type=CONTENT_TYPE)
