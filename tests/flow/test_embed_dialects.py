"""Cohere's, Voyage's, Jina's and TEI's embeddings over a socket, on a bare runtime and through a gateway: the numbers of /v1/embeddings, in the caller's dialect."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emberank.dialects.vectors import quantise
from emberank.settings import RuntimeSettings
from families import write_vl_embedder
from fleets import ScriptedFleet, endpoint, model, principal
from gateways import opened
from picture_files import data_url, photo, saved
from wire import Client, Reply, nim_error, read

EMBEDDER = "acme/Tiny_Embed-v1.5"  # of the runtime in conftest.py
TEXTS = ["snow", "the red ice"]
LONG = "the snow " * 60
TYPES = {"float": "<f4", "int8": "i1", "uint8": "u1", "binary": "i1", "ubinary": "u1"}
Ask = Callable[[str, dict[str, Any]], Reply]


@pytest.fixture(params=["runtime", "gateway"])
def ask(request: pytest.FixtureRequest, server: Client, tmp_path: Path) -> Ask:
    """The same request straight to the runtime, or to a gateway in front of it."""

    async def through(path: str, body: dict[str, Any]) -> Reply:
        warm = endpoint(f"http://127.0.0.1:{server.port}", slug="tiny-embed", served_name=EMBEDDER)
        fleet = ScriptedFleet([model("tiny-embed", "embed", names=("tiny-embed", EMBEDDER))], [warm], [principal()])
        async with opened(fleet, tmp_path) as door:
            return await door.ask(path, body)

    return server.post if request.param == "runtime" else lambda path, body: asyncio.run(through(path, body))


def floats(server: Client, texts: list[str] = TEXTS, **fields: Any) -> np.ndarray[Any, Any]:
    """What the model itself answers."""
    reply = server.post("/v1/embeddings", {"model": EMBEDDER, "input": texts, "encoding_format": "base64"} | fields)
    assert reply.status == 200, reply.body
    return np.stack([np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in reply.json["data"]])


def good(reply: Reply) -> Any:
    assert reply.status == 200, reply.body
    return reply.json


def close(vectors: np.ndarray[Any, Any]) -> list[Any]:
    return [pytest.approx(row) for row in vectors.tolist()]


# --- Cohere


def test_coheres_first_version_answers_the_models_floats(ask: Ask, server: Client) -> None:
    answer = good(ask("/v1/embed", {"model": EMBEDDER, "texts": TEXTS, "input_type": "search_document", "truncate": "END"}))
    assert answer["response_type"] == "embeddings_floats"
    assert answer["embeddings"] == close(floats(server, input_type="passage"))
    assert (answer["texts"], answer["meta"]["billed_units"]) == (TEXTS, {"input_tokens": 8})


def test_coheres_second_version_answers_every_type_of_one_call(ask: Ask, server: Client) -> None:
    reply = ask("/v2/embed", {"model": EMBEDDER, "texts": TEXTS, "input_type": "search_query", "embedding_types": [*TYPES, "base64"], "output_dimension": None})
    answer, wanted = good(reply), floats(server, input_type="query")
    assert (answer["id"], answer["meta"]["api_version"]) == (reply.headers["x-request-id"], {"version": "2"})
    assert answer["embeddings"]["float"] == close(wanted)
    assert [base64.b64decode(text) for text in answer["embeddings"]["base64"]] == [row.tobytes() for row in wanted]
    for kind in ("int8", "uint8", "binary", "ubinary"):
        asked = good(server.post("/v1/embeddings", {"model": EMBEDDER, "input": TEXTS, "input_type": "query", "embedding_type": kind}))
        assert answer["embeddings"][kind] == [one["embedding"] for one in asked["data"]], "the same codes as the model's own"


def test_what_is_too_long_is_cut_for_cohere_unless_it_says_none(ask: Ask) -> None:
    assert ask("/v2/embed", {"texts": [LONG]}).status == 200
    refused = ask("/v2/embed", {"texts": [LONG], "truncate": "NONE"})
    assert (refused.status, "exceeds maximum allowed token size" in refused.json["message"]) == (400, True)


# --- Voyage and Jina


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings"])
def test_what_voyages_client_sends_is_answered_with_the_bytes_it_decodes(ask: Ask, server: Client, path: str, kind: str) -> None:
    body = {"input": TEXTS, "model": EMBEDDER, "input_type": "document", "truncation": True, "output_dtype": kind, "output_dimension": None}
    answer = good(ask(path, body | {"encoding_format": "base64"}))
    found = [np.frombuffer(base64.b64decode(one["embedding"]), TYPES[kind]).tolist() for one in answer["data"]]
    assert found == quantise(floats(server, input_type="passage"), kind).tolist()  # type: ignore[arg-type]
    assert answer["usage"]["total_tokens"] == 8


def test_what_jina_sends_is_answered(ask: Ask, server: Client) -> None:
    body = {"model": EMBEDDER, "input": [{"text": TEXTS[0]}, TEXTS[1]], "task": "retrieval.query", "normalized": True, "late_chunking": False, "truncate": True}
    answer = good(ask("/v1/embeddings", body | {"embedding_type": "float"}))
    assert [one["embedding"] for one in answer["data"]] == close(floats(server, input_type="query"))
    assert ask("/v1/embeddings", {"model": EMBEDDER, "input": [{"text": LONG}], "truncate": True}).status == 200


def test_a_body_without_a_content_type_is_read(server: Client) -> None:
    # litellm sends Voyage's bodies so.
    with contextlib.closing(server.connect()) as connection:
        connection.request("POST", "/v1/embeddings", json.dumps({"model": EMBEDDER, "input": TEXTS}).encode())
        reply = read(connection.getresponse())
    assert len(good(reply)["data"]) == 2


# --- TEI and Hugging Face


@pytest.mark.parametrize("inputs", ["snow", ["snow"], TEXTS])
def test_teis_answer_is_a_bare_array_of_vectors(ask: Ask, server: Client, inputs: str | list[str]) -> None:
    texts = [inputs] if isinstance(inputs, str) else inputs
    assert good(ask("/embed", {"inputs": inputs})) == close(floats(server, texts))
    assert good(ask("/embed", {"inputs": inputs, "prompt_name": "query", "normalize": True})) == close(floats(server, texts, input_type="query"))


def test_tei_refuses_what_is_too_long_unless_it_is_told_to_cut(ask: Ask, server: Client) -> None:
    refused = ask("/embed", {"inputs": LONG})
    assert (refused.status, "exceeds maximum allowed token size" in refused.json["message"]) == (400, True)
    for direction, word in (("right", "END"), ("Left", "START")):
        cut = good(ask("/embed", {"inputs": LONG + "ice", "truncate": True, "truncation_direction": direction}))
        assert cut == close(floats(server, [LONG + "ice"], truncate=word))


def test_a_similarity_is_the_cosine_of_the_two_vectors(ask: Ask, server: Client) -> None:
    answer = good(ask("/similarity", {"inputs": {"source_sentence": "snow", "sentences": [*TEXTS, "two roads"]}, "parameters": {}}))
    source, *others = floats(server, ["snow", *TEXTS, "two roads"])
    assert answer == pytest.approx([float(source @ other) for other in others], abs=1e-6)
    assert answer[0] == pytest.approx(1)


# --- images


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory, launch: Callable[[RuntimeSettings], Client]) -> Client:
    folder = write_vl_embedder(tmp_path_factory.mktemp("vision") / "embed")
    return launch(RuntimeSettings(port=0, models=(f"acme/tiny-vl=file:{folder}",), engine="reference", tokenizer_threads=2))


def test_an_image_is_the_same_vector_in_every_dialect(vision: Client) -> None:
    url = data_url(saved(photo(64, 32, 1), "PNG"))
    asked = good(vision.post("/v1/embeddings", {"input": [url, f"the road {url}", "the snow"], "input_type": "passage"}))
    image, both, text = [pytest.approx(one["embedding"]) for one in asked["data"]]
    assert good(vision.post("/v1/embed", {"images": [url], "input_type": "image"}))["embeddings"] == [image]
    parts = {"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "the road"}
    mixed = {"inputs": [{"content": [parts[0]]}, {"content": list(parts)}, {"content": [{"type": "text", "text": "the snow"}]}]}
    answer = good(vision.post("/v2/embed", mixed | {"input_type": "search_document"}))
    assert (answer["embeddings"]["float"], answer["meta"]["billed_units"]["images"]) == ([image, both, text], 2)
    jina = good(
        vision.post("/v1/embeddings", {"input": [{"image": url}, {"text": "the road", "image": url}, {"text": "the snow"}], "task": "retrieval.passage"})
    )
    assert [one["embedding"] for one in jina["data"]] == [image, both, text]


def test_an_image_for_a_model_that_reads_texts_is_refused(ask: Ask) -> None:
    reply = ask("/v2/embed", {"images": [data_url(saved(photo(8, 8, 1), "PNG"))], "input_type": "image"})
    assert (reply.status, "reads text only" in nim_error(reply)) == (400, True)


# --- refusals


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/v1/embed", {"texts": []}, "texts must not be empty"),
        ("/v2/embed", {"texts": ["a"], "images": ["b"]}, "texts and images cannot be sent together; send one of texts, images and inputs"),
        ("/v2/embed", {"texts": ["a"], "embedding_types": ["int4"]}, "embedding_types must be one of"),
        ("/v2/embed", {"texts": ["a"], "output_dimension": 7}, "dimensions 7 is not supported by model"),
        ("/embeddings", {"input": "a", "late_chunking": True}, "late_chunking is not supported"),
        ("/v1/embeddings", {"input": "a", "normalized": False}, "normalized must be true or left out"),
        ("/v1/embeddings", {"input": "a", "dimensions": 8, "output_dimension": 16}, "dimensions is 8 and output_dimension is 16; send one of the two"),
        ("/embed", {"inputs": [1, 2]}, "inputs[0] is a number: token ids are not accepted, send text"),
        ("/embed", {"inputs": "a", "normalize": False}, "normalize must be true or left out"),
        ("/similarity", {"inputs": ["a", "b"]}, "inputs must be an object such as"),
    ],
)
def test_what_cannot_be_answered_is_a_400_that_says_why(ask: Ask, path: str, body: dict[str, Any], said: str) -> None:
    reply = ask(path, body)
    assert reply.status == 400
    assert nim_error(reply).startswith(said)


@pytest.mark.parametrize(("path", "body"), [("/v1/embed", {"texts": ["a"]}), ("/v2/embed", {"texts": ["a"]}), ("/embed", {"inputs": "a"})])
def test_a_model_that_is_not_served_is_a_404_that_names_it(ask: Ask, path: str, body: dict[str, Any]) -> None:
    reply = ask(path, body | {"model": "embed-v4.0"})
    assert reply.status == 404
    assert "embed-v4.0" in nim_error(reply)
