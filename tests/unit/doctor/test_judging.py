"""Recorded answers in, verdicts, scales and kinds out: the parts that judge and ask nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emberank.contract.errors import BadRequest
from emberank.doctor.address import base_of, is_local
from emberank.doctor.heard import Heard
from emberank.doctor.kind import kind_of
from emberank.doctor.models import Listed, advertised_tokens, candidates, listed
from emberank.doctor.readings import Scores
from emberank.doctor.routes import EMBED_ROUTES, RANK_ROUTES, Question
from emberank.doctor.scale import looks_twice, scales
from emberank.doctor.verdict import Verdict, judge_scores, judge_vectors
from patients import sigmoid

NIM_ROUTE, COHERE_ROUTE = RANK_ROUTES[0], RANK_ROUTES[3]


def heard(body: Any, status: int = 200, path: str = "/v1/ranking", **headers: str) -> Heard:
    pairs = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return Heard(method="POST", path=path, status=status, headers=pairs, body=body if isinstance(body, bytes) else json.dumps(body).encode())


def rankings(*pairs: tuple[int, float]) -> dict[str, Any]:
    return {"rankings": [{"index": index, "logit": logit} for index, logit in pairs]}


# --- verdicts


@pytest.mark.parametrize(
    ("answer", "state", "why"),
    [
        (heard(rankings((1, 3.0), (0, -1.0), (2, -2.0), (3, -3.0))), "right", ""),
        (heard(rankings((0, 3.0), (1, -1.0), (2, -2.0), (3, -3.0))), "order", "answers the question is not the best"),
        (heard(rankings((0, -1.0), (1, 3.0), (2, -2.0), (3, -3.0))), "order", "does not stand first"),
        (heard(rankings((0, 0.5), (1, 0.5), (2, 0.5), (3, 0.5))), "order", "same score"),
        (heard(rankings((1, 3.0), (0, -1.0), (2, -2.0))), "shape", "indexes that came back are 1, 0, 2"),
        (heard(rankings((1, 3.0), (1, 2.0), (2, -2.0), (3, -3.0))), "shape", "indexes"),
        (heard(rankings((1, 3.0), (0, 2.0), (2, -2.0), (4, -3.0))), "shape", "indexes"),
        (heard(b"<html><body>hello</body></html>"), "shape", "a page in HTML"),
        (heard({"detail": "Not Found"}, 404), "absent", "Not Found"),
        (heard({"detail": "Method Not Allowed"}, 405), "absent", ""),
        (heard(b"<html>not here</html>", 404, content_type="text/html"), "absent", ""),
        (heard({"message": "no route '/models/x/v1/inference/the model'"}, 404), "absent", ""),
        (heard({"message": "model 'x' not found; available: none"}, 404), "refused", "404: model 'x' not found"),
        (heard({"detail": [{"msg": "Field required"}]}, 422), "refused", "422: Field required"),
        (heard({}, 202), "shape", "202"),
        (heard(b"", 307, location="https://elsewhere.example/v1"), "refused", "redirects to https://elsewhere.example/v1"),
        (Heard(method="POST", path="/v1/ranking", trouble="no answer"), "silent", "no answer came in time"),
        (Heard(method="POST", path="/v1/ranking", trouble="spent"), "untried", "not asked"),
    ],
)
def test_a_route_is_spoken_only_with_the_right_shape_every_index_and_the_answer_first(answer: Heard, state: str, why: str) -> None:
    verdict = judge_scores(NIM_ROUTE, Question(), answer)
    assert (verdict.state, verdict.spoken) == (state, state in ("right", "order"))
    assert why in verdict.why


def test_embeddings_are_right_when_the_answer_is_nearest_to_the_question() -> None:
    def answer(*rows: list[float]) -> Heard:
        data = [{"index": i, "embedding": row} for i, row in enumerate(rows)]
        return heard({"data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}, path="/v1/embeddings")

    def state(*rows: list[float]) -> str:
        return judge_vectors(EMBED_ROUTES[0], Question(), answer(*rows)).state

    assert state([1, 0], [0, 1], [1, 0.1], [0, 1], [0, 1]) == "right"
    assert state([1, 0], [1, 0], [0, 1], [0, 1], [0, 1]) == "order"
    assert state([1, 0], [0, 1], [1, 0.1], [0, 1]) == "shape"
    assert state([0, 0], [0, 1], [1, 0.1], [0, 1], [0, 1]) == "shape"


# --- scales


def spoken(route: Any, values: list[float]) -> Verdict[Scores]:
    return Verdict(route=route, path=route.path, state="right", read=Scores(entries=tuple(enumerate(values))))


LOGITS = [-6.0, 3.4, -5.2, 0.2]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (LOGITS, "logit"),
        ([sigmoid(logit) for logit in LOGITS], "sigmoid"),
        ([sigmoid(sigmoid(logit)) for logit in LOGITS], "twice"),
        ([0.1, 0.9, 0.2, 0.4], "other"),
    ],
)
def test_a_scale_is_told_by_comparing_routes(values: list[float], scale: str) -> None:
    found = scales([spoken(NIM_ROUTE, LOGITS), spoken(COHERE_ROUTE, values)], None)
    assert [one.scale for one in found] == ["logit", scale]


def test_with_nothing_to_compare_a_scale_within_0_and_1_is_only_bounded_and_twice_is_seen_by_its_range() -> None:
    once, twice = [sigmoid(logit) for logit in LOGITS], [sigmoid(sigmoid(logit)) for logit in LOGITS]
    assert [one.scale for one in scales([spoken(COHERE_ROUTE, once)], None)] == ["bounded"]
    assert looks_twice(twice)
    assert not looks_twice(once)


def test_raw_scores_of_the_same_route_are_something_to_compare_with() -> None:
    raw = Scores(entries=tuple(enumerate(LOGITS)))
    assert [one.scale for one in scales([spoken(COHERE_ROUTE, [sigmoid(logit) for logit in LOGITS])], raw)] == ["sigmoid"]


def test_logits_that_happen_to_lie_within_0_and_1_are_known_by_another_routes_sigmoid() -> None:
    near = [0.2, 0.9, 0.3, 0.25]
    found = scales([spoken(NIM_ROUTE, near), spoken(COHERE_ROUTE, [sigmoid(logit) for logit in near])], None)
    assert [one.scale for one in found] == ["logit", "sigmoid"]


# --- who it is


@pytest.mark.parametrize(
    ("about", "answers", "kind"),
    [
        ({"/openapi.json": heard({"info": {"title": "Emberank runtime"}})}, [], "Emberank runtime"),
        ({"/openapi.json": heard({"info": {"title": "Emberank"}})}, [], "Emberank gateway"),
        ({}, [heard({}, x_emberank_target="CPU/local", emberank_prompt_tokens="7")], "Emberank gateway"),
        ({}, [heard({}, emberank_prompt_tokens="7")], "Emberank runtime"),
        ({"/v1/models": heard({}, 401, x_litellm_version="1.106.2")}, [], "LiteLLM proxy"),
        ({"/openapi.json": heard({"info": {"title": "Infinity - Embedding Inference Server"}})}, [], "Infinity"),
        ({"/info": heard({"model_id": "BAAI/bge", "max_client_batch_size": 32})}, [], "Text Embeddings Inference"),
        ({"/v1/models": heard({"data": [{"id": "m", "owned_by": "vllm"}]})}, [], "vLLM"),
        ({"/v1/metadata": heard({"modelInfo": []})}, [], "NVIDIA NIM"),
        # Ours answers as a NIM does, and says who it is besides.
        ({"/v1/metadata": heard({"modelInfo": []}), "/openapi.json": heard({"info": {"title": "Emberank runtime"}})}, [], "Emberank runtime"),
        ({"/v1/models": heard({"data": "nonsense"}), "/openapi.json": heard([1]), "/info": heard(b"<html>")}, [], "unknown"),
    ],
)
def test_a_server_is_known_by_what_it_says_of_itself(about: dict[str, Heard], answers: list[Heard], kind: str) -> None:
    found = kind_of(about, answers)
    assert found.name == kind
    assert bool(found.evidence) == (kind != "unknown")


# --- names


def test_models_are_read_from_every_list_with_what_it_says_of_their_task() -> None:
    about = {
        "/v1/models": heard({"data": [{"id": "a"}, {"id": "b", "model_type": "ranking"}, {"id": "c", "max_model_len": 512}, {"id": 7}]}),
        "/models": heard({"data": [{"id": "a", "capabilities": ["rerank"]}]}),
        "/model/info": heard({"data": [{"model_name": "c", "model_info": {"mode": "embedding"}}]}),
    }
    found = listed(about)
    assert found == (Listed(id="a", task="rank"), Listed(id="b", task="rank"), Listed(id="c", task="embed", max_tokens=512))
    assert advertised_tokens(about, found, "c") == 512
    assert advertised_tokens({"/info": heard({"max_input_length": 256})}, found, "a") == 256


def test_names_are_tried_in_the_order_of_what_is_known_of_them() -> None:
    models = (Listed(id="x"), Listed(id="my-embedder"), Listed(id="my-reranker"), Listed(id="known", task="rank"), Listed(id="other", task="embed"))
    assert candidates(models, "rank", None) == ("known", None, "my-reranker", "x")
    assert candidates(models, "embed", None) == ("other", None, "my-embedder", "x")
    assert candidates(models, "rank", "given") == ("given",)
    assert candidates((), "rank", None) == (None,)


# --- addresses


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://h:8000", "http://h:8000"),
        ("http://h:8000/", "http://h:8000"),
        ("h:8000/v1", "http://h:8000"),
        ("https://h/v1/", "https://h"),
        ("http://h/v1/ranking", "http://h"),
        ("http://h/rerank", "http://h"),
        ("http://h/models/tiny/v1", "http://h/models/tiny"),
        ("http://h/infinity/rerank", "http://h/infinity"),
    ],
)
def test_a_base_is_found_in_whatever_address_is_at_hand(given: str, base: str) -> None:
    assert base_of(given) == base


@pytest.mark.parametrize("given", ["", "ftp://h", "http://", "http://h h", "http://user:secret@h", "http://h?key=1"])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(BadRequest, match="URL"):
        base_of(given)


def test_loopback_is_this_machine() -> None:
    assert all(map(is_local, ("http://127.0.0.1:1", "http://localhost", "http://[::1]:1")))
    assert not is_local("http://127.example.com.evil")


def test_what_a_server_says_is_shown_in_one_line_and_moves_no_cursor() -> None:
    said = heard({"message": "first\n\x1b[2Jsecond " + "x" * 1000}, 400).sentence
    assert said.startswith("first [2Jsecond x")
    assert len(said) <= 240
    assert said.isprintable()
