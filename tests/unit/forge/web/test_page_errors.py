"""A page that cannot be drawn at all is still said to a person as a page, and to a program as an error that it can read."""

from __future__ import annotations

import pytest

from browser import Browser
from control_plane import ADMIN, Plane
from emberank.contract.errors import NotReady

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def broken(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> Plane:
    """Its store, and what it knows of its models, cannot be asked."""

    async def away(*_: object) -> None:
        raise NotReady("the database is too slow at the moment", retry_after_s=2)

    monkeypatch.setattr(plane.parts.snapshots, "models", away)
    return plane


def test_a_browser_gets_a_page_from_which_it_can_ask_again(broken: Plane, browser: Browser) -> None:
    browser.sign_in(ADMIN)
    reply = browser.get("/", HTML)
    assert (reply.status, reply.headers["content-type"], reply.headers["retry-after"]) == (503, "text/html; charset=utf-8", "2")
    assert b"The database is too slow at the moment." in reply.body
    assert b"Try again" in reply.body
    assert "'unsafe" not in reply.headers["content-security-policy"]


def test_a_program_gets_an_error_that_it_can_read(broken: Plane, browser: Browser) -> None:
    assert browser.get("/").message == "the database is too slow at the moment"


def test_what_scripts_call_is_never_answered_with_a_page(plane: Plane, browser: Browser) -> None:
    reply = browser.get("/web/api/v1/keys", HTML)
    assert (reply.status, reply.headers["content-type"]) == (401, "application/json")
