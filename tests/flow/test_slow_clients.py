"""Clients that take their time, go away, or send the next request early. Waits are proved with the fake engine's gate, not with sleeps."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from wire import Client, closed, nim_error, receive, request, until

EMBEDDER, RANKER = "acme/Tiny_Embed-v1.5", "acme/tiny-rank.v2"
RANK = "/v1/ranking"
GOOD = json.dumps({"query": {"text": "the road"}, "passages": [{"text": "snow"}, {"text": "ice"}]}).encode()
HALF = request(RANK, GOOD)[:-20]


@pytest.fixture(scope="module")
def hasty(tiny: Callable[..., Any], launch: Callable[..., Any]) -> Any:
    """A server that waits 0.3 s for a client."""
    return launch(tiny(read_timeout_s=0.3))


def gated(server: Any, name: str = RANKER) -> threading.Event:
    """Stop the model's engine at a gate."""
    gate = threading.Event()
    server.engine(name).gate = gate
    return gate


def in_engine(server: Any, name: str = RANKER, runs: int = 1) -> None:
    """Wait until the engine has been given that many batches."""
    until(lambda: len(server.engine(name).batches) >= runs, "the engine has a batch")


@pytest.mark.claim("nim:requests:slow-headers")
@pytest.mark.parametrize("sent", [b"", b"POST /v1/ran", b"POST /v1/ranking HTTP/1.1\r\nHost: t\r\nX-Slow: "])
def test_a_client_whose_headers_do_not_come_is_cut_off(hasty: Client, sent: bytes) -> None:
    with hasty.raw() as sock:
        sock.sendall(sent)
        assert closed(sock)
    assert hasty.post(RANK, GOOD).status == 200


@pytest.mark.claim("nim:requests:slow-body")
def test_a_client_whose_body_does_not_come_gets_a_408(hasty: Client) -> None:
    with hasty.raw() as sock:
        sock.sendall(HALF)
        reply = receive(sock)
        assert (reply.status, nim_error(reply)) == (408, "the body did not arrive: nothing came for 0.3 s")
        assert closed(sock)
    assert hasty.post(RANK, GOOD).status == 200
    assert hasty.metric("emberank_buffered_body_bytes") == 0


@pytest.mark.parametrize("path", [RANK, "/nowhere"])
def test_a_body_that_takes_longer_than_a_request_may_is_cut_off_even_where_nobody_reads_it(
    tiny: Callable[..., Any], launch: Callable[..., Any], path: str
) -> None:
    server = launch(tiny(request_timeout_s=0.4))
    with server.raw() as sock:
        sock.sendall(request(path, GOOD)[:-20])
        assert sock.recv(1 << 16) == b"" or closed(sock)  # an early 404 may come first
    assert server.metric("emberank_buffered_body_bytes") == 0


def test_a_client_that_never_sends_its_next_request_is_not_hurried(hasty: Client) -> None:
    with hasty.raw() as sock:
        sock.sendall(request(RANK, GOOD))
        assert receive(sock).status == 200
        sock.settimeout(0.6)  # twice the time that headers may take, once begun
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(20)
        sock.sendall(request(RANK, GOOD))
        assert receive(sock).status == 200


def test_many_silent_clients_do_not_keep_others_waiting(hasty: Client) -> None:
    socks = [socket.create_connection(("127.0.0.1", hasty.port), timeout=20) for _ in range(100)]
    try:
        for sock in socks:
            sock.sendall(HALF)
        assert hasty.post(RANK, GOOD).status == 200
        assert all(closed(sock) for sock in socks)
    finally:
        for sock in socks:
            sock.close()


@pytest.mark.claim("nim:requests:gone-client-is-dropped")
def test_the_work_of_a_client_that_goes_away_in_the_queue_is_never_run(start: Callable[..., Any]) -> None:
    server = start(engine="fake")
    engine, gate = server.engine(RANKER), gated(server)
    ran = len(engine.batches)
    with server.raw() as first, server.raw() as second:
        first.sendall(request(RANK, GOOD))
        in_engine(server, runs=ran + 1)
        second.sendall(request(RANK, json.dumps({"query": {"text": "hot"}, "passages": [{"text": "red ice " * 9}]}).encode()))
        until(lambda: server.metric("emberank_queue_requests") == 2, "the second request waits")
        second.close()
        until(lambda: server.metric("emberank_queue_requests") == 1, "the second request is dropped")
        assert server.metric("emberank_queue_tokens") == 0
        gate.set()
        assert receive(first).status == 200
    assert len(engine.batches) == ran + 1
    until(lambda: server.metric("emberank_requests_total", route=RANK, status="499") == 1, "it is counted")


def test_a_client_that_goes_away_while_its_batch_runs_harms_nobody(start: Callable[..., Any]) -> None:
    server = start(engine="fake")
    ran, gate = len(server.engine(RANKER).batches), gated(server)
    with server.raw() as sock:
        sock.sendall(request(RANK, GOOD))
        in_engine(server, runs=ran + 1)
    until(lambda: server.metric("emberank_queue_requests") == 0, "its job is gone")
    gate.set()
    assert server.post(RANK, GOOD).status == 200


@pytest.mark.parametrize("data", [b"", HALF, HALF[:30]])
def test_a_client_that_goes_away_before_its_request_is_whole_leaves_nothing(server: Client, data: bytes) -> None:
    for _ in range(20):
        with server.raw() as sock:
            sock.sendall(data)
    assert server.post(RANK, GOOD).status == 200
    until(lambda: server.metric("emberank_buffered_body_bytes") == 0, "no body is kept")


@pytest.mark.claim("nim:requests:queue-full")
@pytest.mark.parametrize("status", [429, 503])
def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(start: Callable[..., Any], status: int) -> None:
    server = start(engine="fake", max_queue_size=1, queue_full_status=status)
    ran, gate = len(server.engine(RANKER).batches), gated(server)
    with server.raw() as first:
        first.sendall(request(RANK, GOOD))
        in_engine(server, runs=ran + 1)
        reply = server.post(RANK, GOOD)
        assert reply.status == status
        assert int(reply.headers["retry-after"]) >= 1
        assert nim_error(reply).startswith("the queue is full (1 requests, ")
        gate.set()
        assert receive(first).status == 200
    assert server.post(RANK, GOOD).status == 200


@pytest.mark.claim("nim:requests:deadline")
def test_a_request_whose_own_deadline_passes_in_the_queue_is_a_504(start: Callable[..., Any]) -> None:
    server = start(engine="fake")
    ran, gate = len(server.engine(RANKER).batches), gated(server)
    with server.raw() as first:
        first.sendall(request(RANK, GOOD))
        in_engine(server, runs=ran + 1)
        reply = server.post(RANK, GOOD, {"X-Request-Timeout": "0.05"})
        assert (reply.status, nim_error(reply)) == (504, "the request's deadline passed before its answer was ready")
        assert server.metric("emberank_queue_requests") == 1
        gate.set()
        assert receive(first).status == 200
    assert len(server.engine(RANKER).batches) == ran + 1


@pytest.mark.claim("nim:requests:pipelining")
def test_pipelined_requests_are_answered_in_their_order(server: Client) -> None:
    bad, good = request(RANK, b"{}"), request(RANK, GOOD)
    with server.raw() as sock:
        sock.sendall(good + bad + good + request("/v1/nowhere", b"{}") + good)
        assert [receive(sock).status for _ in range(5)] == [200, 400, 200, 404, 200]


def test_a_request_may_come_one_byte_at_a_time(server: Client) -> None:
    with server.raw() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request(RANK, GOOD):
            sock.sendall(bytes([byte]))
        assert receive(sock).status == 200


def test_a_client_that_is_to_be_told_to_go_on_is_told(server: Client) -> None:
    with server.raw() as sock:
        head, body = request(RANK, GOOD, "Expect: 100-continue").split(b"\r\n\r\n", 1)
        sock.sendall(head + b"\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 100 Continue")
        sock.sendall(body)
        assert receive(sock).status == 200
