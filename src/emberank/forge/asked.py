"""A path, a query and a body in, the model, version and targets they mean out. Refuses what it does not know, and says what it does.

`model_version` (or `version`), `gpu_type` and `region` mean the same on every route, in a query and in a body.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request

from emberank.contract.errors import BadRequest, ModelNotFound
from emberank.contract.fleet import Principal
from emberank.dialects.forge import ROUTING_FIELDS, Pin, take_pin
from emberank.dialects.reading import body_object, refuse_unknown, shown, unknown_fields
from emberank.forge.callers import check_model
from emberank.forge.catalog import Catalog, Model, Version
from emberank.forge.targets import Offer, Pool, Prices, matching, targets_of

FILTERS = ROUTING_FIELDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request is about. `offers` are the targets that its filters leave, by version; `everywhere` all there are."""

    model: Model
    version: Version | None  # None: none was named
    gpu_type: str | None  # as we write them
    region: str | None
    offers: Mapping[str, tuple[Offer, ...]]
    everywhere: Mapping[str, tuple[Offer, ...]]

    @property
    def chosen(self) -> Version:
        """The version that was named, or the model's first."""
        return self.version or self.model.versions[0]

    @property
    def here(self) -> tuple[Offer, ...]:
        """The targets of that version that the filters leave."""
        return self.offers.get(self.chosen.name, ())

    @property
    def pinned(self) -> bool:
        """Whether the caller wants a certain target, or one of some."""
        return self.gpu_type is not None or self.region is not None

    @property
    def filters(self) -> dict[str, str]:
        """The filters in force, as we write them."""
        named = {"model_version": self.version.name if self.version else None, "gpu_type": self.gpu_type, "region": self.region}
        return {name: value for name, value in named.items() if value is not None}

    def pairs(self) -> Iterator[tuple[Version, Offer]]:
        """Every version with every target that the filters leave."""
        for version in self.model.versions:
            for offer in self.offers.get(version.name, ()):
                yield version, offer


def query_of(request: Request, *known: str) -> dict[str, str]:
    """The query's fields; empty ones are absent. Raises BadRequest for one that is unknown or comes twice: a misspelt filter must not be no filter."""
    pairs = request.query_params.multi_items()
    refuse_unknown([name for name, _ in pairs if name not in known], known)
    fields = dict(pairs)
    if len(fields) != len(pairs):
        twice = next(name for name in fields if sum(name == other for other, _ in pairs) > 1)
        raise BadRequest(f"{twice} is there twice; send it once")
    return {name: value.strip() for name, value in fields.items() if value.strip()}


def fields_of(body: bytes, *known: str) -> dict[str, Any]:
    """The body's fields; no body is none. Raises BadRequest for what is not a JSON object, or holds a field nobody knows."""
    fields = body_object(body) if body.strip() else {}
    refuse_unknown(unknown_fields(fields, known), known)
    return fields


def pin_of(*sources: dict[str, Any]) -> Pin:
    """The filters in a query, in a body, or in both. Takes them out of there. Raises BadRequest when the two contradict each other."""
    pins = [take_pin(source) for source in sources]
    return Pin(*(_one(name, [value for value in values if value is not None]) for name, values in zip(Pin._fields, zip(*pins))))


def _one(name: str, values: list[str]) -> str | None:
    for other in values[1:]:
        if other != values[0]:
            raise BadRequest(f"{name} is {shown(values[0])} in the query and {shown(other)} in the body; send one of the two")
    return values[0] if values else None


def ask(catalog: Catalog, pools: tuple[Pool, ...], prices: Prices, caller: Principal, name: str, pin: Pin) -> Asked:
    """What a request is about. Raises ModelNotFound and NotFound, which list what is known, and Forbidden for a key of other models."""
    model = _named(catalog, caller, unquote(name))  # a client may have encoded a slash twice
    check_model(caller, model.slug)
    version = catalog.version(model, pin.version) if pin.version is not None else None
    everywhere = {one.name: targets_of(model, one, pools, prices) for one in model.versions}
    concerned = [offer for one in model.versions if version in (None, one) for offer in everywhere[one.name]]
    left = set(map(id, matching(concerned, pin.gpu_type, pin.region)))
    return Asked(
        model=model,
        version=version,
        gpu_type=_as_written(pin.gpu_type, [offer.target.gpu_type for offer in concerned]),
        region=_as_written(pin.region, [offer.target.region for offer in concerned]),
        offers={one.name: tuple(offer for offer in everywhere[one.name] if id(offer) in left) for one in model.versions},
        everywhere=everywhere,
    )


def _named(catalog: Catalog, caller: Principal, name: str) -> Model:
    try:
        return catalog.resolve(name)
    except ModelNotFound as error:
        if not caller.models:
            raise
        theirs = Catalog([model for model in catalog if model.slug in caller.models])
        raise ModelNotFound(name, tuple(model.id for model in theirs.near(name))) from error


def _as_written(wanted: str | None, known: list[str]) -> str | None:
    return None if wanted is None else next((value for value in known if value.lower() == wanted.strip().lower()), wanted)
