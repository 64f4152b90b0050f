"""`emberank make-checkpoint`: any name of the catalogue leads to its shape, and the folder is named after it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from emberank.cli import main
from emberank.commands import make_checkpoint
from emberank.contract.errors import ModelNotFound


def shape_id(name: str, data: Path) -> str:
    return make_checkpoint._shape(argparse.Namespace(model=name, data_dir=str(data))).id


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("llama-3.2-nv-rerankqa-1b-v2", "nvidia/llama-3.2-nv-rerankqa-1b-v2"),
        ("nvidia/llama-nemotron-rerank-1b-v2", "nvidia/llama-3.2-nv-rerankqa-1b-v2"),
        ("nvidia-llama-3-2-nv-rerankqa-1b-v2", "nvidia/llama-3.2-nv-rerankqa-1b-v2"),
        ("LLAMA-NEMOTRON-EMBED-1B-V2", "nvidia/llama-3.2-nv-embedqa-1b-v2"),
        ("llama-nemotron-rerank-500m-v2", "nvidia/llama-3.2-nemoretriever-500m-rerank-v2"),
        ("nvidia/llama-nemotron-embed-300m-v2", "nvidia/llama-3.2-nemoretriever-300m-embed-v2"),
        ("llama-nemotron-embed-vl-1b-v2", "nvidia/llama-nemotron-embed-vl-1b-v2"),
        ("llama-nemotron-rerank-vl-1b-v2", "nvidia/llama-nemotron-rerank-vl-1b-v2"),
        ("bge-reranker-v2-m3", "BAAI/bge-reranker-v2-m3"),
        ("gte-reranker-modernbert-base", "Alibaba-NLP/gte-reranker-modernbert-base"),
        ("Qwen/Qwen3-Reranker-0.6B", "Qwen/Qwen3-Reranker-0.6B"),
        ("cross-encoder/ms-marco-MiniLM-L-6-v2", "cross-encoder/ms-marco-MiniLM-L6-v2"),
        ("all-minilm-l6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
    ],
)
def test_every_name_that_the_catalogue_knows_will_do(name: str, shape: str, tmp_path: Path) -> None:
    assert shape_id(name, tmp_path) == shape


def test_a_name_of_ones_own_for_a_shipped_model_will_do_as_well(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text('[[model]]\nextends = "all-minilm-l6-v2"\naliases = ["ours/small"]\n')
    assert shape_id("ours/small", tmp_path) == "sentence-transformers/all-MiniLM-L6-v2"
    with pytest.raises(ModelNotFound):
        shape_id("ours/large", tmp_path)


def test_without_a_place_it_is_written_here_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["make-checkpoint", "all-MiniLM-L6-v2", "--random", "--layers", "1", "--dtype", "bf16", "--data-dir", str(tmp_path / "data")]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "all-MiniLM-L6-v2-random: 13,840,896 random numbers, 0.03 GB" in said
    assert "mean nothing" in said
    assert json.loads((tmp_path / "all-MiniLM-L6-v2-random/config.json").read_text())["num_hidden_layers"] == 1
    assert main(arguments) == 2
    assert "is there already" in capsys.readouterr().err
