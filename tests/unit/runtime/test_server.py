"""The HTTP surface over a pipeline that only answers: which route means what, and what is said while models load and when they go."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from asgi import call
from emberank.contract.inference import EmbedCall, EmbedResult, RankCall, Ranked, RankResult, Timings, Usage
from emberank.dialects.nim import IMAGE_AS_QUERY
from emberank.runtime.metrics import Metrics
from emberank.runtime.roster import Roster
from emberank.runtime.server import RuntimeServer
from emberank.settings import RuntimeSettings
from wire import Reply, nim_error

TIMINGS = Timings(tokenize_ms=1.25, queue_ms=2.5, engine_ms=30)
RANKING = {"query": {"text": "q"}, "passages": [{"text": "a"}, {"text": "b"}]}


class StubPipeline:
    """Remembers the calls, and answers with fixed numbers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, RankCall | EmbedCall]] = []
        self.truncated: tuple[int, ...] = ()
        self.timings = TIMINGS
        self.error: Exception | None = None

    async def rank(self, model: Any, call: RankCall, deadline: float, trace: object = None) -> RankResult:
        self._take(model, call)
        ranked = (Ranked(1, 2.0), Ranked(0, -2.0))
        return RankResult(model=model.name, ranked=ranked, usage=Usage(prompt_tokens=9), timings=self.timings, truncated=self.truncated)

    async def embed(self, model: Any, call: EmbedCall, deadline: float, trace: object = None) -> EmbedResult:
        self._take(model, call)
        vectors = np.zeros((len(call.inputs), 2), np.float32)
        return EmbedResult(model=model.name, vectors=vectors, usage=Usage(prompt_tokens=5), timings=self.timings, truncated=self.truncated)

    def _take(self, model: Any, call: RankCall | EmbedCall) -> None:
        self.calls.append((model.name, call))
        if self.error is not None:
            raise self.error


def served(name: str, task: str, *aliases: str) -> Any:
    batcher = SimpleNamespace(queued_jobs=2, queued_tokens=70, failing=False)
    spec = SimpleNamespace(aliases=aliases, source="file:/secret/folder", license="", license_url="", golden=None)
    backend = SimpleNamespace(batcher=batcher, engine=SimpleNamespace(facts=SimpleNamespace(engine="fake", precision="fp32")))
    limits = {"max_tokens": 64, "dimensions": (8, 16), "recognised": SimpleNamespace(pooling="mean"), "calibration": None}
    return SimpleNamespace(name=name, task=task, spec=spec, created=123, backend=backend, vision=None, random_weights=False, **limits)


class Stage:
    """A server of one reranker and two embedders."""

    def __init__(self, *, ready: bool = True, **settings: Any) -> None:
        self.pipeline = StubPipeline()
        self.metrics = Metrics()
        self.server = RuntimeServer(RuntimeSettings(**settings), self.pipeline, self.metrics)  # type: ignore[arg-type]
        if ready:
            self.load()
        self._app = self.server.app()

    def load(self) -> None:
        models = [served("acme/Rank_v1.5", "rank", "ranker"), served("acme/embed", "embed"), served("acme/other-query", "embed")]
        self.server.roster = Roster(models)
        self.server.ready = True

    def ask(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Reply:
        data = b"" if body is None else json.dumps(body).encode()
        return asyncio.run(call(self._app, method, path, data, headers))

    def asked(self, path: str, body: object) -> tuple[str, Any]:
        """Which model got which call."""
        reply = self.ask("POST", path, body)
        assert reply.status == 200, reply.body
        return self.pipeline.calls[-1]


@pytest.mark.claim("nim:health:ready-after-golden")
def test_while_models_load_it_is_live_and_not_ready() -> None:
    stage = Stage(ready=False)
    live, ready = stage.ask("GET", "/v1/health/live"), stage.ask("GET", "/v1/health/ready")
    assert (live.status, live.json["live"]) == (200, True)
    assert (ready.status, ready.json["ready"], ready.json["message"]) == (503, False, "loading")
    assert ready.headers["retry-after"] == "1"


@pytest.mark.parametrize(("path", "body"), [("/v1/ranking", RANKING), ("/v1/embeddings", {"input": "a"})])
def test_a_call_while_models_load_is_a_503_that_says_when_to_come_back(path: str, body: object) -> None:
    reply = Stage(ready=False).ask("POST", path, body)
    assert (reply.status, nim_error(reply)) == (503, "the server is loading")
    assert reply.headers["retry-after"] == "1"


def test_a_wrong_body_is_said_even_while_models_load() -> None:
    assert Stage(ready=False).ask("POST", "/v1/ranking", {}).status == 400


def test_while_draining_it_is_not_ready_and_still_answers_what_is_under_way() -> None:
    stage = Stage()
    stage.server.ready, stage.server.state = False, "shutting down"
    ready = stage.ask("GET", "/v1/health/ready")
    assert (ready.status, ready.json["message"]) == (503, "shutting down")
    assert stage.ask("POST", "/v1/ranking", RANKING).status == 200


@pytest.mark.claim("nim:ranking:hosted-path")
@pytest.mark.parametrize("name", ["Rank_v1.5", "rank-v1-5", "RANK_V1_5", "rank.v1.5", "ranker"])
def test_the_model_in_the_hosted_path_is_found_in_any_spelling(name: str) -> None:
    org = "acme"
    path = f"/v1/retrieval/{org}/{name}/reranking"
    if name == "ranker":  # an alias has no publisher
        assert "acme/ranker" in nim_error(Stage().ask("POST", path, RANKING))
    else:
        assert Stage().asked(path, RANKING)[0] == "acme/Rank_v1.5"


@pytest.mark.claim("nim:ranking:path-before-body")
def test_the_model_in_the_path_goes_before_the_one_in_the_body() -> None:
    assert Stage().asked("/v1/retrieval/acme/rank-v1.5/reranking", RANKING | {"model": "nobody/knows"})[0] == "acme/Rank_v1.5"


@pytest.mark.claim("nim:ranking:paths-without-model")
@pytest.mark.parametrize("path", ["/v1/retrieval/nvidia/reranking", "/v1/reranking", "/v1/ranking"])
def test_without_a_model_in_the_path_the_body_says_it(path: str) -> None:
    assert Stage().asked(path, RANKING | {"model": "acme/rank_v1_5"})[0] == "acme/Rank_v1.5"
    assert Stage().asked(path, RANKING)[0] == "acme/Rank_v1.5"


@pytest.mark.claim("nim:models:null-or-absent-is-the-routes-own")
@pytest.mark.parametrize("model", [None, "", "default", "default/not-specified"])
def test_no_model_means_the_first_of_the_routes_task(model: str | None) -> None:
    assert Stage().asked("/v1/ranking", RANKING | {"model": model})[0] == "acme/Rank_v1.5"
    assert Stage().asked("/v1/embeddings", {"input": "a", "model": model})[0] == "acme/embed"


@pytest.mark.claim("nim:embeddings:model-suffix")
@pytest.mark.parametrize(("model", "meant"), [("acme/embed-query", "query"), ("acme/embed-passage", "passage"), ("embed-query", "query"), ("acme/embed", None)])
def test_a_suffix_of_the_model_says_the_input_type(model: str, meant: str | None) -> None:
    name, call = Stage().asked("/v1/embeddings", {"input": "a", "model": model})
    assert (name, call.input_type) == ("acme/embed", meant)


def test_a_suffix_goes_before_the_body_because_the_client_chose_it_by_hand() -> None:
    assert Stage().asked("/v1/embeddings", {"input": "a", "model": "acme/embed-query", "input_type": "passage"})[1].input_type == "query"


def test_an_image_as_a_query_is_refused_also_where_the_suffix_says_query() -> None:
    image = "data:image/png;base64,iVBORw0KGgo="
    reply = Stage().ask("POST", "/v1/embeddings", {"input": ["a", image], "model": "acme/embed-query"})
    assert (reply.status, nim_error(reply)) == (400, IMAGE_AS_QUERY)
    assert Stage().asked("/v1/embeddings", {"input": image, "model": "acme/embed-passage"})[1].inputs[0].image == image


def test_a_model_whose_own_name_ends_like_a_suffix_is_itself() -> None:
    name, call = Stage().asked("/v1/embeddings", {"input": "a", "model": "acme/other-query"})
    assert (name, call.input_type) == ("acme/other-query", None)


@pytest.mark.claim("nim:errors:model-not-found")
@pytest.mark.parametrize(
    ("path", "body", "listed"),
    [("/v1/ranking", RANKING, "'acme/Rank_v1.5'"), ("/v1/embeddings", {"input": "a"}, "'acme/embed', 'acme/other-query'")],
)
def test_an_unknown_model_is_a_404_that_lists_those_of_the_task(path: str, body: dict[str, Any], listed: str) -> None:
    reply = Stage().ask("POST", path, body | {"model": "wrong-model"})
    assert (reply.status, nim_error(reply)) == (404, f"model 'wrong-model' not found; available: {listed}")


def test_a_model_of_the_other_task_is_not_found_on_this_route() -> None:
    assert Stage().ask("POST", "/v1/embeddings", {"input": "a", "model": "acme/rank-v1.5"}).status == 404


@pytest.mark.claim("nim:requests:timings-in-headers")
def test_timings_and_truncated_passages_are_said_in_headers() -> None:
    stage = Stage()
    stage.pipeline.truncated = (0, 3)
    headers = stage.ask("POST", "/v1/ranking", RANKING).headers
    assert headers["server-timing"] == "tokenize;dur=1.25, queue;dur=2.50, engine;dur=30.00"
    assert headers["emberank-truncated"] == "0,3"


def test_the_time_that_images_took_is_said_where_there_were_any() -> None:
    stage = Stage()
    stage.pipeline.timings = replace(TIMINGS, decode_ms=7)
    said = stage.ask("POST", "/v1/ranking", RANKING).headers["server-timing"]
    assert said == "tokenize;dur=1.25, queue;dur=2.50, engine;dur=30.00, decode;dur=7.00"


@pytest.mark.parametrize("which", ["backend", "vision"])
def test_a_model_whose_either_engine_keeps_failing_is_not_ready(which: str) -> None:
    stage = Stage()
    model = next(iter(stage.server.roster))
    setattr(model, which, SimpleNamespace(batcher=SimpleNamespace(failing=True)))
    ready = stage.ask("GET", "/v1/health/ready")
    assert (ready.status, ready.json["message"]) == (503, "the engine fails")


def test_a_long_list_of_truncated_passages_is_cut() -> None:
    stage = Stage()
    stage.pipeline.truncated = tuple(range(400))
    said = stage.ask("POST", "/v1/ranking", RANKING).headers["emberank-truncated"]
    assert said == ",".join(map(str, range(50))) + ",..."


@pytest.mark.claim("nim:embeddings:unknown-fields-ignored")
def test_ignored_fields_are_named_in_a_header_that_nobody_can_forge() -> None:
    body = {"input": "a", "foo": 1, "x\r\nSet-Cookie: a=b": 2, "é" * 100: 3} | {f"f{i}": i for i in range(20)}
    reply = Stage().ask("POST", "/v1/embeddings", body)
    names = reply.headers["emberank-ignored-fields"].split(", ")
    assert names[:3] == ["foo", "x??Set-Cookie??a?b", "?" * 40]
    assert len(names) == 10
    assert "set-cookie" not in reply.headers


def test_served_tokens_are_counted_for_the_model() -> None:
    stage = Stage()
    stage.ask("POST", "/v1/ranking", RANKING)
    assert stage.metrics.registry.get_sample_value("emberank_prompt_tokens_total", {"model": "acme/Rank_v1.5"}) == 9


@pytest.mark.claim("nim:paths:double-and-trailing-slashes")
@pytest.mark.parametrize("path", ["//v1/ranking", "/v1//ranking", "/v1/ranking/", "//v1///ranking//"])
def test_careless_slashes_are_forgiven_without_a_redirect(path: str) -> None:
    assert Stage().ask("POST", path, RANKING).status == 200


@pytest.mark.claim("nim:errors:no-route")
@pytest.mark.parametrize("path", ["/v2/ranking", "/v1", "/v1/retrieval/a/b/c/reranking", "/v1/ranking/extra", "/\x00", "/é"])
def test_a_path_that_is_no_route_is_a_404_in_nims_body(path: str) -> None:
    reply = Stage().ask("POST", path.encode("ascii", "replace").decode(), RANKING, {"X-Request-Id": "id-1"})
    assert reply.status == 404
    assert nim_error(reply).endswith("GET /openapi.json lists the routes")
    assert reply.json["request_id"] == reply.headers["x-request-id"] == "id-1"


@pytest.mark.claim("nim:errors:wrong-method")
@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/ranking", {"POST"}),
        ("PUT", "/v1/embeddings", {"POST"}),
        ("OPTIONS", "/v1/retrieval/acme/rank/reranking", {"POST"}),
        ("POST", "/v1/models", {"GET", "HEAD"}),
        ("DELETE", "/v1/models/acme/embed", {"GET", "HEAD"}),
        ("POST", "/v1/health/ready", {"GET", "HEAD"}),
        ("POST", "/v1/metrics", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_is_a_405_in_nims_body_that_says_the_right_ones(method: str, path: str, allow: set[str]) -> None:
    reply = Stage().ask(method, path)
    assert reply.status == 405
    assert set(reply.headers["allow"].split(", ")) == allow
    assert nim_error(reply).startswith(f"{method} is not allowed on {path!r}; allowed: ")


@pytest.mark.claim("nim:models:retrieve")
@pytest.mark.parametrize("name", ["acme/Rank_v1.5", "acme/rank-v1-5", "acme%2Frank_v1.5", "ranker"])
def test_one_model_is_found_by_its_name_and_aliases(name: str) -> None:
    assert Stage().ask("GET", f"/v1/models/{name}").json["id"] == "acme/Rank_v1.5"


def test_one_unknown_model_is_a_404_that_lists_all() -> None:
    reply = Stage().ask("GET", "/v1/models/none")
    assert (reply.status, nim_error(reply)) == (404, "model 'none' not found; available: 'acme/Rank_v1.5', 'acme/embed', 'acme/other-query'")


@pytest.mark.claim("nim:models:list-shape")
def test_the_list_of_models_is_empty_until_they_are_loaded() -> None:
    assert Stage(ready=False).ask("GET", "/v1/models").json == {"object": "list", "data": []}
    assert [model["id"] for model in Stage().ask("GET", "/v1/models").json["data"]] == ["acme/Rank_v1.5", "acme/embed", "acme/other-query"]


def test_infinitys_list_and_teis_facts_are_of_the_same_models() -> None:
    stage = Stage()
    listed = stage.ask("GET", "/models").json["data"]
    assert [(one["id"], one["owned_by"], one["stats"], one["backend"]) for one in listed[:1]] == [("acme/Rank_v1.5", "infinity", {}, "fake")]
    info = stage.ask("GET", "/info").json
    assert (info["model_id"], list(info["model_type"]), info["max_input_length"], info["model_dtype"]) == ("acme/Rank_v1.5", ["reranker"], 64, "fp32")
    own = stage.ask("GET", "/models/embed/info").json
    assert (own["model_id"], own["model_type"], own["dimensions"]) == ("acme/embed", {"embedding": {"pooling": "mean"}}, 16)
    assert [one["id"] for one in stage.ask("GET", "/models/embed/v1/models").json["data"]] == ["acme/embed"]
    assert stage.ask("GET", "/models/nobody/info").status == 404


def test_plain_health_is_ready_or_503() -> None:
    assert stage_health(Stage()) == (200, True)
    assert stage_health(Stage(ready=False)) == (503, False)


def stage_health(stage: Stage) -> tuple[int, bool]:
    reply = stage.ask("GET", "/health")
    return reply.status, isinstance(reply.json.get("unix"), float)


def test_metrics_are_text_with_the_queues_state() -> None:
    stage = Stage()
    reply = stage.ask("GET", "/v1/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=")
    lines = reply.body.decode().splitlines()
    assert {"emberank_ready 1.0", "emberank_queue_requests 6.0", "emberank_queue_tokens 210.0"} <= set(lines)


def test_the_page_of_the_api_runs_no_script_and_fetches_nothing() -> None:
    reply = Stage().ask("GET", "/docs", headers={"Host": "localhost:1"})
    assert reply.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert b"/v1/embeddings" in reply.body
    assert b"<script" not in reply.body


def test_the_api_is_described_where_tools_look_for_it() -> None:
    assert Stage().ask("GET", "/openapi.json").json["openapi"] == "3.1.0"


def test_the_version_says_the_release_and_the_wires() -> None:
    from emberank import __version__

    assert Stage().ask("GET", "/v1/version").json == {"release": __version__, "api": "1"}
