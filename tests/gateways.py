"""A gateway put together in this event loop, spoken to without a socket; its fleet and its endpoints are the test's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from asgi import call
from emberank.client.fleet import Fleet
from emberank.gateway.gateway import Gateway
from emberank.settings import GatewaySettings
from fleets import KEY, RANKING
from wire import WAIT_S, Reply


class Door:
    """A running gateway's surface."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.app = gateway.app.asgi()

    async def ask(
        self,
        path: str = "/v1/ranking",
        body: Any = RANKING,
        headers: Mapping[str, str] | None = None,
        *,
        key: str | None = KEY,
        method: str = "POST",
        left: asyncio.Event | None = None,
    ) -> Reply:
        data: bytes | Sequence[object] = body if isinstance(body, bytes | list) else json.dumps(body).encode()
        auth = {"Authorization": f"Bearer {key}"} if key else {}
        return await call(self.app, method, path, data, {**auth, **(headers or {})}, left)

    async def get(self, path: str, *, key: str | None = KEY, headers: Mapping[str, str] | None = None) -> Reply:
        return await self.ask(path, b"", headers, key=key, method="GET")

    async def heard(self) -> Door:
        """Once there is a snapshot."""
        async with asyncio.timeout(WAIT_S):
            await self.gateway.view.first.wait()
        return self

    def value(self, name: str, **labels: str) -> float:
        return self.gateway.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def opened(fleet: Fleet | None, folder: Path, *, wait: bool = True, **settings: Any) -> AsyncIterator[Door]:
    """A gateway on its own data folder. It flushes its usage every 20 ms unless the settings say otherwise."""
    gateway = Gateway(GatewaySettings(**{"data_dir": str(folder), "usage_flush_s": 0.02, "read_timeout_s": WAIT_S} | settings), fleet)
    gateway.start()
    try:
        door = Door(gateway)
        yield await door.heard() if wait else door
    finally:
        await gateway.close()
