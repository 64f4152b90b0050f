"""POST /v1/ranking and its hosted path, over a socket: the answer's order, numbers and usage, and truncation."""

from __future__ import annotations

from typing import Any

import pytest

from wire import Client, nim_error

RANKER = "acme/tiny-rank.v2"
QUERY = {"text": "which way should i go"}
LONG = "the snow " * 60  # 120 tokens; the tiny model takes 40


def ranking(*passages: str, **fields: Any) -> dict[str, Any]:
    return {"model": RANKER, "query": QUERY, "passages": [{"text": text} for text in passages]} | fields


@pytest.mark.claim("nim:ranking:response-shape")
def test_every_passage_comes_back_with_its_index_and_its_logit(server: Client) -> None:
    reply = server.post("/v1/ranking", ranking("snow", "the road", "red hot ice"))
    assert reply.status == 200
    assert set(reply.json) == {"rankings", "usage"}
    assert sorted(ranked["index"] for ranked in reply.json["rankings"]) == [0, 1, 2]
    assert all(set(ranked) == {"index", "logit"} and isinstance(ranked["logit"], float) for ranked in reply.json["rankings"])


@pytest.mark.claim("nim:ranking:sorted")
def test_the_best_passage_comes_first(server: Client) -> None:
    words = ("snow", "the road", "red hot ice", "a wood", "ice", "in the wood i go", "hot", "way")
    logits = [ranked["logit"] for ranked in server.post("/v1/ranking", ranking(*words)).json["rankings"]]
    assert logits == sorted(logits, reverse=True)
    assert len(set(logits)) == len(words)


@pytest.mark.claim("nim:ranking:raw-logit")
def test_a_logit_is_raw_and_does_not_depend_on_its_company(server: Client) -> None:
    alone = server.post("/v1/ranking", ranking("the road")).json["rankings"][0]["logit"]
    among = {ranked["index"]: ranked["logit"] for ranked in server.post("/v1/ranking", ranking("snow", "the road", "ice")).json["rankings"]}
    assert among[1] == pytest.approx(alone, abs=1e-5)
    assert not 0 <= alone <= 1  # no sigmoid was applied


@pytest.mark.claim("nim:ranking:ties-by-index")
def test_equal_logits_keep_the_order_of_the_request(server: Client) -> None:
    rankings = server.post("/v1/ranking", ranking("snow", "ice", "snow", "ice", "snow", "ice")).json["rankings"]
    for text in (0, 1):
        alike = [ranked["index"] for ranked in rankings if ranked["index"] % 2 == text]
        assert alike == sorted(alike)
    assert len({ranked["logit"] for ranked in rankings}) == 2


@pytest.mark.claim("nim:ranking:usage-per-pair")
def test_usage_counts_the_query_once_per_pair_and_special_tokens(server: Client) -> None:
    # [CLS] which way should i go [SEP] snow [SEP], and the same with two words
    usage = server.post("/v1/ranking", ranking("snow", "the road")).json["usage"]
    assert usage == {"prompt_tokens": (5 + 1 + 3) + (5 + 2 + 3), "total_tokens": 19}


@pytest.mark.claim("nim:ranking:top-n-and-top-k-honoured")
@pytest.mark.parametrize("field", ["top_n", "top_k"])
def test_only_the_best_come_back_when_so_asked(server: Client, field: str) -> None:
    everything = server.post("/v1/ranking", ranking("snow", "the road", "ice")).json["rankings"]
    assert server.post("/v1/ranking", ranking("snow", "the road", "ice", **{field: 2})).json["rankings"] == everything[:2]
    assert server.post("/v1/ranking", ranking("snow", "the road", "ice", **{field: 99})).json["rankings"] == everything


@pytest.mark.claim("nim:ranking:over-length-refused")
@pytest.mark.claim("nim:errors:over-length-sentence")
@pytest.mark.parametrize("fields", [{}, {"truncate": "NONE"}, {"truncate": None}])
def test_one_over_long_pair_refuses_the_whole_request(server: Client, fields: dict[str, Any]) -> None:
    reply = server.post("/v1/ranking", ranking("snow", LONG, **fields))
    assert reply.status == 400
    assert nim_error(reply) == "Input length 128 exceeds maximum allowed token size 40"


@pytest.mark.claim("nim:ranking:truncate-end")
def test_with_end_an_over_long_passage_is_cut_and_the_others_are_unharmed(server: Client) -> None:
    alone = server.post("/v1/ranking", ranking("snow")).json["rankings"][0]["logit"]
    reply = server.post("/v1/ranking", ranking(LONG, "snow", truncate="END"))
    logits = {ranked["index"]: ranked["logit"] for ranked in reply.json["rankings"]}
    assert logits[1] == pytest.approx(alone, abs=1e-5)
    assert reply.headers["emberank-truncated"] == "0"
    assert reply.json["usage"]["prompt_tokens"] == 40 + 9


@pytest.mark.claim("nim:ranking:truncate-end-keeps-query")
def test_with_end_the_passage_is_cut_from_the_right_and_the_query_is_kept(server: Client) -> None:
    # 40 positions less three special tokens and five of the query leave 32 of the passage: the rest changes nothing.
    kept = ("the snow " * 16).strip()
    cut = server.post("/v1/ranking", ranking(f"{kept} red hot", f"{kept} way to go", kept, truncate="END"))
    assert len({ranked["logit"] for ranked in cut.json["rankings"]}) == 1
    other = server.post("/v1/ranking", ranking(kept, truncate="END", query={"text": "hot red ice in snow"}))
    assert other.json["rankings"][0]["logit"] != cut.json["rankings"][0]["logit"]


def test_a_query_longer_than_the_model_is_cut_with_end_and_refused_with_none(server: Client) -> None:
    long_query = {"text": LONG}
    assert server.post("/v1/ranking", ranking("snow", "ice", query=long_query, truncate="END")).status == 200
    assert "exceeds maximum allowed token size 40" in nim_error(server.post("/v1/ranking", ranking("snow", query=long_query)))


@pytest.mark.claim("nim:ranking:512-passages")
def test_512_passages_are_ranked_and_513_are_refused(server: Client) -> None:
    reply = server.post("/v1/ranking", ranking(*(["snow", "ice"] * 256)))
    assert len(reply.json["rankings"]) == 512
    assert reply.json["usage"]["prompt_tokens"] == 512 * 9
    refused = server.post("/v1/ranking", ranking(*(["snow"] * 513)))
    assert (refused.status, nim_error(refused)) == (400, "passages holds 513 entries; at most 512 are allowed in one request")


@pytest.mark.claim("nim:ranking:hosted-path")
@pytest.mark.parametrize("name", ["tiny-rank.v2", "tiny-rank_v2", "tiny_rank_v2", "TINY-RANK.V2", "tiny-rank-v2"])
def test_the_hosted_path_finds_the_model_with_dots_underscores_and_any_case(server: Client, name: str) -> None:
    body = ranking("snow", "ice") | {"model": name.replace("_", ".")}  # as LiteLLM sends it
    reply = server.post(f"/v1/retrieval/acme/{name}/reranking", body)
    assert reply.json == server.post("/v1/ranking", ranking("snow", "ice")).json


@pytest.mark.claim("nim:errors:model-not-found")
def test_an_unknown_model_is_a_404_in_nims_words(server: Client) -> None:
    reply = server.post("/v1/ranking", ranking("snow", model="wrong-model"))
    assert (reply.status, nim_error(reply)) == (404, "model 'wrong-model' not found; available: 'acme/tiny-rank.v2'")
    assert server.post("/v1/retrieval/acme/wrong/reranking", ranking("snow")).status == 404


def test_a_models_name_of_any_length_is_cut_in_the_error(server: Client) -> None:
    said = nim_error(server.post("/v1/ranking", ranking("snow", model="m" * 100_000)))
    assert len(said) < 300


@pytest.mark.claim("nim:ranking:unknown-field-sentence")
def test_an_unknown_field_is_a_400_that_names_the_allowed_ones(server: Client) -> None:
    reply = server.post("/v1/ranking", ranking("snow", return_documents=True))
    assert reply.status == 400
    assert (
        nim_error(reply)
        == "return_documents: unknown field, expected one of model, query, passages, truncate, top_n, top_k, score_mode, max_tokens_per_doc, max_chunks_per_doc"
    )


@pytest.mark.claim("nim:ranking:image-to-text-model")
@pytest.mark.parametrize("passage", [{"image": "data:image/png;base64,AAAA"}, {"text": "", "image": "data:image/png;base64,AAAA"}])
def test_an_image_to_a_text_model_is_a_clear_400(server: Client, passage: dict[str, str]) -> None:
    reply = server.post("/v1/ranking", ranking("snow") | {"passages": [{"text": "snow"}, passage]})
    assert reply.status == 400
    assert nim_error(reply).startswith("passages[1] holds an image, and model 'acme/tiny-rank.v2' reads text only; send text")


@pytest.mark.parametrize("text", ["👩‍🚀 😀", "\u200b\u200bsnow\u200b", "\u202eright to left", "\x00null", "snow\r\nX: y", "\ufffd", "e\u0301" * 50])
def test_odd_texts_are_ranked_like_any_other(server: Client, text: str) -> None:
    reply = server.post("/v1/ranking", ranking(text, "snow", truncate="END", query={"text": text}))
    assert reply.status == 200
    assert len(reply.json["rankings"]) == 2


@pytest.mark.claim("nim:errors:body-superset")
def test_an_error_of_a_nim_route_has_a_string_under_error_and_one_under_detail(server: Client) -> None:
    body = server.post("/v1/ranking", ranking()).json
    assert body["error"] == body["detail"] == body["message"] == "passages must not be empty"
    assert (body["object"], body["type"], body["code"]) == ("error", "invalid_request_error", 400)


@pytest.mark.claim("nim:errors:over-length-status-setting")
def test_over_length_can_be_a_422(start: Any) -> None:
    server = start(over_length_status=422)
    reply = server.post("/v1/ranking", ranking(LONG))
    assert (reply.status, nim_error(reply)) == (422, "Input length 128 exceeds maximum allowed token size 40")


def test_rules_of_ranking_are_settings(start: Any) -> None:
    server = start(ranking_unknown_fields="ignore", default_truncate="END", max_passages=3)
    reply = server.post("/v1/ranking", ranking(LONG, return_documents=True))
    assert reply.status == 200
    assert reply.headers["emberank-ignored-fields"] == "return_documents"
    assert "at most 3 are allowed" in nim_error(server.post("/v1/ranking", ranking("a", "a", "a", "a")))


def test_many_truncated_passages_are_no_trouble(server: Client) -> None:
    reply = server.post("/v1/ranking", ranking(*[f"{LONG} {i}" for i in range(60)], truncate="END"))
    assert reply.status == 200
    assert reply.headers["emberank-truncated"].endswith(",49,...")
