"""A request's path and body in, what it asks for out: which model, where, and the body that asks an endpoint for it. Knows no endpoint and no key's limits.

The body is read once, here; an endpoint of ours checks it again because it has to, a NIM of somebody else's because it will.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from emberank.contract.errors import BadRequest
from emberank.contract.fleet import ModelRow, Principal, Wish
from emberank.contract.inference import Content, EmbedCall, RankCall
from emberank.dialects import forge, nim, rerank
from emberank.dialects.answers import read_ranking
from emberank.dialects.reading import body_object
from emberank.gateway.auth import check_model
from emberank.gateway.errors import UnknownModel
from emberank.gateway.names import Names
from emberank.gateway.targets import wish_of
from emberank.serving.exchange import Exchange
from emberank.settings import GatewaySettings

Render = Callable[[bytes, str], bytes]  # an endpoint's answer and the request's id → the body for the caller

_CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One inference request, read and resolved."""

    model: ModelRow
    wish: Wish
    path: Literal["/v1/ranking", "/v1/embeddings"]  # of the endpoint
    write: Callable[[str], bytes]  # what the endpoint calls the model → the body for it
    top_n: int | None  # cut here: a NIM knows no such field
    passages: int
    chars: int
    ignored: tuple[str, ...]
    render: Render | None = None  # the endpoint's answer → the caller's dialect; None where that is NIM's

    @property
    def tokens(self) -> int:
        """About how much work it is."""
        return self.chars // _CHARS_PER_TOKEN + 1


Reader = Callable[[Exchange, Names, Principal], Ask]


class Asks:
    """Readers for the routes. Each raises BadRequest, UnknownModel, Forbidden; nothing is woken by what they refuse."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._rules = nim.Rules(
            max_passages=settings.max_passages,
            max_inputs=settings.max_inputs,
            default_truncate=settings.default_truncate,
            ranking_unknown_fields=settings.ranking_unknown_fields,
        )

    def ranking(self, exchange: Exchange, names: Names, principal: Principal) -> Ask:
        """POST /v1/ranking and the hosted form of it; a model in the path goes before the one in the body."""
        asked = forge.parse_ranking(exchange.body, self._rules)
        path = exchange.request.path_params
        name = f"{path['org']}/{path['model']}" if "model" in path else asked.call.model
        return _rank(names.resolve(name, "rank", principal.models), principal, asked)

    def rerank(self, exchange: Exchange, names: Names, principal: Principal) -> Ask:
        """POST /rerank, /v1/rerank, /v2/rerank: `texts` is TEI's body, `documents` Cohere's and its relatives'."""
        fields = body_object(exchange.body)
        pin = forge.take_pin(fields)
        asked = rerank.read(fields, self._rules.max_passages, exchange.request.scope["path"])
        model = names.resolve(asked.call.model, "rank", principal.models)
        exchange.headers["Emberank-Score"] = asked.score
        return replace(_rank(model, principal, forge.Asked(asked.call, pin, asked.ignored)), render=partial(_reranked, asked, model.id))

    def embeddings(self, exchange: Exchange, names: Names, principal: Principal) -> Ask:
        """POST /v1/embeddings."""
        asked = forge.parse_embeddings(exchange.body, self._rules)
        model, suffix = names.resolve_embedder(asked.call.model, principal.models)
        return _embed(model, principal, asked if suffix is None else replace(asked, call=replace(asked.call, input_type=suffix)))

    def native(self, exchange: Exchange, names: Names, principal: Principal) -> Ask:
        """POST /v1/inference/{slug}: the model's task says what the body is."""
        model = names.of_any_task(exchange.request.path_params["slug"])
        if model.task == "rank":
            ranking = forge.parse_ranking(exchange.body, self._rules)
            _check_same(ranking.call.model, model, names)
            return _rank(model, principal, ranking)
        embeddings = forge.parse_embeddings(exchange.body, self._rules)
        _check_same(embeddings.call.model, model, names)
        return _embed(model, principal, embeddings)


def _check_same(name: str | None, model: ModelRow, names: Names) -> None:
    """A body that names another model than its path would get another model's numbers."""
    if name is None:
        return
    try:
        named = names.resolve_embedder(name)[0] if model.task == "embed" else names.resolve(name, model.task)
    except UnknownModel:
        named = None
    if named is not model:
        raise BadRequest(f"the path is for '{model.slug}' and the body's model is '{name[:80]}': send '{model.slug}', or leave model out")


def _rank(model: ModelRow, principal: Principal, asked: forge.Asked[RankCall]) -> Ask:
    check_model(principal, model)
    call = replace(asked.call, top_n=None) if asked.call.top_n is not None else asked.call
    return Ask(
        model=model,
        wish=wish_of(model, asked.pin),
        path="/v1/ranking",
        write=lambda name: nim.write_ranking(call, name),
        top_n=asked.call.top_n,
        passages=len(call.passages),
        chars=_chars(call.query) + sum(map(_chars, call.passages)),
        ignored=asked.ignored,
    )


def _reranked(asked: rerank.Rerank, model: str, answer: bytes, request_id: str) -> bytes:
    return rerank.render(asked, read_ranking(answer, len(asked.call.passages)), model=model, request_id=request_id)


def _embed(model: ModelRow, principal: Principal, asked: forge.Asked[EmbedCall]) -> Ask:
    check_model(principal, model)
    call = asked.call
    return Ask(
        model=model,
        wish=wish_of(model, asked.pin),
        path="/v1/embeddings",
        write=lambda name: nim.write_embeddings(call, name),
        top_n=None,
        passages=len(call.inputs),
        chars=sum(map(_chars, call.inputs)),
        ignored=asked.ignored,
    )


def _chars(content: Content) -> int:
    return len(content.text) if content.text is not None else 0


def ignored_header(ignored: tuple[str, ...]) -> str:
    """Names of fields for a header: a caller's text, so only what a header may hold, and not all of it."""
    return ", ".join(re.sub(r"[^A-Za-z0-9_.-]", "?", name)[:40] for name in ignored[:10])
