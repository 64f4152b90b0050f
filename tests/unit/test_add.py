from __future__ import annotations

from pathlib import Path

import pytest

from checkpoints import write_embedder
from emberank.commands.add import _look
from emberank.contract.errors import UnknownArchitecture
from families import write_qwen3_reranker, write_vl_embedder


def test_a_language_model_ranks_when_somebody_says_so(tmp_path: Path) -> None:
    folder = write_qwen3_reranker(tmp_path / "judge")
    assert _look(folder, "rank").task == "rank"
    with pytest.raises(UnknownArchitecture):
        _look(folder, None)


def test_a_checkpoint_says_its_own_task_lengths_and_modalities(tmp_path: Path) -> None:
    assert _look(write_embedder(tmp_path / "words"), None).modalities == ("text",)
    found = _look(write_vl_embedder(tmp_path / "pages", hidden=2048), None)
    assert (found.task, found.dimensions, found.shorter_dimensions[0]) == ("embed", 2048, 128)
    assert found.modalities == ("text", "image", "text_image")
