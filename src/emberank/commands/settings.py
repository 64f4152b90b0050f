"""`emberank settings`: every setting of every plane."""

from __future__ import annotations

import argparse
import os

from emberank import settings
from emberank.settings import ForgeSettings, GatewaySettings, RuntimeSettings

HELP = "list every setting"
DESCRIPTION = "The settings in force from environment and file, or the reference page."
_PLANES = {"runtime": RuntimeSettings, "gateway": GatewaySettings, "forge": ForgeSettings}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which, and how."""
    parser.add_argument("plane", nargs="?", choices=tuple(_PLANES), default="runtime")
    parser.add_argument("--markdown", action="store_true", help="all planes, as the reference page")


def run(arguments: argparse.Namespace) -> int:
    """Print them."""
    if arguments.markdown:
        print(settings.reference_page(), end="")
    else:
        print(settings.render(settings.load(os.environ, {}, _PLANES[arguments.plane])))
    return 0
