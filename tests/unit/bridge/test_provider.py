"""What is asked of LiteLLM's SDK, what is read of its answers, and what becomes of its exceptions. The SDK here is a stand-in; tests/compat has the real one."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from emberank.bridge.faults import ProviderFault, fault_of, said
from emberank.bridge.provider import Provider, provider
from emberank.contract.errors import BadRequest, DeadlineExceeded, QueueFull, SettingError
from emberank.contract.inference import Content, EmbedCall, RankCall
from wire import WAIT_S

SECRET = "sk-theirs-0123456789"


class Answered(dict[str, Any]):
    """A mapping with LiteLLM's hidden parameters."""

    _hidden_params: ClassVar = {"response_cost": 0.002}


class Sdk:
    """Keeps what it was asked, and answers what it is told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: dict[str, Any] = {}

    async def arerank(self, **fields: Any) -> Any:
        self.asked = fields
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            await asyncio.get_running_loop().create_future()
        return self.answer

    aembedding = arerank


class Refused(Exception):
    def __init__(self, status_code: int | None, message: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.message = message
        self.response = type("Response", (), {"headers": headers or {}})


def rank_call(**more: Any) -> RankCall:
    return RankCall(**{"model": None, "query": Content("q"), "passages": (Content("a"), Content("b")), "truncate": "END"} | more)


def embed_call(**more: Any) -> EmbedCall:
    return EmbedCall(**{"model": None, "inputs": (Content("a"),), "truncate": "END"} | more)


def asked(sdk: Sdk, call: RankCall | EmbedCall, model: str = "cohere/rerank-v3.5", timeout_s: float = WAIT_S) -> Any:
    one = Provider(sdk=sdk, model=model, api_base="https://there", key=SECRET)
    return asyncio.run(one.rank(call, timeout_s) if isinstance(call, RankCall) else one.embed(call, timeout_s))


RANKED = Answered(results=[{"index": 1, "relevance_score": 0.9}], meta={"tokens": {"input_tokens": 7}})
EMBEDDED = Answered(data=[{"index": 0, "embedding": [1.0]}], usage={"prompt_tokens": 3})


def test_a_ranking_is_asked_for_whole_once_and_with_our_key() -> None:
    sdk = Sdk(RANKED)
    given = asked(sdk, rank_call())
    assert sdk.asked == {
        "model": "cohere/rerank-v3.5",
        "query": "q",
        "documents": ["a", "b"],
        "return_documents": False,
        "api_key": SECRET,
        "api_base": "https://there",
        "timeout": WAIT_S,
        "max_retries": 0,
        "num_retries": 0,
    }
    assert (given.rows, given.tokens, given.cost_usd, given.unsaid) == (RANKED["results"], 7, 0.002, ())


def test_long_documents_fields_are_litellms() -> None:
    sdk = Sdk(RANKED)
    asked(sdk, rank_call(max_passage_tokens=100, max_chunks=3))
    assert (sdk.asked["max_tokens_per_doc"], sdk.asked["max_chunks_per_doc"]) == (100, 3)


@pytest.mark.parametrize(
    ("model", "sent"),
    [("cohere/embed-v4.0", "search_document"), ("voyage/voyage-3.5", "document"), ("nvidia_nim/nvidia/x", "passage"), ("openai/text-embedding-3-small", None)],
)
def test_an_input_type_is_said_in_the_providers_words_or_named_as_unsaid(model: str, sent: str | None) -> None:
    sdk = Sdk(EMBEDDED)
    given = asked(sdk, embed_call(input_type="passage", dimensions=8), model)
    assert sdk.asked.get("input_type") == sent
    assert sdk.asked["dimensions"] == 8
    assert given.unsaid == (() if sent else ("input_type",))


def test_to_refuse_what_is_too_long_cannot_be_said() -> None:
    assert asked(Sdk(RANKED), rank_call(truncate="NONE")).unsaid == ("truncate",)


@pytest.mark.parametrize(
    "call",
    [
        rank_call(passages=(Content("a", "data:image/png;base64,AA"),)),
        embed_call(inputs=(Content(None, "data:image/png;base64,AA"),)),
        embed_call(embedding_type="int8"),
    ],
)
def test_what_no_provider_takes_by_this_wire_is_refused_before_anybody_is_asked(call: RankCall | EmbedCall) -> None:
    sdk = Sdk(RANKED)
    with pytest.raises(BadRequest):
        asked(sdk, call)
    assert sdk.asked == {}


@pytest.mark.parametrize(
    ("status", "kind", "http_status"),
    [
        (400, BadRequest, 400),
        (422, BadRequest, 400),
        (401, ProviderFault, 502),
        (402, ProviderFault, 502),
        (403, ProviderFault, 502),
        (404, ProviderFault, 502),
        (429, QueueFull, 429),
        (500, ProviderFault, 502),
        (503, ProviderFault, 502),
        (504, DeadlineExceeded, 504),
        (None, ProviderFault, 502),
    ],
)
def test_a_callers_mistake_stays_one_and_what_is_between_us_and_the_provider_is_a_502(status: int | None, kind: type, http_status: int) -> None:
    with pytest.raises(kind) as raised:
        asked(Sdk(Refused(status, f"litellm.BadRequestError: too many documents, key {SECRET}")), rank_call())
    assert raised.value.http_status == http_status
    assert SECRET not in raised.value.message
    assert raised.value.__cause__ is None  # it holds the request
    assert raised.value.__suppress_context__


def test_a_refusal_is_told_in_the_providers_words_without_the_key() -> None:
    cause = Refused(400, f"litellm.BadRequestError: CohereException - at most 1000\n documents for {SECRET} " + "x" * 500)
    assert said(cause, SECRET).startswith("at most 1000 documents for [key] xxx")
    assert len(said(cause, SECRET)) <= 300


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("soon", 1.0), (None, 1.0), ("-3", 0.0), ("1e9", 3600.0)])
def test_a_provider_that_is_busy_says_for_how_long(header: str | None, seconds: float) -> None:
    assert fault_of(Refused(429, headers={} if header is None else {"retry-after": header}), "cohere", "").retry_after_s == seconds


def test_a_provider_that_never_answers_is_given_up() -> None:
    with pytest.raises(DeadlineExceeded, match="cohere did not answer in time"):
        asked(Sdk(None), rank_call(), timeout_s=0.02)


def test_a_key_that_is_not_there_is_said_before_litellm_is_loaded() -> None:
    with pytest.raises(SettingError, match="'THEIR_KEY', which shall hold the key of voyage, is not set"):
        provider("voyage/rerank-2.5", key_env="THEIR_KEY", environment={})
    assert SECRET not in repr(Provider(sdk=None, model="a/b", key=SECRET))
