"""Folders that must not become models. Each is a good one with one thing wrong, goes through the real loader, and is refused before an engine is built."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import write_embedder
from emberank.contract.errors import StartError, UnknownArchitecture, WeightsCorrupt, WeightsError
from emberank.runtime import weights
from emberank.runtime.checkpoint import DTYPES
from emberank.runtime.engines.fake import FakeEngine
from emberank.runtime.model import Loader, ServedModel
from emberank.runtime.presets import ModelSpec
from emberank.runtime.stamps import Identity
from families import write_llama_embedder, write_llama_reranker, write_vl_embedder

Tensors = dict[str, tuple[str, list[int], bytes]]
Wrong = Callable[[Path], None]
WEIGHTS = "model.safetensors"
Q = "model.layers.0.self_attn.q_proj.weight"


def load(folder: Path, *, builds: bool = False, check_fits: Any = None, **spec: Any) -> ServedModel:
    """The folder through the loader. Unless it `builds`, an engine that is asked for is a failure."""

    def engine(network: Any, weights: Any, prepared: Path) -> Any:
        assert builds, "an engine was about to be built from a bad checkpoint"
        return FakeEngine(network.hidden)

    loader = Loader(folder.parent / "cache", engine, lambda one, network: None, lambda file, done, total: None, check_fits=check_fits)  # type: ignore[arg-type, return-value]
    return loader.load(ModelSpec(**{"name": "it", "source": f"file:{folder}"} | spec))


def refused(folder: Path, kind: type[StartError] = WeightsCorrupt, **spec: Any) -> str:
    with pytest.raises(kind) as caught:
        load(folder, **spec)
    said = caught.value.message
    assert "\n" not in said
    return said


def tensors(folder: Path) -> Tensors:
    """Name → (type, shape, bytes) of the folder's single file."""
    content = (folder / WEIGHTS).read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    header.pop("__metadata__", None)
    return {name: (one["dtype"], one["shape"], data[slice(*one["data_offsets"])]) for name, one in header.items()}


def write(path: Path, made: Tensors) -> None:
    header: dict[str, Any] = {}
    data = b""
    for name, (dtype, shape, content) in made.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    head = json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + data)


def without(*names: str) -> Wrong:
    return lambda folder: write(folder / WEIGHTS, {name: one for name, one in tensors(folder).items() if name not in names})


def extra(name: str, shape: tuple[int, ...] = (64,), dtype: str = "F32") -> Wrong:
    content = bytes(int(np.prod(shape)) * (DTYPES[dtype].itemsize if dtype in DTYPES else 1))
    return lambda folder: write(folder / WEIGHTS, {**tensors(folder), name: (dtype, list(shape), content)})


def renamed(old: str, new: str) -> Wrong:
    return lambda folder: write(folder / WEIGHTS, {name.replace(old, new): one for name, one in tensors(folder).items()})


def stored_as(name: str, dtype: str) -> Wrong:
    def change(folder: Path) -> None:
        made = tensors(folder)
        _, shape, content = made[name]
        numbers = np.frombuffer(content, np.float32)
        bits = bytes(numbers.size) if dtype.startswith("F8") else numbers.astype(DTYPES[dtype]).tobytes()
        write(folder / WEIGHTS, {**made, name: (dtype, shape, bits)})

    return change


def shaped(name: str, shape: list[int]) -> Wrong:
    return lambda folder: write(folder / WEIGHTS, {**tensors(folder), name: ("F32", shape, bytes(4 * int(np.prod(shape))))})


def holding(name: str, value: float) -> Wrong:
    def change(folder: Path) -> None:
        made = tensors(folder)
        dtype, shape, content = made[name]
        numbers = np.frombuffer(content, np.float32).copy()
        numbers[-1] = value
        write(folder / WEIGHTS, {**made, name: (dtype, shape, numbers.tobytes())})

    return change


def configured(**keys: Any) -> Wrong:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | keys))

    return change


TENSORS: dict[str, tuple[Wrong, str]] = {
    "a missing tensor": (without(Q), r"the checkpoint has no tensor '.*layers\.0\.self_attn\.q_proj\.weight'; similar names"),
    "a missing norm": (without("model.norm.weight"), r"no tensor '.*norm\.weight'"),
    "a missing head": (without("score.weight"), r"no tensor 'score\.weight'"),
    "several missing tensors": (without(Q, Q.replace("q_proj", "k_proj"), Q.replace("q_proj", "v_proj")), r"\(and 2 more like it\)$"),
    "a matrix on its side": (
        shaped("model.layers.1.mlp.up_proj.weight", [64, 128]),
        r"up_proj\.weight' has shape \[64, 128\], and by config.json .* \[128, 64\]$",
    ),
    "a token table of another model": (shaped("model.embed_tokens.weight", [7, 64]), r"embed_tokens\.weight' has shape \[7, 64\]"),
    "a bias where none belongs": (extra(Q.replace("weight", "bias")), r"q_proj\.bias' is a bias that config\.json says is not there"),
    "a layer too many": (
        extra("model.layers.2.self_attn.q_proj.weight", (64, 64)),
        r"layers\.2\.self_attn\.q_proj\.weight' is of a layer that config\.json does not count",
    ),
    "a norm of queries": (extra("model.layers.0.self_attn.q_norm.weight", (16,)), r"q_norm\.weight' is a part of a layer that this network does not compute"),
    "an adapter": (extra("model.layers.0.self_attn.q_proj.lora_A.weight", (4, 64)), r"lora_A\.weight' belongs to an adapter .* merge it first"),
    "an adapter's base": (renamed("q_proj.weight", "q_proj.base_layer.weight"), r"base_layer\.weight' belongs to an adapter"),
    "scales": (extra("model.layers.0.mlp.up_proj.weight_scale", (128,)), r"weight_scale' belongs to quantised weights.* take the model's original weights"),
    "packed integers": (renamed("up_proj.weight", "up_proj.qweight"), r"up_proj\.qweight' belongs to quantised weights"),
    "8-bit scales of bitsandbytes": (extra("model.layers.0.mlp.up_proj.SCB", (128,)), r"SCB' belongs to quantised weights"),
    "whole numbers": (stored_as(Q, "I32"), r"q_proj\.weight' is I32, and weights have to be BF16, F16 or F32$"),
    "bytes": (stored_as(Q, "I8"), r"q_proj\.weight' is I8, and weights have to be"),
    "truths": (stored_as("model.norm.weight", "BOOL"), r"norm\.weight' is BOOL"),
    "a head of whole numbers": (stored_as("score.weight", "I64"), r"'score\.weight' is I64"),
    "FP8": (stored_as(Q, "F8_E4M3"), r"q_proj\.weight' is F8_E4M3: quantised checkpoints are not read; take the model's original weights in BF16, F16 or F32$"),
    "a NaN": (holding(Q, np.nan), r"q_proj\.weight' holds a NaN or an infinity"),
    "an infinity": (holding("model.norm.weight", -np.inf), r"norm\.weight' holds a NaN or an infinity"),
    "a NaN in the head": (holding("score.weight", np.nan), r"score\.weight' holds a NaN or an infinity"),
}


@pytest.mark.parametrize("what", TENSORS)
def test_tensors_that_are_not_what_they_should_be_are_refused_with_their_name_and_file(what: str, tmp_path: Path) -> None:
    wrong, reason = TENSORS[what]
    folder = write_llama_reranker(tmp_path / "model")
    wrong(folder)
    said = refused(folder, WeightsError)
    assert re.search(reason, said), said
    assert str(folder) in said
    if "missing" not in what:
        assert str(folder / WEIGHTS) in said


HARMLESS: dict[str, tuple[Wrong, str]] = {
    "computed frequencies": (extra("model.layers.0.self_attn.rotary_emb.inv_freq", (8,)), ""),
    "computed frequencies of all layers": (extra("model.rotary_emb.inv_freq", (8,)), ""),
    "a language model's head": (extra("lm_head.weight", (3, 64)), ""),
    "a NaN that nothing reads": (extra("model.rotary_emb.inv_freq", (8,)), ""),
    "something unheard of": (extra("model.extra.scale_of_things", (8,)), "model.extra.scale_of_things"),
    "a scalar of another use": (extra("logit_scale", (1,)), "logit_scale"),
    "F16": (stored_as(Q, "F16"), ""),
    "F64": (stored_as(Q, "F64"), ""),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_what_does_no_harm_is_passed_over_and_what_is_not_known_is_named(what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    change, named = HARMLESS[what]
    folder = write_llama_reranker(tmp_path / "model")
    change(folder)
    if what.startswith("a NaN"):
        holding("model.rotary_emb.inv_freq", np.nan)(folder)
    with caplog.at_level(logging.WARNING):
        load(folder, builds=True)
    assert [record.getMessage() for record in caplog.records] == ([f"it: tensors that nothing here reads are passed over: {named}"] if named else [])


def test_of_many_unknown_tensors_a_few_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_llama_embedder(tmp_path / "model")
    for number in range(8):
        extra(f"spare{number}", (1,))(folder)
    with caplog.at_level(logging.WARNING):
        load(folder, builds=True)
    assert caplog.records[0].getMessage().endswith("spare0, spare1, spare2, spare3, spare4 and 3 more")


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("write_it", [write_llama_reranker, write_llama_embedder, write_vl_embedder])
def test_the_good_checkpoints_are_let_through_without_a_word(write_it: Any, shards: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert load(write_it(tmp_path / "model", shards=shards), builds=True).name == "it"
    assert not caplog.records


def test_an_unused_bias_of_an_unused_matrix_is_not_taken_for_one_that_is_missing_in_the_network(tmp_path: Path) -> None:
    folder = write_embedder(tmp_path / "model")
    for name, shape in (("cls.predictions.decoder.weight", (3, 64)), ("cls.predictions.decoder.bias", (3,)), ("embeddings.position_ids", (1,))):
        extra(name, shape)(folder)
    load(folder, builds=True)


def first_shard(folder: Path) -> Path:
    return sorted(folder.glob("model-*.safetensors"))[0]


def copies_a_tensor(folder: Path) -> None:
    one, two = sorted(folder.glob("model-*.safetensors"))[:2]
    alone = folder / WEIGHTS
    made: list[Tensors] = []
    for shard in (one, two):
        alone.write_bytes(shard.read_bytes())
        made.append(tensors(folder))
    alone.unlink()
    name = next(iter(made[0]))
    write(two, {**made[1], name: made[0][name]})


def cuts(folder: Path) -> None:
    shard = first_shard(folder)
    shard.write_bytes(shard.read_bytes()[:-4])


def pads(folder: Path) -> None:
    with first_shard(folder).open("ab") as file:
        file.write(b"more")


def hides_the_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").unlink()


SHARDS: dict[str, tuple[Wrong, str]] = {
    "a shard that is not there": (lambda folder: first_shard(folder).unlink(), r"model-00001-of-00003\.safetensors: it cannot be read \(No such file"),
    "a tensor in two shards": (copies_a_tensor, r"model-00002-of-00003\.safetensors: '.*' is in this file and in model-00001-of-00003\.safetensors too"),
    "a shard cut short": (cuts, r"model-00001-of-00003\.safetensors: '.*' runs past the end of the file"),
    "a shard with bytes behind it": (pads, r"model-00001-of-00003\.safetensors: 4 bytes after the last tensor belong to no tensor"),
    "shards without an index": (hides_the_index, r"neither model\.safetensors nor model\.safetensors\.index\.json here; 'model-0000"),
}


@pytest.mark.parametrize("what", SHARDS)
def test_shards_that_do_not_make_one_checkpoint_are_refused_with_the_file(what: str, tmp_path: Path) -> None:
    wrong, reason = SHARDS[what]
    folder = write_llama_embedder(tmp_path / "model", shards=3)
    wrong(folder)
    with pytest.raises(WeightsCorrupt, match=reason):
        load(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "weights.pkl", "last.ckpt"])
def test_pickles_are_refused_with_the_reason_and_a_way_out_and_never_opened(name: str, tmp_path: Path) -> None:
    folder = write_llama_embedder(tmp_path / "model")
    (folder / WEIGHTS).rename(folder / name)
    (folder / "training_args.bin").write_bytes(b"x")
    said = refused(folder)
    assert f"only {name!r}: pickle files" in said
    assert "loading one runs whatever code is in it; convert it to safetensors" in said


def test_pickles_beside_safetensors_are_not_looked_at(tmp_path: Path) -> None:
    folder = write_llama_embedder(tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(b"not even a pickle")
    load(folder, builds=True)


def test_an_adapter_alone_is_no_checkpoint(tmp_path: Path) -> None:
    folder = write_llama_embedder(tmp_path / "model")
    (folder / WEIGHTS).rename(folder / "adapter_model.safetensors")
    assert "'adapter_model.safetensors' is an adapter: merge it into its base model first" in refused(folder)


def grow_tokenizer(folder: Path, tokens: int) -> int:
    """Adds tokens behind the last one; returns the largest id."""
    path = folder / "tokenizer.json"
    made = json.loads(path.read_text())
    top = max([*made["model"]["vocab"].values(), *(one["id"] for one in made["added_tokens"])])
    for number in range(1, tokens + 1):
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        made["added_tokens"].append({"id": top + number, "content": f"<|spare_{number}|>", **flags})
    path.write_text(json.dumps(made))
    return int(top + tokens)


def test_a_tokenizer_with_ids_beyond_the_token_table_is_refused(tmp_path: Path) -> None:
    folder = write_llama_embedder(tmp_path / "model")
    largest = grow_tokenizer(folder, 2)
    assert f"{folder / 'tokenizer.json'}: the largest token id is {largest}, and the checkpoint's token table has {largest - 1} rows" in refused(folder)


def test_a_table_with_more_rows_than_the_tokenizer_has_tokens_is_usual(tmp_path: Path) -> None:
    tokens = json.loads((write_llama_embedder(tmp_path / "probe") / "config.json").read_text())["vocab_size"]
    load(write_llama_embedder(tmp_path / "model", vocab_size=tokens + 56), builds=True)


def test_a_vision_model_with_a_larger_tokenizer_is_served_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_vl_embedder(tmp_path / "model")
    grow_tokenizer(folder, 3)
    with caplog.at_level(logging.WARNING):
        load(folder, builds=True)
    assert "the 3 missing rows are taken as zeros" in caplog.text


def test_a_config_that_asks_for_code_is_refused_and_code_beside_weights_is_not_run(tmp_path: Path) -> None:
    folder = write_llama_embedder(tmp_path / "model")
    (folder / "llama_bidirectional_model.py").write_text("raise SystemExit('it was run')")
    load(folder, builds=True)
    configured(model_type="their_own", architectures=["TheirModel"], auto_map={"AutoModel": "modeling.TheirModel"})(folder)
    said = refused(folder, UnknownArchitecture)
    assert "TheirModel" in said
    assert "never run" in said


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"pooling": "colbert"}, r"config\.json: pooling 'colbert' is not known; known: avg"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}}, r"config\.json: quantization_config .*modelopt.*FP8.* is not supported"),
        ({"num_hidden_layers": 3}, r"no tensor 'layers\.2\."),
        ({"num_hidden_layers": 1}, r"layers\.1\..*' is of a layer that config\.json does not count"),
        ({"hidden_size": 32}, r"has shape .* by config\.json"),
        ({"num_hidden_layers": 10**9}, r"config\.json: num_hidden_layers"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(keys: dict[str, Any], reason: str, tmp_path: Path) -> None:
    folder = write_llama_embedder(tmp_path / "model")
    configured(**keys)(folder)
    with pytest.raises(StartError, match=reason):
        load(folder)


def test_a_model_that_does_not_fit_is_refused_before_its_engine_is_built(tmp_path: Path) -> None:
    asked: list[tuple[str, int, int]] = []

    def check_fits(name: str, networks: Any, longest: int) -> None:
        asked.append((name, len(networks), longest))
        raise StartError("no room")

    with pytest.raises(StartError, match="no room"):
        load(write_vl_embedder(tmp_path / "model"), check_fits=check_fits)
    assert [(name, networks) for name, networks, _ in asked] == [("it", 2)]


def outside(tmp_path: Path, name: str = WEIGHTS) -> tuple[Path, Path]:
    """A good folder one of whose files has moved out of it, and where to."""
    folder = write_llama_embedder(tmp_path / "model")
    target = tmp_path / "elsewhere" / name
    target.parent.mkdir()
    (folder / name).rename(target)
    return folder, target


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "tokenizer.json"])
@pytest.mark.parametrize("relative", [False, True])
def test_a_link_out_of_the_folder_is_refused_whatever_it_is_for(name: str, relative: bool, tmp_path: Path) -> None:
    folder, target = outside(tmp_path, name)
    (folder / name).symlink_to(os.path.relpath(target, folder) if relative else target)
    assert f"{str(folder / name)!r} is a link to {str(target)!r}, outside the folder: put the file itself" in refused(folder, WeightsError)


def test_a_linked_folder_and_a_link_among_hidden_files_are_refused_too(tmp_path: Path) -> None:
    for name in ("1_Pooling", ".hidden"):
        folder = write_llama_embedder(tmp_path / name / "model")
        (tmp_path / name / "elsewhere").mkdir()
        if (folder / name).exists():
            (folder / name / "config.json").rename(tmp_path / name / "elsewhere" / "config.json")
            (folder / name).rmdir()
        (folder / name).symlink_to(tmp_path / name / "elsewhere")
        assert "outside the folder" in refused(folder, WeightsError)


def test_links_inside_the_folder_and_to_the_folder_are_followed(tmp_path: Path) -> None:
    folder = write_llama_embedder(tmp_path / "model")
    (folder / "..data").mkdir()  # as Kubernetes mounts a ConfigMap
    (folder / "config.json").rename(folder / "..data" / "config.json")
    (folder / "config.json").symlink_to("..data/config.json")
    (tmp_path / "current").symlink_to(folder)
    load(tmp_path / "current", builds=True)


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("nowhere"), lambda path: path.symlink_to(path.name)])
def test_a_link_to_nothing_or_to_itself_is_named(make: Callable[[Path], None], tmp_path: Path) -> None:
    folder = write_llama_embedder(tmp_path / "model")
    make(folder / "notes.txt")
    assert f"{str(folder / 'notes.txt')!r} is a link to" in refused(folder, WeightsError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_among_the_files_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    folder = write_llama_embedder(tmp_path / "model")
    os.mkfifo(folder / "added_tokens.json")
    assert "is neither a file nor a folder" in refused(folder, WeightsError)


def hub_snapshot(cache: Path, blobs: str = "blobs") -> Path:
    """A model as the hub's own cache lays it out: the snapshot holds links to the blobs."""
    model = cache / "models--org--tiny"
    snapshot = write_llama_embedder(model / "snapshots" / "0123abcd")
    (model / blobs).mkdir()
    for number, path in enumerate(sorted(path for path in snapshot.rglob("*") if path.is_file())):
        path.rename(model / blobs / f"{number:064}")
        path.symlink_to(os.path.relpath(model / blobs / f"{number:064}", path.parent))
    return snapshot


def test_the_links_of_a_snapshot_in_the_hubs_cache_are_followed_into_its_own_blobs(tmp_path: Path) -> None:
    load(hub_snapshot(tmp_path), builds=True)


def test_a_snapshot_may_not_link_into_anything_else(tmp_path: Path) -> None:
    said = refused(hub_snapshot(tmp_path, blobs="other"), WeightsError)
    assert "outside the folder" in said


def test_blobs_that_are_themselves_a_link_out_of_the_cache_do_not_count(tmp_path: Path) -> None:
    snapshot = hub_snapshot(tmp_path)
    blobs = tmp_path / "models--org--tiny" / "blobs"
    blobs.rename(tmp_path / "secrets")
    blobs.symlink_to(tmp_path / "secrets")
    assert "outside the folder" in refused(snapshot, WeightsError)


def test_another_models_blobs_in_the_same_cache_do_not_count(tmp_path: Path) -> None:
    snapshot = hub_snapshot(tmp_path)
    (tmp_path / "models--org--other" / "blobs").mkdir(parents=True)
    (tmp_path / "models--org--other" / "blobs" / "0").write_text("{}")
    (snapshot / "extra.json").symlink_to(tmp_path / "models--org--other" / "blobs" / "0")
    assert "extra.json" in refused(snapshot, WeightsError)


def test_the_root_of_a_model_in_the_hubs_cache_is_not_its_snapshot(tmp_path: Path) -> None:
    hub_snapshot(tmp_path)
    assert "one of the folders in its `snapshots`" in refused(tmp_path / "models--org--tiny", WeightsError)


def test_the_second_start_refuses_what_the_first_one_did_without_reading_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_llama_reranker(tmp_path / "model")
    holding(Q, np.nan)(folder)
    monkeypatch.setattr(Identity, "settled", lambda self, now_ns: True)
    first = refused(folder)
    assert "holds a NaN" in first

    def never(path: Path) -> Any:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(weights, "scan", never)
    assert refused(folder) == first
