"""A published shape in, a checkpoint folder with random numbers in it out, so that speed and memory can be measured without the licensed weights.

The files, the tensors' names, their shapes and their types are the published ones; the numbers are normal, norms are 1. What it answers means nothing,
so it says everywhere that it is random: in config.json, in the weights' metadata, in its README.

Numbers are looked up by 16 random bits in a table of 65,536 quantiles: as many as bfloat16 has values, and ten times faster than drawing them.
A megabyte is in memory at a time, whatever the tensor's size.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from emberank import __version__
from emberank.contract.errors import SettingError
from emberank.runtime.checkpoint import INDEX, SINGLE
from emberank.runtime.published_shapes import Dtype, PublishedShape
from emberank.runtime.published_tensors import Planned
from emberank.runtime.random_tokenizer import tokenizer_json
from emberank.runtime.sources.base import Progress

RANDOM_KEY = "emberank_random_weights"  # of config.json and of the weights' metadata
MOST_LAYERS = 1000
MOST_SHARDS = 99_999

_CHUNK = 1 << 18  # numbers made at a time: few enough for a processor's cache
_BESIDE_WEIGHTS_BYTES = 16_000_000  # tokenizer.json is the largest of the other files
_STORED: Mapping[Dtype, tuple[str, int]] = {"bf16": ("BF16", 2), "fp32": ("F32", 4)}
_TORCH_DTYPES: Mapping[Dtype, str] = {"bf16": "bfloat16", "fp32": "float32"}

Header = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How it shall be stored. `dtype` None: as published. `layers` None: as published."""

    seed: int = 0
    shards: int = 1
    dtype: Dtype | None = None
    layers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written: numbers in the weights, and bytes of their files."""

    parameters: int
    weights_bytes: int


def write(shape: PublishedShape, folder: Path, wanted: Wanted, progress: Progress) -> Written:
    """Write the checkpoint; the folder appears whole or not at all. The same seed gives the same bytes, however many shards and in whatever order.

    Raises SettingError when the folder is there already, the disk has not the room, or the shape is not known whole.
    """
    if wanted.layers is not None:
        shape = shape.with_depth(_within("--layers", wanted.layers, MOST_LAYERS))
    planned = shape.tensors()
    dtype = wanted.dtype or shape.dtype
    shards = _shards(planned, dtype, _within("--shards", wanted.shards, min(MOST_SHARDS, len(planned))))
    size = sum(_bytes(tensor, dtype) for tensor in planned)
    folder = folder.expanduser().absolute()
    with _appearing(folder, size + _BESIDE_WEIGHTS_BYTES) as beside:
        for name, content in _files(shape, dtype, wanted, sum(tensor.numbers for tensor in planned)).items():
            (beside / name).parent.mkdir(exist_ok=True)
            (beside / name).write_text(content, "utf-8")
        _write_weights(beside, shards, dtype, wanted.seed, progress)
    return Written(parameters=sum(tensor.numbers for tensor in planned), weights_bytes=size)


@contextlib.contextmanager
def _appearing(folder: Path, needs_bytes: int) -> Iterator[Path]:
    """A folder beside the wanted one, which gets its name when everything is in it; what was written so far is deleted when anything goes wrong."""
    if folder.exists() or folder.is_symlink():
        raise SettingError(f"{str(folder)!r} is there already: say another folder with --out, or delete it first")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder.parent).free
        if free < needs_bytes:
            raise SettingError(
                f"{str(folder.parent)!r} has {free / 1e9:.2f} GB free, and the checkpoint takes {needs_bytes / 1e9:.2f} GB: say another place with --out"
            )
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            yield beside
            beside.chmod(0o755)  # mkdtemp's folder is its maker's alone
            beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as cause:
        raise SettingError(f"{str(folder)!r} cannot be written: {cause.strerror or cause}") from cause


def _write_weights(folder: Path, shards: Sequence[Sequence[Planned]], dtype: Dtype, seed: int, progress: Progress) -> None:
    names = [SINGLE] if len(shards) == 1 else [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards):
        with (folder / name).open("wb") as file:
            _write_file(file, name, shard, dtype, seed, progress)
    if len(shards) > 1:
        where = {tensor.name: name for name, shard in zip(names, shards) for tensor in shard}
        total = sum(_bytes(tensor, dtype) for shard in shards for tensor in shard)
        (folder / INDEX).write_text(_json({"metadata": {"total_size": total, RANDOM_KEY: "true"}, "weight_map": where}), "utf-8")


def _write_file(file: IO[bytes], name: str, shard: Sequence[Planned], dtype: Dtype, seed: int, progress: Progress) -> None:
    """One safetensors file: its header's length, its header, its numbers."""
    header: Header = {"__metadata__": {"format": "pt", RANDOM_KEY: "true", "emberank_seed": str(seed)}}
    at = 0
    for tensor in shard:
        size = _bytes(tensor, dtype)
        header[tensor.name] = {"dtype": _STORED[_dtype(tensor, dtype)][0], "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers begin where a processor likes them to
    file.write(struct.pack("<Q", len(text)) + text)
    total, done = 8 + len(text) + at, 8 + len(text)
    for tensor in shard:
        for numbers in _numbers(tensor, _dtype(tensor, dtype), seed):
            file.write(numbers.data)
            done += numbers.nbytes
            progress(name, done, total)


def _numbers(tensor: Planned, dtype: Dtype, seed: int) -> Iterator[NDArray[Any]]:
    """The tensor's numbers as they are stored, a chunk at a time."""
    # A stream for each tensor: it stays the same when others come, go or lie in another file.
    bits = np.random.SFC64(np.random.SeedSequence([seed, zlib.crc32(tensor.name.encode())]))
    table = _stored(_quantiles() * np.float32(tensor.std), dtype)
    for begin in range(0, tensor.numbers, _CHUNK):
        count = min(_CHUNK, tensor.numbers - begin)
        if tensor.fill in ("one", "zero"):
            yield np.broadcast_to(_stored(np.float32(tensor.fill == "one"), dtype), count).copy()
        else:
            places = bits.random_raw(-(-count // 4)).view(np.uint16)[:count]
            yield np.take(table, places)


@cache
def _quantiles() -> NDArray[np.float32]:
    """65,536 numbers, of which each is as likely as any other to be the next: the middles of as many equal parts of the normal distribution."""
    normal = NormalDist()
    return np.array([normal.inv_cdf((place + 0.5) / 65536) for place in range(65536)], np.float32)


def _stored(numbers: NDArray[np.float32] | np.float32, dtype: Dtype) -> NDArray[Any]:
    """Little-endian float32, or bfloat16 as its 16 bits: the upper half, rounded to the nearest and to even in the middle."""
    wide = np.ascontiguousarray(numbers, "<f4")
    if dtype == "fp32":
        return wide
    word = wide.view("<u4")
    return ((word + 0x7FFF + ((word >> 16) & 1)) >> 16).astype("<u2")


def _dtype(tensor: Planned, dtype: Dtype) -> Dtype:
    return "fp32" if tensor.float32 else dtype


def _bytes(tensor: Planned, dtype: Dtype) -> int:
    return tensor.numbers * _STORED[_dtype(tensor, dtype)][1]


def _shards(planned: Sequence[Planned], dtype: Dtype, count: int) -> list[list[Planned]]:
    """Neighbours together, in files of about one size; every file has at least one tensor."""
    left = sum(_bytes(tensor, dtype) for tensor in planned)
    shards: list[list[Planned]] = [[]]
    size = 0  # of the last of them
    for place, tensor in enumerate(planned):
        to_come = count - len(shards)
        # What is left divides among this file and those to come; and each of those needs a tensor of its own.
        full = size + _bytes(tensor, dtype) / 2 > (size + left) / (to_come + 1)
        if shards[-1] and to_come and (full or len(planned) - place <= to_come):
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += _bytes(tensor, dtype)
        left -= _bytes(tensor, dtype)
    return shards


def _files(shape: PublishedShape, dtype: Dtype, wanted: Wanted, parameters: int) -> dict[str, str]:
    """Every file but the weights, by its name."""
    config = {**shape.config, "torch_dtype": _TORCH_DTYPES[dtype], RANDOM_KEY: True, "emberank_seed": wanted.seed}
    tokenizer = json.dumps(tokenizer_json(shape.tokenizer, shape.vocabulary), ensure_ascii=False, separators=(",", ":"))
    found = {"config.json": _json(config), "tokenizer.json": tokenizer, "tokenizer_config.json": _json({"model_max_length": shape.max_tokens})}
    found |= {name: _json(content) for name, content in shape.files.items()} | _sentence_transformers(shape)
    return found | {"README.md": _readme(shape, dtype, wanted, parameters)}


def _sentence_transformers(shape: PublishedShape) -> dict[str, str]:
    """An embedder's: mean of the token states, normalised, and its prompts."""
    beside = shape.sentence_transformers
    if beside is None:
        return {}
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"} for i, (path, kind) in enumerate(kinds)]
    modes = {f"pooling_mode_{mode}": mode == "mean_tokens" for mode in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")}
    return {
        "modules.json": json.dumps(modules, indent=2),
        "1_Pooling/config.json": _json({"word_embedding_dimension": beside.dimensions, **modes}),
        "sentence_bert_config.json": _json({"max_seq_length": shape.max_tokens, "do_lower_case": False}),
        "config_sentence_transformers.json": _json({"prompts": dict(beside.prompts), "default_prompt_name": None, "similarity_fn_name": "cosine"}),
    }


def _readme(shape: PublishedShape, dtype: Dtype, wanted: Wanted, parameters: int) -> str:
    depth = (
        ""
        if wanted.layers is None
        else f"\n\nIt has {wanted.layers} layer{'' if wanted.layers == 1 else 's'} because whoever made it said so: **this is not the published depth**."
    )
    unknown = f"\n\nNot known: {shape.unknown}." if shape.unknown else ""
    return (
        f"# Random weights in the shape of {shape.id}\n\n"
        f"Made by `emberank make-checkpoint` {__version__} with seed {wanted.seed}: {parameters:,} random numbers in {dtype}. **Nobody trained them: scores and vectors mean nothing.** "
        f"They are for measuring speed and memory, and for trying an installation, before the real weights are there.\n\n"
        f"`tokenizer.json` is not the real tokenizer either: it splits text and places special tokens as that does, over a vocabulary made of common English words, "
        f"so a text has roughly, not exactly, as many tokens. Nothing in this folder was copied from the publisher's files.{depth}{unknown}\n"
    )


def _within(flag: str, number: int, most: int) -> int:
    if not 1 <= number <= most:
        raise SettingError(f"{flag} has to be from 1 to {most}, not {number}")
    return number


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"
