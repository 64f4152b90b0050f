"""`emberank targets [MODEL]`: what this installation can run on, or one model's table of targets."""

from __future__ import annotations

import argparse
from urllib.parse import quote

from emberank.commands.operator import add_data_dir, ask

HELP = "show where models can run, or one model's measured targets"
DESCRIPTION = "Without a model: the pools of this installation. With one: its targets with status, figures, sample counts and prices."


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which."""
    parser.add_argument("model", nargs="?", default=None, help="a slug or another name of the catalogue")
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print a table."""
    if arguments.model is not None:
        from emberank.forge.run_table import as_table

        print(as_table(ask(arguments, "GET", f"/v1/models/{quote(arguments.model, safe='')}/reliability")))
        return 0
    for pool in ask(arguments, "GET", "/v1/targets")["data"]:
        print("  ".join(f"{name}={value}" for name, value in pool.items() if not isinstance(value, (dict, list)) and value not in (None, "")))
    return 0
