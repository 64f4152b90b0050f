"""Every other route over a socket, and what clients do to paths and methods."""

from __future__ import annotations

import contextlib
import re

import pytest

from wire import Client, nim_error, receive

EMBEDDER, RANKER = "acme/Tiny_Embed-v1.5", "acme/tiny-rank.v2"
RANKING = {"query": {"text": "the road"}, "passages": [{"text": "snow"}]}
GETS = ["models", "health/live", "health/ready", "metadata", "manifest", "license", "version", "metrics"]


@pytest.mark.claim("nim:routes:all-eight-gets")
@pytest.mark.parametrize("name", GETS)
def test_every_route_of_the_reference_answers_get_and_head(server: Client, name: str) -> None:
    got, head = server.get(f"/v1/{name}"), server.ask("HEAD", f"/v1/{name}")
    assert (got.status, head.status) == (200, 200)
    assert got.body
    assert head.body == b""
    assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.claim("nim:health:both-generations")
def test_health_satisfies_readers_of_both_generations(server: Client) -> None:
    assert server.get("/v1/health/live").json == {"object": "health.response", "message": "live", "status": "live", "live": True}
    assert server.get("/v1/health/ready").json == {"object": "health.response", "message": "ready", "status": "ready", "ready": True}


@pytest.mark.claim("nim:models:list-shape")
def test_the_list_of_models_names_both_in_order(server: Client) -> None:
    body = server.get("/v1/models").json
    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == [EMBEDDER, RANKER]
    for model in body["data"]:
        assert (model["object"], model["owned_by"], model["root"]) == ("model", "acme", model["id"])
        assert model["created"] > 1_700_000_000


@pytest.mark.claim("nim:models:retrieve")
@pytest.mark.parametrize("path", ["acme/Tiny_Embed-v1.5", "acme%2FTiny_Embed-v1.5", "acme%2ftiny-embed-v1-5", "tiny_embed_v1.5", "acme%2FTiny_Embed-v1.5/"])
def test_one_model_is_found_with_its_slash_escaped_or_not(server: Client, path: str) -> None:
    reply = server.get(f"/v1/models/{path}")
    assert (reply.status, reply.json["id"]) == (200, EMBEDDER)


def test_one_unknown_model_is_a_404_in_nims_body(server: Client) -> None:
    reply = server.get("/v1/models/none%2Fsuch")
    assert (reply.status, nim_error(reply)) == (404, f"model 'none/such' not found; available: '{EMBEDDER}', '{RANKER}'")


@pytest.mark.claim("nim:metadata:model-info")
def test_metadata_says_what_runs_on_what_and_no_path_of_the_server(server: Client) -> None:
    reply = server.get("/v1/metadata")
    assert [model["shortName"] for model in reply.json["modelInfo"]] == [EMBEDDER, RANKER]
    embedder, ranker = reply.json["models"]
    assert (embedder["task"], embedder["dimensions"], embedder["max_tokens"]) == ("embed", 16, 40)
    assert (ranker["task"], ranker["dimensions"]) == ("rank", None)
    assert embedder["engine"]["name"] == "reference"
    assert embedder["golden"].startswith("none known")
    assert b"/tmp" not in reply.body
    assert b"checkpoints" not in reply.body


@pytest.mark.claim("nim:manifest:files-and-hashes")
def test_the_manifest_has_every_file_with_its_hash(server: Client) -> None:
    for model in server.get("/v1/manifest").json["models"]:
        assert [file["name"] for file in model["files"]] == ["config.json", "model.safetensors", "tokenizer.json"]
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in [model["content_hash"], *(file["sha256"] for file in model["files"])])
        assert all(file["size"] > 0 for file in model["files"])


def test_the_licence_names_the_servers_and_each_models(server: Client) -> None:
    body = server.get("/v1/license").json
    assert body["server"]["name"] == "Apache-2.0"
    assert [model["id"] for model in body["models"]] == [EMBEDDER, RANKER]


@pytest.mark.claim("nim:metrics:prometheus")
def test_metrics_count_what_was_asked_and_never_hold_a_callers_text(server: Client) -> None:
    before = server.metric("emberank_requests_total", route="/v1/ranking", status="200", model=RANKER)
    server.post("/v1/ranking", RANKING | {"query": {"text": "private words"}}, {"X-Request-Id": "private-id"})
    server.post("/v1/ranking", RANKING | {"model": "private-model"})
    server.get("/private-path")
    assert server.metric("emberank_requests_total", route="/v1/ranking", status="200", model=RANKER) == before + 1
    text = server.get("/v1/metrics").body.decode()
    assert "private" not in text
    assert server.metric("emberank_queue_requests") == 0
    assert server.metric("emberank_queue_tokens") == 0
    assert server.metric("emberank_ready") == 1
    assert server.metric("emberank_padding_rows_total", part="linear") == 0  # the reference engine pads nothing


@pytest.mark.claim("nim:paths:double-and-trailing-slashes")
@pytest.mark.parametrize("path", ["//v1/ranking", "/v1//ranking", "/v1/ranking/", "/v1/ranking//", "//v1/retrieval//acme/tiny-rank.v2/reranking/"])
def test_a_post_to_a_careless_path_is_answered_and_not_redirected(server: Client, path: str) -> None:
    assert server.post(path, RANKING).status == 200


def test_a_query_string_changes_nothing(server: Client) -> None:
    assert server.post("/v1/ranking?api-version=1&x=//", RANKING).status == 200


@pytest.mark.claim("nim:errors:no-route")
@pytest.mark.parametrize("path", ["/v1", "/v1/rankings", "/v2/embeddings", "/v1/health", "/%00", "/%ff%fe", "/v1%2franking%2fx", "/..%2f..%2fetc/passwd"])
def test_what_is_no_route_is_a_404_in_nims_body(server: Client, path: str) -> None:
    for method in ("GET", "POST"):
        reply = server.ask(method, path, {})
        assert reply.status == 404
        assert "GET /openapi.json lists the routes" in nim_error(reply)
        assert reply.json["request_id"] == reply.headers["x-request-id"] != ""


@pytest.mark.claim("nim:errors:wrong-method")
@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", "/v1/ranking", "POST"), ("PUT", "/v1/embeddings", "POST"), ("PATCH", "/v1/ranking", "POST"), ("OPTIONS", "/v1/ranking", "POST")],
)
def test_a_wrong_method_is_a_405_that_says_the_right_one(server: Client, method: str, path: str, allow: str) -> None:
    reply = server.ask(method, path, {})
    assert (reply.status, reply.headers["allow"]) == (405, allow)
    assert nim_error(reply) == f"{method} is not allowed on '{path}'; allowed: {allow}"
    assert server.ask("HEAD", path).status == 405


@pytest.mark.claim("nim:requests:any-content-type")
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""])
def test_the_content_type_is_not_looked_at(server: Client, kind: str) -> None:
    # voyageai through LiteLLM sends none at all
    assert server.post("/v1/ranking", RANKING, {"Content-Type": kind}).status == 200


@pytest.mark.claim("nim:requests:any-credentials")
@pytest.mark.parametrize("header", ["Bearer nvapi-xxx", "Bearer", "raw-key", "Basic dTpw"])
def test_credentials_are_not_needed_and_do_no_harm(server: Client, header: str) -> None:
    reply = server.post("/v1/ranking", RANKING, {"Authorization": header})
    assert reply.status == 200
    assert b"nvapi" not in reply.body


@pytest.mark.claim("nim:requests:keep-alive")
def test_one_connection_carries_many_requests(server: Client) -> None:
    with contextlib.closing(server.connect()) as connection:
        statuses = []
        for path, body in (("/v1/ranking", b"{}"), ("/v1/nowhere", b"{}"), ("/v1/models", b""), ("/v1/ranking", b"nonsense")):
            connection.request("POST" if body else "GET", path, body or None)
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
            sock = connection.sock
        assert statuses == [400, 404, 200, 400]
        assert sock is connection.sock is not None


@pytest.mark.parametrize("path", ["/", "/docs"])
@pytest.mark.parametrize("host", ["localhost:8000", "[::1]:8000", "<script>alert(1)</script>", "a b", "[", ":", "a/b?c#d", "x" * 5000, ""])
def test_the_page_for_people_is_safe_under_any_host_header(server: Client, path: str, host: str) -> None:
    with server.raw() as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        reply = receive(sock, "GET")
    assert reply.status == 200
    assert b"/v1/ranking" in reply.body
    assert b"<script" not in reply.body
