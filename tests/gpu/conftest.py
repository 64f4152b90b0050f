"""Tests that need an NVIDIA GPU. Without one they are skipped, and say so."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def gpu() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'emberank[torch]'")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU here; `make gpu-check` runs these tests on a machine that has one")
