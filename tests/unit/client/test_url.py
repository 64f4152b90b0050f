"""URLs: where they lead, and which are refused."""

from __future__ import annotations

import pytest

from emberank.client.url import Origin, parse_url


@pytest.mark.parametrize(
    ("text", "origin", "line"),
    [
        ("http://127.0.0.1:8000/v1/ranking", ("http", "127.0.0.1", 8000), b" /v1/ranking HTTP/1.1\r\nhost: 127.0.0.1:8000\r\n"),
        ("http://H", ("http", "h", 80), b" / HTTP/1.1\r\nhost: h\r\n"),
        ("https://h:443?a=b", ("https", "h", 443), b" /?a=b HTTP/1.1\r\nhost: h\r\n"),
        ("https://h:80/", ("https", "h", 80), b" / HTTP/1.1\r\nhost: h:80\r\n"),
        ("http://[::1]:90/a%2Fb", ("http", "::1", 90), b" /a%2Fb HTTP/1.1\r\nhost: [::1]:90\r\n"),
        ("http://h/é?q=ü", ("http", "h", 80), b" /%C3%A9?q=%C3%BC HTTP/1.1\r\nhost: h\r\n"),
    ],
)
def test_a_url_s_parts(text: str, origin: tuple[str, str, int], line: bytes) -> None:
    url = parse_url(text)
    assert url.origin == Origin(*origin)  # type: ignore[arg-type]
    assert url.line == line


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h",
        "ftp://h",
        "http://",
        "http:///p",
        "//h/p",
        "http://u:p@h/",
        "http://h/#f",
        "http://h/a b",
        "http://h/\r\nX: 1",
        "http://h/\t",
        "http://h:99999/",
        "http://h:x/",
        "http://hé/",
        "http://[::1/",
    ],
)
def test_a_url_that_cannot_be_asked_for_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_url(text)
