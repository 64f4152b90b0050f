"""What runs, or shall run, in; the same after a restart out, so that endpoints can be adopted. Does not know whether they still run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from sqlalchemy import delete, select

from emberank.forge.deployments import SavedDeployment
from emberank.forge.store.database import Database
from emberank.forge.store.series import SERIES
from emberank.forge.store.tables import deployments, row_of

FIELDS = frozenset(field.name for field in fields(SavedDeployment))


class Deployments:
    """One row for each (slug, version, gpu_type, region)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, *many: SavedDeployment) -> None:
        """Put these in the place of what is kept for their targets, all or none of them."""
        if not many:
            return
        statement = self._database.insert(deployments)
        replace = statement.on_conflict_do_update(index_elements=list(deployments.primary_key), set_={"payload": statement.excluded.payload})
        with self._database.write() as connection:
            connection.execute(replace, [_row(one) for one in many])

    def remove(self, slug: str, version: str, gpu_type: str, region: str) -> bool:
        """Forget one; False when there is none."""
        columns = zip(SERIES, (slug, version, gpu_type, region), strict=True)
        with self._database.write() as connection:
            return connection.execute(delete(deployments).where(*(deployments.c[name] == value for name, value in columns))).rowcount > 0

    def all(self) -> list[SavedDeployment]:
        """Every one, in the order of their names."""
        with self._database.read() as connection:
            rows = connection.execute(select(deployments).order_by(*deployments.primary_key))
            return [_deployment(row._mapping) for row in rows]


def _row(one: SavedDeployment) -> dict[str, Any]:
    values = row_of(one)
    key = {name: values.pop(name) for name in SERIES}
    return {**key, "payload": json.dumps(values)}


def _deployment(row: Mapping[Any, Any]) -> SavedDeployment:
    # A release before this one may have written fields that are gone, or none that have come since: those have defaults.
    payload = {name: value for name, value in json.loads(row["payload"]).items() if name in FIELDS}
    return SavedDeployment(**payload, **{name: row[name] for name in SERIES})
