"""An error for a person: a page of one piece, under a policy that lets nothing in, for browsers only; programs get what they always got."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from asgi import app_of, call
from emberank.contract.errors import BadRequest, EmberankError, NotFound, NotReady, PayloadTooLarge
from emberank.serving.browsers import PAGE_HEADERS, error_page
from emberank.serving.exchange import Exchange, Exchanges
from emberank.serving.metrics import DoorMetrics
from emberank.settings import GatewaySettings
from wire import Reply, nim_error

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
VOID = ("meta", "link", "br")


def answered(error: EmberankError, headers: dict[str, str], *, pages: bool = True, path: str = "/status") -> Reply:
    """What one request gets whose handler fails like this."""

    async def fail(exchange: Exchange) -> bytes:
        raise error

    endpoint = Exchanges(GatewaySettings(), DoorMetrics()).endpoint("route", fail, pages=pages)
    return asyncio.run(call(app_of(endpoint, path), "POST", path, b"{}", headers))


@pytest.mark.parametrize("error", [NotReady("the forge cannot be reached", retry_after_s=2), NotFound("nothing is there"), PayloadTooLarge("too much")])
def test_a_browser_gets_the_status_and_the_sentence_as_a_page(error: EmberankError) -> None:
    reply = answered(error, BROWSER)
    assert (reply.status, reply.headers["content-type"]) == (error.http_status, "text/html; charset=utf-8")
    assert error.message[1:] in reply.body.decode()
    assert reply.headers["content-length"] == str(len(reply.body))
    assert (reply.headers["cache-control"], reply.headers["vary"]) == ("no-store", "Accept")
    assert reply.headers.get("retry-after") == ("2" if error.retry_after_s else None)
    assert reply.headers["x-request-id"]


@pytest.mark.parametrize("headers", [{}, {"Accept": "*/*"}, {"Accept": "application/json"}, {"Accept": "text/event-stream"}])
def test_a_program_gets_the_body_that_it_can_read(headers: dict[str, str]) -> None:
    assert nim_error(answered(NotReady("not now"), headers)) == "not now"


@pytest.mark.parametrize("path", ["/v1/keys", "/web/phases", "/assets/app.css", "/internal/wake"])
def test_what_programs_ask_for_is_never_answered_with_a_page(path: str) -> None:
    assert nim_error(answered(NotReady("not now"), BROWSER, path=path)) == "not now"


def test_a_route_without_pages_has_none() -> None:
    assert nim_error(answered(NotReady("not now"), BROWSER, pages=False)) == "not now"


def test_its_policy_lets_in_its_own_style_by_the_styles_hash_and_nothing_else() -> None:
    html = error_page(NotReady("x"), "GET").decode()
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    wanted = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = dict(rule.strip().partition(" ")[::2] for rule in PAGE_HEADERS["Content-Security-Policy"].split(";"))
    assert rules.pop("style-src") == f"'sha256-{wanted}'"
    assert set(rules.values()) == {"'none'"}
    assert {"default-src", "form-action", "base-uri", "frame-ancestors"} == set(rules)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_it_is_well_formed_fetches_nothing_and_escapes_what_it_is_told(method: str) -> None:
    html = error_page(BadRequest('a <script src="https://evil.example">& \ud800 name'), method).decode()
    tags = _Tags()
    tags.feed(html)
    assert tags.open == []
    assert not [tag for tag, given in tags.seen if tag in ("script", "img", "link", "form", "iframe") or "style" in given or "src" in given]
    assert [given["href"] for tag, given in tags.seen if "href" in given] == ["/"]
    assert "&lt;script" in html


def test_a_page_that_was_looked_at_can_be_asked_for_again_and_one_that_was_sent_cannot() -> None:
    looked, sent, missing = (error_page(error, method).decode() for error, method in ((NotReady("x"), "GET"), (NotReady("x"), "POST"), (NotFound("x"), "GET")))
    assert '<a href="">Try again</a>' in looked
    assert 'href="/"' not in looked  # the catalog is away too
    assert "Try again" not in sent + missing
    assert "refresh" not in looked + sent + missing
    assert "send it again" in sent
