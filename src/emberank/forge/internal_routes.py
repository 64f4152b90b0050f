"""`/internal/…`: what gateways ask: the snapshot, wishes, reports, who is signed in; and the operator's wish to sign in. For who has the fleet's token; to everybody else these routes do not exist."""

from __future__ import annotations

from dataclasses import replace

from starlette.responses import Response

from emberank.contract.errors import BadRequest
from emberank.dialects import fleet
from emberank.forge.answers import written
from emberank.forge.parts import Parts
from emberank.forge.web.gate import Gate
from emberank.forge.web.signin.links import LASTS_S, link_at
from emberank.serving.exchange import Exchange, Handler

_MOST_WAIT_S = 60.0


class InternalRoutes:
    """The three arrows, what a gateway asks of a page's call, and the operator's own."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._gate = Gate(parts)

    def handlers(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        return [
            ("GET", "/internal/snapshot", self.snapshot),
            ("POST", "/internal/wake", self.wake),
            ("POST", "/internal/report", self.report),
            ("POST", "/internal/session", self.session),
            ("POST", "/internal/signin", self.signin),
        ]

    async def snapshot(self, exchange: Exchange) -> bytes:
        """What changed, as soon as it does."""
        self._require_fleet(exchange)
        call = fleet.read_snapshot_fields(exchange.request.query_params)
        await self._parts.intake.know(call.gateway_id)
        news = await self._parts.snapshots.next(call.gateway_id, call.known, call.forge_id, min(call.wait_s, _MOST_WAIT_S))
        return fleet.encode(news)

    async def wake(self, exchange: Exchange) -> bytes:
        """Have a model started; answers at once."""
        self._require_fleet(exchange)
        wish = fleet.decode_wish(exchange.body)
        found = self._parts.life.wake(wish)
        exchange.model = found.key.slug
        return b"{}"

    async def report(self, exchange: Exchange) -> bytes:
        """Take usage and load. When this is answered, the usage is kept."""
        self._require_fleet(exchange)
        report = fleet.decode_report(exchange.body)
        if not report.gateway_id or report.number < 0:
            raise BadRequest("a report needs the gateway's id and its number, from 0 on")
        await self._parts.intake.take(report)
        return b"{}"

    async def session(self, exchange: Exchange) -> bytes:
        """Who sends the call whose cookie, origin and token are in this request's headers. The gateway counts it, as it does those with a key."""
        self._require_fleet(exchange)
        return fleet.encode(replace(self._gate.caller(exchange.request), digest=""))

    async def signin(self, exchange: Exchange) -> Response:
        """A new sign-in link, for the operator's terminal."""
        self._require_fleet(exchange)
        if not self._parts.callers.required:
            raise BadRequest("there is nothing to sign in to: with the setting auth=none everybody may do everything")
        base = self._parts.settings.public_url or str(exchange.request.base_url)
        answer = {"url": link_at(base, self._parts.links.new()), "lasts_s": LASTS_S}
        return Response(written(answer), media_type="application/json", headers={"Cache-Control": "no-store"})

    def _require_fleet(self, exchange: Exchange) -> None:
        self._parts.callers.require_fleet(exchange.request.headers.raw, exchange.request.url.path)
