"""Checkpoints: what is read, and everything that is refused. The safetensors library is the oracle."""

from __future__ import annotations

import gc
import json
import mmap
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from emberank.contract.errors import WeightsError
from emberank.runtime import widen
from emberank.runtime.checkpoint import DTYPES, Checkpoint, parse

quick = settings(max_examples=150, deadline=None, database=None)


def packed(header: dict[str, Any] | str, data: bytes = b"", length: int | None = None) -> bytes:
    """A file of the format: `header` as it is when it is text, and its length as it is unless another is given."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(start: int, stop: int, *, dtype: str = "F32", shape: list[Any] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [(stop - start) // 4] if shape is None else shape, "data_offsets": [start, stop]}


def written(folder: Path, content: bytes, name: str = "model.safetensors") -> Path:
    (folder / name).write_bytes(content)
    return folder


def sample() -> dict[str, np.ndarray[Any, Any]]:
    numbers = np.random.default_rng(7)
    return {
        "encoder.layer.0.weight": numbers.standard_normal((3, 5)).astype(np.float32),
        "encoder.layer.0.bias": numbers.standard_normal(5).astype(np.float16),
        "scale": np.array(2.5),
        "positions": np.arange(7, dtype=np.int64).reshape(1, 7),
        "mask": np.array([True, False, True]),
        "nothing": np.zeros((0, 4), dtype=np.float32),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    safetensors.numpy.save_file(sample(), tmp_path / "model.safetensors", metadata={"format": "np"})
    return tmp_path


def test_every_tensor_is_what_the_safetensors_library_reads(folder: Path) -> None:
    expected = safetensors.numpy.load_file(folder / "model.safetensors")
    with Checkpoint.open(folder) as checkpoint:
        assert checkpoint.names() == tuple(sorted(expected))
        for name, array in expected.items():
            raw = checkpoint.raw(name)
            assert checkpoint.shape(name) == raw.shape == array.shape
            assert raw.dtype == array.dtype
            np.testing.assert_array_equal(raw, array)


def test_raw_and_f32_are_read_only_views_of_the_mapped_file(folder: Path) -> None:
    with Checkpoint.open(folder) as checkpoint:
        for array in (checkpoint.raw("encoder.layer.0.bias"), checkpoint.float32("encoder.layer.0.weight")):
            assert not array.flags.owndata
            assert isinstance(array.base, mmap.mmap)
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0


def test_f16_and_f64_become_float32(folder: Path) -> None:
    with Checkpoint.open(folder) as checkpoint:
        bias = checkpoint.float32("encoder.layer.0.bias")
        assert bias.dtype == np.float32
        np.testing.assert_array_equal(bias, sample()["encoder.layer.0.bias"].astype(np.float32))
        assert checkpoint.float32("scale").shape == ()
        assert float(checkpoint.float32("scale")) == 2.5
        assert not bias.flags.writeable


def test_bf16_is_given_as_its_bits_and_as_exact_float32(tmp_path: Path) -> None:
    exact = np.array([[1.0, -2.5], [np.inf, 3.0e38], [0.0, -0.0]], dtype=np.float32)
    bits = (exact.view(np.uint32) >> 16).astype("<u2")
    written(tmp_path, packed({"w": entry(0, 12, dtype="BF16", shape=[3, 2])}, bits.tobytes()))
    with Checkpoint.open(tmp_path) as checkpoint:
        assert checkpoint.dtype("w") == "BF16"
        np.testing.assert_array_equal(checkpoint.raw("w"), bits)
        np.testing.assert_array_equal(checkpoint.float32("w"), (bits.astype(np.uint32) << 16).view(np.float32))


def test_f64_over_the_range_of_float32_becomes_infinite_without_a_warning(tmp_path: Path) -> None:
    written(tmp_path, packed({"w": entry(0, 8, dtype="F64", shape=[1])}, np.array([1e300]).tobytes()))
    with Checkpoint.open(tmp_path) as checkpoint:
        assert np.isinf(checkpoint.float32("w")).all()


def bf16_file(folder: Path, bits: np.ndarray[Any, Any]) -> Path:
    return written(folder, packed({"w": entry(0, bits.nbytes, dtype="BF16", shape=list(bits.shape))}, bits.tobytes()))


def test_every_bf16_there_is_becomes_the_float32_of_those_bits_whoever_shares_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bits = np.arange(1 << 16, dtype="<u2").reshape(256, 256)
    expected = (bits.astype(np.uint32) << 16).tobytes()
    for alone in (1 << 20, 1):
        monkeypatch.setattr(widen, "_ALONE", alone)
        monkeypatch.setattr(widen, "_PIECE", 1000)
        monkeypatch.setattr(widen, "cores", lambda: 3)
        with Checkpoint.open(bf16_file(tmp_path, bits)) as checkpoint:
            assert checkpoint.float32("w").tobytes() == expected
            out = np.full((256, 256), np.nan, np.float32)
            checkpoint.float32_into("w", out)
            assert out.tobytes() == expected


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0), (5, 7)])
def test_bf16_of_any_shape_is_converted(shape: tuple[int, ...], tmp_path: Path) -> None:
    bits = np.full(shape, 0x4020, "<u2")
    with Checkpoint.open(bf16_file(tmp_path, bits)) as checkpoint:
        assert checkpoint.float32("w").shape == shape
        np.testing.assert_array_equal(checkpoint.float32("w"), np.full(shape, 2.5, np.float32))


def test_a_tensor_is_written_into_a_part_of_a_larger_array(folder: Path) -> None:
    wide = np.zeros((3, 9), np.float32)
    with Checkpoint.open(folder) as checkpoint:
        checkpoint.float32_into("encoder.layer.0.weight", wide[:, 2:7])
        np.testing.assert_array_equal(wide[:, 2:7], sample()["encoder.layer.0.weight"])
        with pytest.raises(ValueError, match="room for"):
            checkpoint.float32_into("encoder.layer.0.weight", wide)
        with pytest.raises(WeightsError, match="'positions' is I64"):
            checkpoint.float32_into("positions", np.zeros((1, 7), np.float32))


def test_bf16_is_written_into_a_part_of_a_larger_array(tmp_path: Path) -> None:
    wide = np.zeros((4, 4), np.float32)
    with Checkpoint.open(bf16_file(tmp_path, np.full((4, 2), 0x4020, "<u2"))) as checkpoint:
        checkpoint.float32_into("w", wide[:, 1:3])
    np.testing.assert_array_equal(wide, [[0, 2.5, 2.5, 0]] * 4)


@pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="what is resident is read from /proc")
def test_a_dropped_tensor_is_no_longer_resident_and_reads_the_same_again(tmp_path: Path) -> None:
    arrays = {"a": np.full(1 << 20, 1, np.float32), "b": np.full(1 << 20, 2, np.float32), "c": np.full(3, 3, np.float32)}
    safetensors.numpy.save_file(arrays, tmp_path / "model.safetensors")
    with Checkpoint.open(tmp_path) as checkpoint:
        for name in arrays:
            checkpoint.raw(name).sum()
        both = resident(tmp_path / "model.safetensors")
        checkpoint.drop("a")
        one = resident(tmp_path / "model.safetensors")
        for name in arrays:
            checkpoint.drop(name)  # "c" has no whole page of its own
        none = resident(tmp_path / "model.safetensors")
        assert both >= 8 << 20
        assert one <= both - (4 << 20) + 2 * mmap.PAGESIZE
        assert none <= 4 * mmap.PAGESIZE
        for name, array in arrays.items():
            np.testing.assert_array_equal(checkpoint.raw(name), array)


def resident(path: Path) -> int:
    """Bytes of the mapped file that are in this process's memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    return sum(int(next(line for line in lines if line.startswith("Rss:")).split()[1]) * 1024 for header in lines if header.endswith(str(path)))


def test_a_tensor_knows_its_file_and_its_size(folder: Path) -> None:
    with Checkpoint.open(folder) as checkpoint:
        assert checkpoint.where("scale") == folder / "model.safetensors"
        assert checkpoint.nbytes("encoder.layer.0.bias") == 10


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F4"])
def test_quantised_numbers_are_refused_in_one_sentence(dtype: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=rf"'w' is {dtype}: quantised checkpoints are not read; take the model's original weights"):
        Checkpoint.open(written(tmp_path, packed({"w": entry(0, 8, dtype=dtype)}, b"\0" * 8)))


def test_whole_numbers_are_not_taken_for_weights(folder: Path) -> None:
    with Checkpoint.open(folder) as checkpoint, pytest.raises(WeightsError, match="'positions' is I64"):
        checkpoint.float32("positions")


def test_data_that_is_not_aligned_is_read_all_the_same(tmp_path: Path) -> None:
    content = packed(json.dumps({"w": entry(0, 8)}), np.array([1.5, 2.5], np.float32).tobytes())
    padded = content if (len(content) % 4) else packed(json.dumps({"w": entry(0, 8)}) + " ", content[-8:])
    with Checkpoint.open(written(tmp_path, padded)) as checkpoint:
        np.testing.assert_array_equal(checkpoint.float32("w"), [1.5, 2.5])


def test_a_missing_tensor_is_named_beside_similar_ones(folder: Path) -> None:
    with Checkpoint.open(folder) as checkpoint:
        assert "scale" in checkpoint
        with pytest.raises(WeightsError, match=r"no tensor 'encoder\.layers\.0\.weight'; similar names: 'encoder\.layer\.0\.weight'"):
            checkpoint.raw("encoder.layers.0.weight")


def test_arrays_outlive_the_checkpoint_and_a_closed_one_gives_no_more(folder: Path) -> None:
    checkpoint = Checkpoint.open(folder)
    array = checkpoint.raw("positions")
    checkpoint.close()
    checkpoint.close()
    np.testing.assert_array_equal(array, sample()["positions"])
    with pytest.raises(ValueError, match="closed"):
        checkpoint.raw("positions")


def test_the_file_is_let_go_of_with_the_last_array(folder: Path) -> None:
    checkpoint = Checkpoint.open(folder)
    array = checkpoint.raw("positions")
    mapped = weakref.ref(array.base)
    checkpoint.close()
    assert mapped() is not None
    del array
    gc.collect()
    assert mapped() is None


ok = entry(0, 8)
REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing at all": (b"", "is empty"),
    "less than a length": (b"\1\0\0", "3 bytes are too few"),
    "a header over the limit": (packed("{}", length=100_000_001), "100000000 is the most"),
    "a header beyond the file": (packed("{}", length=3), "runs past the end of the file"),
    "a pickle": (packed("\x80\x04", length=2), "does not begin with an opening brace"),
    "a header that begins with a blank": (packed(" {}"), "does not begin with an opening brace"),
    "no JSON": (packed("{'a'}"), "JSON is not valid"),
    "half a header": (packed('{"w": {"dtype"'), "JSON is not valid"),
    "bytes that are no UTF-8": ((5).to_bytes(8, "little") + b'{"\xff"}', "JSON is not valid"),
    "JSON too deep": (packed('{"a":' + "[" * 200_000), "JSON is not valid"),
    "a number of ten thousand digits": (packed('{"a":' + "9" * 10_000 + "}"), "JSON is not valid"),
    "not a number": (packed('{"a": NaN}'), "NaN is not JSON"),
    "half a character": (packed('{"\\ud800": {}}'), "JSON is not valid"),
    "a tensor twice": (packed('{"w": {}, "w": {}}'), "'w' is there twice"),
    "metadata of numbers": (packed({"__metadata__": {"a": 1}}), "__metadata__"),
    "metadata that is a list": (packed({"__metadata__": []}), "__metadata__"),
    "an entry that is a list": (packed({"w": []}), "has to have exactly"),
    "an entry without a shape": (packed({"w": {"dtype": "F32", "data_offsets": [0, 0]}}), "has to have exactly"),
    "an unknown dtype": (packed({"w": entry(0, 8, dtype="F31")}, b"\0" * 8), "unknown dtype 'F31'"),
    "a dtype that is a list": (packed({"w": {**ok, "dtype": []}}, b"\0" * 8), "unknown dtype"),
    "a shape below zero": (packed({"w": {**ok, "shape": [-2]}}, b"\0" * 8), "not a list of at most"),
    "a shape with a fraction": (packed({"w": {**ok, "shape": [2.0]}}, b"\0" * 8), "not a list of at most"),
    "a shape of truths": (packed({"w": {**ok, "shape": [True, 2]}}, b"\0" * 8), "not a list of at most"),
    "a shape of 33 dimensions": (packed({"w": {**ok, "shape": [1] * 32 + [2]}}, b"\0" * 8), "at most 32"),
    "a shape over 64 bits": (packed({"w": {**ok, "shape": [1 << 64]}}, b"\0" * 8), "not a list of at most"),
    "a huge shape of nothing": (packed({"w": entry(0, 0, shape=[0, 1 << 40, 1 << 40])}), "too large for any machine"),
    "three offsets": (packed({"w": {**ok, "data_offsets": [0, 4, 8]}}, b"\0" * 8), "not two whole numbers"),
    "offsets below zero": (packed({"w": {**ok, "data_offsets": [-8, 0]}}, b"\0" * 8), "not two whole numbers"),
    "offsets the wrong way round": (packed({"w": {**ok, "data_offsets": [8, 0]}}, b"\0" * 8), "takes -8 bytes"),
    "offsets that are not the shape's": (packed({"w": entry(0, 8, shape=[3])}, b"\0" * 8), r"takes 8 bytes, and F32 of shape \[3\] takes 12"),
    "an overlap": (packed({"a": entry(0, 8), "b": entry(4, 12)}, b"\0" * 12), "'b' overlaps the tensor before it"),
    "a hole": (packed({"a": entry(0, 8), "b": entry(12, 16)}, b"\0" * 16), "'b' leaves a hole before it"),
    "a hole at the start": (packed({"a": entry(4, 8)}, b"\0" * 8), "'a' leaves a hole"),
    "data cut short": (packed({"a": entry(0, 8)}, b"\0" * 7), "runs past the end of the file"),
    "bytes of no tensor": (packed({"a": entry(0, 8)}, b"\0" * 9), "1 bytes after the last tensor"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_malformed_file_is_refused_with_its_name_and_the_reason(what: str, tmp_path: Path) -> None:
    content, reason = REFUSED[what]
    with pytest.raises(WeightsError, match=reason) as caught:
        Checkpoint.open(written(tmp_path, content))
    assert str(tmp_path / "model.safetensors") in caught.value.message


def test_a_folder_without_weights_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"neither model\.safetensors nor model\.safetensors\.index\.json here$"):
        Checkpoint.open(tmp_path)
    with pytest.raises(WeightsError, match="neither"):
        Checkpoint.open(tmp_path / "nowhere")
    (tmp_path / "weights.safetensors").touch()
    with pytest.raises(WeightsError, match=r"'weights\.safetensors' would have to be called model\.safetensors$"):
        Checkpoint.open(tmp_path)


def sharded(folder: Path, weight_map: Any) -> Path:
    for file, value in (("a.safetensors", 1.0), ("b.safetensors", 2.0)):
        safetensors.numpy.save_file({file[0]: np.full(2, value, np.float32), "spare": np.zeros(1, np.float32)}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def test_shards_are_one_checkpoint_with_the_tensors_of_the_index(tmp_path: Path) -> None:
    with Checkpoint.open(sharded(tmp_path, {"a": "a.safetensors", "b": "b.safetensors"})) as checkpoint:
        assert checkpoint.names() == ("a", "b")
        np.testing.assert_array_equal(checkpoint.float32("a"), [1, 1])
        np.testing.assert_array_equal(checkpoint.float32("b"), [2, 2])


@pytest.mark.parametrize(
    ("weight_map", "reason"),
    [
        ({"a": "../a.safetensors"}, "is not a file in this folder"),
        ({"a": "/a.safetensors"}, "is not a file in this folder"),
        ({"a": "..\\a.safetensors"}, "is not a file in this folder"),
        ({"a": "x/../../a.safetensors"}, "is not a file in this folder"),
        ({"a": "a\0.safetensors"}, "is not a file in this folder"),
        ({"a": ""}, "is not a file in this folder"),
        ({"a": 1}, "is not a file in this folder"),
        ({"a": "b.safetensors"}, r"b\.safetensors: 'a' is not in this file"),
        ({"a": "a.safetensors", "b": "b.safetensors", "spare": "a.safetensors"}, r"b\.safetensors: 'spare' is in this file and in a\.safetensors too"),
        ({"a": "a.safetensors", "b": "c.safetensors"}, r"c\.safetensors: it cannot be read"),
        ({}, "weight_map is not an object"),
        (["a"], "weight_map is not an object"),
    ],
)
def test_an_index_that_cannot_be_followed_is_refused(weight_map: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=reason):
        Checkpoint.open(sharded(tmp_path, weight_map))


def test_a_shard_that_links_into_a_cache_elsewhere_is_read(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    safetensors.numpy.save_file({"a": np.ones(2, np.float32)}, blobs / "0f")
    (snapshot / "model.safetensors").symlink_to(blobs / "0f")
    with Checkpoint.open(snapshot) as checkpoint:
        assert checkpoint.names() == ("a",)


VALID = safetensors.numpy.save(sample(), metadata={"format": "np"})
HEADER_BYTES = 8 + int.from_bytes(VALID[:8], "little")


@st.composite
def corrupted(draw: st.DrawFn) -> bytes:
    """A valid file with bytes changed (mostly in the header), cut out, put in or cut off."""
    content = bytearray(VALID)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.one_of(st.integers(0, HEADER_BYTES), st.integers(0, len(VALID))))
        kind = draw(st.sampled_from(["change", "digit", "insert", "delete", "truncate"]))
        if kind == "change":
            content[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == "digit":
            content[place : place + 1] = draw(st.sampled_from([b"0", b"1", b"8", b"9"]))
        elif kind == "insert":
            content[place:place] = draw(st.binary(max_size=9))
        elif kind == "delete":
            del content[place : place + draw(st.integers(1, 9))]
        else:
            del content[place:]
    return bytes(content)


@settings(quick, max_examples=300)
@given(corrupted())
def test_a_corrupted_file_is_refused_or_read_and_nothing_else(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            checkpoint = Checkpoint.open(written(Path(folder), content))
        except WeightsError:
            return
        with checkpoint:
            for name in checkpoint.names():
                raw = checkpoint.raw(name)
                assert raw.nbytes == DTYPES[checkpoint.dtype(name)].itemsize * raw.size
                raw.copy()


@st.composite
def laid_out(draw: st.DrawFn) -> bytes:
    """Tensors one after another as they should be, most of the time: an offset, a size or the end may be one off."""
    off = st.sampled_from([0] * 12 + [-1, 1])
    header: dict[str, Any] = {}
    end = 0
    for name in draw(st.lists(st.text('ab\u00e9\U0001f525 .\\"', max_size=3), max_size=4, unique=True)):
        dtype, shape = draw(st.sampled_from(list(DTYPES))), draw(st.lists(st.integers(0, 3), max_size=3))
        start = max(end + draw(off), 0)
        end = max(start + int(np.prod(shape)) * DTYPES[dtype].itemsize + draw(off), 0)
        header[name] = entry(start, end, dtype=dtype, shape=shape)
    order = draw(st.permutations(list(header)))
    return packed({name: header[name] for name in order}, bytes(number % 256 for number in range(max(end + draw(off), 0))))


@quick
@given(laid_out())
def test_what_is_accepted_is_what_the_safetensors_library_accepts_and_reads(content: bytes) -> None:
    try:
        expected: dict[str, Any] = dict(safetensors.deserialize(content))  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError:
        with pytest.raises(WeightsError):
            parse(content, "f", "f")
        return
    tensors = parse(content, "f", "f")
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        assert list(tensor.shape) == expected[name]["shape"]
        assert bytes(expected[name]["data"]) == content[tensor.start : tensor.stop]


@quick
@given(st.lists(st.tuples(st.sampled_from(["F32", "F16", "I64", "U8", "BOOL", "F64"]), st.lists(st.integers(0, 4), max_size=4)), max_size=6))
def test_every_file_that_the_safetensors_library_writes_is_read(made: list[tuple[str, list[int]]]) -> None:
    arrays = {f"t{number}": np.ones(shape, DTYPES[dtype]) for number, (dtype, shape) in enumerate(made)}
    tensors = parse(safetensors.numpy.save(arrays), "f", "f")
    assert {name: (DTYPES[tensor.dtype], tensor.shape) for name, tensor in tensors.items()} == {name: (one.dtype, one.shape) for name, one in arrays.items()}
