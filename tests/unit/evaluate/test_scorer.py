from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from emberank.contract.errors import SettingError, StartError
from emberank.evaluate.scorer import http_embedder, http_scorer


@dataclass
class FakeServer:
    """A NIM of numbers: the logit of a passage is its text as a number, its vector is (number, length)."""

    url: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    answer: tuple[int, bytes] | None = None  # said instead of the true answer
    hang_up: bool = False  # closes each connection after its answer, without saying so

    def reply(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        if self.answer is not None:
            return self.answer
        if path.endswith("/v1/ranking"):
            logits = [{"index": i, "logit": float(passage["text"])} for i, passage in enumerate(body["passages"])]
            return 200, json.dumps({"rankings": sorted(logits, key=lambda row: -row["logit"])}).encode()
        rows = [{"index": i, "embedding": [float(text), 1.0]} for i, text in enumerate(body["input"])]
        return 200, json.dumps({"data": rows[::-1]}).encode()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fake.calls.append((self.path, body))
            fake.keys.append(self.headers["Authorization"])
            fake.connections.add(self.client_address)
            status, raw = fake.reply(self.path, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)
            self.close_connection = fake.hang_up

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # so that server_close waits for them

    with Server(("127.0.0.1", 0), Answering) as listening:
        fake.url = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield fake
        listening.shutdown()
        thread.join(10)
    assert not thread.is_alive()


def test_scores_come_back_in_the_order_of_the_passages_and_not_of_the_ranking(server: FakeServer) -> None:
    with http_scorer(server.url, "nvidia/some-reranker", 10) as scorer:
        assert scorer("a question", ["1.5", "-2", "7"]) == [1.5, -2.0, 7.0]
    expected = {
        "model": "nvidia/some-reranker",
        "query": {"text": "a question"},
        "passages": [{"text": "1.5"}, {"text": "-2"}, {"text": "7"}],
        "truncate": "END",
    }
    assert server.calls == [("/v1/ranking", expected)]


def test_more_than_512_passages_go_in_several_calls_over_one_connection(server: FakeServer) -> None:
    with http_scorer(server.url, None, 10) as scorer:
        assert scorer("q", [str(i) for i in range(1100)]) == [float(i) for i in range(1100)]
    assert [len(body["passages"]) for _, body in server.calls] == [512, 512, 76]
    assert len(server.connections) == 1
    assert all("model" not in body for _, body in server.calls)


def test_vectors_come_back_in_the_order_of_the_texts(server: FakeServer) -> None:
    with http_embedder(server.url, "nvidia/some-embedder", 10) as embedder:
        vectors = embedder([str(i) for i in range(70)], "passage")
        embedder(["1"], "query")
    np.testing.assert_array_equal(vectors, np.array([[i, 1] for i in range(70)], dtype=np.float32))
    assert [(path, len(body["input"]), body["input_type"], body["truncate"]) for path, body in server.calls] == [
        ("/v1/embeddings", 64, "passage", "END"),
        ("/v1/embeddings", 6, "passage", "END"),
        ("/v1/embeddings", 1, "query", "END"),
    ]


@pytest.mark.parametrize("tail", ["/", "/v1", "/v1/"])
def test_a_base_address_may_end_in_a_slash_or_in_the_version(server: FakeServer, tail: str) -> None:
    with http_scorer(server.url + "/proxied" + tail, None, 10) as scorer:
        scorer("q", ["1"])
    assert server.calls[0][0] == "/proxied/v1/ranking"


def test_a_kept_connection_that_the_server_closed_meanwhile_is_opened_again(server: FakeServer) -> None:
    server.hang_up = True
    with http_scorer(server.url, None, 10) as scorer:
        assert [scorer("q", [text]) for text in ("1", "2", "3")] == [[1.0], [2.0], [3.0]]
    assert len(server.connections) == 3


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, b'{"object":"error","message":"Input length 9000 exceeds\\nmaximum","type":"x"}', "/v1/ranking answered 400: Input length 9000 exceeds maximum$"),
        (404, b'{"error":{"message":"no such model"}}', "answered 404: no such model$"),
        (410, b'{"error":"gone since May"}', "answered 410: gone since May$"),
        (422, b'{"detail":"passages missing"}', "answered 422: passages missing$"),
        (502, b"<html>\n bad   gateway</html>", "answered 502: <html> bad gateway</html>$"),
        (503, b"", r"answered 503: \(no message\)$"),
        (500, b"x" * 1000, "answered 500: x{300}…$"),
        (200, b"not json", "answered 200 with a body that is not understood"),
        (200, b"[]", "answered 200 with a body that is not understood"),
        (200, b'{"data": []}', "answered 200 with a body that is not understood"),
        (200, b'{"rankings": [{"index": 1, "logit": 0.5}]}', "not understood: 1 results for 1 texts, or an index that was not asked for"),
        (200, b'{"rankings": [{"index": 0, "logit": 1}, {"index": 0, "logit": 2}]}', "not understood: 2 results for 1 texts"),
    ],
)
def test_a_refusal_is_one_line_with_the_status_and_the_servers_words(server: FakeServer, status: int, body: bytes, message: str) -> None:
    server.answer = (status, body)
    with http_scorer(server.url, None, 10) as scorer, pytest.raises(StartError, match=message) as raised:
        scorer("q", ["1"])
    assert "\n" not in raised.value.message


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else can take the port
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with http_scorer(url, None, 10) as scorer, pytest.raises(StartError, match=rf"{url}/v1/ranking cannot be reached: .*refused"):
            scorer("q", ["1"])


def test_a_server_that_does_not_answer_is_given_up_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with http_scorer(url, None, 0.05) as scorer, pytest.raises(StartError, match=r"did not answer within 0\.05 s"):
            scorer("q", ["1"])


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://host", "http://", "http://host:port", "http://two words"])
def test_an_address_that_is_none_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(SettingError):
        http_scorer(url, None)


def test_a_key_and_a_version_are_sent_when_there_are_some(server: FakeServer) -> None:
    with http_scorer(server.url, "m", version="v2", key="k-1") as scorer:
        scorer("q", ["1"])
    with http_scorer(server.url, "m") as scorer:
        scorer("q", ["1"])
    with http_embedder(server.url, "m", key="k-2") as embedder:
        embedder(["1"], "query")
    assert server.keys == ["Bearer k-1", None, "Bearer k-2"]
    assert [call[1].get("model_version", "none") for call in server.calls[:2]] == ["v2", "none"]
