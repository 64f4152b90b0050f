"""SigLIP and the projector behind it: patches of a picture's tiles in, image states that a language model reads out.

The vision half of NVIDIA's llama-nemotron-embed-vl and -rerank-vl (Eagle 2): a SigLIP 2 vision transformer, four neighbouring patches
merged into one row, and two linear layers to the width of the language model. Formulas and tensor names: transformers
`models/siglip/modeling_siglip.py` and NVIDIA's `llama_nemotron_vl`. Does not know how a picture becomes tiles.

A sequence is one tile: `patches` rows in row-major order, each a patch of 3 · patch² normalised pixels flattened as
(channel, row in the patch, column in the patch), so that the convolution of the published checkpoint, whose kernel is as large as its
stride, is a linear layer with the same numbers: `embeddings.patch_embedding.weight` (width, 3, patch, patch) read as (width, 3 · patch²).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from emberank.contract.errors import UnknownArchitecture, WeightsCorrupt
from emberank.runtime.networks import reading
from emberank.runtime.networks.network import number, real
from emberank.runtime.networks.ops import Ops

T = TypeVar("T")

PATCH_WEIGHT = "embeddings.patch_embedding.weight"
_TANH = ("gelu_pytorch_tanh", "gelu_new")
_MLP_EPS = 1e-5  # torch.nn.LayerNorm's own


@dataclass(frozen=True, slots=True, kw_only=True)
class SiglipProjector:
    """The numbers of one vision half, from a checkpoint's config.json."""

    hidden: int  # of the language model: what comes out
    width: int  # of the vision transformer
    layers: int
    heads: int
    intermediate: int
    image: int  # pixels along a tile's side
    patch: int  # pixels along a patch's side
    eps: float
    tanh: bool = True  # which GELU the transformer has; the projector's is always the exact one

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> SiglipProjector:
        """Read the whole config.json of a vision model (`vision_config`, `llm_config` and how they are joined); raises UnknownArchitecture, WeightsCorrupt."""
        vision, llm = reading.mapping(config, "vision_config"), reading.mapping(config, "llm_config")
        for part in (config, vision):
            reading.refuse_quantized(part)
        reading.choice(vision, "model_type", ("siglip_vision_model",), network="the vision half")
        act = reading.choice(vision, "hidden_act", ("gelu", *_TANH), _TANH[0], network="SigLIP")
        _refuse_other_joints(config)
        width, heads = number(vision, "hidden_size"), number(vision, "num_attention_heads")
        if width % heads:
            raise WeightsCorrupt(f"config.json: hidden_size {width} of vision_config is not a multiple of num_attention_heads {heads}")
        if number(vision, "num_channels", 3) != 3:
            raise UnknownArchitecture("config.json: num_channels of vision_config must be 3: pictures are read as red, green and blue")
        image, patch = number(vision, "image_size", 224), number(vision, "patch_size", 16)
        if image % (2 * patch):
            raise WeightsCorrupt(f"config.json: image_size {image} is not an even number of patches of {patch} pixels")
        if config.get("force_image_size") is not None and number(config, "force_image_size") != image:
            raise UnknownArchitecture(f"config.json: force_image_size must be vision_config's image_size {image}: positions are not interpolated here")
        return cls(
            hidden=number(llm, "hidden_size"),
            width=width,
            layers=reading.layers(vision),
            heads=heads,
            intermediate=number(vision, "intermediate_size"),
            image=image,
            patch=patch,
            eps=real(vision, "layer_norm_eps", 1e-6),
            tanh=act in _TANH,
        )

    @property
    def side(self) -> int:
        """Patches along a tile's side."""
        return self.image // self.patch

    @property
    def tokens_per_tile(self) -> int:
        """Image states of one tile: a quarter of its patches."""
        return self.side**2 // self.merged

    @property
    def vocabulary(self) -> int:
        """It reads no tokens."""
        return 0

    @property
    def max_positions(self) -> int:
        """Patches of one tile; every sequence has exactly so many."""
        return self.side**2

    @property
    def feature_width(self) -> int:
        """Numbers of one patch."""
        return 3 * self.patch**2

    @property
    def merged(self) -> int:
        """Four neighbouring patches become one row."""
        return 4

    @property
    def attention_tokens(self) -> int:
        """By arithmetic 4w² + 2wi products a patch against 2w a key."""
        return 2 * self.width + self.intermediate

    def forward(self, ops: Ops[T]) -> T:
        """Image states (tiles · tokens_per_tile, hidden) of the packed tiles that `ops` holds, row by row through each tile."""
        x = ops.add(ops.linear(ops.features(), PATCH_WEIGHT.removesuffix(".weight")), ops.embedding(ops.positions(), "embeddings.position_embedding.weight"))
        for i in range(self.layers):
            at = f"encoder.layers.{i}"
            x = ops.add(x, self._attention(ops, ops.layer_norm(x, f"{at}.layer_norm1", self.eps), f"{at}.self_attn"))
            f = ops.linear(ops.layer_norm(x, f"{at}.layer_norm2", self.eps), f"{at}.mlp.fc1")
            x = ops.add(x, ops.linear(ops.gelu_tanh(f) if self.tanh else ops.gelu(f), f"{at}.mlp.fc2"))
        x = ops.merge_patches(ops.layer_norm(x, "post_layernorm", self.eps), self.side)  # (tiles · side²/4, 4 · width)
        return ops.linear(ops.gelu(ops.linear(ops.layer_norm(x, "mlp1.0", _MLP_EPS), "mlp1.1")), "mlp1.3")

    def _attention(self, ops: Ops[T], x: T, at: str) -> T:
        q, k, v = ops.linears(x, [f"{at}.{part}_proj" for part in "qkv"])
        return ops.linear(ops.attention(q, k, v, self.heads), f"{at}.out_proj")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor `forward` reads; the patch embedding as the linear layer that it is, not as the file's (width, 3, patch, patch)."""
        w, i, h = self.width, self.intermediate, self.hidden
        linears = {"embeddings.patch_embedding": (w, self.feature_width), "mlp1.1": (h, 4 * w), "mlp1.3": (h, h)}
        norms = {"post_layernorm": w, "mlp1.0": 4 * w}
        for n in range(self.layers):
            at = f"encoder.layers.{n}"
            linears |= {f"{at}.self_attn.{part}_proj": (w, w) for part in ("q", "k", "v", "out")}
            linears |= {f"{at}.mlp.fc1": (i, w), f"{at}.mlp.fc2": (w, i)}
            norms |= {f"{at}.layer_norm1": w, f"{at}.layer_norm2": w}
        shapes: dict[str, tuple[int, ...]] = {"embeddings.position_embedding.weight": (self.max_positions, w)}
        for name, shape in linears.items():
            shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
        for name, size in norms.items():
            shapes |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
        return shapes


def _refuse_other_joints(config: Mapping[str, Any]) -> None:
    """Raises UnknownArchitecture unless the two halves are joined as in the published checkpoints."""
    wanted: dict[str, object] = {"downsample_ratio": 0.5, "ps_version": "v2", "select_layer": -1, "keep_aspect_ratio": False, "pre_feature_reduction": False}
    for key, value in wanted.items():
        found = config.get(key, value)
        if found is not None and found != value:
            raise UnknownArchitecture(f"config.json: {key} {found!r} is not supported; known: {value!r}")
