"""Requests as bytes: what is written, and what cannot be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.client.request import HOP_BY_HOP, passed_on, render_request
from emberank.client.url import parse_url

URL = parse_url("http://h:81/p?q=1")


def test_a_body_has_a_length_and_nothing_has_none_but_for_post() -> None:
    assert render_request("GET", URL, (), b"") == b"GET /p?q=1 HTTP/1.1\r\nhost: h:81\r\n\r\n"
    assert render_request("POST", URL, (), b"") == b"POST /p?q=1 HTTP/1.1\r\nhost: h:81\r\ncontent-length: 0\r\n\r\n"
    assert render_request("GET", URL, {"A": "b"}, b"xy") == b"GET /p?q=1 HTTP/1.1\r\nhost: h:81\r\nA: b\r\ncontent-length: 2\r\n\r\nxy"


def test_a_relay_may_keep_its_caller_s_host() -> None:
    assert render_request("GET", URL, [(b"Host", b"public.example"), (b"a", b"b")], b"") == b"GET /p?q=1 HTTP/1.1\r\nHost: public.example\r\na: b\r\n\r\n"


@pytest.mark.parametrize("value", [b"a\r\nX-Evil: 1", b"a\nX-Evil: 1", b"a\r", b"\n", b"a\0b", b"a\r\n\r\nGET /admin HTTP/1.1\r\n\r\n"])
def test_a_line_break_in_a_value_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="line break"):
        render_request("POST", URL, [(b"x-a", b"fine"), (b"x-b", value)], b"{}")


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\nb", b"a\n", b"\xc3\xa9", b"(a)", b"a\0"])
def test_a_name_that_is_no_token_is_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match="name"):
        render_request("POST", URL, [(name, b"v")], b"{}")


@pytest.mark.parametrize("name", sorted({*HOP_BY_HOP, b"content-length", b"expect", b"Transfer-Encoding", b"CONTENT-LENGTH"}))
def test_a_header_that_frames_the_message_is_not_a_caller_s(name: bytes) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="by the connection"):
            render_request("POST", URL, [(name, b"5")], b"{}")


@pytest.mark.parametrize("method", ["get", "CONNECT", "TRACE", "GET /x", ""])
def test_an_unknown_method_is_refused(method: str) -> None:
    with pytest.raises(ValueError, match="method"):
        render_request(method, URL, (), b"")


@given(headers=st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=5), body=st.binary(max_size=50))
def test_whatever_is_passed_one_request_with_these_headers_comes_out_or_none(headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    try:
        said = render_request("POST", URL, headers, body)
    except ValueError:
        return
    head, _, rest = said.partition(b"\r\n\r\n")
    assert rest == body
    hosts = any(name.lower() == b"host" for name, _ in headers)
    assert len(head.split(b"\r\n")) == len(headers) + (2 if hosts else 3)
    assert head.count(b"\n") == head.count(b"\r") == head.count(b"\r\n")


def test_many_names_do_not_fill_the_memory() -> None:
    for number in range(3000):
        render_request("GET", URL, [(b"x-%d" % number, b"")], b"")


def test_a_relay_passes_on_what_is_not_for_one_hop_only() -> None:
    given_headers = [
        (b"Connection", b"close, X-Hop"),
        (b"x-hop", b"1"),
        (b"Content-Length", b"3"),
        (b"Accept", b"*/*"),
        (b"Set-Cookie", b"a"),
        (b"Set-Cookie", b"b"),
    ]
    assert passed_on(given_headers) == [(b"accept", b"*/*"), (b"set-cookie", b"a"), (b"set-cookie", b"b")]
