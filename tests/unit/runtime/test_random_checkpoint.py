"""Random checkpoints: whole, labelled, as published in everything but the numbers, and loaded by the runtime as the real ones would be."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from emberank.contract.errors import SettingError
from emberank.runtime.items import Item
from emberank.runtime.published_shapes import PublishedShape, shapes
from emberank.runtime.random_checkpoint import Wanted, write
from random_checkpoints import shape_of, tiny, write_random

Workshop = Any  # tests/unit/runtime/conftest.py
SHAPES = [pytest.param(shape, id=shape.id) for shape in shapes() if shape.depth is not None]
SMALL = tiny(shape_of("all-MiniLM-L6-v2"))


def tensors_of(folder: Path) -> dict[str, Any]:
    """Every tensor, read by the format's own library."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            assert file.metadata()["emberank_random_weights"] == "true"
            found |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_the_runtime_loads_it_as_it_would_load_the_published_one(shape: PublishedShape, tmp_path: Path, workshop: Workshop) -> None:
    folder = tmp_path / shape.id.rpartition("/")[2]
    written = write_random(tiny(shape), folder)
    model = workshop.load(folder)
    assert model.random_weights
    assert written.weights_bytes < sum(path.stat().st_size for path in folder.glob("*.safetensors")) < written.weights_bytes + 200_000
    assert model.task == ("rank" if "rank" in shape.layout else "embed")
    assert (model.vision is not None) == shape.layout.startswith("vl_")
    item = [Item(text="The sky is blue")]
    plan = model.rank_plan("what is ai?", item, "NONE") if model.task == "rank" else model.embed_plan(item, "query", "NONE")
    assert len(plan.sequences) == 1


def test_its_numbers_are_normal_independent_and_of_the_published_type(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    write_random(tiny(shape_of("rerank-vl-1b-v2")), folder)
    found = tensors_of(folder)
    assert found.pop("score.weight").dtype == torch.float32
    assert {tensor.dtype for tensor in found.values()} == {torch.bfloat16}
    table = found["model.language_model.embed_tokens.weight"].float()
    assert abs(float(table.mean())) < 1e-4
    assert float(table.std()) == pytest.approx(0.02, rel=0.01)
    assert float(table.abs().max()) < 0.1
    # No row is another one: a table that repeats itself would make tokens alike.
    assert len(np.unique(table.numpy(), axis=0)) == len(table)
    neighbours = np.corrcoef(table.numpy()[:-1].ravel(), table.numpy()[1:].ravel())[0, 1]
    assert abs(neighbours) < 0.005
    assert set(found["model.language_model.norm.weight"].float().tolist()) == {1.0}
    assert set(found["model.mlp1.0.bias"].float().tolist()) == {0.0}


def test_the_same_seed_gives_the_same_numbers_in_one_file_or_many_and_another_seed_others(tmp_path: Path) -> None:
    shape = tiny(shape_of("ms-marco-MiniLM-L6-v2"))
    write_random(shape, tmp_path / "one", seed=3)
    write_random(shape, tmp_path / "again", seed=3)
    write_random(shape, tmp_path / "many", seed=3, shards=4)
    write_random(shape, tmp_path / "other", seed=4)
    assert (tmp_path / "one/model.safetensors").read_bytes() == (tmp_path / "again/model.safetensors").read_bytes()
    one, many, other = (tensors_of(tmp_path / name) for name in ("one", "many", "other"))
    assert one.keys() == many.keys()
    assert all(torch.equal(one[name], many[name]) for name in one)
    assert not torch.equal(one["bert.embeddings.word_embeddings.weight"], other["bert.embeddings.word_embeddings.weight"])
    index = json.loads((tmp_path / "many/model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(one)
    assert len(set(index["weight_map"].values())) == 4
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in one.values())


def test_as_many_files_as_tensors_is_the_most_and_none_is_empty(tmp_path: Path) -> None:
    count = len(SMALL.tensors())
    write_random(SMALL, tmp_path / "all", shards=count)
    assert len(list((tmp_path / "all").glob("*.safetensors"))) == count
    assert all(len(json.loads(_header(path))) == 2 for path in (tmp_path / "all").glob("*.safetensors"))
    with pytest.raises(SettingError, match=f"--shards has to be from 1 to {count}, not {count + 1}"):
        write_random(SMALL, tmp_path / "more", shards=count + 1)


def _header(path: Path) -> bytes:
    content = path.read_bytes()
    return content[8 : 8 + int.from_bytes(content[:8], "little")]


def test_the_type_and_the_depth_can_be_chosen_and_are_said(tmp_path: Path) -> None:
    write_random(SMALL, tmp_path / "r", dtype="bf16", layers=1)
    assert {str(tensor.dtype) for tensor in tensors_of(tmp_path / "r").values()} == {"torch.bfloat16"}
    config = json.loads((tmp_path / "r/config.json").read_text())
    assert (config["num_hidden_layers"], config["torch_dtype"]) == (1, "bfloat16")
    assert "**this is not the published depth**" in (tmp_path / "r/README.md").read_text()
    with pytest.raises(SettingError, match="--layers has to be from 1"):
        write_random(SMALL, tmp_path / "s", layers=0)


def test_it_says_everywhere_that_it_is_random(tmp_path: Path) -> None:
    write_random(SMALL, tmp_path / "r", seed=9)
    config = json.loads((tmp_path / "r/config.json").read_text())
    assert (config["emberank_random_weights"], config["emberank_seed"]) == (True, 9)
    readme = (tmp_path / "r/README.md").read_text()
    assert "Nobody trained them" in readme
    assert "not the real tokenizer" in readme
    assert "sentence-transformers/all-MiniLM-L6-v2" in readme


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r/mine").write_text("mine")
    with pytest.raises(SettingError, match="is there already"):
        write_random(SMALL, tmp_path / "r")
    assert [path.name for path in tmp_path.rglob("*")] == ["r", "mine"]


def test_a_disk_without_room_is_refused_with_both_numbers_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2_000_000_000))
    with pytest.raises(SettingError, match=r"has 2\.00 GB free, and the checkpoint takes 2\.49 GB"):
        write_random(shape_of("nv-rerankqa-1b-v2"), tmp_path / "r")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_what_is_broken_off_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def progress(file: str, done: int, total: int | None, /) -> None:
        if done > 1_000_000:
            raise error

    with pytest.raises(error):
        write(SMALL, tmp_path / "r", Wanted(), progress)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="cannot be written"):
        write_random(SMALL, tmp_path / "file" / "r")


def test_never_more_than_a_few_megabytes_are_held_at_a_time(tmp_path: Path) -> None:
    sizes = []

    def progress(file: str, done: int, total: int | None, /) -> None:
        sizes.append(done)

    write(tiny(shape_of("nv-rerankqa-1b-v2")), tmp_path / "r", Wanted(), progress)
    steps = [second - first for first, second in pairwise(sizes)]
    assert max(steps) <= 1 << 20
    assert sizes[-1] == (tmp_path / "r/model.safetensors").stat().st_size
