"""An open checkpoint and the tensors its networks and heads ask for in, warnings out; or a refusal naming the tensor and its file.

Knows names, shapes, types and what a scan found; no network, and reads no numbers.

Tensors that nothing asks for are judged by their names, first match wins:

    a scale, packed integers, an adapter      refused before anything else: the weights beside them are not what they seem
    a layer more than config.json says        refused: the network would end too early
    a bias beside a matrix that is used       refused: a matrix product without it is another one
    another part of a layer that is used      refused: this network does not compute it
    constants that are computed anyway        passed over in silence, as are heads of other uses (NamedWeights.unused)
    anything else                             passed over, and named in a warning in the log
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emberank.contract.errors import WeightsCorrupt
from emberank.runtime.checkpoint import WEIGHTS, Checkpoint
from emberank.runtime.networks.ops import Weights
from emberank.runtime.weights import Manifest

_LISTED = 5  # names in a warning

_QUANTISED = re.compile(
    r".*\.(?:qweight|qzeros|scales|g_idx|absmax|nested_absmax|quant_map|nested_quant_map|quant_state\..*|SCB|scale_weight|scale_input"
    r"|weight_(?:scale(?:_2|_inv)?|packed|shape|zero_point)|(?:input|output|k|v|q)_scale)"
)
_ADAPTER = re.compile(r".*(?:\.|^)(?:lora_[A-Za-z_]+|base_layer|modules_to_save|ia3_l|vera_lambda_[bd])(?:\.|$).*")
_COMPUTED = re.compile(r".*(?:rotary_emb\..*|\.(?:masked_bias|position_ids|token_type_ids|num_batches_tracked))")
_LAYER = re.compile(r"\.\d+(?=\.)")
_IN_LAYER = re.compile(r"(?:.*?\.)?\d+(?=\.)")


class Named(Weights, Protocol):
    """Weights that know what their file calls them."""

    def spelled(self, name: str) -> str:
        """The file's own name of a tensor."""

    def unused(self, names: Iterable[str]) -> list[str]:
        """The file's names of tensors that neither `names` nor any other use of such a file reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One network of the checkpoint: its tensors with the shapes that config.json promises, and those that its head read."""

    weights: Named
    shapes: Mapping[str, tuple[int, ...]]
    head: Collection[str] = ()


class Watched:
    """Weights that remember which names were asked for: what a head is made from, so that it need not say so a second time."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self.names: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether the tensor exists. Asking is not reading."""
        return self._weights.has(name)

    def get(self, name: str) -> NDArray[np.float32]:
        """The tensor in float32."""
        self.names.add(name)
        return self._weights.get(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Its sizes."""
        return self._weights.shape(name)

    def stored(self, name: str) -> tuple[str, NDArray[Any]]:
        """The tensor as the file has it."""
        self.names.add(name)
        return self._weights.stored(name)

    def drop(self, name: str) -> None:
        """The tensor was copied."""
        self._weights.drop(name)


def inspect(checkpoint: Checkpoint, asked: Sequence[Asked], manifest: Manifest) -> list[str]:
    """Refuse a checkpoint whose tensors are missing, misshapen, not floating-point, not finite, or more than the networks compute.

    Raises WeightsCorrupt with the first fault and the number of others. Returns sentences for the log.
    """
    used = {part.weights.spelled(name) for part in asked for name in (*part.shapes, *part.head) if part.weights.has(name)}
    extra = [name for part in asked for name in part.weights.unused((*part.shapes, *part.head))]
    # What a file is comes first: "it is quantised" says more than "q_proj.weight is missing".
    _refuse([said for name in extra if (said := _other_kind(checkpoint, name))])
    _refuse([said for part in asked for name, shape in part.shapes.items() if (said := _wrong(checkpoint, part.weights, name, shape))])
    _refuse([_typed(checkpoint, name) for name in sorted(used) if checkpoint.dtype(name) not in WEIGHTS])
    _refuse([_not_finite(checkpoint, name) for name in sorted(used) if name in _not_finite_names(checkpoint, manifest, name)])
    _refuse([said for said in map(_judge(checkpoint, used), extra) if said])
    left = [name for name in extra if not _COMPUTED.fullmatch(name)]
    return [_listed(left)] if left else []


def check_vocabulary(largest_id: int, rows: int, file: str, *, padded: bool = False) -> str:
    """Refuse a tokenizer that can make ids beyond the token table's `rows`. `file` is the tokenizer's, for the message.

    `padded`: the table is filled up with zeros, as vision-language checkpoints of NVIDIA's need; then the sentence to log, else an empty one.
    """
    if largest_id < rows:
        return ""
    said = f"{file}: the largest token id is {largest_id}, and the checkpoint's token table has {rows} rows (ids 0 to {rows - 1})"
    if not padded:
        raise WeightsCorrupt(f"{said}: this is the tokenizer of another model")
    return f"{said}: the {largest_id + 1 - rows} missing rows are taken as zeros"


def _refuse(faults: list[str]) -> None:
    if faults:
        more = f" (and {len(faults) - 1} more like it)" if len(faults) > 1 else ""
        raise WeightsCorrupt(f"{faults[0]}{more}")


def _other_kind(checkpoint: Checkpoint, name: str) -> str:
    if _QUANTISED.fullmatch(name):
        return f"{checkpoint.where(name)}: {name!r} belongs to quantised weights, which are not read; take the model's original weights in BF16, F16 or F32"
    if _ADAPTER.fullmatch(name):
        return f"{checkpoint.where(name)}: {name!r} belongs to an adapter that is not merged into its model: merge it first (peft's merge_and_unload)"
    return ""


def _wrong(checkpoint: Checkpoint, weights: Named, name: str, shape: tuple[int, ...]) -> str:
    if not weights.has(name):
        try:
            weights.shape(name)
        except WeightsCorrupt as missing:
            return missing.message
    found, spelled = weights.shape(name), weights.spelled(name)
    return "" if found == shape else f"{checkpoint.where(spelled)}: {spelled!r} has shape {list(found)}, and by config.json it has to be {list(shape)}"


def _typed(checkpoint: Checkpoint, name: str) -> str:
    return f"{checkpoint.where(name)}: {name!r} is {checkpoint.dtype(name)}, and weights have to be BF16, F16 or F32"


def _not_finite_names(checkpoint: Checkpoint, manifest: Manifest, name: str) -> tuple[str, ...]:
    file = checkpoint.where(name).relative_to(checkpoint.folder).as_posix()
    return next((one.not_finite for one in manifest.files if one.name == file), ())


def _not_finite(checkpoint: Checkpoint, name: str) -> str:
    return (
        f"{checkpoint.where(name)}: {name!r} holds a NaN or an infinity: the file is damaged, or its training failed; fetch it again, or take another revision"
    )


def _judge(checkpoint: Checkpoint, used: Collection[str]) -> Callable[[str], str]:
    """Name of a tensor that nothing asks for → why it is refused, or nothing."""
    patterns = {_LAYER.sub(".*", name) for name in used}
    layers = {match[0] for name in used if (match := _IN_LAYER.match(name))}

    def judged(name: str) -> str:
        said = f"{checkpoint.where(name)}: {name!r}"
        if _COMPUTED.fullmatch(name):
            return ""
        if _LAYER.sub(".*", name) in patterns:
            return f"{said} is of a layer that config.json does not count: its number of layers and the file do not agree"
        if name.endswith(".bias") and f"{name.removesuffix('bias')}weight" in used:
            return f"{said} is a bias that config.json says is not there: the network would compute without it"
        if (match := _IN_LAYER.match(name)) and match[0] in layers:
            return f"{said} is a part of a layer that this network does not compute: config.json names another architecture than the file holds"
        return ""

    return judged


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"tensors that nothing here reads are passed over: {', '.join(names[:_LISTED])}{more}"
