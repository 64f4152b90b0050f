"""Keys with the mouse: made, copied, replaced, revoked; each opens what it should, and nothing from then on that it should not."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect

from up_process import Authorized
from visitors import Visitor
from web_installation import RERANKER, Installation


def shown_key(visitor: Visitor) -> str:
    """The key that is on the page this once."""
    text = visitor.page.get_by_role("status").filter(has_text="export FORGE_API_KEY=").inner_text()
    found = re.search(r"export FORGE_API_KEY=(\S+)", text)
    assert found, text
    return found[1]


def row(visitor: Visitor, name: str) -> Locator:
    return visitor.page.get_by_role("row").filter(has_text=name)


def opens(installation: Installation, key: str) -> int:
    return Authorized(installation.client.port, key).get("/v1/models").status


def test_a_key_is_made_replaced_and_revoked(admin: Visitor, installation: Installation) -> None:
    admin.open("/account")
    name = "made with the mouse"
    admin.page.get_by_label("Name", exact=True).fill(name)
    admin.page.get_by_label("Requests a minute").fill("50")
    admin.press("Make a key")
    first = shown_key(admin)
    assert opens(installation, first) == 200
    admin.open("/account")
    assert first not in admin.page.content()

    row(admin, name).locator("summary", has_text="Rotate").click()
    row(admin, name).get_by_role("button", name="Make its successor").click()
    second = shown_key(admin)
    assert (opens(installation, first), opens(installation, second)) == (401, 200)

    row(admin, name).locator("summary", has_text="Revoke").click()
    row(admin, name).get_by_role("button", name="Revoke for ever").click()
    admin.at("/account")
    expect(row(admin, name)).to_have_count(0)
    assert opens(installation, second) == 401


def test_a_form_that_is_refused_comes_back_as_it_was_typed(admin: Visitor) -> None:
    admin.open("/account")
    admin.faults.bear("^answered: 400 POST /account/keys")
    admin.page.get_by_label("Name", exact=True).fill("<b>for</b> whom?")
    admin.page.get_by_label("Models", exact=True).fill(f"{RERANKER} no-such-model")
    admin.press("Make a key")
    expect(admin.page.get_by_role("alert")).to_contain_text("no-such-model")
    expect(admin.page.get_by_label("Name", exact=True)).to_have_value("<b>for</b> whom?")
    expect(admin.page.get_by_label("Models", exact=True)).to_have_value(f"{RERANKER} no-such-model")
