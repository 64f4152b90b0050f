"""Rows in, settings out: a setting is one row, and the environment, TOML, --help and the reference page all come from it.

Precedence, highest first: command line, EMBERANK_* variables, NVIDIA's NIM variables, the TOML file, the row's default.
Does not know what a setting is used for.
"""

from emberank.settings.door import DoorSettings
from emberank.settings.forge import ForgeSettings
from emberank.settings.gateway import GatewaySettings
from emberank.settings.nim_variables import NIM_VARIABLES
from emberank.settings.page import reference_page, render
from emberank.settings.reading import Row, add_flags, load, rows
from emberank.settings.runtime import RuntimeSettings

__all__ = [
    "NIM_VARIABLES",
    "DoorSettings",
    "ForgeSettings",
    "GatewaySettings",
    "Row",
    "RuntimeSettings",
    "add_flags",
    "load",
    "reference_page",
    "render",
    "rows",
]
