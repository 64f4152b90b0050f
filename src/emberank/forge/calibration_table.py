"""A version's `calibration` table in, its calibration out, and back: from data, or refused. Does not know how one is fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from emberank.forge.catalog import Calibration
from emberank.forge.tables import Table

_MOST = 1e6  # of slope and intercept: beyond it no logit is left to tell two passages apart


def read_calibration(version: Table) -> Calibration | None:
    """The version's calibration; None where it has none. Raises SettingError, which names file, entry and key."""
    table = version.table("calibration")
    if table is None:
        return None
    calibration = Calibration(
        slope=table.number("slope", most=_MOST),
        intercept=table.number("intercept", over=-_MOST, most=_MOST),
        data=table.text("data"),
        date=table.date("date", ""),
        prevalence=_share(table, "prevalence"),
        brier=_share(table, "brier"),
        ece=_share(table, "ece"),
    )
    table.finish()
    return calibration


def calibration_table(calibration: Calibration) -> dict[str, Any]:
    """The table that reads back as this calibration; what is not known is left out."""
    return {name: item for name, item in asdict(calibration).items() if item not in (None, "")}


def carried_over(old: Mapping[str, Any], entry: Table) -> dict[str, Any]:
    """`old`, the table of a version that `entry` changes, without its calibration where another source or head makes other scores.

    `calibration = true` in the entry says that it holds all the same, `false` that it does not. Raises SettingError when there is none to keep.
    """
    changes = entry.values()
    said = changes.get("calibration")
    if said is True and "calibration" not in old:
        raise entry.wrong("calibration", "is true, and the version that is changed has none to keep")
    another = any(changes.get(name, old.get(name, ordinary)) != old.get(name, ordinary) for name, ordinary in (("source", None), ("head", "auto")))
    keep = said if isinstance(said, bool) else not another
    return {name: item for name, item in old.items() if keep or name != "calibration"}


def _share(table: Table, key: str) -> float | None:
    value: float | None = table.number(key, None, over=-1.0, most=1.0)
    if value is not None and value < 0:
        raise table.wrong(key, f"has to be a number from 0 to 1, not {value:g}")
    return value
