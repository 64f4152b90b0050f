"""A route of the control plane as a value: who may call it, and what answers. Knows no route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from emberank.contract.fleet import Principal, Scope
from emberank.forge.callers import Callers, check_scope
from emberank.serving.exchange import Exchange, Handler

Answer = Callable[[Exchange, Principal], Awaitable[bytes | Response]]


class Rule(NamedTuple):
    """`scopes`: one of these a caller must have."""

    method: str
    path: str
    scopes: tuple[Scope, ...]
    answer: Answer


def guarded(rule: Rule, callers: Callers) -> Handler:
    """The rule's answer, for those whose key may have it. A cookie is nothing here."""
    return answering(rule, lambda request: callers.identify(request.headers.raw))


def answering(rule: Rule, identify: Callable[[Request], Principal]) -> Handler:
    """The rule's answer, for those who may have it. `identify` says who asks, or raises."""

    async def answer(exchange: Exchange) -> bytes | Response:
        caller = identify(exchange.request)
        exchange.extra["key_id"] = caller.key_id
        check_scope(caller, *rule.scopes)
        return await rule.answer(exchange, caller)

    return answer


def answered(content: bytes, status: int, exchange: Exchange) -> Response:
    """JSON with another status than 200."""
    return Response(content, status, media_type="application/json", headers=exchange.headers)
