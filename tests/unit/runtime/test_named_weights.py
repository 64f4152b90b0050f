"""Tensors under the names that networks use, whatever a file calls them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import families
from emberank.contract.errors import WeightsCorrupt
from emberank.runtime.checkpoint import Checkpoint
from emberank.runtime.named_weights import NamedWeights, Part
from emberank.runtime.networks.llama import Llama
from emberank.runtime.networks.siglip import PATCH_WEIGHT, SiglipProjector
from family_weights import bf16, write_safetensors


def named(tmp_path: Path, *names: str, part: Part = "text", shape: tuple[int, ...] = (2,)) -> NamedWeights:
    """A file with these tensors, the n-th full of n."""
    write_safetensors(tmp_path / "model.safetensors", {name: np.full(shape, n, np.float32) for n, name in enumerate(names)})
    return NamedWeights(Checkpoint.open(tmp_path), part)


@pytest.mark.parametrize(
    ("spelling", "plain"),
    [
        ("embed_tokens.weight", "embed_tokens.weight"),
        ("model.embed_tokens.weight", "embed_tokens.weight"),
        ("language_model.embed_tokens.weight", "embed_tokens.weight"),
        ("language_model.model.embed_tokens.weight", "embed_tokens.weight"),
        ("model.language_model.embed_tokens.weight", "embed_tokens.weight"),
        ("model.layers.11.self_attn.q_proj.bias", "layers.11.self_attn.q_proj.bias"),
        ("model.embeddings.tok_embeddings.weight", "embeddings.tok_embeddings.weight"),
        ("bert.encoder.layer.0.output.LayerNorm.gamma", "encoder.layer.0.output.LayerNorm.weight"),
        ("embeddings.LayerNorm.beta", "embeddings.LayerNorm.bias"),
        ("roberta.embeddings.word_embeddings.weight", "embeddings.word_embeddings.weight"),
        ("bert.pooler.dense.weight", "pooler.dense.weight"),
        ("score.weight", "score.weight"),
        ("classifier.out_proj.weight", "classifier.out_proj.weight"),
        ("head.dense.weight", "head.dense.weight"),
        ("lm_head.weight", "lm_head.weight"),
        ("language_model.lm_head.weight", "lm_head.weight"),
    ],
)
def test_a_text_networks_tensor_is_found_under_every_spelling(tmp_path: Path, spelling: str, plain: str) -> None:
    weights = named(tmp_path, "other.weight", spelling)
    assert weights.has(plain)
    assert weights.get(plain).tolist() == [1, 1]
    assert weights.shape(plain) == (2,)
    assert weights.stored(plain)[0] == "F32"
    assert weights.spelled(plain) == spelling
    assert not NamedWeights(Checkpoint.open(tmp_path), "vision").has(plain)


@pytest.mark.parametrize(
    ("spelling", "plain"),
    [
        ("vision_model.vision_model.post_layernorm.bias", "post_layernorm.bias"),
        ("vision_model.post_layernorm.bias", "post_layernorm.bias"),
        ("model.vision_model.vision_model.post_layernorm.bias", "post_layernorm.bias"),
        ("model.vision_model.encoder.layers.0.mlp.fc1.weight", "encoder.layers.0.mlp.fc1.weight"),
        ("mlp1.0.weight", "mlp1.0.weight"),
        ("model.mlp1.3.bias", "mlp1.3.bias"),
    ],
)
def test_a_vision_networks_tensor_is_found_under_every_spelling(tmp_path: Path, spelling: str, plain: str) -> None:
    weights = named(tmp_path, "other.weight", spelling, part="vision")
    assert weights.get(plain).tolist() == [1, 1]
    assert not weights.has("other.weight")
    assert not NamedWeights(Checkpoint.open(tmp_path)).has(plain)


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (("norm.weight", "model.norm.weight"), "text"),
        (("embeddings.LayerNorm.weight", "bert.embeddings.LayerNorm.gamma"), "text"),
        (("vision_model.post_layernorm.weight", "vision_model.vision_model.post_layernorm.weight"), "vision"),
    ],
    ids=str,
)
def test_two_tensors_of_one_name_are_refused(tmp_path: Path, names: tuple[str, str], part: Part) -> None:
    with pytest.raises(WeightsCorrupt) as refused:
        named(tmp_path, *names, part=part)
    assert all(repr(name) in refused.value.message for name in names)


def test_the_halves_of_a_vision_model_have_names_of_their_own(tmp_path: Path) -> None:
    names = ("language_model.norm.weight", "vision_model.vision_model.norm.weight")
    assert named(tmp_path, *names).get("norm.weight")[0] == 0
    assert named(tmp_path, *names, part="vision").get("norm.weight")[0] == 1


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    weights = named(tmp_path, "model.norm.weight")
    assert not weights.has("embed_tokens.weight")
    for ask in (weights.get, weights.shape, weights.stored):
        with pytest.raises(WeightsCorrupt, match=r"embed_tokens\.weight"):
            ask("embed_tokens.weight")


def test_a_patch_embeddings_kernel_is_read_as_the_matrix_it_is(tmp_path: Path) -> None:
    kernel = np.arange(5 * 3 * 2 * 2, dtype=np.float32).reshape(5, 3, 2, 2)
    write_safetensors(tmp_path / "model.safetensors", {f"vision_model.{PATCH_WEIGHT}": kernel}, "BF16")
    weights = NamedWeights(Checkpoint.open(tmp_path), "vision")
    assert weights.shape(PATCH_WEIGHT) == (5, 12)
    assert np.array_equal(weights.get(PATCH_WEIGHT), kernel.reshape(5, 12))
    kind, stored = weights.stored(PATCH_WEIGHT)
    assert (kind, stored.shape) == ("BF16", (5, 12))
    assert np.array_equal(stored, bf16(kernel).reshape(5, 12))


def test_what_nobody_asks_for_is_told_by_its_name_in_the_file(tmp_path: Path) -> None:
    weights = named(tmp_path, "model.norm.weight", "model.layers.2.mlp.up_proj.weight", "adapter.weight", "score.weight")
    assert weights.unused(["norm.weight", "score.weight"]) == ["adapter.weight", "model.layers.2.mlp.up_proj.weight"]


def test_what_files_hold_and_no_network_reads_is_not_told(tmp_path: Path) -> None:
    known = ("lm_head.weight", "model.layers.0.self_attn.rotary_emb.inv_freq", "bert.pooler.dense.weight", "bert.embeddings.position_ids")
    weights = named(tmp_path, *known, "cls.predictions.bias", "head.dense.weight", "vision_model.head.probe")
    assert weights.unused([]) == ["head.dense.weight"], "it is a classifier's, and that has to ask for it"
    assert NamedWeights(Checkpoint.open(tmp_path), "vision").unused([]) == []


VL: list[Callable[[Path], Path]] = [
    families.write_vl_embedder,
    lambda folder: families.write_vl_embedder(folder, flattened_vision=True, dialect="v5"),
    lambda folder: families.write_vl_reranker(folder, shards=4, dtype="BF16"),
    lambda folder: families.write_vl_reranker(folder, flattened_vision=True),
]


@pytest.mark.parametrize("write", VL)
def test_every_tensor_of_a_vision_model_belongs_to_one_of_its_networks_or_to_its_head(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    folder = write(tmp_path / "vl")
    config = json.loads((folder / "config.json").read_text())
    checkpoint = Checkpoint.open(folder)
    text, vision = NamedWeights(checkpoint), NamedWeights(checkpoint, "vision")
    assert text.unused([*Llama.from_config(config["llm_config"]).shapes(), "score.weight"]) == []
    assert vision.unused(SiglipProjector.from_config(config).shapes()) == []
    assert text.has("score.weight") is (config["model_type"] == "llama_nemotron_vl_rerank")


def test_the_same_arguments_write_the_same_checkpoint(tmp_path: Path) -> None:
    for name in ("a", "b"):
        families.write_llama_reranker(tmp_path / name, seed=4, shards=2)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)
