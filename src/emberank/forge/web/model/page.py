"""`GET /models/{slug}`: one model's page, with everything that the API says of it; complete without a script. Asks the API's functions, never the API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.responses import RedirectResponse, Response

from emberank.contract.errors import EmberankError, ModelNotFound, Unauthorized
from emberank.contract.fleet import Principal, Scope
from emberank.dialects.forge import Pin
from emberank.forge.answers import Row
from emberank.forge.asked import FILTERS, Asked
from emberank.forge.callers import check_scope
from emberank.forge.catalog import Model
from emberank.forge.family_routes import FamilyRoutes
from emberank.forge.model_routes import baseline_of, entry, routes_to, target_table, why_not
from emberank.forge.parts import Parts
from emberank.forge.random_weights import has_random_weights
from emberank.forge.snippets.collection import snippets
from emberank.forge.targets import Target
from emberank.forge.web.addresses import base_of
from emberank.forge.web.gate import Gate
from emberank.forge.web.model.facts import day, facts_of, links_of
from emberank.forge.web.model.glance import glance
from emberank.forge.web.model.pictures import pictures
from emberank.forge.web.model.remedies import REMEDIES
from emberank.forge.web.model.selection import Selection, selection_of
from emberank.forge.web.model.steps import steps
from emberank.forge.web.model.targets_table import lines, price_sources, published_lines, sources
from emberank.forge.web.page import Pages
from emberank.forge.web.playground.form import playground_of
from emberank.forge.web.sight import GUEST, seen_as, seen_by
from emberank.forge.web.visitor import Visitor
from emberank.serving.exchange import Exchange, Handler

STARTERS: tuple[Scope, ...] = ("inference", "manage")  # who may start may send requests: the first one starts it too
GROUPS = (
    ("request", "The request itself"),
    ("check", "One-block API check"),
    ("setup", "Setup and .env"),
    ("preflight", "Preflight URLs and commands"),
    ("config", "Configuration of other programs"),
    ("deploy", "Deploy it yourself"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a page is of: the selection as far as it is known here, what the API makes of it, and what of the query it could not."""

    selection: Selection
    asked: Asked  # with the target
    whole: Asked  # of the version, without the target
    baseline: Target | None
    problems: tuple[str, ...]


class ModelPage:
    """The page of one model."""

    def __init__(self, parts: Parts, pages: Pages) -> None:
        self._parts = parts
        self._pages = pages
        self._gate = Gate(parts)

    def handlers(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        return [("GET", "/models/{slug}", self.page), ("POST", "/web/models/{slug}/start", self.start)]

    async def page(self, exchange: Exchange) -> Response:
        """The page; another name of the model leads to it."""
        request, visitor = exchange.request, self._gate.visitor(exchange.request)
        name = request.path_params["slug"]
        try:
            model = seen_as(visitor.principal, self._parts.catalog(), name)
        except ModelNotFound:
            return missing_model(self._parts, self._pages, visitor, name)
        exchange.model = model.slug
        selection = selection_of(model.slug, request.query_params.multi_items())
        if name != model.slug:
            return RedirectResponse(selection.page, 307)
        looked = look(self._parts, visitor.principal or GUEST, selection)
        status = 404 if looked.problems else 200
        values = self._values(looked, visitor, base_of(self._parts.settings, request))
        return self._pages.render("model.html", title=model.title, visitor=visitor, active="catalog", status=status, **values)

    async def start(self, exchange: Exchange) -> Response:
        """The form that prewarms: start it, and go back to the page, which shows how far it is. A script is not needed."""
        visitor = self._gate.visitor(exchange.request)
        try:
            form = self._gate.form(exchange, visitor)
            if visitor.principal is None:
                raise Unauthorized("you are not signed in, or your session has ended: sign in, and send it again")
            check_scope(visitor.principal, *STARTERS)
            model = seen_as(visitor.principal, self._parts.catalog(), exchange.request.path_params["slug"])
            selection = selection_of(model.slug, [(name, form.get(name)) for name in FILTERS])
            asked = self._parts.ask(visitor.principal, selection.slug, selection.pin)
            FamilyRoutes(self._parts).wake(asked, visitor.principal)
        except EmberankError as error:
            return self._pages.error(error.http_status, "It was not started", error.message, visitor=visitor)
        exchange.model = model.slug
        return RedirectResponse(selection.page + "#status", 303)

    def _values(self, looked: Looked, visitor: Visitor, base: str) -> dict[str, Any]:
        parts, asked, selection = self._parts, looked.asked, looked.selection
        model, version = asked.model, asked.chosen
        answer = entry(parts, looked.whole)
        (shown,) = answer["versions"]
        table = target_table(parts, looked.whole, version, looked.baseline)
        pin = Target(selection.gpu_type, selection.region) if selection.pinned else None
        published, blocks = published_lines(table, selection), grouped(model, looked, base)
        return {
            "entry": answer,
            "shown": shown,
            "versions": [(one.name, Selection(slug=model.slug, version=one.name).page) for one in model.versions],
            "added": day(answer["added"]),
            "selection": selection,
            "anywhere": selection.at(version.name).page,
            "selected": selected(looked, table["rows"]),
            "problems": looked.problems,
            "facts": facts_of(answer, shown),
            "links": links_of(model.links),
            "runtime": FamilyRoutes(parts).standing(looked.whole),
            "available": routes_to(parts, asked)["routes"],
            "steps": steps(parts, asked, selection, base),
            "remedies": dict(REMEDIES),
            "base": base,
            "playground": playground_of(parts, looked.whole, selection, visitor, base, page=f"{selection.page}#playground"),
            "glance": glance(table, selection),
            "table": table,
            "lines": lines(table, selection),
            "published": published,
            "sources": sources(published),
            "price_sources": price_sources(published),
            "pictures": pictures(parts.windows, model.slug, version, table, pin),
            "random_weights": has_random_weights(version),
            "unavailable": why_not(looked.whole),
            "groups": blocks,
            "deploys": any(name == "deploy" for name, _, _ in blocks),
            "may_start": visitor.principal is not None and bool(set(STARTERS) & set(visitor.principal.scopes)),
            "can_start": any(offer.runnable for offer in asked.here),
        }


def missing_model(parts: Parts, pages: Pages, visitor: Visitor, name: str) -> Response:
    """The page for a name that no model has, or none that this visitor may see: with those that are like it."""
    values = {"name": name[:200], "near": seen_by(visitor.principal, parts.catalog()).near(name)}
    return pages.render("model_missing.html", title="No such model", visitor=visitor, active="catalog", status=404, **values)


def look(parts: Parts, caller: Principal, selection: Selection) -> Looked:
    """What is asked for; of what is not known here, the page says so and shows the rest."""
    problems: list[str] = []

    def ask(pin: Pin) -> Asked:
        return parts.ask(caller, selection.slug, pin)

    try:
        whole = ask(Pin(selection.version or None, None, None))
    except EmberankError as error:
        problems.append(error.message)
        whole = ask(Pin(None, None, None))
    name = whole.chosen.name
    whole = asked = ask(Pin(name, None, None))
    selection = replace(selection, version=name)
    try:
        asked = ask(selection.pin)
        selection = replace(selection, gpu_type=asked.gpu_type or "", region=asked.region or "")
    except EmberankError as error:
        problems.append(error.message)
        selection = replace(selection, gpu_type="", region="")
    baseline = None
    try:
        baseline = baseline_of(whole, selection.baseline)
    except EmberankError as error:
        problems.append(error.message)
        selection = replace(selection, baseline="")
    return Looked(selection=selection, asked=asked, whole=whole, baseline=baseline, problems=tuple(problems))


def selected(looked: Looked, rows: Sequence[Row]) -> tuple[str, str]:
    """What is selected, and how that stands."""
    selection = looked.selection
    if not selection.pinned:
        return "Any available target", "Requests go to a warm endpoint, else to the best verified target. Choose a row of the target table to pin them."
    name = str(Target(selection.gpu_type, selection.region)) if selection.gpu_type else f"any target in {selection.region}"
    found = [row for row in rows if selection.gpu_type in ("", row["gpu_type"]) and selection.region in ("", row["region"])]
    stays = "Links and snippets stay pinned to it until you choose another."
    if any(row["status"] == "works" for row in found):
        return name, f"Using your requested verified target. {stays}"
    if not found:
        return name, f"There is no {name} for this model: choose another row of the target table."
    if not any(row["runnable"] for row in found):
        return name, f"Your requested target cannot run here: {found[0]['message']}."
    return name, f"Your requested target is not verified yet ({found[0]['status']}): {found[0]['message']}. {stays}"


def grouped(model: Model, looked: Looked, base: str) -> list[tuple[str, str, list[Any]]]:
    """Every block to copy, by group; groups without any are left out."""
    selection = looked.selection
    pin = Target(selection.gpu_type, selection.region) if selection.pinned else None
    blocks = snippets(model, looked.asked.chosen, pin, base)
    found = [(name, title, [block for block in blocks if block.group == name]) for name, title in GROUPS]
    return [each for each in found if each[2]]
