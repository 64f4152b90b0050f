"""A table of runs in, the newest rows of each of its series out, by steps of an index. Does not know what a row means.

A series is what its leading columns say (model, version, target, kind); the index over them ends in the row's id, the order in which rows came.
That order, and not the clock's, is what newest means here: a clock that was wrong for an hour must not be believed for a month.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, bindparam, select, tuple_

SERIES = ("slug", "version", "gpu_type", "region")


class SeriesIndex:
    """The statements over one table whose index is (`names`…, id)."""

    def __init__(self, table: Table, names: Sequence[str], wanted: Sequence[Column[Any]], *only: ColumnElement[bool]) -> None:
        self._names = tuple(names)
        columns = [table.c[name] for name in names]
        given = [bindparam(name, type_=column.type) for name, column in zip(self._names, columns, strict=True)]
        in_series = [column == value for column, value in zip(columns, given, strict=True)]
        first = select(*columns).order_by(*columns).limit(1)
        self._first = first
        self._next = first.where(tuple_(*columns) > tuple_(*given))
        self._newest = select(*wanted, table.c.id).where(*in_series, *only).order_by(table.c.id.desc()).limit(bindparam("n"))
        self._nth = select(table.c.id).where(*in_series).order_by(table.c.id.desc()).limit(1).offset(bindparam("n"))
        self._older = select(table.c.id).where(*in_series, table.c.id <= bindparam("id"), table.c.at_s < bindparam("before_s")).limit(bindparam("n"))

    def walk(self, connection: Connection) -> Iterator[dict[str, str]]:
        """Every series there is: one step of the index each, however many rows it has."""
        statement: Select[Any] = self._first
        values: dict[str, str] = {}
        while (row := connection.execute(statement, values).first()) is not None:
            values = dict(zip(self._names, row, strict=True))
            yield values
            statement = self._next

    def newest(self, connection: Connection, n: int) -> list[Any]:
        """The last `n` rows of each series, all of them in the order in which they came; a row ends in its id."""
        found: list[Any] = [row for values in self.walk(connection) for row in connection.execute(self._newest, {**values, "n": n})]
        found.sort(key=itemgetter(-1))
        return found

    def outlived(self, connection: Connection, keep: int, before_s: float, most: int) -> list[int]:
        """The ids of at most `most` rows from before `before_s` that are not among the last `keep` of their series."""
        found: list[int] = []
        for values in self.walk(connection):
            if len(found) >= most:
                break
            nth = connection.scalar(self._nth, {**values, "n": keep})
            if nth is not None:
                found += connection.scalars(self._older, {**values, "id": nth, "before_s": before_s, "n": most - len(found)})
        return found
