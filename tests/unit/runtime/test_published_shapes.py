"""The shapes of published checkpoints: as many numbers as their publishers count, and exactly the tensors that our networks and heads read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from emberank.contract.errors import SettingError
from emberank.runtime.checkpoint import Checkpoint
from emberank.runtime.named_weights import NamedWeights
from emberank.runtime.networks.network import check
from emberank.runtime.published_shapes import PublishedShape, shapes
from emberank.runtime.published_tensors import LAYOUTS, Planned
from emberank.runtime.random_tokenizer import tokenizer_json
from emberank.runtime.recognise import Recognised, recognise
from random_checkpoints import shape_of

KNOWN = [pytest.param(shape, id=shape.id) for shape in shapes() if shape.depth is not None]
UNKNOWN = [pytest.param(shape, id=shape.id) for shape in shapes() if shape.depth is None]


class PlannedFile:
    """As much of a checkpoint as a plan can be: names and shapes."""

    def __init__(self, planned: Sequence[Planned]) -> None:
        self._shapes = {tensor.name: tensor.shape for tensor in planned}

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._shapes))

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]


def recognised(shape: PublishedShape, folder: Path) -> Recognised:
    """Its configuration as we read one: without a tensor."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(shape.config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json(shape.tokenizer, shape.vocabulary)))
    for name, content in shape.files.items():
        (folder / name).write_text(json.dumps(content))
    return recognise(folder)


@pytest.mark.parametrize("shape", KNOWN)
def test_it_has_as_many_numbers_as_its_publisher_counts(shape: PublishedShape) -> None:
    assert sum(tensor.numbers for tensor in shape.tensors()) == shape.parameters


def test_the_vision_models_are_those_of_nvidias_support_matrix() -> None:
    millions = sum(tensor.numbers for tensor in shape_of("llama-nemotron-embed-vl-1b-v2").tensors()) / 1e6
    assert round(millions) == 1678


@pytest.mark.parametrize("shape", KNOWN)
def test_its_file_holds_every_tensor_that_the_network_reads_and_none_that_nobody_does(shape: PublishedShape, tmp_path: Path) -> None:
    found = recognised(shape, tmp_path / "of")
    file = cast(Checkpoint, PlannedFile(shape.tensors()))
    text = NamedWeights(file)
    check(found.network, text)
    heads = [name for name in text.unused(found.network.shapes()) if not name.startswith(("score.", "classifier.", "head."))]
    assert heads == []
    if found.vision is not None:
        vision = NamedWeights(file, "vision")
        check(found.vision.network, vision)
        assert vision.unused(found.vision.network.shapes()) == []


@pytest.mark.parametrize("shape", KNOWN)
def test_norms_begin_at_one_and_matrices_keep_the_size_of_what_they_multiply(shape: PublishedShape) -> None:
    planned = {tensor.name: tensor for tensor in shape.tensors()}
    norms = [tensor for tensor in planned.values() if tensor.fill != "normal"]
    assert all("norm" in tensor.name.lower() or "mlp1.0" in tensor.name for tensor in norms)
    assert {tensor.fill for tensor in norms if tensor.name.endswith("weight")} == {"one"}
    assert not any("norm" in tensor.name.lower() for tensor in planned.values() if tensor.fill == "normal")
    for tensor in planned.values():
        if tensor.fill == "normal" and len(tensor.shape) == 2 and not tensor.name.startswith(("score", "classifier")) and "embed" not in tensor.name:
            assert tensor.std == pytest.approx(tensor.shape[1] ** -0.5)


def test_the_vision_rerankers_head_is_stored_in_float32_as_published() -> None:
    assert [tensor.name for tensor in shape_of("rerank-vl-1b-v2").tensors() if tensor.float32] == ["score.weight"]
    assert not any(tensor.float32 for tensor in shape_of("nv-rerankqa-1b-v2").tensors())


def test_nvidias_tensors_are_named_as_they_are_in_its_files() -> None:
    rerank = {tensor.name: tensor.shape for tensor in shape_of("nv-rerankqa-1b-v2").tensors()}
    assert rerank["model.embed_tokens.weight"] == (128256, 2048)
    assert rerank["model.layers.15.self_attn.k_proj.weight"] == (512, 2048)
    assert rerank["model.layers.0.mlp.down_proj.weight"] == (2048, 8192)
    assert rerank["score.weight"] == (1, 2048)
    embed = {tensor.name for tensor in shape_of("nv-embedqa-1b-v2").tensors()}
    assert embed == {name.removeprefix("model.") for name in rerank} - {"score.weight"}
    vision = {tensor.name: tensor.shape for tensor in shape_of("embed-vl-1b-v2").tensors()}
    assert vision["vision_model.vision_model.embeddings.patch_embedding.weight"] == (1152, 3, 16, 16)
    assert vision["mlp1.1.weight"] == (2048, 4608)
    assert vision["language_model.embed_tokens.weight"] == (128266, 2048)
    assert {f"model.{name}" for name in vision} | {"score.weight"} == {tensor.name for tensor in shape_of("rerank-vl-1b-v2").tensors()}


@pytest.mark.parametrize("shape", UNKNOWN)
def test_a_depth_that_nobody_published_is_not_guessed(shape: PublishedShape) -> None:
    with pytest.raises(SettingError, match="--layers"):
        shape.tensors()
    said = shape.with_depth(4)
    assert (said.depth, said.parameters) == (4, None)
    assert sum(".self_attn.q_proj." in tensor.name for tensor in said.tensors()) == 4
    assert "published" in said.unknown


def test_every_layout_has_a_shape_and_every_id_is_there_once() -> None:
    assert {shape.layout for shape in shapes()} == set(LAYOUTS)
    assert len({shape.id for shape in shapes()}) == len(shapes())
