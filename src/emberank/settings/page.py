"""Settings in, text for people out: what is in force, and the reference page. Shows no secret."""

from __future__ import annotations

from typing import Literal, get_args, get_origin

from emberank.settings.door import DoorSettings
from emberank.settings.forge import ForgeSettings
from emberank.settings.gateway import GatewaySettings
from emberank.settings.reading import Row, rows
from emberank.settings.runtime import RuntimeSettings

_HEAD = """# Settings

<!-- written by `emberank settings --markdown`; a test holds this page to the code -->

Highest first: the command line (`--port 8001`), our variables (`EMBERANK_PORT=8001`), NVIDIA's NIM variables, the table of the TOML file that `EMBERANK_CONFIG` names
(`[runtime]`, `[gateway]`, `[forge]`), the default. `SHOW_CONFIG=1` or `--show-config` prints the values in force and exits. `emberank up` takes the settings of gateway and forge;
the address is the gateway's. Secrets have no flag: a command line is read by everybody on the machine.
"""
_PLANES: tuple[tuple[str, type[DoorSettings]], ...] = (("runtime", RuntimeSettings), ("gateway", GatewaySettings), ("forge", ForgeSettings))


def render(settings: DoorSettings) -> str:
    """The settings in force, one `EMBERANK_X=value` a line with its sentence: what SHOW_CONFIG=1 prints."""
    lines = []
    for row in rows(type(settings)):
        value = getattr(settings, row.name)
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        if row.secret:
            text = "(set)" if value else ""
        also = f" [also {', '.join(row.nim)}]" if row.nim else ""
        lines.append(f"{row.env}={text}\n    {row.sentence} ({row.unit}){also}")
    return "\n".join(lines)


def reference_page() -> str:
    """docs/reference/settings.md, written from the rows; a test holds the file to this."""
    return _HEAD + "".join(_section(name, kind) for name, kind in _PLANES)


def _section(name: str, kind: type[DoorSettings]) -> str:
    head = f"\n## emberank {name}\n\n| flag | variable | NIM's variables | default | unit | what it does |\n|---|---|---|---|---|---|\n"
    return head + "".join(_line(row) for row in rows(kind))


def _line(row: Row) -> str:
    default = ",".join(row.default) if isinstance(row.default, tuple) else row.default
    choices = f" One of {', '.join(f'`{c}`' for c in get_args(row.type))}." if get_origin(row.type) is Literal else ""
    nim = ", ".join(f"`{name}`" for name in row.nim)
    flag = "" if row.secret else f"`{row.flag}`"
    return f"| {flag} | `{row.env}` | {nim} | {f'`{default}`' if default != '' else 'empty'} | {row.unit} | {row.sentence}{choices} |\n"
