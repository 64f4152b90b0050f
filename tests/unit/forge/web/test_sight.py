"""Whom the pages name a model to."""

from __future__ import annotations

import pytest

from control_plane import MODELS
from emberank.contract.fleet import Principal
from emberank.forge.web.sight import may_see

SHIPPED, OWN = MODELS[0], MODELS[1]


def key(*models: str) -> Principal:
    return Principal(key_id="k", name="k", digest="", scopes=("read",), models=models)


@pytest.mark.parametrize(
    ("principal", "seen"),
    [
        (None, {SHIPPED.slug}),
        (key(), {SHIPPED.slug, OWN.slug}),
        (key(OWN.slug), {OWN.slug}),
        (key("another"), set()),
    ],
)
def test_a_model_is_named_to_those_who_may_use_it(principal: Principal | None, seen: set[str]) -> None:
    assert {model.slug for model in (SHIPPED, OWN) if may_see(principal, model)} == seen
