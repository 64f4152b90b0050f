"""Who calls in, a client with their key out. Shows no key to anybody.

On stdio there is one caller: whoever started the process, with the key of its environment. Over HTTP a caller's own `Authorization` is passed on, so that the
gateway's rights, limits and budgets are that caller's; one that sends none gets the process's key only where it is lent, which it is on loopback.
"""

from __future__ import annotations

from emberank.client import AsyncClient
from emberank.client.pool import Pool
from emberank.contract.errors import Unauthorized

_MOST_CONNECTIONS = 64
_MOST_BODY_BYTES = 64 << 20


class Callers:
    """Clients for one gateway, which share its connections. Raises BadRequest or Unauthorized for an address or a key that cannot be one."""

    def __init__(self, base_url: str | None, api_key: str | None, *, timeout_s: float, lends_key: bool = True) -> None:
        self._pool = Pool(max_connections_per_host=_MOST_CONNECTIONS, connect_timeout_s=10.0, max_body_bytes=_MOST_BODY_BYTES)
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._own = AsyncClient(base_url, api_key, timeout_s, pool=self._pool)
        self._lends_key = lends_key

    def client(self, authorization: str | None) -> AsyncClient:
        """For the call whose `Authorization` header this is, None where there is none. Raises Unauthorized."""
        scheme, _, rest = (authorization or "").strip().partition(" ")
        key = rest.strip() if scheme.lower() == "bearer" else f"{scheme} {rest}".strip()  # the gateway takes a bare key too, and so it is taken here
        if key:
            return AsyncClient(self._base_url, key, self._timeout_s, pool=self._pool)
        if not self._lends_key:
            raise Unauthorized("this MCP server asks for your own key of the gateway: send it as `Authorization: Bearer …`")
        return self._own

    @property
    def gateway(self) -> str:
        """The gateway's address, for people."""
        return self._own.base_url

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()
