"""Gateways' reports in, each counted once: raw rows, and their sums by hour and by month, in one transaction. Knows no price and no limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, insert, or_, select, tuple_

from emberank.contract.fleet import UsageRecord
from emberank.forge.samples import Sample
from emberank.forge.store.database import Database
from emberank.forge.store.rollup import HOUR_S, Spent, by_hour, by_month, require_sound
from emberank.forge.store.series import SERIES, SeriesIndex
from emberank.forge.store.tables import row_of, usage, usage_hours, usage_months, usage_reports

FIELDS = tuple(field.name for field in fields(UsageRecord))
DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageHour:
    """The sums of one hour, key, model, version and target. `errors` are the requests that were answered with 400 or more."""

    hour_s: int  # Unix time at which the hour begins
    key_id: str
    slug: str
    version: str
    gpu_type: str
    region: str
    requests: int
    errors: int
    tokens: int
    passages: int
    model_ms: float
    cost_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """How requests of one version on one target ended; `gpu_type` is empty for those that reached none. Refused are the 4xx, failed the 5xx; `late_` are those of the later part."""

    slug: str
    version: str
    gpu_type: str
    region: str
    first_at_s: float
    requests: int
    refused: int
    failed: int
    late_requests: int
    late_refused: int
    late_failed: int


class Usage:
    """What was asked for and what it cost. Appended to, never changed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # A request that was refused (4xx) or reached no target says nothing about one.
        says_something = and_(or_(usage.c.status < 400, usage.c.status >= 500), usage.c.gpu_type != "")
        self._series = SeriesIndex(usage, SERIES, [usage.c[name] for name in FIELDS], says_something)

    def append(self, gateway_id: str, number: int, records: Sequence[UsageRecord]) -> bool:
        """Count a report, or return False when it was counted before. When this returns, the usage is kept.

        A report without usage leaves no trace: there is nothing in it to count twice. Raises BadRequest for figures that cannot be summed.
        """
        require_sound(records)
        if not records:
            return True
        with self._database.write() as connection:
            if not self._first_time(connection, gateway_id, number, max(record.at_s for record in records)):
                return False
            connection.execute(insert(usage), [{"gateway_id": gateway_id, "report": number, **row_of(record)} for record in records])
            self._add_hours(connection, records)
            self._add_months(connection, records)
        return True

    def counted(self, gateway_id: str) -> int:
        """The highest number of a gateway's reports that is counted; 0 when none is."""
        with self._database.read() as connection:
            return connection.scalar(select(func.max(usage_reports.c.number)).where(usage_reports.c.gateway_id == gateway_id)) or 0

    def month(self, month: str) -> dict[str, Spent]:
        """What each key has used in a month such as `2026-11` (UTC), by key id."""
        with self._database.read() as connection:
            columns = (usage_months.c.key_id, usage_months.c.usd, usage_months.c.tokens)
            rows = connection.execute(select(*columns).where(usage_months.c.month == month).order_by(usage_months.c.key_id))
            return {key_id: Spent(usd, tokens) for key_id, usd, tokens in rows}

    def rollup(self, since_s: float, until_s: float, key_id: str | None = None, slug: str | None = None) -> list[UsageHour]:
        """The sums of every hour of which a part is in [since, until), oldest first."""
        statement = select(usage_hours).where(usage_hours.c.hour_s > since_s - HOUR_S, usage_hours.c.hour_s < until_s).order_by(*usage_hours.primary_key)
        if key_id is not None:
            statement = statement.where(usage_hours.c.key_id == key_id)
        if slug is not None:
            statement = statement.where(usage_hours.c.slug == slug)
        with self._database.read() as connection:
            return [UsageHour(**row._mapping) for row in connection.execute(statement)]

    def outcomes(self, since_s: float, late_s: float, most: int) -> list[Outcomes]:
        """How the requests since `since_s` ended, and those of them since `late_s`, of the latest `most`. Raw rows: of what is kept no longer nothing is counted."""
        names = ("slug", "version", "gpu_type", "region")
        columns = [usage.c[name] for name in (*names, "at_s", "status")]
        latest = select(*columns).where(usage.c.at_s >= since_s).order_by(usage.c.at_s.desc()).limit(most).subquery()
        at_s, status = latest.c.at_s, latest.c.status
        refused, failed, late = and_(status >= 400, status < 500), status >= 500, at_s >= late_s

        def how_many(which: ColumnElement[bool]) -> ColumnElement[int]:
            return func.sum(case((which, 1), else_=0))

        counts = [
            func.min(at_s),
            func.count(),
            how_many(refused),
            how_many(failed),
            how_many(late),
            how_many(and_(late, refused)),
            how_many(and_(late, failed)),
        ]
        series = [latest.c[name] for name in names]
        with self._database.read() as connection:
            rows = connection.execute(select(*series, *counts).group_by(*series).order_by(*series))
            return [Outcomes(**dict(zip(Outcomes.__slots__, row, strict=True))) for row in rows]

    def recent(self, n: int) -> list[Sample]:
        """The last `n` requests of each (slug, version, gpu_type, region) as samples of kind traffic, in the order in which they came."""
        with self._database.read() as connection:
            found = (traffic_sample(UsageRecord(**dict(zip(FIELDS, row)))) for row in self._series.newest(connection, n))
            return [sample for sample in found if sample is not None]

    def prune(self, before_s: float, most: int) -> int:
        """Remove at most `most` raw rows from before `before_s`; how many. The sums stay."""
        old = select(usage.c.id).where(usage.c.at_s < before_s).order_by(usage.c.at_s).limit(most)
        with self._database.write() as connection:
            return connection.execute(delete(usage).where(usage.c.id.in_(old))).rowcount

    def prune_reports(self, before_s: float, most: int) -> int:
        """Forget at most `most` report numbers from before `before_s`, but never a gateway's highest; how many."""
        key = tuple_(usage_reports.c.gateway_id, usage_reports.c.number)
        later = usage_reports.alias("later")
        not_last = select(later.c.number).where(later.c.gateway_id == usage_reports.c.gateway_id, later.c.number > usage_reports.c.number).exists()
        old = select(usage_reports.c.gateway_id, usage_reports.c.number).where(usage_reports.c.last_at_s < before_s, not_last).limit(most)
        with self._database.write() as connection:
            return connection.execute(delete(usage_reports).where(key.in_(old))).rowcount

    def prune_hours(self, before_s: float) -> int:
        """Remove the oldest day of the hourly sums that is wholly before `before_s`; how many rows. The months' sums stay for ever."""
        oldest = select(func.min(usage_hours.c.hour_s)).scalar_subquery()
        with self._database.write() as connection:
            return connection.execute(delete(usage_hours).where(usage_hours.c.hour_s < oldest + DAY_S, usage_hours.c.hour_s < before_s - HOUR_S)).rowcount

    def _first_time(self, connection: Connection, gateway_id: str, number: int, last_at_s: float) -> bool:
        row = {"gateway_id": gateway_id, "number": number, "last_at_s": last_at_s}
        return connection.execute(self._database.insert(usage_reports).values(row).on_conflict_do_nothing()).rowcount > 0

    def _add_hours(self, connection: Connection, records: Sequence[UsageRecord]) -> None:
        statement = self._database.insert(usage_hours)
        summed = ("requests", "errors", "tokens", "passages", "model_ms", "cost_usd")
        more = {name: usage_hours.c[name] + statement.excluded[name] for name in summed}
        rows = [{**hour._asdict(), **row_of(sums)} for hour, sums in by_hour(records).items()]
        connection.execute(statement.on_conflict_do_update(index_elements=list(usage_hours.primary_key), set_=more), rows)

    def _add_months(self, connection: Connection, records: Iterable[UsageRecord]) -> None:
        statement = self._database.insert(usage_months)
        more = {name: usage_months.c[name] + statement.excluded[name] for name in ("usd", "tokens")}
        rows = [{**month._asdict(), **spent._asdict()} for month, spent in by_month(records).items()]
        connection.execute(statement.on_conflict_do_update(index_elements=list(usage_months.primary_key), set_=more), rows)


def traffic_sample(record: UsageRecord) -> Sample | None:
    """What a user's request tells about its target; None when it was refused (4xx) or reached none.

    A request that waited for a cold start carries `cold_start_ms`: its `request_ms` is not a warm one.
    """
    if 400 <= record.status < 500 or not record.gpu_type:
        return None
    ok = record.status < 400
    return Sample(
        at_s=record.at_s,
        slug=record.slug,
        version=record.version,
        gpu_type=record.gpu_type,
        region=record.region,
        kind="traffic",
        ok=ok,
        reason=None if ok else "request_failed",
        cold_start_ms=record.cold_start_ms or None,
        request_ms=record.request_ms,
        model_ms=record.model_ms if ok else None,
        tokens=record.tokens,
        passages=record.passages,
    )
