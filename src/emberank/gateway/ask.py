"""A request's path and body in, what it asks for out: which model, where, and the body that asks an endpoint for it. Knows no endpoint and no key's limits.

The body is read once, here; an endpoint of ours checks it again because it has to, a NIM of somebody else's because it will.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from emberank.contract.errors import BadRequest
from emberank.contract.fleet import ModelRow, Principal, Wish
from emberank.contract.inference import Content, InputType, RankCall, Task
from emberank.dialects import forge, nim, nim_asked
from emberank.dialects.asked import Asked, AskedEmbed, AskedRank
from emberank.dialects.openai_embeddings import read_embeddings
from emberank.dialects.reading import body_object
from emberank.dialects.routes import InferenceRoute
from emberank.gateway.auth import check_model
from emberank.gateway.errors import UnknownModel
from emberank.gateway.names import UNNAMED, Names
from emberank.gateway.targets import wish_of
from emberank.serving.exchange import Exchange
from emberank.serving.paths import MODEL
from emberank.settings import GatewaySettings

_CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One inference request, read and resolved. `passages` and `chars` are of all its calls."""

    model: ModelRow
    wish: Wish
    asked: Asked
    passages: int
    chars: int
    pinned: bool = False  # whether the request says which version or where: then it is nobody else's

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
            max_documents=settings.max_documents,
            default_truncate=settings.default_truncate,
            ranking_unknown_fields=settings.ranking_unknown_fields,
        )

    def reader(self, route: InferenceRoute) -> Reader:
        """The reader of one of the dialects' routes. A model in the path goes before the one in the body."""

        def read(exchange: Exchange, names: Names, principal: Principal) -> Ask:
            fields = body_object(exchange.body)
            pin = forge.take_pin(fields)
            asked = route.read(fields, self._rules)
            return _resolved(exchange, names, principal, asked, pin)

        return read

    def native(self, exchange: Exchange, names: Names, principal: Principal) -> Ask:
        """POST /v1/inference/{slug}: the model's task says what the body is."""
        model = names.of_any_task(exchange.request.path_params["slug"], principal.models)
        fields = body_object(exchange.body)
        pin = forge.take_pin(fields)
        asked: Asked = nim_asked.ask_ranking(fields, self._rules) if model.task == "rank" else read_embeddings(fields, self._rules)
        return _ask(exchange, principal, model, _typed(asked, _same(_named(asked), model, names)), pin)


def _resolved(exchange: Exchange, names: Names, principal: Principal, asked: Asked, pin: forge.Pin) -> Ask:
    """Which model it is for."""
    scope, path = exchange.request.scope, exchange.request.path_params
    task: Task = "rank" if isinstance(asked, AskedRank) else "embed"
    name = _named(asked)
    if MODEL in scope:  # below /models/{slug}
        model = names.resolve(scope[MODEL], task, principal.models)
        asked = _typed(asked, _same(f"{path['org']}/{path['model']}" if "model" in path else name, model, names))
    elif "model" in path:
        model = names.resolve(f"{path['org']}/{path['model']}", task, principal.models)
    elif isinstance(asked, AskedEmbed):
        model, suffix = names.resolve_embedder(name, principal.models)
        asked = _typed(asked, suffix)
    else:
        model = names.resolve(name, task, principal.models)
    return _ask(exchange, principal, model, asked, pin)


def _named(asked: Asked) -> str | None:
    """The model's name in a body."""
    return asked.call.model if isinstance(asked, AskedEmbed) else asked.calls[0].model


def _typed(asked: Asked, suffix: InputType | None) -> Asked:
    """With the input type that its model's name ended in."""
    return replace(asked, call=replace(asked.call, input_type=suffix)) if isinstance(asked, AskedEmbed) and suffix is not None else asked


def _same(name: str | None, model: ModelRow, names: Names) -> InputType | None:
    """The input type in a body's name of the model. BadRequest for another model's than the path's: it would get another model's numbers."""
    if name is None or name in UNNAMED:
        return None
    named, suffix = None, None
    with contextlib.suppress(UnknownModel):
        named, suffix = names.resolve_embedder(name) if model.task == "embed" else (names.resolve(name, model.task), None)
    if named is not model:
        raise BadRequest(f"the path is for '{model.slug}' and the body's model is '{name[:80]}': send '{model.slug}', or leave model out")
    return suffix


def _ask(exchange: Exchange, principal: Principal, model: ModelRow, asked: Asked, pin: forge.Pin) -> Ask:
    check_model(principal, model)
    wish = wish_of(model, pin)
    if isinstance(asked, AskedRank):
        _check_score(asked, model, wish)
        exchange.headers["emberank-score"] = asked.score
        chars, passages = sum(map(_rank_chars, asked.calls)), sum(len(call.passages) for call in asked.calls)
    else:
        chars, passages = sum(map(_chars, asked.call.inputs)), len(asked.call.inputs)
    return Ask(model=model, wish=wish, asked=asked, passages=passages, chars=chars, pinned=pin != forge.ANYWHERE)


def _check_score(asked: AskedRank, model: ModelRow, wish: Wish) -> None:
    if asked.score == "calibrated" and not any(version.name == wish.version and version.calibration for version in model.versions):
        raise BadRequest(
            f"score_mode 'calibrated': '{model.slug}' {wish.version} has no calibration; send 'sigmoid' or 'logit', or make one from judged data: emberank calibrate"
        )


def _rank_chars(call: RankCall) -> int:
    return _chars(call.query) + sum(map(_chars, call.passages))


def _chars(content: Content) -> int:
    return len(content.text) if content.text is not None else 0


def ignored_header(ignored: tuple[str, ...]) -> str:
    """Names of fields for a header: a caller's text, so only what a header may hold, and not all of it."""
    return ", ".join(re.sub(r"[^A-Za-z0-9_.-]", "?", name)[:40] for name in ignored[:10])
