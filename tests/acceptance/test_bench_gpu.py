"""The GPU benchmark runs from end to end, on tiny networks and the CPU. What it prints there is not looked at: figures are for a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
ROWS = ("three short passages over HTTP", "matrix product", "transformers, padded", "of mixed lengths", "one page of", "pages, ")


def test_the_gpu_benchmark_runs_and_writes_its_page(tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "bench" / "gpu.py"), "--smoke", "--results", str(tmp_path)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=240, check=False, text=True)
    assert ran.returncode == 0, ran.stderr
    (page,) = tmp_path.glob("*-cpu.md")
    text = page.read_text("utf-8")
    assert all(row in text for row in ROWS)
    assert "grouped attention (flash attention is for GPUs)" in text, "what it ran on is on the page"
