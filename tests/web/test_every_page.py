"""What holds for every page: nothing serious for axe in either theme, nothing that scrolls sideways, no error unseen, and words without JavaScript."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from visitors import WIDTHS, Visitor
from web_installation import EMBEDDER, HOSTILE, RERANKER

OWN = {
    "catalogue": "/",
    "catalogue as a table": "/?view=table",
    "search without a find": "/?q=nothing+is+called+so",
    "reranker": f"/models/{RERANKER}?gpu_type=CPU&region=local",
    "embedder": f"/models/{EMBEDDER}",
    "published figures": "/models/nvidia-llama-3-2-nv-rerankqa-1b-v2",
    "hostile": f"/models/{HOSTILE}",
    "account": "/account",
    "playground": f"/playground/{RERANKER}",
    "playground with another": f"/playground/{EMBEDDER}?with={EMBEDDER}",
    "status": "/status",
    "status of cold models": "/status?phase=cold",
    "docs": "/docs",
    "a page of the docs": "/docs/howto/web",
    "a search of the docs": "/docs/search?q=budget",
    "API": "/docs/api",
    "all routes": "/docs/routes",
}
OPEN = {
    "status for everybody": "/status",
    "sign-in": "/signin",
    "sign-in by a link that is used up": "/signin?token=nothing",
    "no such model": "/models/nothing",
    "no such page": "/nowhere",
}
PART = {"/docs/routes": ".docs-routes > section:nth-of-type(-n+2)"}  # the rest of it is more of the same, and a lot
STATUS = {"/signin?token=nothing": 410, "/models/nothing": 404, "/nowhere": 404}


def check(visitor: Visitor, address: str) -> None:
    """A page, at every width and in both themes."""
    wanted = STATUS.get(address, 200)
    visitor.faults.bear(rf"^answered: {wanted} GET {re.escape(address)}")
    assert visitor.open(address) == wanted
    expect(visitor.page.locator("h1:not(#docs-api h1)")).to_have_count(1)  # the API's viewer brings one of its own
    for theme in ("light", "dark"):
        visitor.page.emulate_media(color_scheme=theme)
        barriers = visitor.barriers(PART.get(address))
        assert not barriers, "\n".join([theme, *barriers])
    for width in WIDTHS:
        visitor.page.set_viewport_size({"width": width, "height": 900})
        beyond = visitor.overflow()
        assert not beyond, "\n".join([f"{width} px", *beyond])
    assert visitor.moved() <= 0.1


@pytest.mark.parametrize("name", OWN)
def test_a_page_can_be_used_by_everybody_at_every_width(admin: Visitor, name: str) -> None:
    check(admin, OWN[name])


@pytest.mark.parametrize("name", OPEN)
def test_so_can_one_that_is_met_before_signing_in(visitor: Visitor, name: str) -> None:
    check(visitor, OPEN[name])
