"""POST /v1/embeddings over a socket: vectors in every type and encoding, truncation, modality, and NIM's sentences."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from wire import Client, Reply, nim_error

MODEL = "acme/Tiny_Embed-v1.5"
LONG = "the snow " * 60
PNG = "data:image/png;base64,iVBORw0KGgo="
TYPES = {"float": np.dtype("<f4"), "int8": np.dtype("i1"), "uint8": np.dtype("u1"), "binary": np.dtype("i1"), "ubinary": np.dtype("u1")}


def embed(server: Client, value: object = "the snow", **fields: Any) -> Reply:
    return server.post("/v1/embeddings", {"model": MODEL, "input": value} | fields)


def vectors(reply: Reply) -> np.ndarray[Any, Any]:
    assert reply.status == 200, reply.body
    return np.array([item["embedding"] for item in reply.json["data"]])


@pytest.mark.claim("nim:embeddings:response-shape")
def test_each_input_has_its_vector_and_index(server: Client) -> None:
    body = embed(server, ["snow", "ice", "snow"]).json
    assert set(body) == {"object", "data", "model", "usage"}
    assert (body["object"], body["model"]) == ("list", MODEL)
    assert [(item["object"], item["index"], len(item["embedding"])) for item in body["data"]] == [("embedding", i, 16) for i in range(3)]
    assert body["data"][0]["embedding"] == body["data"][2]["embedding"] != body["data"][1]["embedding"]


@pytest.mark.claim("nim:embeddings:unit-vectors")
def test_vectors_have_the_length_one(server: Client) -> None:
    assert np.linalg.norm(vectors(embed(server, ["snow", "the red ice"])), axis=1) == pytest.approx([1, 1], abs=1e-5)


@pytest.mark.claim("nim:embeddings:usage-with-special-tokens")
def test_usage_counts_special_tokens(server: Client) -> None:
    # [CLS] snow [SEP], [CLS] the red ice [SEP]
    assert embed(server, ["snow", "the red ice"]).json["usage"] == {"prompt_tokens": 8, "total_tokens": 8}


@pytest.mark.claim("nim:embeddings:encoding-default-float")
@pytest.mark.claim("nim:embeddings:base64-little-endian-float32")
@pytest.mark.claim("nim:embeddings:base64-compressed")
@pytest.mark.parametrize("kind", TYPES)
def test_both_encodings_hold_the_same_numbers_in_every_type(server: Client, kind: str) -> None:
    plain = vectors(embed(server, ["snow", "the red ice"], embedding_type=kind))
    assert np.array_equal(plain, vectors(embed(server, ["snow", "the red ice"], embedding_type=kind, encoding_format="float")))
    coded = embed(server, ["snow", "the red ice"], embedding_type=kind, encoding_format="base64").json["data"]
    decoded = np.stack([np.frombuffer(base64.b64decode(item["embedding"], validate=True), TYPES[kind]) for item in coded])
    assert np.array_equal(decoded, plain.astype(TYPES[kind]))


@pytest.mark.claim("nim:embeddings:int8-and-uint8")
def test_int8_is_the_vector_in_steps_of_a_127th_and_uint8_the_same_moved_up(server: Client) -> None:
    exact = vectors(embed(server))
    signed, unsigned = vectors(embed(server, embedding_type="int8")), vectors(embed(server, embedding_type="uint8"))
    assert np.array_equal(signed, np.rint(exact.astype(np.float32) * 127))
    assert np.array_equal(unsigned, signed + 128)


@pytest.mark.claim("nim:embeddings:binary-and-ubinary-packed")
def test_binary_is_one_bit_a_dimension_packed_into_signed_or_unsigned_bytes(server: Client) -> None:
    bits = (vectors(embed(server)) > 0).astype(np.uint8)
    unsigned, signed = vectors(embed(server, embedding_type="ubinary")), vectors(embed(server, embedding_type="binary"))
    assert unsigned.shape == (1, 2)
    assert np.array_equal(np.unpackbits(unsigned.astype(np.uint8), axis=1), bits)
    assert np.array_equal(signed, unsigned - 128)


@pytest.mark.claim("nim:embeddings:dimensions-zero-is-absent")
@pytest.mark.parametrize("fields", [{}, {"dimensions": 0}, {"dimensions": None}, {"dimensions": 16}])
def test_zero_null_and_the_full_length_all_mean_the_full_length(server: Client, fields: dict[str, Any]) -> None:
    assert vectors(embed(server, **fields)).shape == (1, 16)


@pytest.mark.claim("nim:embeddings:dimensions-unsupported")
@pytest.mark.parametrize("value", [1, 8, 384, 10**12])
def test_a_length_that_the_model_does_not_have_is_refused_with_the_one_it_has(server: Client, value: int) -> None:
    reply = embed(server, dimensions=value)
    assert reply.status == 400
    assert nim_error(reply) == f"dimensions {value} is not supported by model '{MODEL}'; supported: 16"


@pytest.mark.claim("nim:embeddings:dimensions-not-with-embedding-type")
def test_dimensions_and_a_compressed_type_are_a_400(server: Client) -> None:
    reply = embed(server, dimensions=16, embedding_type="int8")
    assert (reply.status, nim_error(reply)) == (400, "dimensions cannot be used in combination with embedding_type; send one of the two")


@pytest.mark.claim("nim:embeddings:truncate-none")
@pytest.mark.parametrize("fields", [{}, {"truncate": "NONE"}])
def test_an_over_long_input_is_refused_in_nims_words(server: Client, fields: dict[str, Any]) -> None:
    reply = embed(server, ["snow", LONG], **fields)
    assert (reply.status, nim_error(reply)) == (400, "Input length 122 exceeds maximum allowed token size 40")


@pytest.mark.claim("nim:embeddings:truncate-start-and-end")
def test_end_keeps_the_beginning_and_start_keeps_the_end(server: Client) -> None:
    text = "hot " * 38 + "ice " * 38
    assert np.array_equal(vectors(embed(server, text, truncate="END")), vectors(embed(server, "hot " * 38)))
    assert np.array_equal(vectors(embed(server, text, truncate="START")), vectors(embed(server, "ice " * 38)))
    reply = embed(server, ["snow", text], truncate="START")
    assert reply.headers["emberank-truncated"] == "1"
    assert reply.json["usage"]["prompt_tokens"] == 43


def test_an_input_of_exactly_the_limit_is_not_truncated(server: Client) -> None:
    reply = embed(server, "hot " * 38)
    assert reply.json["usage"]["prompt_tokens"] == 40
    assert "emberank-truncated" not in reply.headers


@pytest.mark.claim("nim:embeddings:model-suffix")
@pytest.mark.parametrize("suffix", ["", "-query", "-passage"])
@pytest.mark.parametrize("name", [MODEL, "tiny_embed_v1.5", "ACME/TINY-EMBED-V1.5"])
def test_a_suffix_and_any_spelling_of_the_name_find_the_model(server: Client, name: str, suffix: str) -> None:
    reply = server.post("/v1/embeddings", {"model": name + suffix, "input": "snow"})
    assert (reply.status, reply.json["model"]) == (200, MODEL)


@pytest.mark.claim("nim:models:null-or-absent-is-the-routes-own")
@pytest.mark.parametrize("body", [{"input": "snow"}, {"input": "snow", "model": None}])
def test_no_model_is_the_routes_own(server: Client, body: dict[str, Any]) -> None:
    assert server.post("/v1/embeddings", body).json["model"] == MODEL


# The table of errors of the embedding NIM's reference, row by row.
@pytest.mark.claim("nim:errors:table-of-the-embedding-reference")
@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"input": []}, 400, "input must not be empty"),
        ({"input": [""]}, 400, "input[0] must not be blank or empty"),
        ({"model": "wrong-model"}, 404, f"model 'wrong-model' not found; available: '{MODEL}'"),
        ({"modality": "bogus"}, 400, "modality must be one of 'text', 'image', 'text_image'; got 'bogus'"),
        (
            {"input": PNG, "input_type": "query"},
            400,
            'input_type="query" is not supported with images; the VLM model processes images as passages only. Use input_type="passage" or omit input_type.',
        ),
        ({"encoding_format": "bad"}, 400, "encoding_format must be one of 'float', 'base64'; got 'bad'"),
        ({"embedding_type": "bad"}, 400, "Input should be 'float', 'binary', 'ubinary', 'int8' or 'uint8'"),
    ],
)
def test_the_reference_s_error_table_holds_to_the_letter(server: Client, fields: dict[str, Any], status: int, said: str) -> None:
    reply = server.post("/v1/embeddings", {"model": MODEL, "input": "snow"} | fields)
    assert (reply.status, nim_error(reply)) == (status, said)


@pytest.mark.claim("nim:embeddings:image-to-text-model")
@pytest.mark.parametrize("fields", [{"input": PNG}, {"input": PNG, "input_type": "passage"}, {"input": f"a page {PNG}", "modality": "text_image"}])
def test_an_image_to_a_text_model_is_a_clear_400(server: Client, fields: dict[str, Any]) -> None:
    reply = server.post("/v1/embeddings", {"model": MODEL} | fields)
    assert reply.status == 400
    assert nim_error(reply).startswith(f"input[0] holds an image, and model '{MODEL}' reads text only; send text")


@pytest.mark.claim("nim:embeddings:modality-explicit")
@pytest.mark.parametrize("modality", ["text", ["text"], ["text", "text"], None])
def test_a_modality_of_text_is_said_once_or_for_each(server: Client, modality: object) -> None:
    assert vectors(embed(server, ["snow", "ice"], modality=modality)).shape == (2, 16)


@pytest.mark.claim("nim:embeddings:unknown-fields-ignored")
def test_unknown_fields_are_ignored_and_named_in_a_header_that_cannot_be_split(server: Client) -> None:
    reply = embed(server, drop_params=True, **{"evil\r\nSet-Cookie: a=1": 2})
    assert reply.status == 200
    assert reply.headers["emberank-ignored-fields"] == "drop_params, evil??Set-Cookie??a?1"
    assert "set-cookie" not in reply.headers


@pytest.mark.claim("nim:errors:openai-object-on-embeddings")
def test_an_error_has_openais_object_under_error(server: Client) -> None:
    body = embed(server, []).json
    assert body["error"] == {"message": "input must not be empty", "type": "invalid_request_error", "param": None, "code": 400}
    assert body["detail"] == body["message"] == "input must not be empty"


@pytest.mark.claim("nim:embeddings:token-ids-refused")
def test_token_ids_are_refused_with_what_to_set(server: Client) -> None:
    assert "check_embedding_ctx_length=False" in nim_error(embed(server, [[101, 2003, 102]]))


@pytest.mark.claim("nim:embeddings:more-than-1024-inputs")
def test_more_than_1024_inputs_come_back_in_their_order(server: Client) -> None:
    words = ["snow", "ice", "hot", "red"]
    found = vectors(embed(server, [words[i % 4] for i in range(1500)]))
    assert len(found) == 1500
    assert np.array_equal(found[:4], found[-4:])
