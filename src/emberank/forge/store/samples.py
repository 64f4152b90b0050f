"""Samples in, the last ones of each series out. Does not know what is computed from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from sqlalchemy import bindparam, delete, insert

from emberank.forge.samples import Sample
from emberank.forge.store.database import Database
from emberank.forge.store.series import SERIES, SeriesIndex
from emberank.forge.store.tables import row_of, samples

FIELDS = tuple(field.name for field in fields(Sample))
COLUMNS = [samples.c[name] for name in FIELDS]


class Samples:
    """Starts and probes, and whatever else was measured; a series is (slug, version, gpu_type, region, kind)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._series = SeriesIndex(samples, (*SERIES, "kind"), COLUMNS)

    def add(self, many: Iterable[Sample]) -> None:
        """Keep samples, all or none of them."""
        rows = [row_of(sample) for sample in many]
        if rows:
            with self._database.write() as connection:
                connection.execute(insert(samples), rows)

    def recent(self, n: int) -> list[Sample]:
        """The last `n` of each series, all of them in the order in which they were added."""
        with self._database.read() as connection:
            return [Sample(**dict(zip(FIELDS, row))) for row in self._series.newest(connection, n)]

    def prune(self, before_s: float, keep: int, most: int) -> int:
        """Remove at most `most` samples from before `before_s`, but never one of the last `keep` of its series; how many."""
        with self._database.read() as connection:
            gone = self._series.outlived(connection, keep, before_s, most)
        if gone:
            with self._database.write() as connection:
                connection.execute(delete(samples).where(samples.c.id == bindparam("gone")), [{"gone": one} for one in gone])
        return len(gone)
