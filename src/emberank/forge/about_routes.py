"""Health, version, metrics, and the API's own description as data: what needs no key. Names no model."""

from __future__ import annotations

from starlette.responses import Response

from emberank import __version__
from emberank.contract.fleet import Phase
from emberank.dialects import nim
from emberank.forge.answers import written
from emberank.forge.openapi import document
from emberank.forge.parts import Parts
from emberank.serving.exchange import Exchange, Handler
from emberank.serving.metrics import CONTENT_TYPE

_PHASES: tuple[Phase, ...] = ("STARTING", "WARM", "DRAINING", "FAILED")


class AboutRoutes:
    """What the forge says of itself."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._document = document()

    def handlers(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        return [
            ("GET", "/v1/health/live", self.live),
            ("GET", "/v1/health/ready", self.ready),
            ("GET", "/v1/version", self.version),
            ("GET", "/v1/metrics", self.metrics),
            ("GET", "/openapi.json", self.openapi),
            ("GET", "/v1/openapi.json", self.openapi),
        ]

    async def live(self, exchange: Exchange) -> bytes:
        """The process runs and its event loop turns."""
        return nim.render_health(True, "live", word="live")

    async def ready(self, exchange: Exchange) -> Response:
        """Whether requests are taken."""
        found = self._parts.readiness
        headers = {} if found.ready else {"Retry-After": "1"}
        body = nim.render_health(found.ready, "ready" if found.ready else found.state, word="ready")
        return Response(body, 200 if found.ready else 503, media_type="application/json", headers=headers)

    async def version(self, exchange: Exchange) -> bytes:
        """`release` is ours, `api` the wire's."""
        return written({"release": __version__, "api": "1"})

    async def metrics(self, exchange: Exchange) -> Response:
        """Prometheus text."""
        parts = self._parts
        phases = [one.phase for one in parts.life.deployments()]
        for phase in _PHASES:
            parts.metrics.endpoints.labels(phase).set(phases.count(phase))
        parts.metrics.samples.set(len(parts.windows))
        parts.metrics.keys.set(sum(map(parts.keys.is_in_force, parts.keys.all())))
        parts.metrics.gateways.set(parts.intake.gateways())
        parts.metrics.ready.set(parts.readiness.ready)
        return Response(parts.metrics.render(), media_type=CONTENT_TYPE)

    async def openapi(self, exchange: Exchange) -> bytes:
        """The document."""
        return written(self._document)
