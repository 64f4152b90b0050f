"""A principal and a model in, whether the pages name it to them out. Knows no request and no page."""

from __future__ import annotations

from emberank.contract.fleet import Principal
from emberank.forge.catalog import Model

OWN = "yours"  # the source of an entry that a user added


def may_see(principal: Principal | None, model: Model) -> bool:
    """Without a sign-in what everybody has; signed in all models, or those that the key behind the session is restricted to."""
    if principal is None:
        return model.source != OWN
    return not principal.models or model.slug in principal.models
