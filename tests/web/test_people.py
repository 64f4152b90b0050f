"""Sign-in with an OpenID Connect provider, in the browser: there and back with all that was typed, refused with words, barred by an admin, and out again.

The provider is a process of its own and asks nothing: who comes is let through at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from openid import CLIENT_ID, CLIENT_SECRET, ProviderProcess
from visitors import Visitor, Visitors
from web_installation import RERANKER, Installation, launch


@dataclass
class House:
    """An installation and its provider."""

    installation: Installation
    provider: ProviderProcess

    def visitor(self, visitors: Visitors) -> Visitor:
        """Somebody who may be sent to the provider, which is the one other server that is asked."""
        made: Visitor = visitors(self.installation)
        made.faults.bear(f"^asked elsewhere: {re.escape(self.provider.issuer)}/")
        return made

    def front(self, name: str, **claims: Any) -> None:
        """Who sits before the provider's page from here on."""
        self.provider.fresh(sub=f"id-of-{name}", email=f"{name}@example.com", email_verified=True, **claims)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    provider = ProviderProcess(folder)
    try:
        variables = {
            "EMBERANK_OIDC_ISSUER": provider.issuer,
            "EMBERANK_OIDC_NAME": "Our Company",
            "EMBERANK_OIDC_CLIENT_ID": CLIENT_ID,
            "EMBERANK_OIDC_CLIENT_SECRET": CLIENT_SECRET,
            "EMBERANK_OIDC_ALLOW": "@example.com, group:admins",
            "EMBERANK_OIDC_ADMINS": "group:admins",
            "EMBERANK_OIDC_MONTHLY_USD": "5",
        }
        installation = launch(folder, own=False, **variables)
        try:
            provider.set(redirect_uri=f"{installation.home}/signin/oidc/callback")
            yield House(installation, provider)
        finally:
            installation.up.end()
    finally:
        provider.end()


def go(visitor: Visitor) -> None:
    """From the sign-in page to the provider, and back."""
    visitor.press(re.compile("Our Company$"), role="link")


def row(visitor: Visitor, name: str) -> Locator:
    return visitor.page.get_by_role("row").filter(has_text=f"{name}@example.com")


def test_a_person_signs_in_from_the_playground_and_finds_what_they_had_typed(house: House, visitors: Visitors) -> None:
    house.front("ann")
    ann = house.visitor(visitors)
    ann.open(f"/playground/{RERANKER}")
    ann.page.locator("#play-query").fill("my own question")
    ann.page.locator("#play-run").click()
    ann.at(re.compile("/signin"))
    barriers = ann.barriers()
    assert not barriers, "\n".join(barriers)
    go(ann)
    ann.at(re.compile(rf"/playground/{RERANKER}"))
    expect(ann.page.locator("#play-query")).to_have_value("my own question")
    ann.page.locator("#play-run").click()
    expect(ann.page.locator("#play-answer [data-answer]").first).to_be_visible(timeout=20_000)

    ann.press("Account", role="link")
    ann.sees("ann@example.com")
    ann.sees("inference, read")
    # Nothing that the provider has given is where a script or another site could read it.
    assert ann.page.evaluate("document.cookie") == ""
    assert {(one["name"], one["httpOnly"], one["sameSite"]) for one in ann.context.cookies(house.installation.home)} >= {("emberank_session", True, "Lax")}
    ann.press("Sign out")
    expect(ann.page.get_by_role("status")).to_contain_text("Our Company")  # which may still know them
    assert "emberank_session" not in {one["name"] for one in ann.context.cookies(house.installation.home)}


def test_who_is_not_meant_reads_why_and_can_still_use_a_key(house: House, visitors: Visitors) -> None:
    house.provider.fresh(sub="id-of-eve", email="eve@elsewhere.example", email_verified=True)
    eve = house.visitor(visitors)
    eve.faults.bear(r"^answered: 4\d\d GET /signin/oidc/callback")
    eve.open("/signin?next=/account")
    go(eve)
    eve.sees("Our Company")
    expect(eve.page.get_by_role("alert")).to_be_visible()
    assert "emberank_session" not in {one["name"] for one in eve.context.cookies(house.installation.home)}
    house.provider.set(error="access_denied")  # who presses Cancel there
    eve.open("/signin?next=/account")
    go(eve)
    expect(eve.page.get_by_role("alert")).to_be_visible()
    expect(eve.page.get_by_label("API key")).to_be_visible()


def test_an_admin_bars_a_person_and_allows_them_again(house: House, visitors: Visitors) -> None:
    house.front("bob")
    bob = house.visitor(visitors)
    bob.open("/signin?next=/account")
    go(bob)
    bob.at("/account")
    house.front("carol", groups=["admins"])
    carol = house.visitor(visitors)
    carol.open("/signin?next=/account")
    go(carol)
    carol.sees("inference, read, manage")
    row(carol, "bob").locator("summary").click()
    row(carol, "bob").locator('form[action$="/bar"] button').click()
    expect(row(carol, "bob").locator('form[action$="/allow"]')).to_have_count(1)
    expect(row(carol, "bob")).not_to_contain_text("inference")
    bob.page.reload()
    bob.at(re.compile("/signin"))
    house.front("bob")
    bob.faults.bear(r"^answered: 4\d\d GET /signin/oidc/callback")
    go(bob)
    expect(bob.page.get_by_role("alert")).to_be_visible()
    row(carol, "bob").locator('form[action$="/allow"] button').click()
    expect(row(carol, "bob")).to_contain_text("inference, read")
    bob.open("/signin?next=/account")
    go(bob)
    bob.at("/account")
    bob.sees("bob@example.com")
