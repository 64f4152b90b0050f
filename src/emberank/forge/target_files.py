"""gpus.toml, prices.toml and pools.toml in; GPU types, prices and pools out. Does not know what this machine has: that is handed in.

A user's prices.toml stands over the shipped one, row by row; a declared pool stands in the place of a discovered one of the same target.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from emberank.contract.errors import SettingError
from emberank.forge.runtime_settings import runtime_settings
from emberank.forge.tables import Table, parse_toml, read_toml
from emberank.forge.targets import CPU, GB, GpuType, Pool, Price, Prices, Target, price_of

PRICES_FILE, POOLS_FILE = "prices.toml", "pools.toml"
LAUNCHERS = ("process", "remote", "fake")

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WORD_FORM = "letters, digits and . _ -, such as H100 or eu-north1"


def gpu_types() -> tuple[GpuType, ...]:
    """The GPU types that have a name here."""
    return read_gpu_types(files("emberank.forge").joinpath("data", "gpus.toml").read_text("utf-8"), "gpus.toml")


def read_gpu_types(text: str, where: str) -> tuple[GpuType, ...]:
    """The `[[gpu]]` entries of a gpus.toml."""
    file = parse_toml(text, where)
    found: list[GpuType] = []
    for table in file.tables("gpu", lambda values, i: repr(values.get("name", i))):
        found.append(GpuType(name=table.text("name", pattern=_WORD, form=_WORD_FORM), memory_gb=table.number("memory_gb"), nvml=table.texts("nvml")))
        table.finish()
    file.finish()
    names = [name.lower() for kind in found for name in dict.fromkeys((kind.name.lower(), *(nvml.lower() for nvml in kind.nvml)))]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise SettingError(f"{where}: {twice[0]!r} is a name of two GPU types")
    return tuple(found)


def load_prices(data_dir: Path | None = None, types: Sequence[GpuType] = ()) -> dict[Target, Price]:
    """The shipped prices with the user's own on top."""
    prices = read_prices(files("emberank.forge").joinpath("data", PRICES_FILE).read_text("utf-8"), PRICES_FILE, types)
    if data_dir is not None:
        path = data_dir / PRICES_FILE
        prices |= read_prices(read_toml(path), str(path), types)
    return prices


def read_prices(text: str, where: str, types: Sequence[GpuType] = ()) -> dict[Target, Price]:
    """The `[[price]]` entries of a prices.toml. One without a region is for all of them."""
    file = parse_toml(text, where)
    found: dict[Target, Price] = {}
    for table in file.tables("price", _called):
        target = _target(table, types, any_region=True)
        # An hour may cost nothing: `over` is what a price has to be greater than.
        price = Price(usd_per_hour=table.number("usd_per_hour", over=-1e-12), source=table.text("source"), date=table.date("date"))
        table.finish()
        if target in found:
            raise table.wrong("gpu_type", f"and `region`: there is already a price for {target}")
        found[target] = price
    file.finish()
    return found


def load_pools(data_dir: Path, discovered: Sequence[Pool], prices: Prices, types: Sequence[GpuType] = ()) -> tuple[Pool, ...]:
    """The pools of this installation: declared ones, then what was discovered and not declared; each with its price. Raises SettingError."""
    path = data_dir / POOLS_FILE
    day = datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat() if path.is_file() else ""
    declared = read_pools(read_toml(path), str(path), types, day)
    taken = {pool.target for pool in declared}
    pools = (*declared, *(pool for pool in discovered if pool.target not in taken))
    return tuple(pool if pool.price is not None else replace(pool, price=price_of(prices, pool.target)) for pool in pools)


def read_pools(text: str, where: str, types: Sequence[GpuType] = (), day: str = "") -> tuple[Pool, ...]:
    """The `[[pool]]` entries of a pools.toml; `day` is the date of the prices in it."""
    file = parse_toml(text, where)
    found: list[Pool] = []
    for table in file.tables("pool", _called):
        pool = _pool(table, types, day)
        if pool.target in (other.target for other in found):
            raise table.wrong("gpu_type", f"and `region`: there is already a pool for {pool.target}; one target is one pool, with as many `slots` as it has")
        found.append(pool)
    file.finish()
    return tuple(found)


def _pool(table: Table, types: Sequence[GpuType], day: str) -> Pool:
    target = _target(table, types)
    launcher = table.choice("launcher", LAUNCHERS, "process")
    devices = table.texts("devices")
    usd = table.number("usd_per_hour", None, over=-1e-12)
    pool = Pool(
        target=target,
        memory_bytes=_memory_bytes(table, types, target, devices=len(devices), needed=launcher != "remote"),
        slots=table.whole("slots", len(devices) or 1, most=100_000),
        launcher=launcher,
        price=None if usd is None else Price(usd_per_hour=usd, source=table.text("price_source", POOLS_FILE), date=table.date("price_date", day)),
        devices=devices,
        settings=runtime_settings(table),
    )
    _refuse_what_has_no_effect(table, pool)
    table.finish()
    return pool


def _refuse_what_has_no_effect(table: Table, pool: Pool) -> None:
    remote = pool.launcher == "remote"
    for key in ("devices", "settings"):
        if key in table and remote:
            raise table.wrong(key, "has no meaning on a remote pool: nothing is started there")
    if pool.devices and pool.slots > len(pool.devices):
        raise table.wrong("slots", f"is {pool.slots}, and there are {len(pool.devices)} devices: one endpoint has one device")
    if pool.devices and pool.target.gpu_type == CPU:
        raise table.wrong("devices", "has no meaning on a CPU pool")
    if pool.price is None:
        for key in ("price_source", "price_date"):
            if key in table:
                raise table.wrong(key, "needs `usd_per_hour`")


def _memory_bytes(table: Table, types: Sequence[GpuType], target: Target, *, devices: int, needed: bool) -> int:
    """What one device has times the devices; without devices, what the pool has."""
    sold_gb = next((kind.memory_gb for kind in types if kind.name == target.gpu_type), None) if devices else None
    memory_gb = table.number("memory_gb", sold_gb if needed else 0.0)
    if memory_gb is None:
        raise table.wrong("memory_gb", "is missing: say how much memory the pool has, in 10^9 bytes; where `devices` are named, how much each of them has")
    return int(memory_gb * GB) * max(1, devices)


def _target(table: Table, types: Sequence[GpuType], *, any_region: bool = False) -> Target:
    gpu_type = table.text("gpu_type", pattern=_WORD, form=_WORD_FORM)
    # However a user writes h100, it is the H100 of the tables.
    gpu_type = next((name for name in (CPU, *(kind.name for kind in types)) if name.lower() == gpu_type.lower()), gpu_type)
    if any_region:
        return Target(gpu_type, table.text("region", "", pattern=_WORD, form=_WORD_FORM))
    return Target(gpu_type, table.text("region", pattern=_WORD, form=_WORD_FORM))


def _called(values: Mapping[str, Any], i: int) -> str:
    return f"{i} ({values.get('gpu_type', '?')}, {values.get('region', 'any region')})"
