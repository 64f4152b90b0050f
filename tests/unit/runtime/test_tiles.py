"""Grids, tiles and their numbers: the published vectors, a second implementation written plainly, and transformers' own processor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image

from emberank.contract.errors import WeightsCorrupt
from emberank.runtime.images import Bitmap
from emberank.runtime.tiles import Tiling
from picture_files import photo

SIX, TWO = Tiling(max_tiles=6), Tiling(max_tiles=2)
SMALL = Tiling(tile=32, patch=8, max_tiles=6)
VISION = {"vision_config": {"image_size": 512, "patch_size": 16}}


@dataclass
class Empty:
    """An image of some size and no pixels."""

    width: int
    height: int

    def resized(self, width: int, height: int) -> np.ndarray[Any, Any]:
        return np.zeros((height, width, 3), np.uint8)


@pytest.mark.claim("nim:images:tiles")
@pytest.mark.parametrize(
    ("size", "grid", "count"),
    [
        ((224, 224), (1, 1), 1),
        ((512, 512), (1, 1), 1),
        ((640, 480), (3, 2), 7),
        ((700, 700), (2, 2), 5),
        ((800, 600), (3, 2), 7),
        ((1024, 1024), (2, 2), 5),
        ((1024, 768), (3, 2), 7),
        ((768, 1024), (2, 3), 7),
        ((1275, 1650), (2, 3), 7),
        ((1920, 1080), (3, 2), 7),
        ((2048, 2048), (2, 2), 5),
        ((3000, 500), (6, 1), 7),
        ((500, 3000), (1, 6), 7),
    ],
)
def test_of_at_most_six_tiles_an_image_gets_the_grid_that_the_published_code_gives_it(size: tuple[int, int], grid: tuple[int, int], count: int) -> None:
    assert (SIX.grid(*size), SIX.count(*size)) == (grid, count)


@pytest.mark.parametrize(
    ("size", "grid", "count"),
    [((640, 480), (1, 1), 1), ((1024, 768), (2, 1), 3), ((768, 1024), (1, 2), 3), ((1920, 1080), (2, 1), 3), ((2048, 2048), (1, 1), 1)],
)
def test_of_at_most_two_tiles_too(size: tuple[int, int], grid: tuple[int, int], count: int) -> None:
    assert (TWO.grid(*size), TWO.count(*size)) == (grid, count)


def test_grids_of_equal_area_are_tried_in_the_published_code_s_order() -> None:
    expected = [(1, 1), (1, 2), (2, 1), (3, 1), (1, 3), (4, 1), (1, 4), (2, 2), (1, 5), (5, 1), (6, 1), (2, 3), (1, 6), (3, 2)]
    assert SIX._grids == expected


def test_fewer_tiles_than_asked_for_are_never_cut() -> None:
    several = Tiling(max_tiles=6, min_tiles=4)
    assert all(4 <= columns * rows <= 6 for columns, rows in several._grids)
    assert several.count(224, 224) == 5


def test_without_dynamic_sizes_every_image_is_one_tile() -> None:
    fixed = Tiling(max_tiles=6, dynamic=False)
    assert (fixed.grid(3000, 500), fixed.count(3000, 500), fixed.most) == ((1, 1), 1, 1)
    assert fixed.tiles(Empty(3000, 500)).shape == (1, 1024, 768)


def test_a_thumbnail_can_be_left_out() -> None:
    assert Tiling(max_tiles=6, use_thumbnail=False).count(640, 480) == 6
    assert (SIX.most, TWO.most, Tiling(max_tiles=1).most, Tiling(max_tiles=6, use_thumbnail=False).most) == (7, 3, 1, 6)


def plainly(tiling: Tiling, image: Image.Image) -> np.ndarray[Any, Any]:
    """The same once more, tile by tile, patch by patch, number by number."""
    columns, rows = tiling.grid(*image.size)
    side, p = tiling.tile, tiling.patch
    whole = image.resize((columns * side, rows * side), Image.Resampling.BICUBIC)
    crops = [whole.crop((c * side, r * side, (c + 1) * side, (r + 1) * side)) for r in range(rows) for c in range(columns)]
    if len(crops) > 1 and tiling.use_thumbnail:
        crops.append(image.resize((side, side), Image.Resampling.BICUBIC))
    tiles = []
    for crop in crops:
        pixels = ((np.asarray(crop, np.float64) / 255 - tiling.mean) / tiling.std).transpose(2, 0, 1)  # (channels, rows, columns)
        tiles.append([pixels[:, r : r + p, c : c + p].reshape(-1) for r in range(0, side, p) for c in range(0, side, p)])
    return np.array(tiles)


@pytest.mark.claim("nim:images:tiles")
@pytest.mark.parametrize("size", [(32, 32), (20, 20), (1, 1), (100, 61), (61, 100), (300, 20), (64, 64), (33, 1000)])
@pytest.mark.parametrize("tiling", [SMALL, Tiling(tile=32, patch=8, max_tiles=6, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), use_thumbnail=False)])
def test_tiles_are_what_a_second_implementation_makes_of_the_image(size: tuple[int, int], tiling: Tiling) -> None:
    image = photo(*size)
    tiles = tiling.tiles(Bitmap(image))
    assert tiles.dtype == np.float32
    assert tiles.shape == (tiling.count(*size), 16, 192)
    assert tiles == pytest.approx(plainly(tiling, image), abs=1e-6)


def test_a_patch_times_the_flattened_kernel_is_what_the_convolution_gives() -> None:
    import torch

    kernel = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    image = photo(32, 32)
    pixels = torch.from_numpy((np.asarray(image, np.float64) / 255 - 0.5) / 0.5).permute(2, 0, 1)[None]
    expected = torch.nn.functional.conv2d(pixels, kernel, stride=8)[0].flatten(1).T  # (patches, 5), row by row
    ours = SMALL.tiles(Bitmap(image))[0] @ kernel.reshape(5, -1).numpy().T
    assert ours == pytest.approx(expected.numpy(), abs=1e-5)


def test_a_tile_has_the_numbers_of_transformers_siglip_processor() -> None:
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    image = photo(32, 32)
    theirs = SiglipImageProcessorPil(size={"height": 32, "width": 32}, resample=3)(image, return_tensors="np")["pixel_values"][0]  # (3, 32, 32)
    ours = SMALL.tiles(Bitmap(image))[0].reshape(4, 4, 3, 8, 8).transpose(2, 0, 3, 1, 4).reshape(3, 32, 32)
    assert ours == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize(("byte", "number"), [(0, -1.0), (255, 1.0), (51, -0.6)])
def test_a_pixel_lies_between_minus_one_and_one(byte: int, number: float) -> None:
    tiles = SMALL.tiles(Bitmap(Image.new("RGB", (32, 32), (byte, byte, byte))))
    assert tiles == pytest.approx(np.full((1, 16, 192), number), abs=1e-6)


def test_the_processor_s_word_goes_before_the_config_s() -> None:
    config = VISION | {"max_input_tiles": 2, "use_thumbnail": True, "dynamic_image_size": True, "force_image_size": 512}
    assert Tiling.from_configs(config, {}) == Tiling(max_tiles=2)
    assert Tiling.from_configs(config, {"max_input_tiles": 6, "min_input_tiles": None, "use_thumbnail": False}) == Tiling(max_tiles=6, use_thumbnail=False)
    assert Tiling.from_configs(config, {"dynamic_image_size": False}).dynamic is False
    assert Tiling.from_configs(VISION, {}).max_tiles == 2
    assert Tiling.from_configs({"vision_config": {"image_size": 32, "patch_size": 8}}, {"image_mean": [0, 0.5, 1], "image_std": 0.25}) == Tiling(
        tile=32, patch=8, max_tiles=2, mean=(0.0, 0.5, 1.0), std=(0.25, 0.25, 0.25)
    )


@pytest.mark.parametrize(
    ("config", "processor", "said"),
    [
        ({}, {}, "config.json lacks 'vision_config'"),
        ({"vision_config": {"image_size": 500, "patch_size": 16}}, {}, "an image of 500 pixels cannot be cut into patches of 16"),
        (VISION, {"max_input_tiles": "six"}, "max_input_tiles must be a whole number"),
        (VISION, {"max_input_tiles": 0}, "max_input_tiles must be a whole number"),
        (VISION, {"max_input_tiles": 1000}, "max_input_tiles 1000 must be between 1 and 64"),
        (VISION, {"max_input_tiles": 2, "min_input_tiles": 3}, "min_input_tiles 3 and max_input_tiles 2"),
        (VISION, {"use_thumbnail": 1}, "use_thumbnail must be true or false"),
        (VISION, {"image_mean": [0.5, 0.5]}, "image_mean must be three numbers"),
        (VISION, {"image_std": [0.5, 0.5, 0]}, "image_std must be three numbers"),
        (VISION, {"image_std": [0.5, 0.5, "1"]}, "image_std must be three numbers"),
    ],
)
def test_a_number_that_cannot_be_is_named(config: dict[str, Any], processor: dict[str, Any], said: str) -> None:
    with pytest.raises(WeightsCorrupt, match=said):
        Tiling.from_configs(config, processor)


def test_a_tile_knows_its_patches() -> None:
    assert (SIX.patches, SIX.patch_width, SMALL.patches, SMALL.patch_width) == (1024, 768, 16, 192)
