"""Keys with the mouse: made, copied, replaced, revoked; what they may spend and have spent; sessions ended. Each opens what it should, and nothing more."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from playwright.sync_api import Locator, expect

from up_process import Authorized
from visitors import Visitor, Visitors
from web_installation import RERANKER, Installation
from wire import until


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
    admin.page.locator("#requests_per_minute").fill("50")
    admin.press("Create key")
    first = shown_key(admin)
    assert opens(installation, first) == 200
    admin.open("/account")
    assert first not in admin.page.content()

    row(admin, name).locator("summary", has_text="Rotate").click()
    row(admin, name).get_by_role("button", name="Create replacement").click()
    second = shown_key(admin)
    assert (opens(installation, first), opens(installation, second)) == (401, 200)

    row(admin, name).locator("summary", has_text="Revoke").click()
    row(admin, name).get_by_role("button", name="Revoke permanently").click()
    admin.at("/account")
    expect(row(admin, name)).to_have_count(0)
    assert opens(installation, second) == 401


def test_a_form_that_is_refused_comes_back_as_it_was_typed(admin: Visitor) -> None:
    admin.open("/account")
    admin.faults.bear("^answered: 400 POST /account/keys")
    admin.page.get_by_label("Name", exact=True).fill("<b>for</b> whom?")
    admin.page.get_by_label("Models", exact=True).fill(f"{RERANKER} no-such-model")
    admin.press("Create key")
    expect(admin.page.get_by_role("alert")).to_contain_text("no-such-model")
    expect(admin.page.get_by_label("Name", exact=True)).to_have_value("<b>for</b> whom?")
    expect(admin.page.get_by_label("Models", exact=True)).to_have_value(f"{RERANKER} no-such-model")


QUESTION = {"model": RERANKER, "query": {"text": "which way?"}, "passages": [{"text": "two roads"}, {"text": "the ice"}]}


def test_a_budget_fills_up_before_ones_eyes_and_the_month_can_be_taken_along(visitors: Visitors, installation: Installation, tmp_path: Path) -> None:
    installation.warm(RERANKER)
    made = installation.client.post("/v1/keys", {"name": "a small budget", "scopes": ["inference"], "monthly_tokens": 1000}).json
    free = installation.client.post("/v1/keys", {"name": "another budget", "scopes": ["inference"], "monthly_tokens": 10}).json
    for key in (made, free):
        assert Authorized(installation.client.port, key["key"]).post("/v1/ranking", QUESTION).status == 200

    def spent(key: dict[str, str]) -> int:
        rows = {one["key_id"]: one for one in installation.client.get("/v1/keys").json["data"]}
        return int(rows[key["key_id"]]["spent_tokens_this_month"])

    until(lambda: spent(made) > 0 and spent(free) > 0, "what was used is counted")
    admin = visitors(installation, signed_in=True, accept_downloads=True)
    admin.open("/account")
    states = {key["name"]: row_of(admin, key).locator(".account-budget") for key in (made, free)}
    expect(states["a small budget"]).to_have_attribute("data-budget", "open")
    expect(states["a small budget"]).to_contain_text(re.compile(rf"\b{spent(made)} tokens of "))
    expect(states["another budget"]).to_have_attribute("data-budget", "spent")
    bars = {name: state.locator(".account-bar-part").bounding_box() for name, state in states.items()}
    assert 0 < bars["a small budget"]["width"] < bars["another budget"]["width"]  # type: ignore[index]
    expect(admin.page.locator("#account-near")).to_contain_text("another budget")
    assert Authorized(installation.client.port, free["key"]).post("/v1/ranking", QUESTION).status in (402, 403, 429)

    with admin.page.expect_download() as coming:
        admin.page.locator('a[href^="/account/usage.csv"]').click()
    assert re.fullmatch(r"emberank-usage-\d{4}-\d{2}\.csv", coming.value.suggested_filename)
    coming.value.save_as(tmp_path / "usage.csv")
    with (tmp_path / "usage.csv").open(newline="", encoding="utf-8") as file:
        mine = [line for line in csv.DictReader(file) if "a small budget" in line.values()]
    assert [(line["model"], line["requests"], line["tokens"]) for line in mine] == [(RERANKER, "1", str(spent(made)))]
    for key in (made, free):
        installation.revoke(key["key_id"])


def row_of(visitor: Visitor, key: dict[str, str]) -> Locator:
    return visitor.page.locator(f'tr[data-key="{key["key_id"]}"]')


def test_every_session_of_a_key_is_listed_and_ended_at_once(visitors: Visitors, installation: Installation) -> None:
    made = installation.key("inference", "read", name="two browsers")
    here, there = (visitors(installation) for _ in range(2))
    for one in (here, there):
        one.context.add_cookies([{"name": "emberank_session", "value": installation.begin_session(made["key"]), "url": installation.home}])
        one.open("/account")
    here.open("/account")
    expect(here.page.locator("#session-list li[data-session]")).to_have_count(2)
    expect(here.page.locator("#session-list [data-session=here]")).to_have_count(1)
    here.page.locator("summary", has_text="Sign out everywhere").click()
    here.press("Sign out everywhere")
    here.page.wait_for_url(re.compile(r"/signin|/$"))
    there.page.reload()
    there.at("/signin?next=/account")
    assert opens(installation, made["key"]) == 200  # keys work on
    installation.revoke(made["key_id"])
