"""The tables as they are after the last migration, for statements to be written with. Makes no table: `migrations.py` does."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Dialect, Double, Integer, MetaData, Table, Text
from sqlalchemy.types import TypeDecorator

metadata = MetaData()


class Words(TypeDecorator[str]):
    """Text that may come from a caller: what a database cannot hold (a NUL, half a surrogate pair) must not lose the row it is in."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text, with a question mark for what cannot be kept."""
        if value is None or value.isprintable():
            return value
        return value.replace("\0", "?").encode("utf-8", "replace").decode("utf-8")


class Names(TypeDecorator[tuple[str, ...]]):
    """A few short names, as a JSON list."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> str:
        """`("a", "b")` as `["a", "b"]`."""
        return json.dumps(list(value or ()))

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[str, ...]:
        """And back."""
        return tuple(json.loads(value or "[]"))


def row_of(value: Any) -> dict[str, Any]:
    """A slotted value as a row, its fields by name. (`dataclasses.asdict` copies every field deeply, which took longer than the database.)"""
    return {name: getattr(value, name) for name in value.__slots__}


def words(*names: str, null: bool = False) -> list[Column[Any]]:
    """Columns of text."""
    return [Column(name, Words, nullable=null) for name in names]


def numbers(*names: str, null: bool = False) -> list[Column[Any]]:
    """Columns of 64-bit floats."""
    return [Column(name, Double, nullable=null) for name in names]


def counts(*names: str, null: bool = False) -> list[Column[Any]]:
    """Columns of 64-bit integers."""
    return [Column(name, BigInteger, nullable=null) for name in names]


schema_version = Table("schema_version", metadata, Column("number", Integer, primary_key=True, autoincrement=False), *words("says"))

keys = Table(
    "keys",
    metadata,
    Column("key_id", Words, primary_key=True),
    *words("name", "digest"),
    Column("scopes", Names, nullable=False),
    Column("models", Names, nullable=False),
    *numbers("created_at_s"),
    *numbers("expires_at_s", "revoked_at_s", null=True),
    *counts("requests_per_minute", "concurrency", null=True),
    *numbers("monthly_usd", null=True),
    *counts("monthly_tokens", null=True),
    *words("rotated_from", null=True),
    *numbers("last_used_at_s", null=True),
)

# Append-only. `report` is the number of the gateway's report that the row came with.
usage = Table(
    "usage",
    metadata,
    Column("id", BigInteger, primary_key=True),
    *words("gateway_id"),
    *counts("report"),
    *numbers("at_s"),
    *words("request_id", "key_id", "slug", "version", "gpu_type", "region", "route"),
    *counts("status", "tokens", "passages", "chars"),
    *numbers("request_ms", "model_ms", "queue_ms", "cold_start_ms", "cost_usd"),
)

# Which reports are counted; `last_at_s` is the time of its newest record.
usage_reports = Table(
    "usage_reports",
    metadata,
    Column("gateway_id", Words, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    *numbers("last_at_s"),
)

usage_hours = Table(
    "usage_hours",
    metadata,
    Column("hour_s", BigInteger, primary_key=True, autoincrement=False),
    *(Column(name, Words, primary_key=True) for name in ("key_id", "slug", "version", "gpu_type", "region")),
    *counts("requests", "errors", "tokens", "passages"),
    *numbers("model_ms", "cost_usd"),
)

usage_months = Table(
    "usage_months",
    metadata,
    Column("month", Words, primary_key=True),
    Column("key_id", Words, primary_key=True),
    *numbers("usd"),
    *counts("tokens"),
)

samples = Table(
    "samples",
    metadata,
    Column("id", BigInteger, primary_key=True),
    *numbers("at_s"),
    *words("slug", "version", "gpu_type", "region", "kind"),
    Column("ok", Boolean, nullable=False),
    *words("reason", null=True),
    *numbers("cold_start_ms", null=True),
    *words("weights_from", null=True),
    *counts("peak_memory_bytes", null=True),
    *numbers("request_ms", "model_ms", null=True),
    *counts("tokens", "passages", null=True),
    *words("shape"),
)

# What belongs to a deployment beside its target is one JSON object: a field more is no migration.
deployments = Table(
    "deployments",
    metadata,
    *(Column(name, Words, primary_key=True) for name in ("slug", "version", "gpu_type", "region")),
    *words("payload"),
)

schedules = Table(
    "schedules",
    metadata,
    Column("id", Words, primary_key=True),
    *words("slug"),
    *words("version", "gpu_type", "region", null=True),
    *words("kind", "cron"),
    *numbers("created_at_s"),
    *words("key_id"),
)

audit = Table("audit", metadata, Column("id", BigInteger, primary_key=True), *numbers("at_s"), *words("key_id", "action", "subject"))

meta = Table("meta", metadata, Column("name", Words, primary_key=True), *words("value"))

web_sessions = Table(
    "web_sessions",
    metadata,
    Column("digest", Words, primary_key=True),
    *words("key_id", "csrf"),
    *numbers("created_at_s", "seen_at_s", "expires_at_s"),
)
