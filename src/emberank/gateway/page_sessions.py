"""A call of one of our pages in, the principal whose session it comes with out. Knows no session: they are the forge's, which is asked every time.

A gateway keeps nothing of what it hears: a session that has ended opens nothing from that moment on.
"""

from __future__ import annotations

from dataclasses import replace

from emberank.client.fleet import Fleet
from emberank.contract.errors import Unauthorized
from emberank.contract.fleet import Principal
from emberank.gateway.auth import ANONYMOUS
from emberank.gateway.errors import ForgeAway
from emberank.gateway.view import View
from emberank.serving.exchange import Exchange

# By these the forge judges who sends a call, and whether a page of ours had the browser send it.
_JUDGED_BY = frozenset((b"cookie", b"host", b"origin", b"sec-fetch-site", b"x-csrf-token"))
_PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}


class PageSessions:
    """Says who sends a page's call. `required` is whether inference needs a key here."""

    def __init__(self, fleet: Fleet, view: View, *, required: bool) -> None:
        self._fleet = fleet
        self._view = view
        self._required = required

    async def principal(self, exchange: Exchange) -> Principal:
        """Who sends it. Raises Unauthorized, Forbidden, ForgeAway."""
        exchange.headers |= _PRIVATE
        headers = [pair for pair in exchange.request.scope["headers"] if pair[0] in _JUDGED_BY]
        try:
            told = await self._fleet.session(headers, exchange.deadline)
        except ForgeAway as away:
            message = "the forge, which knows who is signed in, cannot be reached: try again in a moment; calls with an API key to warm models go on without it"
            raise ForgeAway(message, retry_after_s=away.retry_after_s) from away
        if told.key_id == ANONYMOUS.key_id:
            return self._anybody()
        known = self._view.keys.of(told.key_id)
        if known is None:
            return told
        # What was spent since is counted here from the snapshot's sums on: two sums of different moments would count some of it twice.
        return replace(told, month=known.month, spent_usd=known.spent_usd, spent_tokens=known.spent_tokens)

    def _anybody(self) -> Principal:
        if self._required:
            raise Unauthorized("the forge has the setting auth=none and this gateway has not: use an API key, or give both the same setting")
        return ANONYMOUS
