"""What no client should send, sent. Every case is a 4xx in NIM's body, and the server answers the next request as before."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator

import pytest

from wire import Client, Reply, closed, nim_error, read, receive, request

RANK, EMBED = "/v1/ranking", "/v1/embeddings"
GOOD = {"query": {"text": "the road"}, "passages": [{"text": "snow"}, {"text": "ice"}]}
MEGA = 1 << 20


@pytest.fixture(autouse=True)
def unharmed(server: Client) -> Iterator[None]:
    """After each test the server ranks as it did before, and holds nothing of what came."""
    before = server.post(RANK, GOOD)
    yield
    after = server.post(RANK, GOOD)
    assert (after.status, after.json) == (200, before.json)
    assert server.metric("emberank_queue_requests") == 0
    assert server.metric("emberank_buffered_body_bytes") == 0


def refused(reply: Reply, status: int = 400) -> str:
    assert reply.status == status, reply.body[:300]
    return nim_error(reply)


@pytest.mark.claim("nim:requests:not-json")
@pytest.mark.parametrize("path", [RANK, EMBED, "/v1/retrieval/acme/tiny-rank.v2/reranking"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"[]",
        b"null",
        b'"text"',
        b'{"query": NaN}',
        b'{"query": Infinity, "input": 1}',
        b'{"query": {"text": "\xff\xfe"}, "input": "\xc3\x28"}',
        b'{"query": {"text": "\\ud800"}, "input": "\\ud800"}',
        b'{"query": {"text": "a\\udc00b"}, "input": "a\\udc00b"}',
        b"\x00" * 100,
        b"\x1f\x8b\x08\x00gzip",
        b"[" * 100_000,
        b'{"query":' * 100_000,
        b"query=a&passages=b",
        b"{}{}",
    ],
)
def test_a_body_that_is_no_json_object_of_ours_is_a_400(server: Client, path: str, body: bytes) -> None:
    assert refused(server.post(path, body))


@pytest.mark.parametrize("deep", [200, 300, 900])
@pytest.mark.parametrize(("path", "field"), [(RANK, "truncate"), (RANK, "top_n"), (EMBED, "truncate"), (EMBED, "modality"), (EMBED, "dimensions")])
def test_deep_nesting_in_any_field_is_a_400(server: Client, path: str, field: str, deep: int) -> None:
    base = {RANK: GOOD, EMBED: {"input": "snow"}}[path]
    body = json.dumps(base)[:-1] + f', "{field}": ' + "[" * deep + "]" * deep + "}"
    assert refused(server.post(path, body.encode())).startswith(field)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (RANK, GOOD | {"query": "text"}),
        (RANK, GOOD | {"query": []}),
        (RANK, GOOD | {"passages": {"0": {"text": "a"}}}),
        (RANK, GOOD | {"passages": [["text", "a"]]}),
        (RANK, GOOD | {"passages": ["a"]}),
        (RANK, GOOD | {"model": ["a"]}),
        (RANK, GOOD | {"model": {"name": "a"}}),
        (RANK, GOOD | {"top_n": -(2**63)}),
        (RANK, GOOD | {"top_n": "all"}),
        (RANK, GOOD | {"truncate": 0}),
        (EMBED, {"input": {"text": "a"}}),
        (EMBED, {"input": [["a"]]}),
        (EMBED, {"input": 2**70}),
        (EMBED, {"input": "a", "dimensions": -1}),
        (EMBED, {"input": "a", "dimensions": 2**70}),
        (EMBED, {"input": "a", "dimensions": 0.5}),
        (EMBED, {"input": "a", "encoding_format": ["float"]}),
        (EMBED, {"input": "a", "input_type": {}}),
        (EMBED, {"input": "a", "user": {}}),
        (EMBED, {"input": "a", "modality": {"a": 1}}),
    ],
)
def test_a_value_of_the_wrong_kind_is_a_400(server: Client, path: str, body: object) -> None:
    assert refused(server.post(path, body))


@pytest.mark.parametrize("value", [2**63, 2**64, 10**300, 1e300])
def test_a_count_of_any_size_is_just_a_large_count(server: Client, value: float) -> None:
    assert len(server.post(RANK, GOOD | {"top_n": value}).json["rankings"]) == 2


@pytest.mark.claim("nim:requests:huge-text")
@pytest.mark.parametrize("truncate", ["END", "START"])
def test_ten_megabytes_of_text_are_cut_quickly(server: Client, truncate: str) -> None:
    began = time.process_time()
    reply = server.post(EMBED, {"input": "the snow " * (10 * MEGA // 9), "truncate": truncate})
    assert reply.status == 200
    assert reply.json["usage"]["prompt_tokens"] == 40
    # Tokenising all of it takes seconds of CPU; cutting it first takes what copying ten megabytes takes.
    assert time.process_time() - began < 2.0


@pytest.mark.claim("nim:requests:huge-text")
def test_ten_megabytes_of_text_with_none_are_a_400(server: Client) -> None:
    assert "exceeds maximum allowed token size 40" in refused(server.post(EMBED, {"input": "the snow " * (10 * MEGA // 9)}))
    assert "exceeds maximum allowed token size 40" in refused(server.post(RANK, GOOD | {"query": {"text": "the snow " * (10 * MEGA // 9)}}))


@pytest.mark.claim("nim:requests:body-limit")
def test_a_body_that_says_it_is_over_the_limit_is_a_413_and_the_connection_ends(server: Client) -> None:
    with server.raw() as sock:
        sock.sendall(request(RANK, b"{", length=13 * MEGA))
        reply = receive(sock)
        assert refused(reply, 413) == f"the body is {13 * MEGA} bytes; at most {12 * MEGA} are allowed"
        assert closed(sock)


@pytest.mark.claim("nim:requests:body-limit")
def test_a_body_without_a_length_is_a_413_as_soon_as_it_is_over_the_limit(server: Client) -> None:
    with server.raw() as sock:
        sock.sendall(f"POST {RANK} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        piece = b"x" * MEGA
        for _ in range(12):
            sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        sock.sendall(b"1\r\ny\r\n")
        assert "over" in refused(receive(sock), 413)
        assert closed(sock)


@pytest.mark.claim("nim:requests:body-limit")
@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_far_too_much_before_it_listens_still_reads_its_413(server: Client, chunked: bool) -> None:
    # Most clients send all of a body first; a socket closed under them would be a reset, which they take for an outage and try again.
    pieces = [b"x" * MEGA] * 40
    with contextlib.closing(server.connect()) as connection:
        connection.request("POST", RANK, iter(pieces) if chunked else b"".join(pieces), encode_chunked=chunked, headers=_chunked(chunked))
        assert refused(read(connection.getresponse()), 413)


def _chunked(chunked: bool) -> dict[str, str]:
    return {"Transfer-Encoding": "chunked"} if chunked else {}


def test_a_body_of_a_length_that_cannot_be_is_refused(server: Client) -> None:
    for length in ("-1", "1e3", "²", "99999999999999999999999", "5, 6", "0x10"):
        reply = server.exchange(f"POST {RANK} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n".encode())
        assert refused(reply)


@pytest.mark.claim("nim:requests:chunked")
def test_a_chunked_body_is_read_like_any_other(server: Client) -> None:
    body = json.dumps(GOOD).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (1, body[i : i + 1]) for i in range(len(body)))
    reply = server.exchange(f"POST {RANK} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n")
    assert reply.status == 200


@pytest.mark.claim("nim:errors:broken-http")
@pytest.mark.parametrize(
    "data",
    [
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: t\r\n\r\n",
        b"POST /v1/ranking HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/ranking HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/ranking HTTP/1.1\r\nHost: t\r\nX-A: a\x00b\r\n\r\n",
        b"POST /v1/ranking HTTP/1.1\r\nHost t\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello, TLS",
    ],
)
def test_what_is_no_http_is_a_400_in_nims_body_and_the_connection_ends(server: Client, data: bytes) -> None:
    with server.raw() as sock:
        sock.sendall(data)
        reply = receive(sock)
        assert refused(reply)
        assert reply.headers["connection"] == "close"
        assert closed(sock)


@pytest.mark.claim("nim:requests:request-id")
@pytest.mark.parametrize("value", ["a\tb", "x" * 129, "é", "a;b", "<b>", " ", "a b"])
def test_a_request_id_that_is_none_is_replaced_in_header_and_body(server: Client, value: str) -> None:
    head = f"POST {RANK} HTTP/1.1\r\nHost: t\r\nX-Request-Id: {value}\r\nContent-Length: 2\r\n\r\n{{}}"
    reply = server.exchange(head.encode("latin-1"))
    refused(reply)
    assert reply.headers["x-request-id"] == reply.json["request_id"] != value
    assert reply.headers["x-request-id"].isalnum()


@pytest.mark.claim("nim:requests:timeout-header")
@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "soon", "1,5", "9" * 400])
def test_a_deadline_that_is_none_is_a_400(server: Client, value: str) -> None:
    assert refused(server.post(RANK, GOOD, {"X-Request-Timeout": value})) == "X-Request-Timeout must be a number of seconds above 0"


@pytest.mark.claim("nim:requests:h2c-upgrade")
@pytest.mark.parametrize("upgrade", ["h2c", "websocket", "TLS/1.3"])
def test_an_offer_to_upgrade_is_passed_over(server: Client, upgrade: str) -> None:
    # Java's HTTP client offers h2c with every first request.
    more = ("Connection: Upgrade, HTTP2-Settings", f"Upgrade: {upgrade}", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
    whole = request(RANK, json.dumps(GOOD).encode(), *more)
    with server.raw() as sock:
        for pieces in ([whole], [whole[:-7], whole[-7:]], [whole, whole], [whole[:90], whole[90:]]):
            for piece in pieces:
                sock.sendall(piece)
            assert receive(sock).status == 200
        assert receive(sock).status == 200  # the pair above was two requests


def test_a_wish_for_a_tunnel_is_refused(server: Client) -> None:
    assert 400 <= server.exchange(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n").status < 500


def test_a_thousand_headers_do_no_harm(server: Client) -> None:
    more = [f"X-{i}: {'v' * 20}" for i in range(1000)]
    reply = server.exchange(request(RANK, json.dumps(GOOD).encode(), *more))
    assert reply.status < 500
