"""`emberank make-checkpoint MODEL --random`: a published shape filled with random numbers, to measure before accepting a licence."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from emberank.commands.operator import add_data_dir, folder_of

if TYPE_CHECKING:
    from emberank.runtime.published_shapes import PublishedShape

HELP = "write a checkpoint of a published shape with random weights"
DESCRIPTION = (
    "Write a checkpoint folder with the published files, tensors, shapes and types of a model, filled with random numbers: for measuring speed and memory. "
    "Its scores and vectors mean nothing, and it says so everywhere."
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which, how and where to."""
    parser.add_argument("model", help="any name of the model in the catalogue")
    parser.add_argument("--random", action="store_true", required=True, help="with random weights, the only ones that can be made; it has to be said")
    parser.add_argument("--out", default=None, metavar="FOLDER", help="where to; default: the model's name and -random, in this folder")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers; the same seed gives the same files")
    parser.add_argument("--shards", type=int, default=1, help="files to divide the weights among")
    parser.add_argument("--dtype", choices=("bf16", "fp32"), default=None, help="of the weights; default: as published")
    parser.add_argument("--layers", type=int, default=None, help="layers, in the place of the published number; needed where that is not public")
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write it, and say how to serve it."""
    from emberank.contract.errors import SettingError
    from emberank.runtime.random_checkpoint import Wanted, write
    from emberank.runtime.weights import TerminalProgress

    if arguments.seed < 0:
        raise SettingError(f"--seed has to be 0 or more, not {arguments.seed}")
    shape = _shape(arguments)
    folder = Path(arguments.out or f"{shape.id.rpartition('/')[2]}-random")
    wanted = Wanted(seed=arguments.seed, shards=arguments.shards, dtype=arguments.dtype, layers=arguments.layers)
    written = write(shape, folder, wanted, TerminalProgress())
    print(f"emberank: {folder}: {written.parameters:,} random numbers, {written.weights_bytes / 1e9:.2f} GB, in the shape of {shape.id}")
    print(f"emberank: its scores and vectors mean nothing; to measure: emberank runtime --models file:{folder}")
    return 0


def _shape(arguments: argparse.Namespace) -> PublishedShape:
    """The shape behind any name that the catalogue knows."""
    from emberank.contract.errors import SettingError
    from emberank.forge.catalog_file import load_catalog
    from emberank.runtime.published_shapes import shapes

    model = load_catalog(folder_of(arguments)).resolve(arguments.model)
    found = next((shape for shape in shapes() if shape.id in model.names), None)
    if found is None:
        raise SettingError(f"the shape of {model.id} is not written down here; there are those of: {', '.join(shape.id for shape in shapes())}")
    return found
