"""`emberank up`: everything on one machine, one port."""

from __future__ import annotations

import argparse
import os

from emberank import settings
from emberank.commands.configured import add_show_config, configured, shows
from emberank.settings import ForgeSettings, GatewaySettings

HELP = "everything on one machine: gateway, forge, and runtimes as they are needed"
DESCRIPTION = "Serve the whole catalogue on one port: models start when they are asked for and stop when they are idle."


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The gateway's, and those of the forge's that are its own."""
    settings.add_flags(parser, GatewaySettings, ForgeSettings)
    add_show_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal."""
    gateway = configured(arguments, GatewaySettings)
    forge = settings.load(os.environ, vars(arguments), ForgeSettings)  # before anything starts: a wrong value is one line
    if gateway is None or shows(arguments):
        print(settings.render(forge))
        return 0
    from emberank.up import Up

    return Up(gateway, forge).run()
