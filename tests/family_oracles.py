"""A checkpoint folder and token ids or pixels in, transformers' own last hidden states in float32 out: what networks and engines are held against.

Everything is read with other people's code: safetensors' reader, transformers' configurations and models in eager attention. Only the names of
tensors are undone here, by hand and for each family, so that named_weights.py has something to be compared with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import load_file

from emberank.runtime.engines.base import Features

Ids = NDArray[np.int32]
States = NDArray[np.float32]
Oracle = Callable[[Ids, Features | None], States]  # one sequence at a time: no padding, and a mask of ones
Tensors = Mapping[str, torch.Tensor]

_NOT_FOR_A_CONFIG = ("architectures", "auto_map", "model_type", "dtype", "torch_dtype", "transformers_version")


def llama(folder: Path, *, causal: bool = False) -> Oracle:
    """LlamaModel with `is_causal` false, which transformers' masks heed; image states replace rows of its token embeddings."""
    return _one_by_one(_llama(folder, causal))


def llama_left_padded(folder: Path, sequences: Sequence[Ids]) -> list[States]:
    """The same on one batch, padded to the left as NVIDIA's code does, with positions counted from the padding on."""
    longest = max(len(ids) for ids in sequences)
    rows = np.stack([np.concatenate([np.zeros(longest - len(ids), np.int64), ids]) for ids in sequences])
    mask = np.stack([np.arange(longest) >= longest - len(ids) for ids in sequences]).astype(np.int64)
    with torch.no_grad():
        found = _llama(folder, False)(input_ids=torch.from_numpy(rows), attention_mask=torch.from_numpy(mask))
    return [row[longest - len(ids) :] for row, ids in zip(found.last_hidden_state.numpy(), sequences, strict=True)]


def _llama(folder: Path, causal: bool) -> Any:
    config, tensors = _config(folder), _tensors(folder)
    if "llm_config" in config:
        config, tensors = config["llm_config"], _stripped(tensors, "model.language_model.", "language_model.")
    made = transformers.LlamaConfig(**_kept(config), attn_implementation="eager")
    made.is_causal = causal
    return _loaded(transformers.LlamaModel(made), _stripped(tensors, "model."))


def qwen3(folder: Path) -> Oracle:
    """Qwen3Model, causal."""
    made = transformers.Qwen3Config(**_kept(_config(folder)), attn_implementation="eager")
    return _one_by_one(_loaded(transformers.Qwen3Model(made), _stripped(_tensors(folder), "model.")))


def modernbert(folder: Path) -> Oracle:
    """ModernBertModel."""
    made = transformers.ModernBertConfig(**_kept(_config(folder)), attn_implementation="eager")
    return _one_by_one(_loaded(transformers.ModernBertModel(made), _stripped(_tensors(folder), "model.")))


def xlm_roberta(folder: Path) -> Oracle:
    """XLMRobertaModel without a pooler."""
    made = transformers.XLMRobertaConfig(**_kept(_config(folder)), attn_implementation="eager")
    return _one_by_one(_loaded(transformers.XLMRobertaModel(made, add_pooling_layer=False), _stripped(_tensors(folder), "roberta.")))


def siglip(folder: Path) -> Oracle:
    """SiglipVisionModel on the pixels of one tile, NVIDIA's pixel shuffle written out as its formula, and mlp1 in torch's own layers."""
    vision, tensors = _config(folder)["vision_config"], _tensors(folder)
    made = transformers.SiglipVisionConfig(**_kept(vision), attn_implementation="eager")
    tower = _loaded(transformers.SiglipVisionModel(made), _stripped(tensors, "model.vision_model.", "vision_model.", "vision_model."))
    projector = {name.removeprefix("model.").removeprefix("mlp1."): array for name, array in tensors.items() if "mlp1." in name}
    hidden, wide = projector["1.weight"].shape
    layers = torch.nn.Sequential(torch.nn.LayerNorm(wide), torch.nn.Linear(wide, hidden), torch.nn.GELU(), torch.nn.Linear(hidden, hidden))
    mlp1 = _loaded(layers, projector)

    def states(ids: Ids, features: Features | None) -> States:
        assert features is not None
        side = vision["image_size"] // vision["patch_size"]
        pixels = torch.nn.functional.fold(  # patches back to a picture, by torch's own idea of their order
            torch.from_numpy(features.values).T[None], vision["image_size"], vision["patch_size"], stride=vision["patch_size"]
        )
        with torch.no_grad():
            x = tower(pixel_values=pixels).last_hidden_state[0]
            y: NDArray[np.float32] = mlp1(torch.from_numpy(shuffled(x.numpy().reshape(side, side, -1)))).numpy()
        return y

    return states


def shuffled(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pixel shuffle, version 2, ratio ½: X (rows, columns, c) → (rows/2 · columns/2, 4c) by Y[s, q, (t·2 + p)·c + i] = X[2s + t, 2q + p, i]."""
    rows, columns, width = x.shape
    y = np.empty((rows // 2, columns // 2, 4 * width), x.dtype)
    for s in range(rows // 2):
        for q in range(columns // 2):
            for t in range(2):
                for p in range(2):
                    y[s, q, (t * 2 + p) * width : (t * 2 + p + 1) * width] = x[2 * s + t, 2 * q + p]
    return y.reshape(-1, 4 * width)


def _one_by_one(model: Any) -> Oracle:
    def states(ids: Ids, features: Features | None) -> States:
        with torch.no_grad():
            mask = torch.ones(1, len(ids), dtype=torch.long)
            if features is None:
                found = model(input_ids=torch.from_numpy(ids)[None].long(), attention_mask=mask)
            else:
                x = model.get_input_embeddings()(torch.from_numpy(ids).long())
                x[torch.from_numpy(features.at).long()] = torch.from_numpy(features.values)
                found = model(inputs_embeds=x[None], attention_mask=mask)
        y: NDArray[np.float32] = found.last_hidden_state[0].numpy()
        return y

    return states


def _loaded(model: Any, tensors: Tensors) -> Any:
    """`model` with these weights in float32; each of its own has to be among them."""
    wanted = model.state_dict()
    missing = wanted.keys() - tensors.keys()
    assert not missing, sorted(missing)
    model.load_state_dict({name: tensors[name].float() for name in wanted})
    return model.eval()


def _config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config


def _kept(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _NOT_FOR_A_CONFIG}


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def _stripped(tensors: Tensors, *prefixes: str) -> dict[str, torch.Tensor]:
    """Each prefix taken off in turn, where it is there; other tensors keep their names."""
    stripped = dict(tensors)
    for prefix in prefixes:
        stripped = {name.removeprefix(prefix): tensor for name, tensor in stripped.items()}
    return stripped
