"""Keys of a config.json in, values that networks can trust out, for what `number` and `real` of network.py do not read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emberank.contract.errors import UnknownArchitecture, WeightsCorrupt
from emberank.runtime.networks.network import number

_MOST_LAYERS = 1000  # more is a broken file, and a list of every layer's tensors would fill the memory


def layers(config: Mapping[str, Any]) -> int:
    """`num_hidden_layers`; raises WeightsCorrupt when there are none, or thousands."""
    found = number(config, "num_hidden_layers")
    if found > _MOST_LAYERS:
        raise WeightsCorrupt(f"config.json: num_hidden_layers {found} is more than any network has ({_MOST_LAYERS} at most)")
    return found


def flag(config: Mapping[str, Any], key: str, default: bool = False) -> bool:
    """True or false; null is the default. Raises WeightsCorrupt naming the key."""
    value = config.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise WeightsCorrupt(f"config.json: {key} must be true or false, not {value!r}")
    return value


def choice(config: Mapping[str, Any], key: str, known: tuple[str, ...], default: str | None = None, *, network: str) -> str:
    """One of the `known` words; without a `default` it has to be there. Raises UnknownArchitecture listing what this `network` knows."""
    value = config.get(key)
    found = default if value is None else value
    if not isinstance(found, str) or found not in known:
        listed = ", ".join(repr(word) for word in known)
        raise UnknownArchitecture(f"config.json: {key} {found!r} is not supported for {network}; known: {listed}")
    return found


def mapping(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object nested in config.json; raises WeightsCorrupt when it is missing or something else."""
    value = config.get(key)
    if not isinstance(value, Mapping):
        raise WeightsCorrupt(f"config.json lacks the object {key!r}, which a checkpoint of this kind must have")
    return value


def refuse_quantized(config: Mapping[str, Any]) -> None:
    """Raises UnknownArchitecture for weights that are stored in a quantised form: their tensors are not what the network multiplies by."""
    value = config.get("quantization_config")
    if not value:
        return
    said = ""
    if isinstance(value, Mapping):
        words = (f"{key} {value[key]!r}" for key in ("quant_method", "quant_algo") if key in value)
        said = ", ".join(words)
    raise UnknownArchitecture(
        f"config.json: quantization_config ({said or 'of an unnamed method'}) is not supported: "
        "take the checkpoint's bfloat16 or float32 original; this runtime quantises by itself when its precision is set so"
    )
