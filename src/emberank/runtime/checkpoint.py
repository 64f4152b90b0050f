"""A folder with safetensors files in, named tensors out: read-only views of memory-mapped files. Does not know networks, or where the folder is from.

The format: 8 bytes with the header's length (little-endian), the header (a JSON object: name → dtype, shape, data_offsets), the data. It
is read by our own parser, because nothing in a file that someone else made may do more than be refused with its reason.
"""

from __future__ import annotations

import difflib
import json
import math
import mmap
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt

from emberank.contract.errors import WeightsCorrupt
from emberank.runtime.widen import bf16_into, widened

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

MOST_HEADER_BYTES = 100_000_000
# NumPy 1.26 takes 32 dimensions at most, and sizes that fit into a signed 64-bit number.
MOST_DIMENSIONS = 32
MOST_BYTES = (1 << 63) - 1

# NumPy has no bfloat16: its 16 bits are given as they are.
DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
}
# Words of the format for numbers that mean nothing without scales kept elsewhere: known, and never weights here.
QUANTISED = ("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F6_E2M3", "F6_E3M2", "F4")
WEIGHTS = ("F32", "BF16", "F16", "F64")  # what a network's numbers may be stored as

# Formats that are Python pickles: loading one runs what its author wrote into it.
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """Where a tensor lies: `file` relative to the folder, bytes `start` to `stop` of that file."""

    file: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class Checkpoint:
    """All tensors of one model. Arrays stay valid after `close`, which only gives back what no array looks at any more."""

    __slots__ = ("_closed", "_maps", "_tensors", "folder")

    def __init__(self, folder: Path, tensors: Mapping[str, Tensor], maps: Mapping[str, mmap.mmap]) -> None:
        self.folder = folder
        self._tensors = dict(tensors)
        self._maps = dict(maps)
        self._closed = False

    @classmethod
    def open(cls, folder: Path) -> Checkpoint:
        """Map the folder's safetensors files and check all of their structure; no number is read yet."""
        maps: dict[str, mmap.mmap] = {}
        tensors: dict[str, Tensor] = {}
        try:
            files = _files(folder)
            homes = {name: file for file, names in files.items() for name in names or ()}
            for file, names in files.items():
                path = folder / file
                maps[file] = map_file(path)
                tensors |= _indexed(parse(maps[file], file, str(path)), names, homes, str(path))
        except WeightsCorrupt:
            for mapped in maps.values():
                mapped.close()
            raise
        return cls(folder, tensors, maps)

    def names(self) -> tuple[str, ...]:
        """Every tensor's name, sorted."""
        return tuple(sorted(self._tensors))

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """The sizes of the tensor's dimensions."""
        return self._tensor(name).shape

    def dtype(self, name: str) -> str:
        """The format's word for the tensor's numbers: F32, BF16, …."""
        return self._tensor(name).dtype

    def where(self, name: str) -> Path:
        """The file that the tensor is in."""
        return self.folder / self._tensor(name).file

    def nbytes(self, name: str) -> int:
        """Bytes of the tensor in its file."""
        tensor = self._tensor(name)
        return tensor.stop - tensor.start

    def raw(self, name: str) -> npt.NDArray[Any]:
        """The tensor's numbers as they are in the file, read-only and not copied; BF16 as its 16 bits (uint16)."""
        tensor = self._tensor(name)
        if self._closed:
            raise ValueError("the checkpoint is closed")
        view: npt.NDArray[Any] = np.ndarray(tensor.shape, DTYPES[tensor.dtype], buffer=self._maps[tensor.file], offset=tensor.start)
        view.flags.writeable = False
        return view

    def float32(self, name: str) -> npt.NDArray[np.float32]:
        """The tensor as float32, read-only: a view of F32, a converted copy of F16, BF16 and F64."""
        if self.dtype(name) == "F32":
            return cast(npt.NDArray[np.float32], self.raw(name))
        if self.dtype(name) == "BF16":
            converted = widened(self.raw(name))
        else:
            converted = np.empty(self.shape(name), np.float32)
            self.float32_into(name, converted)
        converted.flags.writeable = False
        return converted

    def float32_into(self, name: str, out: npt.NDArray[np.float32]) -> None:
        """Write the tensor as float32 into `out`, which has its shape: for an engine that fills a buffer of its own, piece by piece."""
        dtype, raw = self.dtype(name), self.raw(name)
        if out.shape != raw.shape:
            raise ValueError(f"{name!r} has shape {raw.shape}, and there is room for {out.shape}")
        if dtype not in WEIGHTS:
            raise WeightsCorrupt(f"{self.where(name)}: {name!r} is {dtype}, and numbers with a fraction were expected there")
        if dtype == "BF16":
            bf16_into(raw, out)
        else:
            # What is over float32's range becomes infinite, silently: the scan of the file has found it before (scan.py).
            with np.errstate(over="ignore", invalid="ignore"):
                np.copyto(out, raw, casting="same_kind")

    def drop(self, name: str) -> None:
        """`drop_pages` for one tensor: whole pages inside it. An engine that copies tensor by tensor so never holds the file and its copies at once."""
        tensor = self._tensor(name)
        start = -(-tensor.start // mmap.PAGESIZE) * mmap.PAGESIZE
        length = tensor.stop // mmap.PAGESIZE * mmap.PAGESIZE - start
        if length > 0 and not self._closed and hasattr(mmap, "MADV_DONTNEED"):
            self._maps[tensor.file].madvise(mmap.MADV_DONTNEED, start, length)

    def drop_pages(self) -> None:
        """Let the kernel take back the pages read so far; whoever reads them again gets them from the file. For after an engine has made its own copies."""
        for mapped in self._maps.values():
            if hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Let go of the files. A file that an array still looks at stays mapped until that array is gone."""
        self._closed = True
        # Not mmap.close(): NumPy does not hold the buffer, so it would unmap the file under living arrays, and reading one would end the process.
        # An array holds the mapping itself, which goes with the last of them.
        self._maps.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _tensor(self, name: str) -> Tensor:
        if name in self._tensors:
            return self._tensors[name]
        alike = difflib.get_close_matches(name, self._tensors, n=3, cutoff=0.6)
        hint = f"; similar names: {', '.join(repr(one) for one in alike)}" if alike else ""
        raise WeightsCorrupt(f"{self.folder}: the checkpoint has no tensor {name!r}{hint}")


def parse(data: mmap.mmap | bytes, file: str, said: str) -> dict[str, Tensor]:
    """Name → tensor of one whole file. `file` goes into the tensors; `said` names the file in errors."""
    size = len(data)
    if size < 8:
        raise WeightsCorrupt(f"{said}: {size} bytes are too few for a safetensors file; it was cut short")
    length = int.from_bytes(data[:8], "little")
    if length > MOST_HEADER_BYTES:
        raise WeightsCorrupt(f"{said}: its header would be {length} bytes, and {MOST_HEADER_BYTES} is the most; this is not a safetensors file")
    if length > size - 8:
        raise WeightsCorrupt(f"{said}: its header of {length} bytes runs past the end of the file ({size} bytes); it was cut short")
    if data[8:9] != b"{":
        raise WeightsCorrupt(f"{said}: its header does not begin with an opening brace; this is not a safetensors file")
    header = _json_object(data[8 : 8 + length], said)
    _check_metadata(header.pop("__metadata__", {}), said)
    tensors = {name: _tensor(name, value, file, 8 + length, said) for name, value in header.items()}
    _check_layout(tensors, 8 + length, size, said)
    return tensors


def _tensor(name: str, value: object, file: str, data_start: int, said: str) -> Tensor:
    """One entry of the header, every part of it checked except against the other entries."""
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise WeightsCorrupt(f"{said}: {name!r} has to have exactly dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if dtype in QUANTISED:
        raise WeightsCorrupt(f"{said}: {name!r} is {dtype}: quantised checkpoints are not read; take the model's original weights in BF16, F16 or F32")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise WeightsCorrupt(f"{said}: {name!r} has the unknown dtype {str(dtype)[:40]!r}; known are {', '.join(DTYPES)}")
    if not _whole_numbers(shape) or len(shape) > MOST_DIMENSIONS:
        raise WeightsCorrupt(f"{said}: {name!r} has a shape that is not a list of at most {MOST_DIMENSIONS} whole numbers")
    if not _whole_numbers(offsets) or len(offsets) != 2:
        raise WeightsCorrupt(f"{said}: {name!r} has data_offsets that are not two whole numbers")
    itemsize = DTYPES[dtype].itemsize
    # A zero makes the product nothing, and NumPy still minds the other sizes.
    if math.prod(size for size in shape if size) * itemsize > MOST_BYTES:
        raise WeightsCorrupt(f"{said}: {name!r} has a shape too large for any machine")
    start, stop = offsets
    if stop - start != math.prod(shape) * itemsize:
        raise WeightsCorrupt(f"{said}: {name!r} takes {stop - start} bytes, and {dtype} of shape {list(shape)} takes {math.prod(shape) * itemsize}")
    return Tensor(file=file, dtype=dtype, shape=tuple(shape), start=data_start + start, stop=data_start + stop)


def _check_layout(tensors: Mapping[str, Tensor], data_start: int, size: int, said: str) -> None:
    """The tensors lie one after another and fill the file, so no byte is read twice and none is smuggled along unread."""
    end = data_start
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if tensor.start != end:
            fault = "overlaps the tensor before it" if tensor.start < end else "leaves a hole before it"
            raise WeightsCorrupt(f"{said}: {name!r} {fault} (it begins at byte {tensor.start}, and {end} was expected)")
        end = tensor.stop
        if end > size:
            raise WeightsCorrupt(f"{said}: {name!r} runs past the end of the file (to byte {end} of {size}); it was cut short")
    if end != size:
        raise WeightsCorrupt(f"{said}: {size - end} bytes after the last tensor belong to no tensor")


def _check_metadata(metadata: object, said: str) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise WeightsCorrupt(f"{said}: its __metadata__ is not an object of strings")


def _indexed(tensors: dict[str, Tensor], names: list[str] | None, homes: Mapping[str, str], said: str) -> dict[str, Tensor]:
    """Of one file's tensors those that the index names; all of them when there is no index. `homes` is the index: tensor → file."""
    if names is None:
        return tensors
    for name in names:
        if name not in tensors:
            raise WeightsCorrupt(f"{said}: {name!r} is not in this file, and {INDEX} says that it is")
    for name, tensor in tensors.items():
        if homes.get(name, tensor.file) != tensor.file:
            raise WeightsCorrupt(f"{said}: {name!r} is in this file and in {homes[name]} too: which of the two is meant cannot be known")
    return {name: tensors[name] for name in names}


def _files(folder: Path) -> dict[str, list[str] | None]:
    """File → the tensors that it is there for; None for the only file of a folder, whose tensors are all meant."""
    if (folder / SINGLE).is_file():
        return {SINGLE: None}
    if not (folder / INDEX).is_file():
        raise WeightsCorrupt(f"{folder}: there is neither {SINGLE} nor {INDEX} here{_instead(folder)}")
    files: dict[str, list[str]] = {}
    for name, file in sorted(_weight_map(folder / INDEX).items()):
        files.setdefault(file, []).append(name)
    return {**files}


def _instead(folder: Path) -> str:
    """What the folder has in the place of weights that can be read, and what to do about it; empty when it has nothing of the kind."""
    # The largest first: a training_args.bin may lie beside the weights.
    there = [path.name for path in sorted(folder.iterdir(), key=_size, reverse=True)] if folder.is_dir() else []
    if pickled := [name for name in there if name.lower().endswith(PICKLES)]:
        return (
            f", only {pickled[0]!r}: pickle files ({', '.join(f'*{ending}' for ending in PICKLES)}) are never read, since loading one runs whatever code is in it; "
            "convert it to safetensors where you trust it, or take a revision of the model that has *.safetensors"
        )
    if others := [name for name in there if name.endswith(".safetensors")]:
        meant = "is an adapter: merge it into its base model first" if others[0].startswith("adapter") else f"would have to be called {SINGLE}"
        return f"; {others[0]!r} {meant}"
    return ""


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _weight_map(path: Path) -> dict[str, str]:
    """Tensor → shard's file name, as the index says."""
    try:
        if path.stat().st_size > MOST_HEADER_BYTES:
            raise WeightsCorrupt(f"{path}: more than {MOST_HEADER_BYTES} bytes are too many for an index")
        weight_map = _json_object(path.read_bytes(), str(path)).get("weight_map")
    except OSError as error:
        raise WeightsCorrupt(f"{path}: it cannot be read ({error.strerror or error})") from error
    if not isinstance(weight_map, dict) or not weight_map:
        raise WeightsCorrupt(f"{path}: its weight_map is not an object with a file name for each tensor")
    for name, file in weight_map.items():
        if not isinstance(file, str) or not _stays_inside(file):
            raise WeightsCorrupt(f"{path}: the file {str(file)[:200]!r} of {name!r} is not a file in this folder")
    return weight_map


def _stays_inside(file: str) -> bool:
    # By its words and not by following links: the hub's own cache is a folder of links to files that lie elsewhere.
    path = PurePosixPath(file)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in file and ":" not in file and file.isprintable()


def map_file(path: Path) -> mmap.mmap:
    """The whole file as memory; raises WeightsCorrupt when it cannot be read or is empty."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:  # mmap refuses nothing at all in words of its own
                raise WeightsCorrupt(f"{path}: the file is empty; it was cut short")
            # Copy-on-write and never written: OpenVINO shares memory only with buffers that say they can be written.
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError) as error:
        raise WeightsCorrupt(f"{path}: it cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _json_object(text: bytes, said: str) -> dict[str, Any]:
    """Strict JSON: UTF-8, no key twice, no NaN, no half characters."""
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise WeightsCorrupt(f"{said}: its JSON is not valid ({str(error)[:200]})") from error
    if not isinstance(value, dict):
        raise WeightsCorrupt(f"{said}: its JSON is not an object")
    return value


def _no_key_twice(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    result: dict[str, object] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key[:200]!r} is there twice")
        key.encode()  # a lone surrogate is no text, and could not even be printed
        result[key] = value
    return result


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is not JSON")


def _whole_numbers(value: object) -> bool:
    # type and not isinstance: True is an int to Python and is none in the format.
    return isinstance(value, list) and all(type(number) is int and 0 <= number <= MOST_BYTES for number in value)
