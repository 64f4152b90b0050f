"""The doctor at our own bare runtime, on real sockets: what it says is so. The tiny models know no English, which it notices."""

from __future__ import annotations

import asyncio
from typing import Any

from emberank.doctor import Patient, Report, examine
from wire import WAIT_S

EMBEDDER, RERANKER = "acme/Tiny_Embed-v1.5", "acme/tiny-rank.v2"  # those of this folder's servers
PASSAGES = ["Bananas grow in warm and humid places.", "Paris is the capital of France.", "The train to the coast leaves at noon.", "A violin has four strings."]


def looked_at(server: Any, **patient: Any) -> Report:
    return asyncio.run(examine(Patient(url=f"http://127.0.0.1:{server.port}", **{"timeout_s": 4 * WAIT_S} | patient)))


def test_what_it_says_of_a_bare_runtime_is_so(server: Any) -> None:
    report = looked_at(server)
    facts = report.facts
    assert facts.kind.name == "Emberank runtime"
    assert {(one.id, one.task) for one in facts.models} == {(EMBEDDER, "embed"), (RERANKER, "rank")}
    assert (facts.rank.name, facts.embed.name) == (RERANKER, EMBEDDER)
    spoken = {verdict.path for verdict in facts.verdicts if verdict.spoken}
    assert {"/v1/ranking", f"/v1/retrieval/{RERANKER}/reranking", "/v1/reranking", "/v1/rerank", "/v2/rerank", "/rerank", "/v1/embeddings"} <= spoken
    assert not [verdict.why for verdict in facts.verdicts if verdict.state in ("shape", "silent")]
    assert {verdict.path for verdict in facts.rank.verdicts if verdict.route.family == "tei" and verdict.spoken} == {"/rerank"}
    assert facts.access is not None
    assert facts.access.open


def test_the_scores_it_saw_are_those_of_the_wire(server: Any) -> None:
    report = looked_at(server)
    body = {"model": RERANKER, "query": {"text": "What is the capital of France?"}, "passages": [{"text": text} for text in PASSAGES]}
    wire = {one["index"]: one["logit"] for one in server.post("/v1/ranking", body).json["rankings"]}
    seen = next(one for one in report.facts.scales if one.path == "/v1/ranking")
    assert dict(enumerate(seen.scores)) == wire
    assert {one.scale for one in report.facts.scales if one.family in ("cohere", "tei")} == {"sigmoid"}
    assert report.facts.raw_honoured is True


def test_the_limits_it_found_are_the_servers(server: Any) -> None:
    facts = looked_at(server).facts
    nim = next(one for one in facts.passages if one.path == "/v1/ranking")
    assert (nim.most, nim.exact) == (512, True)
    outcomes = {(one.path, one.family): (one.outcome, one.end, one.none) for one in facts.long}
    assert outcomes["/v1/ranking", "nim"] == ("refused", "cut", None)
    assert outcomes["/v1/rerank", "cohere"] == ("cut", None, "refused")
    assert outcomes["/rerank", "tei"] == ("refused", "cut", None)
    assert outcomes["/v1/embeddings", "openai"] == ("refused", "cut", None)


def test_nothing_is_off_but_that_these_models_know_no_english(server: Any) -> None:
    report = looked_at(server)
    off = [finding.what for finding in report.findings if finding.severity != "note"]
    assert all("finds the passage that answers an easy question" in what for what in off), off


def test_a_smaller_limit_is_found_to_the_passage(start: Any) -> None:
    server = start(max_passages=77)
    nim = next(one for one in looked_at(server).facts.passages if one.path == "/v1/ranking")
    assert (nim.most, nim.refused) == (77, 78)
