"""The catalogue page and the phases that keep it live: the request in, the models that its visitor may see out. Knows no model's own page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, get_args

import orjson
from starlette.responses import Response

from emberank.forge.answers import TASKS, inference_path, written
from emberank.forge.catalog import Model
from emberank.forge.figures import MIN_SAMPLES
from emberank.forge.parts import Parts
from emberank.forge.web.addresses import base_of
from emberank.forge.web.catalogue.shelf import Card, Shelf, phases_of
from emberank.forge.web.catalogue.wanted import ANY, PER_PAGE, Choices, Sort, Wanted, choices_of, select, wanted_of, yardstick_of
from emberank.forge.web.page import Pages
from emberank.forge.web.sight import may_see
from emberank.serving.exchange import Exchange

_CONTEXTS = (512, 2048, 4096, 8192, 32_768, 131_072)
_MOST_TAGS_SHOWN = 12  # on a card; the model's page has all
_KEY = '-H "Authorization: Bearer $FORGE_API_KEY"'
_SORTS: dict[Sort, str] = {
    "listed": "As listed",
    "speed": "Fastest first",
    "price": "Cheapest first",
    "quality": "Best first",
    "date": "Newest first",
    "name": "By name",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One value of a select."""

    value: str
    word: str
    chosen: bool


class Catalogue:
    """`/` and `/web/phases`."""

    def __init__(self, parts: Parts, pages: Pages) -> None:
        self._parts = parts
        self._pages = pages
        self._shelf = Shelf(parts.windows)

    async def page(self, exchange: Exchange) -> Response:
        """GET /. What it cannot make sense of in the query it says, and goes on without."""
        parts, request = self._parts, exchange.request
        visitor = parts.visitors.of(request)
        rows = await parts.snapshots.models()
        catalog = parts.catalog()
        cards = self._shelf.cards(catalog, rows, parts.life.deployments(), partial(may_see, visitor.principal))
        choices = choices_of(cards)
        wanted = wanted_of(request.query_params.multi_items(), choices)
        found = select(cards, wanted)
        pages = max(1, -(-len(found) // PER_PAGE))
        yardstick = yardstick_of(cards)
        if wanted.page > pages:
            wanted = replace(wanted, page=1, ignored=(*wanted.ignored, ("page", str(wanted.page))))
        return self._pages.render(
            "catalogue.html",
            title="Emberank",
            visitor=visitor,
            active="catalog",
            tasks=TASKS,
            cards=found[(wanted.page - 1) * PER_PAGE : wanted.page * PER_PAGE],
            found=len(found),
            total=len(cards),
            pages=pages,
            wanted=wanted,
            choices=choices,
            options=_options(wanted, choices),
            wider=_wider(cards, wanted) if not found else [],
            calls=_calls([card.model for card in cards], base_of(parts.settings, request)),
            min_samples=MIN_SAMPLES,
            yardstick=yardstick,
            judged=0 if yardstick is None else sum(1 for card in cards if yardstick.of(card)),
            most_tags=_MOST_TAGS_SHOWN,
        )

    async def phases(self, exchange: Exchange) -> Response:
        """GET /web/phases: the phase of every model that is not cold, of those the visitor may see."""
        parts = self._parts
        principal = parts.visitors.of(exchange.request, used=False).principal  # a page that is left open asks again and again
        found = phases_of(parts.life.deployments())
        seen = {model.slug for model in parts.catalog() if model.slug in found and may_see(principal, model)}
        phases = {slug: phase for slug, phase in found.items() if slug in seen}
        headers = {"Cache-Control": "no-store", "Vary": "Cookie", "X-Content-Type-Options": "nosniff"}
        return Response(written({"phases": phases}), media_type="application/json", headers=headers)


def _options(wanted: Wanted, choices: Choices) -> dict[str, list[Option]]:
    """What the form's selects offer."""
    contexts = sorted({*(size for size in _CONTEXTS if choices.contexts and size <= choices.contexts[-1]), *filter(None, (wanted.min_context,))})
    values: dict[str, tuple[str, Sequence[tuple[str, str]]]] = {
        "task": (wanted.task or "", [(task, TASKS[task]) for task in choices.tasks]),
        "tag": (wanted.tags[0] if wanted.tags else "", [(tag, tag) for tag in choices.tags]),
        "licence": (wanted.licence, [(name, name) for name in choices.licences]),
        "min_context": (str(wanted.min_context or ""), [(str(size), f"{size:,} tokens or more") for size in contexts]),
        "verified": (wanted.verified, [(ANY, "On any target"), *((name, f"On {name}") for name in choices.targets)]),
    }
    found = {name: [Option(value=value, word=word, chosen=value == chosen) for value, word in known] for name, (chosen, known) in values.items()}
    found["sort"] = [Option(value="" if sort == "listed" else sort, word=_SORTS[sort], chosen=sort == wanted.sort) for sort in get_args(Sort)]
    return found


def _wider(cards: Sequence[Card], wanted: Wanted) -> list[tuple[str, str, int]]:
    """For every filter without which there are models: its words, the address without it, and how many models there are. The most promising first."""
    without = [(words, other.url(), len(select(cards, other))) for words, other in wanted.filters()]
    return sorted((one for one in without if one[2]), key=lambda one: -one[2])


def _calls(models: Sequence[Model], base: str) -> str:
    """Lines for a terminal, from nothing to a first answer."""
    calls = [f"export FORGE_API_BASE='{base}'", "export FORGE_API_KEY='…'  # emberank key create --name me", f'curl -s "$FORGE_API_BASE/v1/models" {_KEY}']
    example = next((model for model in models if model.task == "rank"), None)
    if example is not None:
        fields: dict[str, Any] = {"query": {"text": "which way should i go?"}, "passages": [{"text": "two roads diverged in a yellow wood"}]}
        body = orjson.dumps(fields).decode("ascii")
        calls += [
            f'curl -s "$FORGE_API_BASE/v1/models/{example.slug}/inference-routes" {_KEY}',
            f'curl -s "$FORGE_API_BASE{inference_path(example)}" {_KEY} \\',
            f"  -H 'Content-Type: application/json' -d '{body}'",
        ]
    return "\n".join(calls)
