"""huggingface_hub's InferenceClient on TEI's routes. It has no rerank."""

from __future__ import annotations

import asyncio

import pytest
from examples import BAD_KEY, DOCUMENTS, QUERY, is_nearest_to_query
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import BadRequestError, HfHubHTTPError
from installation import DIMENSIONS, EMBED_SLUG, Server


def client(server: Server, path: str, key: str = "") -> InferenceClient:
    return InferenceClient(model=server.url + path, token=key or server.key)


@pytest.mark.claim("client:huggingface-hub:embed")
def test_feature_extraction_embeds(server: Server) -> None:
    one = client(server, "/embed")
    query, *documents = (one.feature_extraction(text)[0].tolist() for text in (QUERY, *DOCUMENTS))
    assert len(query) == DIMENSIONS
    assert is_nearest_to_query(query, documents)


@pytest.mark.claim("client:huggingface-hub:options")
def test_truncate_and_normalize_do_what_they_say(server: Server) -> None:
    long = "retrieval " * 2_000
    assert client(server, "/embed").feature_extraction(long, truncate=True).shape == (1, DIMENSIONS)
    with pytest.raises(BadRequestError):
        client(server, "/embed").feature_extraction(long, truncate=False)
    (vector,) = client(server, "/embed").feature_extraction(QUERY, normalize=True).tolist()
    assert sum(number * number for number in vector) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.claim("client:huggingface-hub:similarity")
def test_sentence_similarity_is_the_cosine(server: Server) -> None:
    near = client(server, "/similarity").sentence_similarity(QUERY, DOCUMENTS)
    assert max(range(3), key=lambda i: near[i]) == 1
    assert all(-1.0 <= number <= 1.0 for number in near)
    assert client(server, "/similarity").sentence_similarity(QUERY, [QUERY])[0] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.claim("client:huggingface-hub:own-base")
def test_a_model_s_own_base_says_which_model(server: Server) -> None:
    assert client(server, f"/models/{EMBED_SLUG}/embed").feature_extraction(QUERY).shape == (1, DIMENSIONS)


@pytest.mark.claim("client:huggingface-hub:async")
def test_the_asynchronous_client_embeds(server: Server) -> None:
    async def embed() -> tuple[int, ...]:
        found = await AsyncInferenceClient(model=f"{server.url}/embed", token=server.key).feature_extraction(QUERY)
        return tuple(found.shape)

    assert asyncio.run(embed()) == (1, DIMENSIONS)


@pytest.mark.claim("client:huggingface-hub:errors")
def test_a_refusal_is_its_exception_with_our_sentence(server: Server, exhausted: str) -> None:
    with pytest.raises(BadRequestError) as bad:
        client(server, "/embed").feature_extraction("")
    assert bad.value.response.status_code == 400
    for key, status in ((BAD_KEY, 401), (exhausted, 429)):
        with pytest.raises(HfHubHTTPError) as raised:
            client(server, "/embed", key).feature_extraction(QUERY)
        assert raised.value.response.status_code == status
