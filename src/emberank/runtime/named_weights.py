"""A checkpoint's tensors under the names the network uses: prefixes and very old spellings undone. Implements networks.ops.Weights.

Networks and heads know one name for each tensor; files have many. A file's names are first sorted into two parts, since a vision model
holds two networks, and then lose what stands in front:

    text    embed_tokens.weight         model.embed_tokens.weight              language_model.embed_tokens.weight
            model.language_model.…      language_model.model.…                 bert.…, roberta.…
            Heads keep their own names: score.weight, classifier.…, head.dense.weight, pooler.dense.weight, lm_head.weight.
    vision  vision_model.vision_model.… vision_model.… (since transformers 5)  model.vision_model.…
            The projector keeps its name: mlp1.0.weight.

Two tensors that come to one name are an error: it cannot be known which is meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emberank.contract.errors import WeightsCorrupt
from emberank.runtime.checkpoint import Checkpoint
from emberank.runtime.networks.siglip import PATCH_WEIGHT

Part = Literal["text", "vision"]

_VISION = re.compile(r"(?:model\.)?(?:vision_model\.(?:vision_model\.)?|(?=mlp1\.))")
_TEXT = re.compile(r"^(?:(?:model\.)?language_model\.(?:model\.)?|model\.|bert\.|roberta\.)")
_OLD = (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))  # TensorFlow's names, in files converted before 2019
# Tensors that files hold and no network here reads, by design: constants that are computed, a vision transformer's own pooling, BERT's pooler
# in an embedder, and the heads of a language model that is used for its states.
_NEVER_READ = re.compile(r"(?:.*\.)?(?:rotary_emb\.inv_freq|position_ids)|(?:pooler|cls|lm_head)\..*")
_NEVER_READ_VISION = re.compile(r"head\..*")


class NamedWeights:
    """Looks a tensor of one part up as the network names it, under whatever spelling the file uses."""

    def __init__(self, checkpoint: Checkpoint, part: Part = "text") -> None:
        """Reads names only. Raises WeightsCorrupt when two tensors of the part have one name."""
        self._checkpoint = checkpoint
        self._part = part
        self._actual: dict[str, str] = {}
        for name in checkpoint.names():
            found, plain = _plain(name)
            if found != part:
                continue
            if plain in self._actual:
                raise WeightsCorrupt(f"tensors {self._actual[plain]!r} and {name!r} are two spellings of {plain!r}: a checkpoint may have one of them")
            self._actual[plain] = name

    def has(self, name: str) -> bool:
        """Whether the tensor exists under any spelling."""
        return name in self._actual

    def get(self, name: str) -> NDArray[np.float32]:
        """The tensor in float32; raises WeightsCorrupt naming it when it is missing."""
        return _flat(name, self._checkpoint.float32(self._actual.get(name, name)))

    def shape(self, name: str) -> tuple[int, ...]:
        """Its sizes; raises WeightsCorrupt naming it when it is missing."""
        shape = self._checkpoint.shape(self._actual.get(name, name))
        return (shape[0], shape[1] * shape[2] * shape[3]) if _is_kernel(name, shape) else shape

    def stored(self, name: str) -> tuple[str, NDArray[Any]]:
        """The tensor as it is in the file, BF16 as its 16 bits; raises WeightsCorrupt naming it when it is missing."""
        actual = self._actual.get(name, name)
        return self._checkpoint.dtype(actual), _flat(name, self._checkpoint.raw(actual))

    def drop(self, name: str) -> None:
        """Say that a tensor was copied: its pages of the file need not stay in memory."""
        self._checkpoint.drop(self._actual.get(name, name))

    def spelled(self, name: str) -> str:
        """The file's own name of a tensor, for a message; the name itself when there is none."""
        return self._actual.get(name, name)

    def unused(self, names: Iterable[str]) -> list[str]:
        """The file's names, in order, of this part's tensors that neither `names` (the network's and the head's) nor any use of such a file would read."""
        asked = set(names)
        never = [_NEVER_READ] + ([_NEVER_READ_VISION] if self._part == "vision" else [])
        return sorted(actual for plain, actual in self._actual.items() if plain not in asked and not any(pattern.fullmatch(plain) for pattern in never))


def _plain(name: str) -> tuple[Part, str]:
    """The part a file's tensor belongs to, and its name there."""
    for new, old in _OLD:
        if name.endswith(old):
            name = name.removesuffix(old) + new
    if match := _VISION.match(name):
        return "vision", name[match.end() :]
    return "text", _TEXT.sub("", name, count=1)


def _is_kernel(name: str, shape: tuple[int, ...]) -> bool:
    return name == PATCH_WEIGHT and len(shape) == 4


def _flat(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """A patch embedding's kernel (width, channels, rows, columns) as the matrix that siglip.py multiplies by; a view."""
    return array.reshape(len(array), -1) if _is_kernel(name, array.shape) else array
