"""transformers on a device, as its users run it: a network's shape in, something to be timed out. Random weights, SDPA, padded batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from emberank.runtime.networks.llama import Llama
from emberank.runtime.networks.siglip import SiglipProjector

OVERHEAD = 10  # ids of a page's prompt beside its image tokens


def passages(network: Llama, lengths: Sequence[int], device: str, dtype: torch.dtype) -> Callable[[], object]:
    """Batches of 32, padded to the longest of each, SDPA, mean over real tokens."""
    model = llama(network).to(device, dtype)
    batches = []
    for start in range(0, len(lengths), 32):
        own = lengths[start : start + 32]
        mask = (torch.arange(max(own))[None, :] < torch.tensor(own)[:, None]).long().to(device)
        batches.append((torch.randint(0, 1000, mask.shape, device=device), mask))

    def run() -> None:
        with torch.inference_mode():
            for ids, mask in batches:
                states = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
                ((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)).cpu()

    return run


def pages(seeing: SiglipProjector, reading: Llama, count: int, device: str, dtype: torch.dtype) -> Callable[[], object]:
    """transformers' vision and language modules, joined as the published remote code joins them."""
    from transformers import SiglipVisionConfig, SiglipVisionModel

    config = SiglipVisionConfig(
        hidden_size=seeing.width,
        intermediate_size=seeing.intermediate,
        num_hidden_layers=seeing.layers,
        num_attention_heads=seeing.heads,
        image_size=seeing.image,
        patch_size=seeing.patch,
        hidden_act="gelu_pytorch_tanh",
        attn_implementation="sdpa",
        vision_use_head=False,
    )
    vision = SiglipVisionModel(config).eval().to(device, dtype)
    joint = torch.nn.Sequential(
        torch.nn.LayerNorm(4 * seeing.width), torch.nn.Linear(4 * seeing.width, seeing.hidden), torch.nn.GELU(), torch.nn.Linear(seeing.hidden, seeing.hidden)
    ).to(device, dtype)
    language = llama(reading).to(device, dtype)
    half, width = seeing.side // 2, seeing.width
    pixels = torch.randn(count, 3, seeing.image, seeing.image)
    prompt = torch.zeros(count, OVERHEAD, dtype=torch.long, device=device)

    def run() -> None:
        with torch.inference_mode():
            x = vision(pixel_values=pixels.to(device, dtype)).last_hidden_state
            x = x.view(count, half, 2, half, 2, width).transpose(2, 3).reshape(count, half * half, 4 * width)
            states = torch.cat([language.get_input_embeddings()(prompt), joint(x)], dim=1)
            mask = torch.ones(states.shape[:2], dtype=torch.long, device=device)
            language(inputs_embeds=states, attention_mask=mask).last_hidden_state.float().mean(1).cpu()

    return run


def llama(network: Llama, attention: str = "sdpa") -> torch.nn.Module:
    """transformers' module of the same shape, bidirectional, random weights; its token table takes no time and is small."""
    from transformers import LlamaConfig, LlamaModel

    config = LlamaConfig(
        vocab_size=1000,
        hidden_size=network.hidden,
        intermediate_size=network.intermediate,
        num_hidden_layers=network.layers,
        num_attention_heads=network.heads,
        num_key_value_heads=network.kv_heads,
        head_dim=network.head_dim,
        attn_implementation=attention,
        use_cache=False,
    )
    config.is_causal = False
    return LlamaModel(config).eval()
