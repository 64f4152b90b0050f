"""The vision half: its numbers, the order of a patch's pixels, how patches are merged, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from emberank.contract.errors import UnknownArchitecture, WeightsCorrupt
from emberank.runtime.engines.base import Batch
from emberank.runtime.engines.reference import ReferenceOps
from emberank.runtime.networks.network import parameters
from emberank.runtime.networks.siglip import SiglipProjector
from family_configs import llama_config, siglip_config, vl_config
from family_tokenizers import tokenizer_llama3_like

MADE = tokenizer_llama3_like(images=True)


def config(vision: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    seen = siglip_config() | (vision or {})
    return vl_config(MADE, "LlamaNemotronVLModel", seen, False, 1.0) | {"vision_config": seen, "llm_config": llama_config(MADE)} | more


def test_a_tile_of_16_patches_becomes_four_states_as_wide_as_the_language_model() -> None:
    network = SiglipProjector.from_config(config())
    assert (network.max_positions, network.tokens_per_tile, network.merged, network.side) == (16, 4, 4, 4)
    assert (network.feature_width, network.hidden, network.vocabulary) == (3 * 8 * 8, 64, 0)


def test_the_published_size_is_known_by_its_numbers() -> None:
    vision = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16, "image_size": 512, "patch_size": 16}
    network = SiglipProjector.from_config(config(vision, llm_config=llama_config(MADE) | {"hidden_size": 2048}))
    assert (network.max_positions, network.tokens_per_tile, network.feature_width) == (1024, 256, 768)
    layer = 4 * (1152 * 1152 + 1152) + 2 * 1152 * 4304 + 4304 + 1152 + 4 * 1152
    projector = 2 * 4608 + 4608 * 2048 + 2048 + 2048 * 2048 + 2048
    assert parameters(network) == 27 * layer + 768 * 1152 + 1152 + 1024 * 1152 + 2 * 1152 + projector


def test_patches_are_merged_in_squares_with_the_row_before_the_column() -> None:
    # X[r, c] = 4r + c, one number a patch.
    empty = Batch.of([np.zeros(16, np.int32)])
    merged = ReferenceOps(None, empty).merge_patches(np.arange(16.0)[:, None], 4)  # type: ignore[arg-type]
    assert merged.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


def test_a_patch_flattened_by_channel_row_and_column_times_the_flattened_kernel_is_the_convolution() -> None:
    import torch

    random = np.random.default_rng(1)
    picture, kernel = random.normal(size=(3, 16, 24)), random.normal(size=(5, 3, 8, 8))
    patches = picture.reshape(3, 2, 8, 3, 8).transpose(1, 3, 0, 2, 4).reshape(6, -1)  # (patches row by row, channel · row · column)
    true = torch.nn.functional.conv2d(torch.from_numpy(picture)[None], torch.from_numpy(kernel), stride=8)[0].numpy()  # (5, 2, 3)
    assert patches @ kernel.reshape(5, -1).T == pytest.approx(true.reshape(5, 6).T)


@pytest.mark.parametrize(("act", "tanh"), [("gelu_pytorch_tanh", True), ("gelu_new", True), ("gelu", False), (None, True)])
def test_either_gelu_may_be_meant(act: str | None, tanh: bool) -> None:
    assert SiglipProjector.from_config(config({"hidden_act": act})).tanh is tanh


@pytest.mark.parametrize(
    ("vision", "more", "reason"),
    [
        ({"model_type": "clip_vision_model"}, {}, "model_type 'clip_vision_model' is not supported for the vision half; known: 'siglip_vision_model'"),
        ({"hidden_act": "quick_gelu"}, {}, "hidden_act 'quick_gelu' is not supported for SigLIP"),
        ({"num_channels": 1}, {}, "num_channels of vision_config must be 3"),
        ({}, {"force_image_size": 448}, "force_image_size must be vision_config's image_size 32"),
        ({}, {"downsample_ratio": 0.25}, r"downsample_ratio 0\.25 is not supported; known: 0\.5"),
        ({}, {"ps_version": "v1"}, "ps_version 'v1' is not supported; known: 'v2'"),
        ({}, {"select_layer": -2}, "select_layer -2 is not supported; known: -1"),
        ({}, {"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}}, "quant_algo 'FP8'"),
    ],
    ids=str,
)
def test_a_variant_that_is_not_computed_here_is_refused(vision: dict[str, Any], more: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnknownArchitecture, match=reason):
        SiglipProjector.from_config(config(vision, **more))


@pytest.mark.parametrize(
    ("vision", "more", "reason"),
    [
        ({"num_attention_heads": 3}, {}, "hidden_size 32 of vision_config is not a multiple of num_attention_heads 3"),
        ({"image_size": 24}, {"force_image_size": None}, "image_size 24 is not an even number of patches of 8 pixels"),
        ({}, {"llm_config": None}, "config.json lacks the object 'llm_config'"),
        ({}, {"vision_config": [1]}, "config.json lacks the object 'vision_config'"),
    ],
    ids=str,
)
def test_numbers_that_cannot_be_are_refused(vision: dict[str, Any], more: dict[str, Any], reason: str) -> None:
    with pytest.raises(WeightsCorrupt, match=reason):
        SiglipProjector.from_config(config(vision, **more))
