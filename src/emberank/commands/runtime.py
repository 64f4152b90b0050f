"""`emberank runtime`: one process, one or a few models, behind NVIDIA's NIM API."""

from __future__ import annotations

import argparse

from emberank import settings
from emberank.commands.configured import add_show_config, configured
from emberank.settings import RuntimeSettings

HELP = "serve models over NVIDIA's NIM API, without keys or a control plane"
DESCRIPTION = "Serve one or more models of one process over NVIDIA's NIM API."


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One per setting."""
    settings.add_flags(parser, RuntimeSettings)
    add_show_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal."""
    found = configured(arguments, RuntimeSettings)
    if found is None:
        return 0
    from emberank.runtime.process import run as serve

    return serve(found)
