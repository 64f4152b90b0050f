"""Command line, environment and TOML file in, one plane's settings out. Knows the rows' shape and no setting."""

from __future__ import annotations

import argparse
import dataclasses
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints, overload

from emberank.contract.errors import SettingError
from emberank.settings.door import DoorSettings
from emberank.settings.nim_variables import NIM_VARIABLES
from emberank.settings.runtime import RuntimeSettings

S = TypeVar("S", bound=DoorSettings)
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Row:
    """A setting as the outside sees it."""

    name: str
    type: Any
    default: Any
    unit: str
    sentence: str
    least: float | None
    most: float | None
    secret: bool = False
    takes_nim: bool = True

    @property
    def flag(self) -> str:
        """Its command-line flag."""
        return "--" + self.name.replace("_", "-")

    @property
    def env(self) -> str:
        """Its environment variable."""
        return DoorSettings.prefix + self.name.upper()

    @property
    def nim(self) -> tuple[str, ...]:
        """NVIDIA's variables that set it."""
        return tuple(name for name, (_, sets) in NIM_VARIABLES.items() if self.takes_nim and self.name in sets.split(", "))


def rows(kind: type[DoorSettings] = RuntimeSettings) -> tuple[Row, ...]:
    """Every setting of a plane, in the order of its class."""
    types = get_type_hints(kind)
    return tuple(Row(f.name, types[f.name], f.default, **f.metadata, takes_nim=kind.takes_nim) for f in dataclasses.fields(kind))


def add_flags(parser: argparse.ArgumentParser, *kinds: type[DoorSettings]) -> None:
    """Give `parser` one flag per setting of these planes (a runtime's when none is named). A flag that is not used has the value None."""
    done: set[str] = set()
    for kind in kinds or (RuntimeSettings,):
        for row in rows(kind):
            if row.name in done or row.secret:  # a secret on a command line is read by everybody on the machine
                continue
            done.add(row.name)
            parser.add_argument(row.flag, dest=row.name, default=None, metavar=row.unit.upper().replace(" ", "_"), help=_help(row))


def _help(row: Row) -> str:
    default = ",".join(row.default) if isinstance(row.default, tuple) else row.default
    return f"{row.sentence} Default: {default if default != '' else 'empty'}.".replace("%", "%%")


@overload
def load(env: Mapping[str, str], flags: Mapping[str, str | None]) -> RuntimeSettings: ...
@overload
def load(env: Mapping[str, str], flags: Mapping[str, str | None], kind: type[S]) -> S: ...
def load(env: Mapping[str, str], flags: Mapping[str, str | None], kind: type[DoorSettings] = RuntimeSettings) -> DoorSettings:
    """Settings from the command line, the environment and the file that `EMBERANK_CONFIG` names.

    Raises SettingError, which names the source, the value and what would be right.
    """
    by_name = {row.name: row for row in rows(kind)}
    raw: dict[str, tuple[str, object]] = {}
    config = env.get("EMBERANK_CONFIG")
    if config:
        raw.update({name: (config, value) for name, value in _toml(Path(config), kind).items()})
    for variable, (translate, _) in NIM_VARIABLES.items():
        if kind.takes_nim and env.get(variable):
            raw.update(_translated(variable, translate, env[variable]))
    for row in by_name.values():
        if env.get(row.env):  # empty is absent, as compose files write it
            raw[row.name] = (row.env, env[row.env])
        if flags.get(row.name) is not None:
            raw[row.name] = (row.flag, flags[row.name])
    return kind(**{name: _parse(by_name[name], source, value) for name, (source, value) in raw.items() if name in by_name})


def _translated(variable: str, translate: Callable[[str], dict[str, str]], value: str) -> dict[str, tuple[str, object]]:
    try:
        return {name: (variable, text) for name, text in translate(value).items()}
    except ValueError as cause:
        raise SettingError(f"{variable}={value!r} is not a number") from cause


def _toml(path: Path, kind: type[DoorSettings]) -> dict[str, object]:
    try:
        table = tomllib.loads(path.read_text("utf-8")).get(kind.table, {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as cause:
        raise SettingError(f"EMBERANK_CONFIG: cannot read {str(path)!r}: {cause}") from cause
    if not isinstance(table, dict):
        raise SettingError(f"{path}: `{kind.table}` has to be a table: [{kind.table}]")
    unknown = sorted(set(table) - {row.name for row in rows(kind)})
    if unknown:
        raise SettingError(f"{path}: unknown setting {unknown[0]!r} in [{kind.table}]; `emberank settings` lists them")
    return table


def _parse(row: Row, source: str, value: object) -> Any:
    """`value` as the row's type. Text is parsed; a TOML value must already have the right type or be text."""
    if get_origin(row.type) is tuple:
        parts = value if isinstance(value, list) else str(value).split(",")
        return tuple(str(part).strip() for part in parts if str(part).strip())
    if get_origin(row.type) is Literal:
        return _choice(row, source, str(value))
    if row.type is str:
        return str(value)
    if row.type is bool:
        return _truth(source, str(value))
    try:
        number = row.type(str(value).strip())
    except ValueError as cause:
        raise SettingError(f"{source}={value!r} must be {'a whole number' if row.type is int else 'a number'} ({row.unit})") from cause
    if not (row.least is None or row.least <= number) or not (row.most is None or number <= row.most):
        raise SettingError(f"{source}={value!r} must be between {row.least} and {row.most} ({row.unit})")
    return number


def _truth(source: str, value: str) -> bool:
    word = value.strip().lower()
    if word not in _TRUE + _FALSE:
        raise SettingError(f"{source}={value!r} must be yes or no")
    return word in _TRUE


def _choice(row: Row, source: str, value: str) -> Any:
    for choice in get_args(row.type):
        if value.strip().lower() == str(choice).lower():
            return choice
    allowed = ", ".join(repr(str(choice)) for choice in get_args(row.type))
    raise SettingError(f"{source}={value!r} must be one of {allowed}")
