"""A server that asks for no key, and what the pages of other sites have a browser send to it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from emberank.serving.neighbours import NoStrangers, is_from_here

BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64)"}
HERE = "127.0.0.1:8000"
PUBLIC = "https://rank.example.com"


def scope(method: str, headers: dict[str, str], path: str = "/v1/keys") -> dict[str, Any]:
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": path, "query_string": b"", "headers": pairs}


def ask(method: str, headers: dict[str, str], path: str = "/v1/keys", public_url: str = PUBLIC) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of the answer; 200 is the application's own."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(NoStrangers(PlainTextResponse("in"), public_url)(scope(method, headers, path), receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "said",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:9000"},
        {"origin": "null"},
        {"origin": "http://[broken"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:9000"},
    ],
)
def test_a_page_of_another_site_changes_nothing(method: str, said: dict[str, str]) -> None:
    assert ask(method, {"host": HERE, **said})[0] == 403
    assert ask(method, {"host": HERE, **BROWSER, **said})[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"host": HERE},
        {"host": HERE, "origin": f"http://{HERE}"},
        {"host": HERE, "sec-fetch-site": "same-origin", **BROWSER},
        {"host": "inner:8000", "origin": PUBLIC},
        {"host": HERE, "origin": "chrome-extension://abcdef", "sec-fetch-site": "none"},
        {"host": HERE, "origin": "tauri://localhost", "sec-fetch-site": "cross-site"},
        {"host": "gpu.example.org:8000", "user-agent": "python-httpx/0.28"},
        {},
    ],
)
def test_its_own_pages_programs_and_what_somebody_installed_do_as_they_please(headers: dict[str, str]) -> None:
    assert ask("POST", headers)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "evil.local.example", "[::1", "rank.example.com.evil.example"]
)
@pytest.mark.parametrize("said", [BROWSER, {"origin": "http://evil.example:8000"}, {"sec-fetch-site": "same-origin"}])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_name_that_its_owner_lets_lead_here_opens_nothing_to_a_browser(host: str, said: dict[str, str], method: str) -> None:
    status, _, body = ask(method, {"host": host, **said})
    assert status == 403
    assert b"EMBERANK_PUBLIC_URL" in body


@pytest.mark.parametrize(
    "host", [HERE, "[::1]:8000", "localhost:8000", "gpu-box", "gpu-box:8000", "gpu.lan", "rank.internal:1", "RANK.EXAMPLE.COM", "rank.example.com.", ""]
)
def test_names_that_nobody_else_can_have_lead_in(host: str) -> None:
    assert ask("GET", {"host": host, **BROWSER})[0] == 200


def test_a_link_from_elsewhere_may_be_followed() -> None:
    assert ask("GET", {"host": HERE, **BROWSER, "sec-fetch-site": "cross-site"}, "/")[0] == 200


def test_a_person_reads_the_refusal_as_a_page_that_runs_nothing() -> None:
    status, headers, body = ask("GET", {"host": "<script>.evil.example", **BROWSER, "accept": "text/html"}, "/")
    assert (status, headers[b"content-type"]) == (403, b"text/html; charset=utf-8")
    assert b"default-src 'none'" in headers[b"content-security-policy"]
    assert b"<script" not in body
    status, headers, _ = ask("GET", {"host": "evil.example", **BROWSER, "accept": "text/html"}, "/v1/models")
    assert (status, headers[b"content-type"]) == (403, b"application/json")


@pytest.mark.parametrize(
    ("said", "here"),
    [
        ({}, None),
        ({"origin": f"http://{HERE}"}, True),
        ({"origin": PUBLIC.upper()}, True),
        ({"origin": "ftp://" + HERE}, False),
        ({"origin": "null"}, False),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site", "origin": f"http://{HERE}"}, False),
    ],
)
def test_where_a_request_comes_from_is_what_the_browser_says(said: dict[str, str], here: bool | None) -> None:
    assert is_from_here(Request(scope("POST", {"host": HERE, **said})), PUBLIC) is here
