"""One pass over a file: its hash, and the tensors with numbers that are none. hashlib and numpy.isfinite are the oracles."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emberank.contract.errors import WeightsCorrupt
from emberank.runtime import scan as scanning
from emberank.runtime.checkpoint import DTYPES, Tensor, map_file
from emberank.runtime.scan import blocks, scan

NUMBERS = {"F16": np.float16, "F32": np.float32, "F64": np.float64}


def file_of(tensors: dict[str, tuple[str, bytes]], odd: int = 0) -> bytes:
    """A safetensors file of flat tensors: name → (stored type, bytes). `odd` blanks move the data off its alignment."""
    header, data = {}, b""
    for name, (dtype, content) in tensors.items():
        count = len(content) // DTYPES[dtype].itemsize
        header[name] = {"dtype": dtype, "shape": [count], "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8 + odd)
    return len(head).to_bytes(8, "little") + head + data


def written(folder: Path, content: bytes, name: str = "model.safetensors") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def bf16(*values: float) -> bytes:
    return (np.array(values, np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()


SPECIAL = {
    "NaN": (np.nan, True),
    "a negative NaN": (-np.nan, True),
    "infinity": (np.inf, True),
    "negative infinity": (-np.inf, True),
    "the greatest number": (60000.0, False),
    "the least number": (-60000.0, False),
    "minus zero": (-0.0, False),
    "hardly anything": (1e-7, False),
}


@pytest.mark.parametrize("dtype", ["BF16", *NUMBERS])
@pytest.mark.parametrize("what", SPECIAL)
def test_numbers_that_are_none_are_found_in_every_type(what: str, dtype: str, tmp_path: Path) -> None:
    value, bad = SPECIAL[what]
    values = [1.0, -2.0, value, 0.5]
    content = bf16(*values) if dtype == "BF16" else np.array(values, NUMBERS[dtype]).tobytes()
    found = scan(written(tmp_path, file_of({"fine": ("F32", bytes(16)), "w": (dtype, content), "after": ("F32", bytes(4))})))
    assert found.not_finite == (("w",) if bad else ())


@pytest.mark.parametrize("value", [3.5e38, -3.5e38, 2.0**128 - 2.0**103])
def test_a_float64_that_is_infinite_as_float32_counts_as_infinite(value: float, tmp_path: Path) -> None:
    with np.errstate(over="ignore"):
        assert np.isinf(np.float32(value))
    assert scan(written(tmp_path, file_of({"w": ("F64", np.array([value]).tobytes())}))).not_finite == ("w",)


def test_the_greatest_float32_as_float64_is_finite(tmp_path: Path) -> None:
    values = np.array([np.finfo(np.float32).max, np.finfo(np.float32).min], np.float64)
    assert scan(written(tmp_path, file_of({"w": ("F64", values.tobytes())}))).not_finite == ()


def test_whole_numbers_are_never_taken_for_numbers_that_are_none(tmp_path: Path) -> None:
    ones = b"\xff" * 64
    content = file_of({kind: (kind, ones) for kind in ("I64", "U32", "I16", "U8", "I8")})
    assert scan(written(tmp_path, content)).not_finite == ()


@pytest.mark.parametrize("odd", [0, 1, 3])
@pytest.mark.parametrize("place", ["first", "last", "across"])
def test_a_file_of_many_blocks_is_hashed_and_searched_to_its_ends(place: str, odd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Blocks of 64 bytes, and threads even for a small file.
    monkeypatch.setattr(scanning, "BLOCK_BYTES", 64)
    monkeypatch.setattr(scanning, "_ALONE_BYTES", 0)
    values = np.ones(333, np.float32)
    values[{"first": 0, "last": 332, "across": 15}[place]] = np.nan
    content = file_of({"bits": ("U8", b"abc"), "w": ("F32", values.tobytes()), "end": ("BF16", bf16(1, 2, 3))}, odd)
    found = scan(written(tmp_path, content))
    assert found.not_finite == ("w",)
    assert found.sha256 == hashlib.sha256(content).hexdigest()


@settings(max_examples=60, deadline=None, database=None)
@given(st.lists(st.tuples(st.sampled_from(["F32", "BF16", "U8", "F64"]), st.integers(0, 40)), max_size=8))
def test_the_blocks_of_a_file_hold_every_number_once_and_none_of_them_twice(made: list[tuple[str, int]]) -> None:
    tensors: dict[str, Tensor] = {}
    end = 100
    for i, (dtype, count) in enumerate(made):
        stop = end + count * DTYPES[dtype].itemsize
        tensors[f"t{i}"] = Tensor(file="f", dtype=dtype, shape=(count,), start=end, stop=stop)
        end = stop
    seen = dict.fromkeys(tensors, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanning, "BLOCK_BYTES", 64)
        at = 0
        for number, (length, parts) in enumerate(blocks(tensors)):
            assert number == 0 or length <= 64
            for part in parts:
                assert part.at + part.count * DTYPES[part.dtype].itemsize <= length
                assert at + part.at == tensors[part.name].start + seen[part.name] * DTYPES[part.dtype].itemsize
                seen[part.name] += part.count
            at += length
    assert at == (end if tensors else 0)
    assert seen == {name: tensor.shape[0] for name, tensor in tensors.items()}


@pytest.mark.parametrize("content", [b"", b"\x01", b"not a safetensors file, but some bytes", file_of({"w": ("F32", bytes(8))})[:-3]])
def test_a_malformed_file_is_hashed_all_the_same(content: bytes, tmp_path: Path) -> None:
    found = scan(written(tmp_path, content))
    assert (found.sha256, found.not_finite) == (hashlib.sha256(content).hexdigest(), ())


def test_other_files_are_only_hashed(tmp_path: Path) -> None:
    content = file_of({"w": ("F32", np.array([np.nan], np.float32).tobytes())})
    assert scan(written(tmp_path, content, "weights.bin")).not_finite == ()


def test_a_file_that_ends_early_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, file_of({"w": ("F32", bytes(4000))}))

    def cuts(one: Path) -> Any:
        mapped = map_file(one)
        with one.open("r+b") as file:
            file.truncate(1000)
        return mapped

    whole = scanning._tensors(path)
    monkeypatch.setattr(scanning, "_tensors", lambda one: (cuts(one), whole)[1])
    with pytest.raises(WeightsCorrupt, match="it was cut short while it was being read"):
        scan(path)
