"""`emberank forge`: the control plane alone; gateways find it by its data folder, or by address and secret."""

from __future__ import annotations

import argparse

from emberank import settings
from emberank.commands.configured import add_show_config, configured
from emberank.settings import ForgeSettings

HELP = "the control plane alone: catalogue, life cycle, probes, keys"
DESCRIPTION = "Start and stop runtimes as gateways wish, measure them, keep keys and usage."


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One per setting."""
    settings.add_flags(parser, ForgeSettings)
    parser.add_argument("--with-parent", action="store_true", help="end when standard input ends: what `emberank up` starts it with")
    add_show_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal."""
    found = configured(arguments, ForgeSettings)
    if found is None:
        return 0
    from emberank.forge.process import ForgeProcess

    return ForgeProcess(found, with_parent=arguments.with_parent).run()
