"""The forge's address in, its `Fleet` out, found again when it moves: a forge that restarts writes another port into fleet.json. Knows no request.

Raises ForgeAway, a NotReady, when the forge cannot be reached; a NotReady that the forge itself answers stays what it is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from emberank.client.fleet import RemoteFleet
from emberank.client.pool import Pool
from emberank.contract.errors import NotReady
from emberank.contract.fleet import LoadReport, Principal, Revisions, Snapshot, Wish
from emberank.gateway.errors import ForgeAway
from emberank.settings import GatewaySettings
from emberank.settings.folders import data_dir

_RETRY_AFTER_S = 2.0


class Address(NamedTuple):
    """Where the forge listens, and what opens its internal routes."""

    url: str
    token: str


class ForgeLink:
    """A Fleet that asks wherever the forge is now."""

    def __init__(self, settings: GatewaySettings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._file = data_dir(settings.data_dir) / "fleet.json"
        self._read: tuple[tuple[int, int], Address] | None = None  # the file's inode and time, and what it said
        self._remote: tuple[Address, RemoteFleet] | None = None

    def address(self) -> Address:
        """Where the forge is. Raises ForgeAway when nothing says so."""
        settings = self._settings
        if settings.forge_url and settings.fleet_token:
            return Address(settings.forge_url.rstrip("/"), settings.fleet_token)
        written = self._written()
        return Address(settings.forge_url.rstrip("/") or written.url.rstrip("/"), settings.fleet_token or written.token)

    def _written(self) -> Address:
        try:
            status = os.stat(self._file)
            stamp = (status.st_ino, status.st_mtime_ns)
            if self._read is None or self._read[0] != stamp:
                fields = orjson.loads(self._file.read_bytes())
                self._read = stamp, Address(str(fields["url"]), str(fields["token"]))
            return self._read[1]
        except (OSError, ValueError, KeyError, TypeError) as cause:
            raise ForgeAway("no forge has said where it is: there is no fleet.json in the data folder", retry_after_s=_RETRY_AFTER_S) from cause

    def _fleet(self) -> RemoteFleet:
        address = self.address()
        if self._remote is None or self._remote[0] != address:
            try:
                self._remote = address, RemoteFleet(address.url, address.token, self._pool)
            except ValueError as cause:
                raise ForgeAway("the forge's address is no URL that can be asked", retry_after_s=_RETRY_AFTER_S) from cause
        return self._remote[1]

    async def snapshot(self, gateway_id: str, known: Revisions, forge_id: str, wait_s: float) -> Snapshot:
        """What changed since `known`; waits up to `wait_s` for a change."""
        try:
            return await self._fleet().snapshot(gateway_id, known, forge_id, wait_s)
        except NotReady as error:
            raise _away(error) from error

    async def wake(self, wish: Wish) -> None:
        """Have the model started, if it is not; returns at once."""
        try:
            await self._fleet().wake(wish)
        except NotReady as error:
            raise _away(error) from error

    async def report(self, report: LoadReport) -> None:
        """Deliver usage and load. When it returns, the usage is kept."""
        try:
            await self._fleet().report(report)
        except NotReady as error:
            raise _away(error) from error

    async def session(self, headers: Sequence[tuple[bytes, bytes]], deadline: float) -> Principal:
        """Who sends a page's call with these headers."""
        try:
            return await self._fleet().session(headers, deadline)
        except NotReady as error:
            raise _away(error) from error


def _away(error: NotReady) -> NotReady:
    # RemoteFleet's own NotReady has a cause, the broken hop; one that the forge answered has none.
    if error.__cause__ is None or isinstance(error, ForgeAway):
        return error
    return ForgeAway(error.message, retry_after_s=error.retry_after_s or _RETRY_AFTER_S)
