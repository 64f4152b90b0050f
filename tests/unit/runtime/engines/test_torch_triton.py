"""The fused kernels without a GPU: in Triton's interpreter, which needs Triton and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[3]


@pytest.mark.skipif(
    find_spec("triton") is None, reason="Triton is not installed; it comes with PyTorch's CUDA build, and by itself for CPUs: pip install triton"
)
def test_fused_kernels_compute_what_the_plain_ones_do() -> None:
    path = os.pathsep.join([str(TESTS), *(part for part in sys.path if part)])
    ran = subprocess.run(
        [sys.executable, str(TESTS / "triton_interpreted.py")], env=os.environ | {"PYTHONPATH": path}, capture_output=True, timeout=240, check=False
    )
    assert (ran.returncode, ran.stderr.decode()) == (0, "")
