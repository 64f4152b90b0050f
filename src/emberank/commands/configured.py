"""A command's flags in, its settings out, with logging set up; or the settings printed, when that is all that was asked."""

from __future__ import annotations

import argparse
import os
from typing import TypeVar

from emberank import settings
from emberank.settings import DoorSettings
from emberank.telemetry import set_up_logging

S = TypeVar("S", bound=DoorSettings)


def add_show_config(parser: argparse.ArgumentParser) -> None:
    """The flag that all serving commands share."""
    parser.add_argument("--show-config", action="store_true", help="print the settings in force and exit (also SHOW_CONFIG=1)")


def configured(arguments: argparse.Namespace, kind: type[S]) -> S | None:
    """The settings in force; None when they were only to be shown."""
    found = settings.load(os.environ, vars(arguments), kind)
    if shows(arguments):
        print(settings.render(found))
        return None
    set_up_logging(found.log_level, found.log_format)
    return found


def shows(arguments: argparse.Namespace) -> bool:
    """Whether the settings are to be printed instead of used."""
    return bool(arguments.show_config) or os.environ.get("SHOW_CONFIG", "").strip().lower() in ("1", "true", "yes", "on")
