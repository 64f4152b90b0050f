"""Getting in and out with a real browser: by the terminal's link, by a key, and what a visitor reads when it does not work."""

from __future__ import annotations

from playwright.sync_api import expect

from up_process import KEY
from visitors import Visitor, Visitors
from web_installation import RERANKER, Installation


def test_the_link_of_the_terminal_signs_in_once(visitor: Visitor, installation: Installation, link: str) -> None:
    visitor.sign_in_by_link(link)
    visitor.press("Account", role="link")
    visitor.sees("Signed in as")
    (cookie,) = visitor.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("emberank_session", True, "Lax")
    assert visitor.page.evaluate("document.cookie") == ""
    visitor.press("Sign out")
    visitor.at("/")
    assert visitor.context.cookies() == []
    visitor.faults.bear("^answered: 410 GET /signin")
    assert visitor.open(link) == 410
    visitor.sees("This link was used already")


def test_a_key_signs_in_and_the_page_that_was_wanted_comes_next(visitor: Visitor, installation: Installation) -> None:
    visitor.open("/account")
    visitor.at("/signin?next=/account")
    visitor.faults.bear("^answered: 401 POST /signin")
    visitor.sign_in_by_key("ember_this-is-no-key")
    expect(visitor.page.get_by_role("alert")).to_contain_text("key")
    visitor.sign_in_by_key(KEY)
    visitor.at("/account")
    visitor.sees("API keys")
    # The key itself is nowhere in the browser.
    assert KEY not in visitor.page.content()
    assert KEY not in str(visitor.context.storage_state())


def test_a_session_is_no_key(admin: Visitor) -> None:
    admin.open("/")
    admin.faults.bear("^answered: 401 GET /v1/models")
    answered = admin.page.evaluate("fetch('/v1/models').then((answer) => answer.status)")
    assert answered == 401
    assert admin.page.evaluate("fetch('/web/api/v1/models').then((answer) => answer.status)") == 200


def test_without_javascript_one_can_sign_in_start_a_model_and_sign_out(visitors: Visitors, installation: Installation, link: str) -> None:
    installation.cool(RERANKER)
    plain: Visitor = visitors(installation, java_script_enabled=False)
    plain.sign_in_by_link(link)
    plain.page.get_by_label("Search").fill("reranker minilm")
    plain.press("Search")
    plain.page.locator(f'a[href="/models/{RERANKER}"]').first.click()
    plain.press("Prewarm any available target")
    plain.at(f"/models/{RERANKER}?model_version=v1#status")
    expect(plain.page.locator("#status")).to_contain_text("starting")
    expect(plain.page.locator("button[data-copy]:visible")).to_have_count(0)
    plain.press("Account", role="link")
    plain.press("Sign out")
    plain.at("/")
