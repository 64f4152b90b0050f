"""A path or URL in, the store out: one attribute a noun. Used by one thread at a time; every call is one short transaction, or a few.

A call raises StoreUnavailable when the database is locked, full or lost; the next call tries anew. Does not know who calls, nor when.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from emberank.contract.errors import ServerFault, StartError
from emberank.forge.store.address import Backend, parse_address
from emberank.forge.store.audit import Audit
from emberank.forge.store.database import Database, open_database
from emberank.forge.store.deployments import Deployments
from emberank.forge.store.errors import StoreUnavailable, driver_words
from emberank.forge.store.keys import Keys
from emberank.forge.store.meta import Meta
from emberank.forge.store.migrations import migrate
from emberank.forge.store.samples import Samples
from emberank.forge.store.schedules import Schedules
from emberank.forge.store.sessions import Sessions
from emberank.forge.store.usage import DAY_S, Usage

BUSY_TIMEOUT_S = 5.0
MOST_PRUNED = 20_000  # rows of a kind in one call: a transaction stays short, and a report that comes in between does not wait long


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How long things are kept. The sums by month are kept for ever, and so are the last samples of each series, whatever their age."""

    usage_days: float = 90.0  # raw rows, and the numbers of the reports they came with
    hours_days: float = 400.0  # sums by hour
    samples_days: float = 90.0
    samples_each: int = 1000  # of a series, beyond their days
    audit_days: float = 400.0


class Store:
    """Everything that outlives the forge, but for its secrets and its log files."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.keys = Keys(database)
        self.usage = Usage(database)
        self.samples = Samples(database)
        self.deployments = Deployments(database)
        self.schedules = Schedules(database)
        self.sessions = Sessions(database)
        self.audit = Audit(database)
        self.meta = Meta(database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def backend(self) -> Backend:
        """Which database it is."""
        return self._database.address.backend

    @property
    def shown(self) -> str:
        """Words for the database, for a log: no password."""
        return self._database.address.shown

    def lock(self) -> None:
        """Be the only forge on this database until it is closed; StartError when another one is there already.

        On PostgreSQL a lost connection loses the lock with it: calls then raise StoreUnavailable until the lock is had again.
        """
        self._database.claim()

    def prune(self, now_s: float, keep: Keep = Keep(), most: int = MOST_PRUNED) -> int:
        """Remove some of what is older than it is kept; how many rows. To be called again until it returns 0, with other work in between."""

        def before(days: float) -> float:
            return now_s - days * DAY_S

        removed = self.usage.prune(before(keep.usage_days), most)
        removed += self.usage.prune_reports(before(keep.usage_days), most)
        removed += self.usage.prune_hours(before(keep.hours_days))
        removed += self.samples.prune(before(keep.samples_days), keep.samples_each, most)
        return removed + self.audit.prune(before(keep.audit_days), most)

    def close(self) -> None:
        """Close the database and let go of its lock."""
        self._database.close()


def open_store(url_or_path: str | Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S, exclusive: bool = False) -> Store:
    """Open a database and bring it to the newest schema. `exclusive` takes `Store.lock()` first, so that nothing changes under a running forge.

    A path or `sqlite:////…` is SQLite, `postgresql://…` is PostgreSQL. Raises StartError with one line that names no password.
    """
    database = open_database(parse_address(url_or_path), busy_timeout_s=busy_timeout_s)
    try:
        if exclusive:
            database.claim()
        migrate(database)
    except (StoreUnavailable, ServerFault) as error:
        database.close()
        address = database.address
        said = f": {address.scrub(driver_words(error.__cause__))}" if error.__cause__ else f", {error.message}"
        raise StartError(f"{address.shown} cannot be used{said}") from error
    except BaseException:
        database.close()
        raise
    return Store(database)
