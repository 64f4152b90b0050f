"""A checkpoint's tensors under the names the network uses: prefixes and very old spellings undone. Implements networks.ops.Weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emberank.runtime.checkpoint import Checkpoint

_PREFIXES = ("bert.",)  # a sequence classifier keeps its body under the architecture's name
_OLD = (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))  # TensorFlow's names, in files converted before 2019


class NamedWeights:
    """Looks a tensor up as the network names it, then under the spellings other files use."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._actual: dict[str, str] = {}
        for name in checkpoint.names():
            plain = next((name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix)), name)
            for new, old in _OLD:
                if plain.endswith(old):
                    plain = plain.removesuffix(old) + new
            self._actual[plain] = name

    def has(self, name: str) -> bool:
        """Whether the tensor exists under any spelling."""
        return name in self._actual

    def get(self, name: str) -> NDArray[np.float32]:
        """The tensor in float32; raises WeightsCorrupt naming it when it is missing."""
        return self._checkpoint.float32(self._actual.get(name, name))
