"""A folder in, a whole installation of tiny models out: `emberank up`, with the names that the documentation's snippets use. Knows no fixture."""

from __future__ import annotations

from pathlib import Path

from acceptance_environment import environment
from tinybert import write_checkpoint
from up_process import KEY, Up

RERANKER, EMBEDDER, PINNED = "all-minilm-l6-v2-rerank", "all-minilm-l6-v2", "nvidia-llama-3-2-nv-rerankqa-1b-v2"
# `folder` is its checkpoint's.
TINY_RANK = """
[[model]]
slug = "tiny-rank"
id = "tests/tiny-rank"
title = "Tiny"
description = "A reranker of a few kilobytes."
task = "rank"
[[model.version]]
name = "v1"
source = "file:{folder}"
memory_gb = 0.2
"""
# Whole entries take the place of the shipped ones; the third is shipped, with weights that can be had here.
_MODELS = """
[[model]]
slug = "all-minilm-l6-v2-rerank"
id = "emberank/all-MiniLM-L6-v2-rerank"
title = "Tiny reranker"
description = "A reranker of a few kilobytes."
task = "rank"
[[model.version]]
name = "v1"
source = "file:{rank}"
memory_gb = 0.2

[[model]]
slug = "all-minilm-l6-v2"
id = "sentence-transformers/all-MiniLM-L6-v2"
title = "Tiny embedder"
description = "An embedder of a few kilobytes."
task = "embed"
[[model.version]]
name = "v1"
source = "file:{embed}"
memory_gb = 0.2

[[model]]
extends = "nvidia-llama-3-2-nv-rerankqa-1b-v2"
[[model.version]]
name = "v1"
source = "file:{rank}"
memory_gb = 0.2
"""
_POOLS = """
[[pool]]
gpu_type = "CPU"
region = "local"
memory_gb = 4
slots = 4
usd_per_hour = 0.36

[[pool]]
gpu_type = "B200"
region = "us-central1"
memory_gb = 24
slots = 2
usd_per_hour = 7.15
"""


def launch(folder: Path) -> Up:
    """Start it; `ready()` waits until it is, and `end()` ends it."""
    data = folder / "data"
    data.mkdir(mode=0o700)
    rank, embed = write_checkpoint(folder / "rank", ranks=True), write_checkpoint(folder / "embed", ranks=False)
    (data / "models.toml").write_text(_MODELS.format(rank=rank, embed=embed))
    (data / "pools.toml").write_text(_POOLS)
    ours = {"EMBERANK_API_KEY": KEY, "EMBERANK_USAGE_FLUSH_S": "0.2", "EMBERANK_PROBE_AFTER_START": "no"}
    return Up(folder, environment(**ours))
