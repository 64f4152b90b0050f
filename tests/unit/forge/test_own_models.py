"""A checkpoint of one's own in the catalogue: what is written, what is refused, and what of a person's file stays as it was."""

from __future__ import annotations

import errno
import hashlib
import os
import tomllib
from pathlib import Path

import numpy as np
import pytest

from checkpoints import write_embedder, write_ranker, write_safetensors
from emberank.contract.errors import SettingError, StartError, UnknownArchitecture, WeightsError
from emberank.contract.inference import Task
from emberank.forge.catalog import Model, launch_spec
from emberank.forge.catalog_file import load_catalog, model_table
from emberank.forge.own_models import Look, Wanted, add, count_parameters, slugified
from emberank.runtime.recognise import recognise

TODAY = "2026-11-21"


def look(folder: Path) -> Look:
    """As the command line has it: the runtime's own eyes."""
    found = recognise(folder)
    return Look(task=found.task, context_tokens=found.max_tokens, dimensions=found.network.hidden)


def added(folder: Path, data: Path, slug: str = "", name: str = "", title: str = "", task: Task | None = None, force: bool = False) -> Model:
    return add(folder, data, look, wanted=Wanted(slug=slug, name=name, title=title, task=task, force=force), today=TODAY)


@pytest.fixture
def ranker(tmp_path: Path) -> Path:
    return write_ranker(tmp_path / "My_Fine-tuned v1.5")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def listed(data: Path, slug: str) -> Model:
    return load_catalog(data).resolve(slug)


def test_one_folder_is_enough_to_be_in_the_catalogue(ranker: Path, data: Path) -> None:
    model = added(ranker, data)
    assert listed(data, "my-fine-tuned-v1-5") == model
    assert (model.slug, model.id, model.title) == ("my-fine-tuned-v1-5", "local/my-fine-tuned-v1-5", "My_Fine-tuned v1.5")
    assert (model.task, model.source, model.added, model.context_tokens, model.dimensions) == ("rank", "yours", TODAY, 512, None)
    assert (model.dtype, model.tags) == ("FP32", ("retrieval", "rerank", "yours"))
    digest = hashlib.sha256((ranker / "model.safetensors").read_bytes()).hexdigest()
    assert launch_spec(model, model.versions[0]) == {
        "name": model.id,
        "aliases": [model.slug],
        "task": "rank",
        "source": f"file:{ranker}",
        "sha256": {"model.safetensors": digest},
    }


def test_it_is_called_what_the_user_says(ranker: Path, data: Path) -> None:
    model = added(ranker, data, slug="ours", name="acme/Our.Reranker", title='Our "best" one')
    assert listed(data, "acme/our-reranker") == model
    assert (model.slug, model.title) == ("ours", 'Our "best" one')
    assert added(ranker, data, name="acme/Other").slug == "acme-other"


def test_an_embedder_has_dimensions_and_the_length_its_files_say(tmp_path: Path, data: Path) -> None:
    model = added(write_embedder(tmp_path / "embedder"), data)
    assert (model.task, model.context_tokens, model.dimensions) == ("embed", 48, 64)


def test_what_a_checkpoint_can_do_besides_is_written_down_and_reads_back(tmp_path: Path, data: Path) -> None:
    seen = Look(task="embed", context_tokens=8192, dimensions=64, shorter_dimensions=(16, 32), modalities=("text", "image", "text_image"), random_weights=True)
    model = add(write_embedder(tmp_path / "vision"), data, lambda folder: seen, wanted=Wanted(title="Ours"), today=TODAY)
    assert listed(data, "vision") == model
    assert (model.shorter_dimensions, model.modalities) == ((16, 32), ("text", "image", "text_image"))
    assert (model.title, model.tags[-1]) == ("Ours (random weights)", "random-weights")
    assert "modalities" not in model_table(added(write_embedder(tmp_path / "plain"), data)), "what is ordinary is left out"


def test_an_embedder_can_rank_by_comparing_token_states_and_a_ranker_makes_no_vectors(tmp_path: Path, ranker: Path, data: Path) -> None:
    model = added(write_embedder(tmp_path / "embedder"), data, task="rank")
    assert (model.task, model.versions[0].head, model.dimensions) == ("rank", "late_interaction", None)
    with pytest.raises(SettingError, match="--task embed: the checkpoint is a cross-encoder"):
        added(ranker, data, task="embed")


def test_a_persons_comments_and_layout_stay(ranker: Path, data: Path) -> None:
    data.mkdir()
    path = data / "models.toml"
    theirs = '# ours, do not touch\n[[model]]\nextends="baai-bge-m3"   # shorter\ntitle   = "M3"'
    path.write_text(theirs)
    path.chmod(0o640)
    added(ranker, data)
    assert path.read_text().startswith(theirs + "\n\n[[model]]\n")
    assert path.stat().st_mode & 0o777 == 0o640
    assert listed(data, "bge-m3").title == "M3"
    assert os.listdir(data) == ["models.toml"]


def test_a_file_that_is_a_link_stays_one(ranker: Path, data: Path, tmp_path: Path) -> None:
    data.mkdir()
    real = tmp_path / "kept-elsewhere.toml"
    real.write_text("")
    (data / "models.toml").symlink_to(real)
    added(ranker, data)
    assert (data / "models.toml").is_symlink()
    assert "my-fine-tuned" in real.read_text()


@pytest.mark.parametrize(
    ("slug", "name", "said"),
    [
        ("", "", "there is already a model 'my-fine-tuned-v1-5': choose another with --slug and --name, or take its place with --force"),
        ("other", "local/my_fine-tuned.v1.5", "is already a name of 'my-fine-tuned-v1-5'"),
        ("baai-bge-m3", "", "there is already a model 'baai-bge-m3'"),
        ("mine", "BAAI/bge_m3", "'BAAI/bge_m3' is already a name of 'baai-bge-m3'"),
        ("Not A Slug", "", "--slug: 'Not A Slug' has to be lower-case"),
        ("ok", "no good", "--name: 'no good' has to be letters"),
    ],
)
def test_a_name_that_is_taken_or_none_is_refused_and_nothing_is_written(ranker: Path, data: Path, slug: str, name: str, said: str) -> None:
    added(ranker, data)
    before = (data / "models.toml").read_bytes()
    with pytest.raises(SettingError) as caught:
        added(ranker, data, slug=slug, name=name)
    assert said in caught.value.message
    assert (data / "models.toml").read_bytes() == before


def test_force_takes_the_place_of_an_entry_and_leaves_the_others_and_their_comments(tmp_path: Path, ranker: Path, data: Path) -> None:
    added(write_ranker(tmp_path / "first"), data)
    added(ranker, data, slug="second")
    path = data / "models.toml"
    with path.open("a") as file:
        file.write('\n# about the third\n[[model]] # third\nextends = "baai-bge-m3"\n')
    path.write_text(path.read_text().replace('title = "first"', 'title = "first" # old\n# inside'))
    added(write_ranker(tmp_path / "better", seed=9), data, slug="first", name="local/first", force=True)
    text = path.read_text()
    assert [entry.get("slug", entry.get("extends")) for entry in tomllib.loads(text)["model"]] == ["second", "baai-bge-m3", "first"]
    assert "# about the third\n[[model]] # third\n" in text
    assert "# inside" not in text
    assert listed(data, "first").title == "better"
    assert listed(data, "second").title == ranker.name


def test_comments_above_the_next_entry_belong_to_it(tmp_path: Path, ranker: Path, data: Path) -> None:
    added(write_ranker(tmp_path / "first"), data)
    path = data / "models.toml"
    path.write_text(path.read_text() + "\n# about the second\n\n")
    added(ranker, data, slug="second")
    added(write_ranker(tmp_path / "better", seed=9), data, slug="first", name="local/first", force=True)
    assert path.read_text().lstrip().startswith("# about the second")


def test_force_takes_the_place_of_a_shipped_model(ranker: Path, data: Path) -> None:
    added(ranker, data, slug="baai-bge-reranker-base", name="BAAI/bge-reranker-base", force=True)
    assert listed(data, "bge-reranker-base").source == "yours"


def test_an_entry_that_cannot_be_taken_out_safely_is_left_for_the_user(tmp_path: Path, ranker: Path, data: Path) -> None:
    added(ranker, data, slug="mine")
    path = data / "models.toml"
    path.write_text(path.read_text().replace('title = "My_Fine-tuned v1.5"', 'title = """\n[other]\n"""'))
    before = path.read_bytes()
    with pytest.raises(SettingError, match="take it out by hand"):
        added(ranker, data, slug="mine", force=True)
    assert path.read_bytes() == before


def test_a_folder_that_is_no_checkpoint_says_what_is_missing(ranker: Path, data: Path, tmp_path: Path) -> None:
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        (ranker / name).unlink()
        (ranker / "pytorch_model.bin").write_bytes(b"")
        with pytest.raises(WeightsError, match=re_name(name)):
            added(ranker, data)
    with pytest.raises(SettingError, match="is not a folder"):
        added(tmp_path / "nowhere", data)
    assert not data.exists()


def re_name(name: str) -> str:
    return "no \\*\\.safetensors" if name == "model.safetensors" else f"holds no {name}"


def test_what_the_runtime_would_refuse_is_refused_before_anything_is_written(ranker: Path, data: Path) -> None:
    def refuses(folder: Path) -> Look:
        raise UnknownArchitecture("not known here")

    with pytest.raises(StartError, match="not known here"):
        add(ranker, data, refuses, wanted=Wanted(), today=TODAY)
    assert not data.exists()


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0not json", b"\xff" * 16, b"\x02\0\0\0\0\0\0\0[]"])
def test_broken_weights_are_refused(ranker: Path, data: Path, content: bytes) -> None:
    (ranker / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"model\.safetensors is not a"):
        added(ranker, data)


def test_a_file_of_the_users_that_is_broken_is_left_alone(ranker: Path, data: Path) -> None:
    data.mkdir()
    (data / "models.toml").write_text("[[model]\n")
    with pytest.raises(SettingError, match=r"models\.toml is not TOML"):
        added(ranker, data)
    assert (data / "models.toml").read_text() == "[[model]\n"


def test_a_full_disk_leaves_the_old_file_and_nothing_else(ranker: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    added(ranker, data)
    before = (data / "models.toml").read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingError, match="cannot be written: No space left"):
        added(ranker, data, slug="second", name="local/second")
    assert (data / "models.toml").read_bytes() == before
    assert os.listdir(data) == ["models.toml"]


def test_parameters_are_counted_over_all_shards_and_integers_are_none(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model-00001-of-00002.safetensors", {"a": np.zeros((3, 4), np.float32)})
    write_safetensors(tmp_path / "model-00002-of-00002.safetensors", {"b": np.zeros(5, np.float32)})
    assert count_parameters(tmp_path) == (17, "FP32")
    path = tmp_path / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"I64"'))
    assert count_parameters(tmp_path) == (12, "FP32")


@pytest.mark.parametrize(
    ("name", "slug"), [("Acme/My_Reranker v1.5", "acme-my-reranker-v1-5"), ("--Ünï--", "uni"), ("雪", ""), ("x" * 300, "x" * 100), ("a.b", "a-b")]
)
def test_a_folders_name_becomes_a_slug(name: str, slug: str) -> None:
    assert slugified(name) == slug


def test_a_folder_whose_name_gives_no_slug_asks_for_one(tmp_path: Path, data: Path) -> None:
    with pytest.raises(SettingError, match="--slug: '' has to be"):
        added(write_ranker(tmp_path / "雪"), data)
    assert added(write_ranker(tmp_path / "林"), data, slug="wood").versions[0].source.endswith("/林")
