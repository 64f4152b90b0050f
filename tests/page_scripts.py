"""The catalogue page's own scripts, run by bash as they stand; the slug is put in where a script has it as text."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SLUG = "nvidia-llama-3-2-nv-rerankqa-1b-v2"
# The page is not ours to copy: it lies beside the repository where there is one, and these tests are skipped elsewhere.
FOLDER = Path(__file__).resolve().parents[2] / "shared" / "contracts" / "page-scripts"


def run_script(name: str, port: int, key: str, *, slug: str = SLUG, gpu_type: str = "B200", region: str = "us-central1") -> subprocess.CompletedProcess[str]:
    """Run one with `FORGE_API_BASE`, `FORGE_API_KEY` and, for another model, the target's variables set."""
    if not FOLDER.is_dir():
        pytest.skip("the page's scripts are not here")
    text = (FOLDER / f"{name}.sh").read_text("utf-8")
    variables = {"FORGE_API_BASE": f"http://127.0.0.1:{port}", "FORGE_API_KEY": key, "FORGE_REQUEST_TIMEOUT_SECONDS": "60"}
    if slug != SLUG:
        text = text.replace(SLUG, slug).replace("gpu_type=B200&region=us-central1", f"gpu_type={gpu_type}&region={region}")
        variables |= {"MODEL_OR_FAMILY_SLUG": slug, "FORGE_GPU_TYPE": gpu_type, "FORGE_REGION": region}
    path = {"PATH": os.environ["PATH"]}
    return subprocess.run(["bash", "-c", text], env=path | variables, capture_output=True, text=True, timeout=120, check=False)
