"""`emberank signin`: a link that signs a browser in as the admin, once."""

from __future__ import annotations

import argparse

from emberank.commands.operator import add_data_dir, ask

HELP = "print a link that signs a browser in, once"
DESCRIPTION = "A sign-in link of the installation that runs on the data folder. Whoever opens it first, within 15 minutes, is its admin in the browser."


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The data folder's."""
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Have the running forge make one."""
    print(ask(arguments, "POST", "/internal/signin")["url"])
    return 0
