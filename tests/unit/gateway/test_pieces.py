"""Requests that are several calls to an endpoint: more passages than it takes at one time, or several queries; billed as one, answered as one."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleets import Asked, Said, ScriptedFleet, endpoint, fake_endpoint, model, principal
from gateways import opened
from wire import WAIT_S, Reply, nim_error

DOCUMENTS = [f"text {i}" for i in range(7)]
BODY = {"model": "acme-rank", "query": "which way?", "documents": DOCUMENTS}


def by_number(asked: Asked) -> Said:
    """The logit of `text n` is n, tokens are passages, and the last passage of each call was cut."""
    texts = [passage["text"] for passage in asked.json["passages"]]
    entries = [{"index": i, "logit": float(text.split()[1])} for i, text in enumerate(texts)]
    body = json.dumps({"rankings": entries[::-1], "usage": {"prompt_tokens": len(texts), "total_tokens": len(texts)}}).encode()
    headers = {"Server-Timing": "queue;dur=1, engine;dur=10", "Emberank-Prompt-Tokens": str(len(texts)), "Emberank-Truncated": str(len(texts) - 1)}
    return Said(body=body, headers=headers)


def ask(folder: Path, path: str, body: Any, *, answer: Any = by_number, row: Any = None, most: int | None = None, **settings: Any) -> Any:
    async def play() -> Any:
        async with fake_endpoint(answer) as fake:
            fleet = ScriptedFleet([row or model()], [endpoint(fake.url, max_passages=most)], [principal()])
            async with opened(fleet, folder, **settings) as door:
                reply = await door.ask(path, body)
            return reply, fake.asked, fleet.usage

    return asyncio.run(play())


def test_more_documents_than_a_call_may_hold_are_asked_for_in_several_and_are_one_answer(tmp_path: Path) -> None:
    reply, asked, usage = ask(tmp_path, "/v1/rerank", BODY | {"top_n": 3}, max_passages=3)
    assert [len(each.json["passages"]) for each in asked] == [3, 3, 1]
    assert [one["index"] for one in reply.json["results"]] == [6, 5, 4]
    assert reply.json["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert (reply.headers["emberank-prompt-tokens"], reply.headers["emberank-truncated"]) == ("7", "2,5,6")
    assert reply.headers["server-timing"] == "queue;dur=3.00, engine;dur=30.00"
    assert [(record.tokens, record.passages, record.model_ms, record.queue_ms) for record in usage] == [(7, 7, 30.0, 3.0)]
    assert reply.headers["x-emberank-model-ms"] == "30.00"
    assert usage[0].cost_usd == pytest.approx(30.0 / 3.6e6 * 3.6)


def test_what_an_endpoint_takes_at_one_time_goes_before_the_gateways_own_number(tmp_path: Path) -> None:
    _, asked, _ = ask(tmp_path, "/v1/rerank", BODY, most=4)
    assert [len(each.json["passages"]) for each in asked] == [4, 3]


def test_nims_own_route_keeps_nims_limit(tmp_path: Path) -> None:
    body = {"query": {"text": "q"}, "passages": [{"text": text} for text in DOCUMENTS]}
    reply, asked, _ = ask(tmp_path, "/v1/ranking", body, max_passages=3)
    assert (reply.status, asked, nim_error(reply)) == (400, [], "passages holds 7 entries; at most 3 are allowed in one request")


def test_a_failure_in_the_middle_is_the_answer_and_what_was_done_is_billed(tmp_path: Path) -> None:
    calls: list[Asked] = []

    def second_fails(asked: Asked) -> Said:
        calls.append(asked)
        return by_number(asked) if len(calls) == 1 else Said(status=429, body=b'{"message":"full"}', headers={"Retry-After": "2"})

    reply, _, usage = ask(tmp_path, "/v1/rerank", BODY, answer=second_fails, max_passages=4)
    assert (reply.status, reply.headers["retry-after"]) == (429, "2")
    assert [(record.status, record.tokens) for record in usage] == [(429, 4)]


def test_an_endpoint_that_breaks_in_the_middle_is_asked_again_for_what_is_missing_only(tmp_path: Path) -> None:
    calls: list[Asked] = []

    def second_breaks(asked: Asked) -> Said:
        calls.append(asked)
        return Said(status=0) if len(calls) == 2 else by_number(asked)

    async def play() -> tuple[Reply, list[int]]:
        async with fake_endpoint(second_breaks) as one, fake_endpoint(by_number) as other:
            fleet = ScriptedFleet([model()], [endpoint(one.url), endpoint(other.url, id="e2")], [principal()])
            async with opened(fleet, tmp_path, max_passages=4) as door:
                reply = await door.ask("/v1/rerank", BODY)
            return reply, [len(each.json["passages"]) for each in (*one.asked, *other.asked)]

    reply, sent = asyncio.run(play())
    assert (reply.status, len(reply.json["results"])) == (200, 7)
    assert sorted(sent) in ([3, 3, 4], [3, 4, 4])


CALIBRATED = {"model": "acme-rank", "query": "q", "documents": ["text 2", "text -1"], "score_mode": "calibrated"}


def test_calibrated_scores_are_the_versions_own(tmp_path: Path) -> None:
    row = model()
    versions = tuple(replace(version, calibration=(2.0, 1.0)) for version in row.versions)
    reply, _, _ = ask(tmp_path, "/v1/rerank", CALIBRATED, row=replace(row, versions=versions))
    assert reply.headers["emberank-score"] == "calibrated"
    assert [one["relevance_score"] for one in reply.json["results"]] == [pytest.approx(0.9933071), pytest.approx(0.2689414)]


def test_calibrated_scores_without_a_calibration_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    reply, asked, _ = ask(tmp_path, "/v1/rerank", CALIBRATED)
    assert (reply.status, asked) == (400, [])
    assert "'acme-rank' v1 has no calibration; send 'sigmoid' or 'logit'" in nim_error(reply)


def test_a_model_has_a_base_url_of_its_own(tmp_path: Path) -> None:
    body = {"query": {"text": "q"}, "passages": [{"text": "text 1"}], "model": None}
    for path in ("/models/acme-rank/v1/ranking", "/models/acme.rank//v1/ranking", "/models/acme-rank/v1/retrieval/acme/acme-rank/reranking"):
        reply, asked, _ = ask(tmp_path, path, body)
        assert (reply.status, asked[0].path, reply.headers["x-emberank-model"]) == (200, "/v1/ranking", "acme-rank@v1"), path


@pytest.mark.parametrize(
    ("path", "fields", "status", "said"),
    [
        ("/models/acme-rank/v1/ranking", {"model": "acme/other"}, 400, "the path is for 'acme-rank' and the body's model is 'acme/other'"),
        ("/models/acme-rank/v1/retrieval/acme/other/reranking", {}, 400, "the path is for 'acme-rank'"),
        ("/models/nobody/v1/ranking", {}, 404, "model 'nobody' not found"),
        ("/models/acme-rank/v1/elsewhere", {}, 404, "no route '/models/acme-rank/v1/elsewhere'"),
        ("/models/acme-rank/v1/embeddings", {"input": "x"}, 404, "model 'acme-rank' not found"),
    ],
)
def test_below_a_models_base_only_that_model_is_asked(tmp_path: Path, path: str, fields: dict[str, Any], status: int, said: str) -> None:
    body = {"query": {"text": "q"}, "passages": [{"text": "text 1"}], **fields}
    reply, asked, _ = ask(tmp_path, path, body)
    assert (reply.status, asked) == (status, [])
    assert said in nim_error(reply)


def test_the_hosted_path_takes_the_thousand_passages_of_its_schema(tmp_path: Path) -> None:
    body = {"query": {"text": "q"}, "passages": [{"text": f"text {i}"} for i in range(1001)]}
    path = "/v1/retrieval/acme/acme-rank/reranking"
    reply, asked, _ = ask(tmp_path, path, body | {"passages": body["passages"][:1000], "top_k": 2})
    assert [len(each.json["passages"]) for each in asked] == [512, 488]
    assert reply.json["rankings"] == [{"index": 999, "logit": 999.0}, {"index": 998, "logit": 998.0}]
    assert nim_error(ask(tmp_path, path, body)[0]) == "passages holds 1001 entries; at most 1000 are allowed in one request"


PAIRS = {"model": "acme-rank", "text_1": [f"query {i}" for i in range(40)], "text_2": [f"text {i}" for i in range(40)], "use_activation": False}


def test_many_queries_are_asked_for_at_one_time_and_answered_in_their_order(tmp_path: Path) -> None:
    reply, asked, usage = ask(tmp_path, "/score", PAIRS)
    assert [one["score"] for one in reply.json["data"]] == [float(i) for i in range(40)]
    assert (len(asked), len({each.json["query"]["text"] for each in asked})) == (40, 40)
    assert [(record.tokens, record.passages, record.model_ms) for record in usage] == [(40, 40, pytest.approx(400.0))]
    assert reply.headers["emberank-truncated"] == "40 pairs"


def test_when_one_of_many_breaks_off_the_others_count_and_it_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emberank.gateway.upstream._BROKEN_S", 0.02)
    broken: list[str] = []

    def breaks_twice(asked: Asked) -> Said:
        query = asked.json["query"]["text"]
        if query == "query 7" and len(broken) < 2:
            broken.append(query)
            return Said(status=0)
        return by_number(asked)

    reply, _, usage = ask(tmp_path, "/score", PAIRS, answer=breaks_twice)
    assert reply.status == 200, reply.body
    assert [one["score"] for one in reply.json["data"]] == [float(i) for i in range(40)]
    assert (len(broken), usage[0].tokens) == (2, 40)


def test_a_refusal_of_one_of_many_is_the_answer(tmp_path: Path) -> None:
    def refuses(asked: Asked) -> Said:
        return (
            Said(status=400, body=b'{"message":"Input length 9 exceeds maximum allowed token size 8"}')
            if "query 7" in asked.body.decode()
            else by_number(asked)
        )

    reply, _, usage = ask(tmp_path, "/score", PAIRS, answer=refuses)
    assert (reply.status, "exceeds maximum allowed token size" in nim_error(reply)) == (400, True)
    assert usage[0].status == 400


def test_large_pieces_go_to_as_many_endpoints_as_there_are_at_one_time(tmp_path: Path) -> None:
    together = asyncio.Barrier(2)

    async def two_at_once(asked: Asked) -> Said:
        if "text 0" not in asked.body.decode():  # the first piece goes alone
            async with asyncio.timeout(WAIT_S):
                await together.wait()
        return by_number(asked)

    async def play() -> tuple[Reply, list[int]]:
        async with fake_endpoint(two_at_once) as one, fake_endpoint(two_at_once) as other:
            fleet = ScriptedFleet([model()], [endpoint(one.url), endpoint(other.url, id="e2")], [principal()])
            async with opened(fleet, tmp_path, max_passages=100) as door:
                documents = [f"text {i}" for i in range(500)]
                reply = await door.ask("/v1/rerank", BODY | {"documents": documents})
            return reply, sorted(len(fake.asked) for fake in (one, other))

    reply, asked = asyncio.run(play())
    assert (reply.status, asked) == (200, [2, 3])
    assert [each["index"] for each in reply.json["results"]] == list(range(499, -1, -1))


def test_a_budget_that_a_piece_uses_up_stops_the_rest(tmp_path: Path) -> None:
    async def play() -> tuple[Reply, int, list[Any]]:
        async with fake_endpoint(by_number) as fake:
            fleet = ScriptedFleet([model()], [endpoint(fake.url)], [principal(monthly_tokens=5)])
            async with opened(fleet, tmp_path, max_passages=3) as door:
                reply = await door.ask("/v1/rerank", BODY | {"documents": [f"text {i}" for i in range(60)]})
            return reply, len(fake.asked), fleet.usage

    reply, asked, usage = asyncio.run(play())
    assert (reply.status, asked) == (429, 2), "two pieces of three are over five tokens"
    assert "has used up its monthly budget of 5 tokens (6 tokens spent)" in nim_error(reply)
    assert [(record.status, record.tokens) for record in usage] == [(429, 6)]


def test_an_answer_says_once_what_its_scores_are(tmp_path: Path) -> None:
    def scored(asked: Asked) -> Said:
        said = by_number(asked)
        return Said(body=said.body, headers=said.headers | {"Emberank-Score": "logit"})

    async def play() -> list[tuple[bytes, bytes]]:
        async with fake_endpoint(scored) as fake, opened(ScriptedFleet([model()], [endpoint(fake.url)], [principal()]), tmp_path) as door:
            said: list[Any] = []
            app = door.app

            async def overheard(scope: Any, receive: Any, send: Any) -> None:
                async def tell(message: Any) -> None:
                    said.append(message)
                    await send(message)

                await app(scope, receive, tell)

            door.app = overheard  # type: ignore[assignment]
            await door.ask("/v1/rerank", BODY)
            return [(name, value) for name, value in said[0]["headers"] if name == b"emberank-score"]

    assert asyncio.run(play()) == [(b"emberank-score", b"sigmoid")]
