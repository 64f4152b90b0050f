"""An image in, tiles for a vision network out: which grid fits, how it is cut, what a pixel's number is. Knows no file format and no network.

After `dynamic_preprocess` and `find_closest_aspect_ratio` of NVIDIA's Eagle 2 code, which llama-nemotron-embed-vl-1b-v2 and
llama-nemotron-rerank-vl-1b-v2 bring along: the image is resized to the grid of squares whose shape is nearest to its own,
cut row by row, and shown once more as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emberank.contract.errors import WeightsCorrupt
from emberank.runtime.networks.network import number

Patches = NDArray[np.float32]  # (tiles, patches per tile, channels · patch · patch)

_CHANNELS = 3
_ENOUGH = 0.6  # an image is worth no more tiles once they hold this share of its pixels
_MOST_TILES = 64


class Bitmap(Protocol):
    """A decoded image, as images.py gives it."""

    @property
    def width(self) -> int:
        """Pixels across."""

    @property
    def height(self) -> int:
        """Pixels down."""

    def resized(self, width: int, height: int) -> NDArray[np.uint8]:
        """Its RGB bytes at another size, (height, width, 3), bicubic."""


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How a checkpoint's images are cut. `tile` and `patch` are pixels; `mean` and `std` are of pixels between 0 and 1, by channel."""

    tile: int = 512
    max_tiles: int
    min_tiles: int = 1
    use_thumbnail: bool = True
    dynamic: bool = True
    patch: int = 16
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        """Raises WeightsCorrupt for numbers that do not go together."""
        if self.tile % self.patch:
            raise WeightsCorrupt(f"config.json: an image of {self.tile} pixels cannot be cut into patches of {self.patch}")
        if not 1 <= self.min_tiles <= self.max_tiles <= _MOST_TILES:
            raise WeightsCorrupt(
                f"processor_config.json: min_input_tiles {self.min_tiles} and max_input_tiles {self.max_tiles} must be between 1 and {_MOST_TILES}, in this order"
            )

    @classmethod
    def from_configs(cls, config: Mapping[str, Any], processor: Mapping[str, Any]) -> Tiling:
        """From config.json and processor_config.json (empty when there is none), which goes before. Raises WeightsCorrupt naming the key.

        Without a word in either the most tiles are 2, as the published processor's class has it.
        """
        both = {**config, **{key: value for key, value in processor.items() if value is not None}}
        vision = config.get("vision_config")
        if not isinstance(vision, dict):
            raise WeightsCorrupt("config.json lacks 'vision_config', which a checkpoint that reads images must have")
        return cls(
            tile=number(vision, "image_size") if "image_size" in vision else number(both, "force_image_size", 512),
            patch=number(vision, "patch_size", 16),
            max_tiles=number(both, "max_input_tiles", 2),
            min_tiles=number(both, "min_input_tiles", 1),
            use_thumbnail=_truth(both, "use_thumbnail"),
            dynamic=_truth(both, "dynamic_image_size"),
            mean=_channels(processor, "image_mean"),
            std=_channels(processor, "image_std", above=0.0),
        )

    @property
    def patches(self) -> int:
        """Patches of one tile."""
        return (self.tile // self.patch) ** 2

    @property
    def patch_width(self) -> int:
        """Numbers of one patch."""
        return _CHANNELS * self.patch**2

    @property
    def most(self) -> int:
        """The most tiles that one image becomes, its thumbnail included."""
        if not self.dynamic:
            return 1
        return max(columns * rows + (1 if self.use_thumbnail and columns * rows != 1 else 0) for columns, rows in self._grids)

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Columns and rows for an image of this size: the first whose shape and size suit it best."""
        if not self.dynamic:
            return 1, 1
        aspect, area = width / height, width * height
        best, chosen = float("-inf"), (1, 1)
        for columns, rows in self._grids:
            shape = columns / rows
            score = min(columns * rows * self.tile * self.tile / area, _ENOUGH) * min(shape / aspect, aspect / shape)
            if score > best:
                best, chosen = score, (columns, rows)
        return chosen

    @cached_property
    def _grids(self) -> list[tuple[int, int]]:
        # Equal scores go to the grid that comes first, and among grids of equal area the published code's order is that of a Python set
        # filled just so. Hashes of pairs of small numbers do not change from run to run; a test holds the order.
        pairs = {
            (columns, rows)
            for limit in range(self.min_tiles, self.max_tiles + 1)
            for columns in range(1, limit + 1)
            for rows in range(1, limit + 1)
            if self.min_tiles <= columns * rows <= self.max_tiles
        }
        return sorted(pairs, key=lambda pair: pair[0] * pair[1])

    def count(self, width: int, height: int) -> int:
        """Tiles of an image of this size, its thumbnail included."""
        columns, rows = self.grid(width, height)
        return columns * rows + (1 if self.use_thumbnail and columns * rows != 1 else 0)

    def tiles(self, image: Bitmap) -> Patches:
        """(tiles, patches, patch width): crops row by row, then the whole image once more unless it is one tile already.

        Patches go row by row through a tile; a patch's numbers by channel, then row, then column: the order of a convolution's weights.
        """
        columns, rows = self.grid(image.width, image.height)
        out = np.empty((self.count(image.width, image.height), self.patches, self.patch_width), np.float32)
        resized = image.resized(columns * self.tile, rows * self.tile)
        for place in range(columns * rows):
            top, left = place // columns * self.tile, place % columns * self.tile
            self._fill(out[place], resized[top : top + self.tile, left : left + self.tile])
        if len(out) > columns * rows:
            self._fill(out[-1], image.resized(self.tile, self.tile))
        return out

    def _fill(self, out: NDArray[np.float32], pixels: NDArray[np.uint8]) -> None:
        """`pixels` (tile, tile, 3) → `out` (patches, patch width)."""
        side, p = self.tile // self.patch, self.patch
        patches = pixels.reshape(side, p, side, p, _CHANNELS).transpose(0, 2, 4, 1, 3)  # (side, side, channels, p, p)
        out.reshape(side, side, _CHANNELS, p, p)[:] = patches
        by_channel = out.reshape(-1, _CHANNELS, p * p)
        by_channel /= np.float32(255)
        by_channel -= np.array(self.mean, np.float32)[:, None]
        by_channel /= np.array(self.std, np.float32)[:, None]


def _truth(config: Mapping[str, Any], key: str) -> bool:
    value = config.get(key, True)
    if not isinstance(value, bool):
        raise WeightsCorrupt(f"config.json: {key} must be true or false, not {value!r}")
    return value


def _channels(processor: Mapping[str, Any], key: str, above: float = -1e-9) -> tuple[float, float, float]:
    value = processor.get(key)
    if value is None:
        return 0.5, 0.5, 0.5
    numbers = value if isinstance(value, list) else [value] * _CHANNELS
    if len(numbers) != _CHANNELS or not all(isinstance(one, int | float) and not isinstance(one, bool) and above < one <= 1 for one in numbers):
        raise WeightsCorrupt(f"processor_config.json: {key} must be three numbers between 0 and 1, not {value!r}")
    return float(numbers[0]), float(numbers[1]), float(numbers[2])
