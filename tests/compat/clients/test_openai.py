"""The OpenAI SDK: embeddings with its base64 default, and the model list."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from examples import DOCUMENTS, LONG, QUERY, UNKNOWN, Trouble, is_nearest_to_query
from installation import DIMENSIONS, EMBED, EMBED_SLUG, RERANK, STRICT, Server

RAISED = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    404: openai.NotFoundError,
    429: openai.RateLimitError,
    503: openai.InternalServerError,
}
PASSAGE = {"input_type": "passage"}


def client(server: Server, base: str = "/v1", **more: Any) -> openai.OpenAI:
    return openai.OpenAI(**{"base_url": server.url + base, "api_key": server.key, "max_retries": 0} | more)


@pytest.mark.claim("client:openai:embed")
def test_embeddings_are_right_with_the_sdk_s_own_encoding(server: Server) -> None:
    created = client(server).embeddings.create(model=EMBED, input=[QUERY, *DOCUMENTS], extra_body=PASSAGE)
    query, *documents = (row.embedding for row in created.data)
    assert is_nearest_to_query(query, documents)
    assert [row.index for row in created.data] == [0, 1, 2, 3]
    assert created.usage.prompt_tokens > 0


@pytest.mark.claim("client:openai:embed")
def test_a_single_string_is_embedded_and_the_base_may_lack_v1(server: Server) -> None:
    for base in ("/v1", "", "/v1/"):
        assert len(client(server, base).embeddings.create(model=EMBED, input=QUERY, extra_body=PASSAGE).data[0].embedding) == DIMENSIONS


@pytest.mark.claim("client:openai:embed-options")
def test_base64_and_float_are_the_same_numbers(server: Server) -> None:
    own = client(server).embeddings.create(model=EMBED, input=DOCUMENTS, extra_body=PASSAGE)
    plain = client(server).embeddings.create(model=EMBED, input=DOCUMENTS, encoding_format="float", extra_body=PASSAGE)
    assert [row.embedding for row in own.data] == [pytest.approx(row.embedding, abs=1e-6) for row in plain.data]


@pytest.mark.claim("client:openai:embed-options")
def test_a_query_or_passage_behind_the_model_s_name_stands_for_input_type(server: Server) -> None:
    for kind in ("query", "passage"):
        named = client(server).embeddings.create(model=f"{EMBED}-{kind}", input=QUERY)
        said = client(server).embeddings.create(model=EMBED, input=QUERY, extra_body={"input_type": kind})
        assert named.data[0].embedding == pytest.approx(said.data[0].embedding, abs=1e-6)


@pytest.mark.claim("client:openai:async")
def test_the_asynchronous_client_embeds(server: Server) -> None:
    async def embed() -> Any:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as one:
            return await one.embeddings.create(model=EMBED, input=DOCUMENTS, extra_body=PASSAGE)

    assert [len(row.embedding) for row in asyncio.run(embed()).data] == [DIMENSIONS] * 3


@pytest.mark.claim("client:openai:models")
def test_models_are_listed_and_retrieved_by_their_name_with_a_slash(server: Server) -> None:
    listed = [model.id for model in client(server).models.list()]
    assert {RERANK, EMBED} <= set(listed)
    for name in (RERANK, EMBED):
        assert client(server).models.retrieve(name).id == name


@pytest.mark.claim("client:openai:models")
def test_a_model_that_is_not_there_is_not_retrieved(server: Server) -> None:
    with pytest.raises(openai.NotFoundError):
        client(server).models.retrieve(UNKNOWN)


@pytest.mark.claim("client:openai:own-base")
def test_under_a_model_s_own_base_it_is_the_only_one(server: Server) -> None:
    one = openai.OpenAI(base_url=server.base(EMBED_SLUG), api_key=server.key)
    assert [model.id for model in one.models.list()] == [EMBED]
    assert len(one.embeddings.create(model="default", input=QUERY, extra_body=PASSAGE).data[0].embedding) == DIMENSIONS


@pytest.mark.claim("client:openai:errors")
def test_a_refusal_is_the_sdk_s_exception_with_our_sentence(server: Server, embed_trouble: Trouble) -> None:
    with pytest.raises(RAISED[embed_trouble.status]) as raised:
        client(server, api_key=embed_trouble.key).embeddings.create(model=embed_trouble.model, input=embed_trouble.texts, extra_body=PASSAGE)
    assert raised.value.status_code == embed_trouble.status
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["message"]


@pytest.mark.claim("client:openai:errors")
def test_a_422_is_the_sdk_s_unprocessable_entity(server: Server) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="exceeds maximum allowed token size"):
        client(server).embeddings.create(model=STRICT["embed"], input=LONG, extra_body=PASSAGE)


@pytest.mark.claim("client:openai:errors")
def test_token_ids_in_the_place_of_text_are_refused_in_a_clear_sentence(server: Server) -> None:
    with pytest.raises(openai.BadRequestError, match="token ids are not accepted"):
        client(server).embeddings.create(model=EMBED, input=[[101, 2054, 102]], extra_body=PASSAGE)
