"""A version's `[[quality]]` tables in, its quality figures out, and back: from data, or refused. Measures nothing: `emberank eval` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from emberank.forge.catalog import Quality
from emberank.forge.tables import Table


def read_quality(version: Table) -> tuple[Quality, ...]:
    """The version's figures, the most telling first as they are written. Raises SettingError, which names file, entry and key."""
    found = []
    for table in version.tables("quality", lambda values, i: f"{i} ({values.get('metric', '?')})"):
        value = table.number("value", over=-1.0, most=1.0)
        if value < 0:
            raise table.wrong("value", f"has to be a number from 0 to 1, not {value:g}")
        figure = Quality(
            metric=table.text("metric"),
            value=value,
            data=table.text("data"),
            queries=table.whole("queries"),
            how=table.text("how"),
            source=table.text("source"),
            date=table.date("date"),
        )
        table.finish()
        found.append(figure)
    return tuple(found)


def quality_tables(figures: tuple[Quality, ...]) -> list[dict[str, Any]]:
    """The tables that read back as these figures."""
    return [asdict(figure) for figure in figures]


def quality_of_others(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`old`, the table of a version that `changes` changes, without its quality where another source or head answers: nobody has measured that."""
    another = any(name in changes and changes[name] != old.get(name) for name in ("source", "head"))
    return {name: item for name, item in old.items() if name != "quality" or not another}
