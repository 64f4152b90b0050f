"""`emberank gateway`: the door alone, beside a forge that runs elsewhere."""

from __future__ import annotations

import argparse

from emberank import settings
from emberank.commands.configured import add_show_config, configured
from emberank.settings import GatewaySettings

HELP = "the door alone: every dialect, many models, one port"
DESCRIPTION = "Serve many models on one port, as the snapshot of a forge says."


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One per setting."""
    settings.add_flags(parser, GatewaySettings)
    add_show_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal."""
    found = configured(arguments, GatewaySettings)
    if found is None:
        return 0
    from emberank.gateway.process import GatewayProcess

    return GatewayProcess(found).run()
