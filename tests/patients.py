"""Servers for the doctor to look at: one ranker behind the wire of whoever is imitated, on loopback, with every fault in the test's hand.

The answers have the shapes that LiteLLM's proxy 1.106, Infinity 0.0.77, TEI 1.x and a retrieval NIM were seen to give.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from emberank.doctor import Patient, Report, examine
from fleets import Asked, Said, fake_endpoint
from wire import WAIT_S

Answer = Callable[[dict[str, Any]], Said]
Routes = Mapping[str, Answer]
MODEL = "acme/rank"
JSON = {"Content-Type": "application/json"}


def said(body: object, status: int = 200, **headers: str) -> Said:
    return Said(status, json.dumps(body).encode(), JSON | {name.replace("_", "-"): value for name, value in headers.items()})


def logits(query: str, texts: list[str]) -> list[float]:
    """More words in common are more relevant; long texts are told apart by their first 500 words only."""
    asked = set(query.lower().strip("?.").split())
    return [2.0 * len(asked & set(" ".join(text.split()[:500]).lower().strip(".").split())) - 5.0 for text in texts]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def ranked(scores: list[float], name: str, top_n: int | None = None) -> list[dict[str, Any]]:
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    return [{"index": index, name: scores[index]} for index in order[:top_n]]


def refusal(message: str, status: int = 400) -> Said:
    return said({"object": "error", "message": message, "type": "invalid_request_error", "code": status, "detail": message}, status)


def nim_ranking(body: dict[str, Any], *, limit_words: int = 500) -> Said:
    """/v1/ranking, which refuses what is too long unless it is told to cut."""
    texts = [passage["text"] for passage in body.get("passages") or []]
    if body.get("model") not in (None, MODEL):
        return refusal(f"model '{body['model']}' not found", 404)
    if not texts or not all(text.strip() for text in texts):
        return refusal("passages must not be empty")
    if len(texts) > 512:
        return refusal(f"passages holds {len(texts)} entries; at most 512 are allowed in one request")
    if any(len(text.split()) > limit_words for text in texts) and body.get("truncate") != "END":
        return refusal("Input length 900 exceeds maximum allowed token size 512")
    found = ranked(logits(body["query"]["text"], texts), "logit", body.get("top_k"))
    return said({"rankings": found, "usage": {"prompt_tokens": 9, "total_tokens": 9}})


def cohere_rerank(seen_as: Callable[[float], float] = sigmoid, *, raw: bool = True, documents: str = "object", limit: int = 2000) -> Answer:
    """/v1/rerank, which cuts what is too long; `documents` is how it gives them back."""

    def answer(body: dict[str, Any]) -> Said:
        texts = body.get("documents")
        if not texts or "query" not in body or not all(text.strip() for text in texts):
            return refusal("documents: missing field")
        if body.get("model") not in (None, MODEL):
            return refusal(f"model '{body['model']}' not found", 404)
        if len(texts) > limit:
            return refusal(f"at most {limit} documents")
        found = [seen_as(each) if not (raw and body.get("raw_scores")) else each for each in logits(body["query"], texts)]
        results = ranked(found, "relevance_score", body.get("top_n"))
        for result in results:
            if documents == "null":
                result["document"] = None
            elif body.get("return_documents"):
                text = texts[result["index"]]
                result["document"] = {"text": text} if documents == "object" else text
        return said({"id": "1", "results": results, "model": body.get("model") or MODEL, "usage": {"prompt_tokens": 5, "total_tokens": 5}})

    return answer


def tei_rerank(body: dict[str, Any]) -> Said:
    """/rerank with `texts`: a bare array."""
    texts = body.get("texts")
    if not texts or "query" not in body:
        return said({"error": "texts is missing", "error_type": "Validation"}, 422)
    if any(len(text.split()) > 500 for text in texts) and not body.get("truncate"):
        return said({"error": "inputs must have less than 512 tokens", "error_type": "Validation"}, 413)
    found = [each if body.get("raw_scores") else sigmoid(each) for each in logits(body["query"], texts)]
    return said(ranked(found, "score"))


def embeddings(body: dict[str, Any]) -> Said:
    """OpenAI's, of words in common."""
    import base64
    import struct

    texts = body.get("input")
    if not texts or not all(text.strip() for text in texts):
        return refusal("input must not be empty")
    vocabulary = ["capital", "france", "bananas", "train", "violin", "road", "of", "is"]
    rows = []
    for i, text in enumerate(texts):
        words = " ".join(text.split()[:500]).lower().replace("?", "").replace(".", "").split()
        vector = [float(words.count(word)) + 0.1 for word in vocabulary]
        packed: object = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if body.get("encoding_format") == "base64" else vector
        rows.append({"object": "embedding", "index": i, "embedding": packed})
    return said({"object": "list", "data": rows, "model": body.get("model") or "acme/embed", "usage": {"prompt_tokens": 5, "total_tokens": 5}})


def models(*names: str, owner: str = "acme", **more: Any) -> Answer:
    return lambda _: said({"object": "list", "data": [{"id": name, "object": "model", "owned_by": owner, **more} for name in names]})


def titled(title: str) -> Answer:
    return lambda _: said({"openapi": "3.1.0", "info": {"title": title}})


NIM: Routes = {
    "/v1/models": models(MODEL),
    "/v1/metadata": lambda _: said({"modelInfo": []}),
    "/v1/ranking": nim_ranking,
    "/v1/rerank": cohere_rerank(),
    "/rerank": lambda body: tei_rerank(body) if "texts" in body else cohere_rerank()(body),
    "/v1/embeddings": embeddings,
}


async def looked_at(routes: Routes, *, key: str = "", needed: str = "", wrong_status: int = 401, **patient: Any) -> Report:
    """The report on a server of these routes; with `needed` it wants that key."""

    def answer(asked: Asked) -> Said:
        found = routes.get(asked.path)
        if asked.path.startswith("//") and asked.path[1:] in routes:
            found = routes[asked.path[1:]]
        if found is None:
            return said({"detail": "Not Found"}, 404)
        given = asked.headers.get("authorization", "")
        if needed and given != f"Bearer {needed}":
            return refusal(f"the key {given} is not known", wrong_status if given else 401)
        return found(asked.json if asked.body else {})

    async with asyncio.timeout(WAIT_S), fake_endpoint(answer) as fake:
        return await examine(Patient(url=fake.url, key=key, **{"timeout_s": WAIT_S} | patient))


def examined(routes: Routes, **patient: Any) -> Report:
    return asyncio.run(looked_at(routes, **patient))


def whats(report: Report, *severities: str) -> list[str]:
    """What was found, of these severities."""
    return [finding.what for finding in report.findings if finding.severity in (severities or ("broken", "off", "note"))]
