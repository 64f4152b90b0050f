"""Embeddings as they are answered: cut, length one, and the five types, against values by hand, plain loops and published vectors."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from emberank.contract.errors import BadRequest, ServerFault, SettingError
from emberank.contract.inference import EMBEDDING_TYPES, Content, EmbedCall, EmbeddingType
from emberank.runtime.model import ServedModel
from emberank.runtime.outputs import check_asked, check_logits, finish, quantise
from emberank.runtime.pipeline import Pipeline
from emberank.runtime.presets import ModelSpec, specs
from emberank.settings import RuntimeSettings

COMPRESSED: tuple[EmbeddingType, ...] = ("int8", "uint8", "binary", "ubinary")
DTYPES = {"float": np.float32, "int8": np.int8, "uint8": np.uint8, "binary": np.int8, "ubinary": np.uint8}
# Pooled vectors: any size a network's states have, and zeros. Neither so large that a square overflows nor so small that one underflows.
ENTRIES = st.floats(2.0**-20, 2.0**20, width=32) | st.floats(-(2.0**20), -(2.0**-20), width=32) | st.just(0.0)
POOLED = arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 40)), elements=ENTRIES)


def floats(vectors: object, *, normalize: bool = True, dimensions: int | None = None) -> NDArray[np.generic]:
    return finish(np.array(vectors, np.float32), normalize=normalize, dimensions=dimensions, embedding_type="float")


# Written without numpy's packing and rounding, from sentence-transformers' and this server's documentation.


def plain_unit(row: Sequence[float]) -> list[float]:
    length = max(math.sqrt(math.fsum(x * x for x in row)), 1e-12)
    return [x / length for x in row]


def plain_bytes(row: Sequence[float]) -> list[int]:
    signs = ["1" if x > 0 else "0" for x in row]
    signs += ["0"] * (-len(signs) % 8)
    return [int("".join(signs[start : start + 8]), 2) for start in range(0, len(signs), 8)]


@pytest.mark.claim("nim:embeddings:dimensions-cut-then-unit")
def test_a_vector_is_cut_first_and_then_made_a_unit_vector() -> None:
    answered = floats([[3, 4, 12]], dimensions=2)
    assert answered.tolist() == [pytest.approx([0.6, 0.8])]
    cut_last = floats([[3, 4, 12]])[:, :2]
    assert np.linalg.norm(cut_last[0]) == pytest.approx(5 / 13), "the other order gives a vector that is too short"


def test_without_dimensions_the_whole_vector_is_answered() -> None:
    assert floats([[3, 4, 12]]).tolist() == [pytest.approx([3 / 13, 4 / 13, 12 / 13])]


def test_a_model_without_normalisation_keeps_the_length_of_its_floats() -> None:
    assert floats([[3, 4, 12]], normalize=False).tolist() == [[3, 4, 12]]
    assert floats([[3, 4, 12]], normalize=False, dimensions=2).tolist() == [[3, 4]]


@pytest.mark.claim("nim:embeddings:compressed-is-a-direction")
@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_compressed_type_holds_the_direction_only(kind: EmbeddingType) -> None:
    states = np.array([[30, -40, 120, 0], [0.003, -0.004, 0.012, 0]], np.float32)
    kept = finish(states, normalize=False, dimensions=None, embedding_type=kind)
    assert kept.tolist() == finish(states, normalize=True, dimensions=None, embedding_type=kind).tolist()
    assert kept[0].tolist() == kept[1].tolist()


@pytest.mark.claim("nim:embeddings:compressed-is-a-direction")
def test_the_codes_of_a_model_without_normalisation_are_those_of_its_unit_vector() -> None:
    codes = finish(np.array([[30, -40, 120, 0]], np.float32), normalize=False, dimensions=None, embedding_type="int8")
    assert codes.tolist() == [[29, -39, 117, 0]]  # 127 · (3, −4, 12) / 13 = 29.3, −39.1, 117.2


@pytest.mark.parametrize(("kind", "zero"), [("float", 0), ("int8", 0), ("uint8", 128), ("binary", -128), ("ubinary", 0)])
@pytest.mark.parametrize("normalize", [True, False])
def test_a_zero_vector_stays_zero_in_every_type(kind: EmbeddingType, zero: int, normalize: bool) -> None:
    answered = finish(np.zeros((1, 16), np.float32), normalize=normalize, dimensions=None, embedding_type=kind)
    assert set(answered.flatten().tolist()) == {zero}


def test_what_the_network_left_is_not_changed() -> None:
    states = np.array([[3, 4, 12]], np.float32)
    for kind in EMBEDDING_TYPES:
        finish(states, normalize=True, dimensions=2, embedding_type=kind)
    assert states.tolist() == [[3, 4, 12]]


@pytest.mark.parametrize("kind", EMBEDDING_TYPES)
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_vector_that_is_no_number_is_never_answered(kind: EmbeddingType, wrong: float) -> None:
    with pytest.raises(ServerFault) as failed:
        finish(np.array([[1, 2], [wrong, 1]], np.float32), normalize=True, dimensions=None, embedding_type=kind)
    assert "NaN" in str(failed.value.__cause__)
    assert "NaN" not in failed.value.message, "the cause is for the log"


@given(POOLED, st.sampled_from(EMBEDDING_TYPES), st.data())
def test_shapes_and_types_are_as_documented(vectors: NDArray[np.float32], kind: EmbeddingType, data: st.DataObject) -> None:
    count, hidden = vectors.shape
    dimensions = data.draw(st.none() | st.integers(1, hidden))
    answered = finish(vectors, normalize=True, dimensions=dimensions, embedding_type=kind)
    length = dimensions or hidden
    assert answered.dtype == DTYPES[kind]
    assert answered.shape == (count, math.ceil(length / 8) if "binary" in kind else length)


@pytest.mark.claim("nim:embeddings:dimensions-cut-then-unit")
@given(POOLED, st.data())
def test_floats_are_those_of_a_plain_loop(vectors: NDArray[np.float32], data: st.DataObject) -> None:
    dimensions = data.draw(st.integers(1, vectors.shape[1]))
    expected = [plain_unit(row[:dimensions]) for row in vectors.tolist()]
    answered = finish(vectors, normalize=True, dimensions=dimensions, embedding_type="float")
    np.testing.assert_allclose(answered, np.array(expected), rtol=2e-6, atol=1e-12)


@given(POOLED)
def test_bits_are_those_of_a_plain_loop(vectors: NDArray[np.float32]) -> None:
    expected = [plain_bytes(row) for row in vectors.tolist()]
    assert finish(vectors, normalize=True, dimensions=None, embedding_type="ubinary").tolist() == expected
    assert finish(vectors, normalize=True, dimensions=None, embedding_type="binary").tolist() == [[byte - 128 for byte in row] for row in expected]


@given(POOLED)
def test_int8_is_never_further_off_than_half_a_step_and_uint8_is_the_same_moved_up(vectors: NDArray[np.float32]) -> None:
    codes = finish(vectors, normalize=True, dimensions=None, embedding_type="int8")
    expected = np.array([plain_unit(row) for row in vectors.tolist()])
    assert np.abs(codes.astype(float) / 127 - expected).max() <= 0.5 / 127 + 1e-6
    assert (finish(vectors, normalize=True, dimensions=None, embedding_type="uint8").astype(int) - 128).tolist() == codes.tolist()


@pytest.mark.claim("nim:embeddings:int8-and-uint8")
@given(POOLED, POOLED, st.sampled_from(COMPRESSED))
def test_a_vector_has_the_same_code_in_any_company(one: NDArray[np.float32], other: NDArray[np.float32], kind: EmbeddingType) -> None:
    width = min(one.shape[1], other.shape[1])
    together = np.concatenate([one[:, :width], other[:, :width]])
    alone = finish(one[:, :width], normalize=True, dimensions=None, embedding_type=kind)
    assert finish(together, normalize=True, dimensions=None, embedding_type=kind)[: len(one)].tolist() == alone.tolist()


# sentence-transformers' `quantize_embeddings`: a bit is x > 0, the first dimension is the highest bit, binary is ubinary − 128.
@pytest.mark.claim("nim:embeddings:binary-and-ubinary-packed")
@pytest.mark.parametrize(
    ("signs", "ubinary", "binary"),
    [
        ([+1, -1, -1, -1, -1, -1, -1, +1], [129], [1]),
        ([+1] * 8, [255], [127]),
        ([-1] * 8, [0], [-128]),
        ([0] * 8, [0], [-128]),
        ([+1] * 16, [255, 255], [127, 127]),
        ([+1] * 9, [255, 128], [127, 0]),  # the last byte is filled with zeros
        ([-1] * 9 + [+1], [0, 64], [-128, -64]),
    ],
)
def test_packed_bits_are_sentence_transformers(signs: list[int], ubinary: list[int], binary: list[int]) -> None:
    vectors = np.array([signs], np.float32)
    assert finish(vectors, normalize=True, dimensions=None, embedding_type="ubinary").tolist() == [ubinary]
    assert finish(vectors, normalize=True, dimensions=None, embedding_type="binary").tolist() == [binary]


@given(POOLED)
def test_binary_is_decoded_as_sentence_transformers_says(vectors: NDArray[np.float32]) -> None:
    signed = finish(vectors, normalize=True, dimensions=None, embedding_type="binary")
    bits = np.unpackbits((signed.astype(np.int16) + 128).astype(np.uint8), axis=-1)[:, : vectors.shape[1]]
    assert bits.tolist() == (vectors > 0).astype(int).tolist()


@pytest.mark.claim("nim:embeddings:binary-and-ubinary-packed")
@given(POOLED)
def test_binary_and_ubinary_have_the_same_hamming_distances(vectors: NDArray[np.float32]) -> None:
    unsigned = finish(vectors, normalize=True, dimensions=None, embedding_type="ubinary")
    signed = finish(vectors, normalize=True, dimensions=None, embedding_type="binary").view(np.uint8)
    assert (unsigned ^ unsigned[0]).tolist() == (signed ^ signed[0]).tolist()


BY_HAND = np.array([[1, -1, 0, 0.5, -0.5, 0.004, -0.004, 0.003, 0.1, -0.99]], np.float32)
STEPS = [127, -127, 0, 64, -64, 1, -1, 0, 13, -126]  # 63.5 is rounded to the even neighbour; ±0.508, 0.381, 12.7, −125.73


@pytest.mark.claim("nim:embeddings:int8-and-uint8")
def test_int8_is_a_127th_and_uint8_is_moved_by_128() -> None:
    signed, unsigned = quantise(BY_HAND, "int8"), quantise(BY_HAND, "uint8")
    assert (signed.dtype, unsigned.dtype) == (np.int8, np.uint8)
    assert signed.tolist() == [STEPS]
    assert unsigned.tolist() == [[step + 128 for step in STEPS]]


def test_rounding_errors_over_one_do_not_wrap_round() -> None:
    over = np.array([[1.009, -1.009, 1.5, -1.5]], np.float32)
    assert quantise(over, "int8").tolist() == [[127, -127, 127, -127]]
    assert quantise(over, "uint8").tolist() == [[255, 1, 255, 1]]


def test_floats_are_left_as_they_are() -> None:
    assert quantise(BY_HAND, "float") is BY_HAND


MATRYOSHKA = (384, 512, 768, 1024, 2048)


@pytest.mark.parametrize("length", [*MATRYOSHKA, None])
def test_every_length_a_model_has_may_be_asked_for(length: int | None) -> None:
    check_asked("nvidia/llama-nemotron-embed-1b-v2", dimensions=length, embedding_type="float", supported_dimensions=MATRYOSHKA)


@pytest.mark.claim("nim:embeddings:dimensions-unsupported")
@pytest.mark.parametrize("length", [1, 100, 383, 2049, 10**12])
def test_another_length_is_refused_with_those_there_are(length: int) -> None:
    with pytest.raises(BadRequest) as refused:
        check_asked("nvidia/llama-nemotron-embed-1b-v2", dimensions=length, embedding_type="float", supported_dimensions=MATRYOSHKA)
    assert refused.value.message == (f"dimensions {length} is not supported by model 'nvidia/llama-nemotron-embed-1b-v2'; supported: 384, 512, 768, 1024, 2048")


@pytest.mark.claim("nim:embeddings:embedding-type-of-the-model")
@pytest.mark.parametrize("kind", EMBEDDING_TYPES)
def test_all_five_types_are_there_where_nothing_else_is_known(kind: EmbeddingType) -> None:
    check_asked("acme/embedder", dimensions=None, embedding_type=kind, supported_dimensions=(384,))


@pytest.mark.claim("nim:embeddings:embedding-type-of-the-model")
@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_type_that_a_model_does_not_have_is_refused_with_those_it_has(kind: EmbeddingType) -> None:
    with pytest.raises(BadRequest) as refused:
        check_asked("nvidia/nv-embedqa-e5-v5", dimensions=None, embedding_type=kind, supported_dimensions=(1024,), supported_types=("float",))
    assert refused.value.message == f"embedding_type '{kind}' is not supported by model 'nvidia/nv-embedqa-e5-v5'; supported: 'float'"


def from_file(folder: Path, **fields: object) -> ModelSpec:
    path = folder / "models.json"
    path.write_text(json.dumps({"model": [{"name": "me/mine", "source": "file:/x"} | fields]}))
    return specs(RuntimeSettings(model_file=str(path)))[0]


@pytest.mark.claim("nim:embeddings:embedding-type-of-the-model")
def test_a_model_file_says_which_types_a_model_answers(tmp_path: Path, embedder: ServedModel) -> None:
    assert from_file(tmp_path).embedding_types == EMBEDDING_TYPES
    model = replace(embedder, spec=replace(embedder.spec, embedding_types=from_file(tmp_path, embedding_types=["float"]).embedding_types))
    pipeline = Pipeline(tokenizer_threads=1)

    async def embed(kind: EmbeddingType) -> NDArray[np.generic]:
        call = EmbedCall(model=None, inputs=(Content("snow"),), truncate="END", embedding_type=kind)
        return (await asyncio.wait_for(pipeline.embed(model, call, time.monotonic() + 20), 20)).vectors

    assert asyncio.run(embed("float")).dtype == np.float32
    with pytest.raises(BadRequest, match="embedding_type 'int8' is not supported by model 'tiny-embed'; supported: 'float'"):
        asyncio.run(embed("int8"))
    pipeline.close()


@pytest.mark.parametrize("said", [[], ["float", "int4"], "float", 7, [["float"]]])
def test_types_that_there_are_not_are_refused_when_the_file_is_read(tmp_path: Path, said: object) -> None:
    with pytest.raises(SettingError, match="EMBERANK_MODEL_FILE"):
        from_file(tmp_path, embedding_types=said)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_score_that_cannot_be_sorted_is_our_fault(broken: float) -> None:
    check_logits(np.array([3.0, -120.5], np.float32))
    with pytest.raises(ServerFault) as failed:
        check_logits(np.array([1.0, broken], np.float32))
    assert isinstance(failed.value.__cause__, FloatingPointError)
