"""A principal and the catalogue in, what the pages name to them out: which models there are, and which one a name means. Knows no request and no page."""

from __future__ import annotations

from emberank.contract.errors import ModelNotFound
from emberank.contract.fleet import Principal
from emberank.forge.catalog import Catalog, Model

OWN = "yours"  # the source of an entry that a user added
GUEST = Principal(key_id="visitor", name="visitor", digest="", scopes=("read",))  # for whom the API's functions answer where nobody is signed in


def may_see(principal: Principal | None, model: Model) -> bool:
    """Without a sign-in what everybody has; signed in all models, or those that the key behind the session is restricted to."""
    if principal is None:
        return model.source != OWN
    return not principal.models or model.slug in principal.models


def seen_by(principal: Principal | None, catalog: Catalog) -> Catalog:
    """The catalogue as it is to them."""
    return Catalog([model for model in catalog if may_see(principal, model)])


def seen_as(principal: Principal | None, catalog: Catalog, name: str) -> Model:
    """The model that a name means to them. Raises ModelNotFound, also for one that they may not see; it says what is near of those that they may."""
    try:
        found = catalog.resolve(name)
        if may_see(principal, found):
            return found
    except ModelNotFound:
        pass
    return seen_by(principal, catalog).resolve(name)
