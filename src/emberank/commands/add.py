"""`emberank add DIR`: one's own checkpoint into the catalogue."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from emberank.commands.operator import add_data_dir, folder_of
from emberank.contract.inference import MODALITIES, Task
from emberank.forge.own_models import Look, Wanted
from emberank.forge.own_models import add as add_model

HELP = "put a checkpoint folder of your own into the catalogue"
DESCRIPTION = "Look at a checkpoint folder, and write its entry into models.toml in the data folder. A running installation reads it within seconds."


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What it is called."""
    parser.add_argument("folder", help="a folder with config.json, tokenizer.json and *.safetensors")
    parser.add_argument("--slug", default="", help="the name in routes; default: the folder's name")
    parser.add_argument("--name", default="", help="publisher/name; default: local/ and the slug")
    parser.add_argument("--title", default="", help="for people; default: the folder's name")
    parser.add_argument(
        "--task", choices=("rank", "embed"), default=None, help="default: as the checkpoint says; `rank` on an embedder ranks by late interaction"
    )
    parser.add_argument("--force", action="store_true", help="replace an entry of that slug")
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Add it, and say how to ask it."""
    wanted = Wanted(slug=arguments.slug, name=arguments.name, title=arguments.title, task=arguments.task, force=arguments.force)
    folder = folder_of(arguments)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    model = add_model(Path(arguments.folder), folder, partial(_look, task=arguments.task), wanted=wanted, today=datetime.now(UTC).date().isoformat())
    route = "ranking" if model.task == "rank" else "embeddings"
    print(f'emberank: {model.slug} is in the catalogue: POST /v1/{route} with "model": "{model.slug}", or POST /v1/inference/{model.slug}')
    return 0


def _look(folder: Path, task: Task | None) -> Look:
    """With the runtime's own eyes: what it could not run is refused here. A language model ranks only when somebody says so: `task`."""
    from emberank.runtime.recognise import recognise

    found = recognise(folder, task)
    return Look(
        task=found.task,
        context_tokens=found.max_tokens,
        dimensions=found.network.hidden,
        shorter_dimensions=tuple(size for size in found.dimensions if size < found.network.hidden),
        modalities=MODALITIES if found.vision else ("text",),
        random_weights=found.random_weights,
    )
