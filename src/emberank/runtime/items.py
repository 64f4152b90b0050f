"""What a model is asked to read, once images are decoded: text, a picture as tiles, or both. Knows no file format and no model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emberank.contract.inference import Modality


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image cut into tiles for the vision network. Equal only to itself: comparing pixels would cost more than it saves."""

    tiles: NDArray[np.float32]  # (tiles, patches per tile, patch width), normalised pixels; crops row by row, the thumbnail last


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to read. Hashable, so that equal items of one call are read once."""

    text: str | None = None
    picture: Picture | None = None

    @property
    def modality(self) -> Modality:
        """What it is made of. An empty text beside a picture counts as none."""
        if self.picture is None:
            return "text"
        return "text_image" if self.text else "image"
