"""`emberank doctor` as a person runs it, at a runtime with the real weights: everything that it says is so, and nothing is off."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from wire import Client

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def served(launch: Any, weights: Path) -> Client:
    """The default models, ready."""
    client: Client = launch().ready()
    return client


def test_our_own_runtime_is_fine_and_known(served: Client, emberank: Command) -> None:
    done = emberank("doctor", f"http://127.0.0.1:{served.port}/v1", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["server"]["kind"] == "Emberank runtime"
    assert not [finding for finding in report["findings"] if finding["severity"] != "note"]
    right = {(route["path"], route["dialect"]) for route in report["routes"] if route["state"] == "right"}
    assert {("/v1/ranking", "nim"), ("/v1/rerank", "cohere"), ("/v2/rerank", "cohere"), ("/rerank", "tei"), ("/v1/embeddings", "openai")} <= right
    scales = {(score["dialect"], score["scale"]) for score in report["scores"]}
    assert {("nim", "logit"), ("cohere", "sigmoid"), ("tei", "sigmoid")} <= scales
    assert report["passages"][0] | {"said": None} == {"route": "/v1/ranking", "dialect": "nim", "most": 512, "refused": 513, "said": None, "exact": True}
    long = {(one["route"], one["dialect"]): one["outcome"] for one in report["too_long"]}
    assert (long["/v1/ranking", "nim"], long["/v1/rerank", "cohere"]) == ("refused", "cut")
    assert report["asked"]["everything"] is True


def test_the_report_for_people_ends_in_settings(served: Client, emberank: Command) -> None:
    done = emberank("doctor", f"http://127.0.0.1:{served.port}", "--model", "emberank/all-MiniLM-L6-v2-rerank")
    assert done.returncode == 0, done.stdout + done.stderr
    for held in (
        "Emberank runtime",
        "Nothing is off.",
        "litellm.rerank(",
        "NVIDIARerank(",
        f"RAG_EXTERNAL_RERANKER_URL=http://127.0.0.1:{served.port}/v1/rerank",
    ):
        assert held in done.stdout
    assert done.stderr == ""


def test_nobody_there_is_status_2(emberank: Command) -> None:
    assert emberank("doctor", "http://127.0.0.1:1").returncode == 2
