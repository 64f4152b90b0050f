"""Whole examinations of servers on loopback that are right, odd, broken or hostile: what the doctor says of each."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from emberank.doctor import Patient, examine
from emberank.doctor.report import as_json, as_text
from fleets import Asked, Said, fake_endpoint
from loopback import Talk, answer, certificate, playing
from patients import (
    MODEL,
    NIM,
    cohere_rerank,
    embeddings,
    examined,
    models,
    nim_ranking,
    refusal,
    said,
    sigmoid,
    tei_rerank,
    titled,
    whats,
)
from wire import WAIT_S

SECRET = "sk-secret-0123456789"


def test_a_server_of_three_dialects_is_fine_and_its_rules_are_told() -> None:
    report = examined(NIM)
    facts = report.facts
    assert whats(report, "broken", "off") == []
    assert report.status == 0
    assert facts.kind.name == "NVIDIA NIM"
    assert [verdict.path for verdict in facts.rank.verdicts if verdict.spoken] == ["/v1/ranking", "/v1/rerank", "/rerank", "/rerank"]
    assert {(one.family, one.scale) for one in facts.scales} == {("nim", "logit"), ("cohere", "sigmoid"), ("tei", "sigmoid")}
    assert facts.raw_honoured is True
    assert [(one.family, one.outcome, one.end, one.none) for one in facts.long] == [
        ("nim", "refused", "cut", None),
        ("cohere", "cut", None, "cut"),
        ("tei", "refused", "cut", None),
        ("openai", "cut", None, "cut"),
    ]
    assert [(one.path, one.most, one.exact) for one in facts.passages] == [("/v1/ranking", 512, True), ("/v1/rerank", 1000, False)]
    assert [(one.family, one.top_n, one.documents) for one in facts.told] == [("nim", True, "absent"), ("cohere", True, "object"), ("tei", False, "absent")]
    assert facts.access is not None
    assert facts.access.open


def test_the_exact_number_of_passages_is_found_whatever_the_refusal_says() -> None:
    report = examined({"/v1/rerank": cohere_rerank(limit=137)})
    (found,) = report.facts.passages
    assert (found.most, found.refused, found.exact) == (137, 138, True)


def test_a_proxy_of_litellm_that_gives_logits_as_relevance_is_off() -> None:
    routes = {
        "/v1/models": models(MODEL, owner="openai"),
        "/openapi.json": titled("LiteLLM API"),
        "/v1/rerank": cohere_rerank(float, raw=False),
        "/v2/rerank": cohere_rerank(float, raw=False),
        "/rerank": cohere_rerank(float, raw=False),
        "/v1/embeddings": embeddings,
    }
    report = examined(routes, key=SECRET, needed=SECRET, wrong_status=400)
    assert report.facts.kind.name == "LiteLLM proxy"
    assert whats(report, "off") == [
        "a wrong key gets 400, not 401",
        "/v1/rerank, /v2/rerank, /rerank (cohere) gives raw logits where its clients expect scores between 0 and 1",
    ]
    assert report.status == 1
    litellm = next(recipe.text for recipe in report.recipes if recipe.client == "LiteLLM")
    assert f'model="litellm_proxy/{MODEL}"' in litellm


def test_infinity_is_known_and_gets_the_settings_of_its_one_route() -> None:
    routes = {
        "/openapi.json": titled("Infinity - Embedding Inference Server"),
        "/models": models(MODEL, owner="infinity", capabilities=["rerank"]),
        "/rerank": cohere_rerank(documents="string"),
        "/embeddings": embeddings,
    }
    report = examined(routes)
    assert report.facts.kind.name == "Infinity"
    text = {(recipe.client, recipe.task): recipe.text or recipe.why for recipe in report.recipes}
    assert f'model="infinity/{MODEL}"' in text["LiteLLM", "reranking"]
    assert text["Open WebUI", "reranking"].splitlines()[1].endswith("/rerank")
    assert "need /v1/ranking or /v2/rerank" in text["LangChain", "reranking"]
    assert "check_embedding_ctx_length=False" in text["LangChain", "embeddings"]


def test_tei_alone_is_right_too() -> None:
    report = examined({"/rerank": tei_rerank, "/info": lambda _: said({"model_id": "BAAI/bge", "max_client_batch_size": 32, "max_input_length": 512})})
    assert report.facts.kind.name == "Text Embeddings Inference"
    assert report.status == 0
    assert [(one.words, one.outcome, one.end) for one in report.facts.long] == [(665, "refused", "cut")]  # from the limit that it tells
    assert 'model="huggingface/tei"' in report.recipes[0].text


def test_a_sigmoid_of_a_sigmoid_is_seen_with_and_without_something_to_compare() -> None:
    def twice(logit: float) -> float:
        return sigmoid(sigmoid(logit))

    compared = examined({"/v1/models": models(MODEL), "/v1/ranking": nim_ranking, "/v1/rerank": cohere_rerank(twice)})
    alone = examined({"/v1/rerank": cohere_rerank(twice, raw=False)})
    assert whats(compared, "off") == ["/v1/rerank (cohere) applies the sigmoid twice"]
    assert whats(alone, "off") == ["/v1/rerank (cohere) looks as if the sigmoid were applied twice"]


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (lambda body: said({"results": []}), "answers cohere requests with something that its clients cannot read"),
        (
            lambda body: Said(200, b"<!doctype html><p>hello", {"Content-Type": "text/html"}),
            "answers cohere requests with something that its clients cannot read",
        ),
        (lambda body: Said(200, b"{", {}), "answers cohere requests with something that its clients cannot read"),
        (lambda body: Said(0, b"", {}), "does not answer"),
        (lambda body: refusal("it broke", 500), "fails on a plain cohere request"),
        (cohere_rerank(lambda logit: sigmoid(-logit)), "gives other results than its neighbours"),
        (cohere_rerank(documents="null"), "breaks clients"),
    ],
)
def test_one_bad_route_beside_good_ones_is_named(broken: Any, what: str) -> None:
    report = examined({"/v1/models": models(MODEL), "/v1/ranking": nim_ranking, "/v2/rerank": broken})
    assert [each for each in whats(report, "broken", "off") if what in each]
    assert report.status == 1


def test_a_model_that_finds_nothing_is_off_once_and_not_route_by_route() -> None:
    def wrong(body: dict[str, Any]) -> Said:
        answer = nim_ranking(body)
        if answer.status != 200:
            return answer
        right = json.loads(answer.body)["rankings"]
        return said({"rankings": [{"index": one["index"], "logit": -one["logit"]} for one in right[::-1]]}, Emberank_Random_Weights="true")

    report = examined({"/v1/models": models(MODEL), "/v1/ranking": wrong})
    (found,) = [finding for finding in report.findings if finding.severity != "note"]
    assert found.what == "no rerank route finds the passage that answers an easy question"
    assert "random numbers" in found.advice


def test_passages_that_are_left_out_are_noticed() -> None:
    report = examined({"/v1/models": models(MODEL), "/v1/rerank": lambda body: cohere_rerank()(body | {"documents": (body.get("documents") or [])[:20]})})
    assert whats(report, "broken") == ["/v1/rerank leaves passages out without a word"]


def test_base64_that_holds_other_vectors_is_broken() -> None:
    def other(body: dict[str, Any]) -> Said:
        return embeddings(body | {"input": body["input"][::-1]}) if body.get("encoding_format") == "base64" else embeddings(body)

    report = examined({"/v1/models": models("acme/embed"), "/v1/embeddings": other})
    assert [each for each in whats(report, "broken") if "gives other vectors in base64" in each]


def test_a_refused_base64_is_broken() -> None:
    routes = {"/v1/models": models("e"), "/v1/embeddings": lambda body: refusal("no base64") if body.get("encoding_format") else embeddings(body)}
    assert [each for each in whats(examined(routes), "broken") if "does not take encoding_format base64" in each]


# --- keys


def test_a_key_that_is_needed_and_not_given_is_the_one_thing_said() -> None:
    report = examined(NIM, needed=SECRET)
    assert (report.status, whats(report)) == (1, ["a key is needed"])
    assert report.recipes == ()


def test_a_key_that_is_not_accepted_is_said_and_never_shown() -> None:
    report = examined(NIM, needed="another", key=SECRET)
    assert (report.status, whats(report)) == (1, ["the key is not accepted"])
    assert "Bearer [key] is not known" in report.findings[0].evidence  # this server repeats it
    assert SECRET not in as_text(report) + json.dumps(as_json(report))


def test_a_key_that_is_accepted_is_sent_with_every_question_but_two_kinds() -> None:
    keys: list[str] = []

    async def run() -> Any:
        def routed(asked: Asked) -> Said:
            keys.append(asked.headers.get("authorization", ""))
            if keys[-1] != f"Bearer {SECRET}":
                return refusal("who is there?", 401)
            return NIM[asked.path](asked.json if asked.body else {}) if asked.path in NIM else said({"detail": "Not Found"}, 404)

        async with fake_endpoint(routed) as fake:
            return await examine(Patient(url=fake.url, key=SECRET, key_name="MY_KEY", timeout_s=WAIT_S))

    report = asyncio.run(run())
    assert report.status == 0
    assert sorted(key for key in keys if SECRET not in key) == ["", "Bearer sk-emberank-doctor-this-key-is-wrong"]
    text = as_text(report) + json.dumps(as_json(report))
    assert SECRET not in text
    assert 'api_key=os.environ["MY_KEY"]' in as_text(report)
    assert "needed; this one is accepted" in text


def test_a_server_that_takes_any_key_is_broken() -> None:
    def any_key(asked: Asked) -> Said:
        if "authorization" not in asked.headers:
            return refusal("no key", 401)
        return NIM[asked.path](asked.json if asked.body else {}) if asked.path in NIM else said({"detail": "Not Found"}, 404)

    async def run() -> Any:
        async with fake_endpoint(any_key) as fake:
            return await examine(Patient(url=fake.url, key=SECRET, timeout_s=WAIT_S))

    assert whats(asyncio.run(run()), "broken") == ["any key is accepted"]


# --- those that cannot be examined


def looked(script: Any, **patient: Any) -> Any:
    async def run() -> Any:
        async with asyncio.timeout(WAIT_S), playing(script) as server:
            return await examine(Patient(url=server.url, **{"timeout_s": 2.0} | patient))

    return asyncio.run(run())


def test_a_server_that_redirects_everything_is_broken_and_not_followed() -> None:
    async def away(talk: Talk) -> None:
        while True:
            await talk.request()
            await talk.send(answer(b"", b"Location: https://elsewhere.invalid/v1/models", status=b"308 Permanent Redirect"))

    report = looked(away, key=SECRET)
    assert "requests are sent elsewhere" in whats(report, "broken")
    assert "elsewhere.invalid" in as_text(report)


def test_a_server_that_answers_pages_to_everything_serves_nothing() -> None:
    async def page(talk: Talk) -> None:
        while True:
            await talk.request()
            await talk.send(answer(b"<html>welcome</html>", b"Content-Type: text/html"))

    assert whats(looked(page), "broken") == ["nothing here reranks or embeds in any dialect that is known here"]


def test_a_server_that_never_answers_is_given_up_within_the_time() -> None:
    async def silent(talk: Talk) -> None:
        await talk.left()

    report = looked(silent, timeout_s=0.5)
    assert report.status == 2
    assert "no answer came in time" in report.findings[0].evidence


def test_what_is_no_http_is_said_so() -> None:
    async def banner(talk: Talk) -> None:
        await talk.request()
        await talk.send(b"220 mail.example ESMTP\r\n")

    report = looked(banner)
    assert (report.status, report.findings[0].evidence) == (2, "GET /v1/models → what came is not HTTP")


def test_a_server_that_breaks_off_every_answer_is_no_examination_without_end() -> None:
    async def half(talk: Talk) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")

    assert looked(half).status == 2


def test_nobody_at_home_is_status_2() -> None:
    async def run() -> Any:
        async with playing(lambda talk: talk.left()) as server:
            url = server.url
        return await examine(Patient(url=url, timeout_s=WAIT_S))

    report = asyncio.run(run())
    assert (report.status, whats(report)) == (2, [f"{report.facts.base} cannot be reached"])
    assert report.recipes == ()


def test_a_certificate_that_is_not_trusted_is_said_so(tmp_path: Any) -> None:
    server_side, _ = certificate(tmp_path)

    async def run() -> Any:
        async with playing(lambda talk: talk.left(), tls=server_side) as server:
            return await examine(Patient(url=f"https://127.0.0.1:{server.port}", timeout_s=WAIT_S))

    report = asyncio.run(run())
    assert report.status == 2
    assert "certificate is not trusted" in report.findings[0].evidence
    assert "SSL_CERT_FILE" in report.findings[0].advice


def test_a_port_without_tls_behind_https_is_not_called_a_certificate_problem() -> None:
    async def plain(talk: Talk) -> None:
        await talk.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async def run() -> Any:
        async with playing(plain) as server:
            return await examine(Patient(url=f"https://127.0.0.1:{server.port}", timeout_s=WAIT_S))

    report = asyncio.run(run())
    assert report.status == 2
    assert "no TLS could be agreed on" in report.findings[0].evidence
    assert "http://" in report.findings[0].advice


def test_what_hangs_later_costs_its_own_answer_and_the_rest_is_told() -> None:
    def hangs(asked: Asked) -> Any:
        if asked.path == "/v2/rerank":
            return asyncio.get_running_loop().create_future()
        return NIM[asked.path](asked.json if asked.body else {}) if asked.path in NIM else said({"detail": "Not Found"}, 404)

    async def run() -> Any:
        async with fake_endpoint(hangs) as fake:
            return await examine(Patient(url=fake.url, timeout_s=2.0))

    report = asyncio.run(run())
    assert {verdict.path: verdict.state for verdict in report.facts.rank.verdicts}["/v2/rerank"] == "silent"
    assert whats(report, "broken") == ["/v2/rerank does not answer"]
    assert len(report.facts.long) == 4
    assert report.facts.seconds < WAIT_S


def test_a_server_whose_every_inference_hangs_is_given_up_within_the_time() -> None:
    def hangs(asked: Asked) -> Any:
        return NIM[asked.path]({}) if asked.method == "GET" and asked.path in NIM else asyncio.get_running_loop().create_future()

    async def run() -> Any:
        async with fake_endpoint(hangs) as fake:
            return await examine(Patient(url=fake.url, timeout_s=1.0))

    report = asyncio.run(run())
    assert whats(report, "broken") == ["nothing here reranks or embeds in any dialect that is known here"]
    assert whats(report, "note") == ["not everything was tried"]
    assert report.facts.seconds < WAIT_S
