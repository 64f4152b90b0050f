"""Methods of a program in, results out: the client for asyncio, over a pool of connections. Knows no gateway and no forge."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from emberank.client import calls
from emberank.client.account import Account
from emberank.client.answer import Answer
from emberank.client.calls import Call, Passage
from emberank.client.errors import error_from
from emberank.client.failures import AnswerTooLarge, TransportError
from emberank.client.patience import retry_wait_s
from emberank.client.pool import Pool
from emberank.client.results import Ranking
from emberank.contract.errors import NotReady, ServerFault
from emberank.contract.inference import InputType, Truncate

T = TypeVar("T")
_MOST_BODY_BYTES = 1 << 30


class AsyncClient:
    """As `Client`, with methods to await, for one event loop. Cancelling a call closes its connection, and the server drops its work."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 600.0,
        *,
        tls: ssl.SSLContext | None = None,
        max_connections: int = 64,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._account = Account(base_url, api_key)
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._pool = Pool(max_connections_per_host=max_connections, connect_timeout_s=10.0, max_body_bytes=_MOST_BODY_BYTES, tls=tls)

    async def rank(
        self,
        query: str,
        passages: Sequence[Passage],
        *,
        model: str | None = None,
        top_n: int | None = None,
        truncate: Truncate | None = None,
        model_version: str | None = None,
        gpu_type: str | None = None,
        region: str | None = None,
    ) -> Ranking:
        """The passages in order of relevance. Without a model, the server's first reranker; without a target, the scheduler's choice."""
        pin = {"model_version": model_version, "gpu_type": gpu_type, "region": region}
        return await self._run(calls.rank(query, passages, model=model, top_n=top_n, truncate=truncate, **pin))

    async def embed(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        input_type: InputType = "passage",
        dimensions: int | None = None,
        truncate: Truncate | None = None,
        model_version: str | None = None,
        gpu_type: str | None = None,
        region: str | None = None,
    ) -> NDArray[np.float32]:
        """One vector a text: an array (texts, dimensions). Say `input_type="query"` for what is searched with."""
        pin = {"model_version": model_version, "gpu_type": gpu_type, "region": region}
        return await self._run(calls.embed(texts, model=model, input_type=input_type, dimensions=dimensions, truncate=truncate, **pin))

    async def models(self) -> list[dict[str, Any]]:
        """What is served."""
        return await self._run(calls.models())

    async def model(self, slug: str) -> dict[str, Any]:
        """One catalogue entry."""
        return await self._run(calls.model(slug))

    async def routes(self, slug: str, *, model_version: str | None = None, gpu_type: str | None = None, region: str | None = None) -> dict[str, Any]:
        """Where a model can run, and whether what is asked for can be had."""
        return await self._run(calls.about(slug, "inference-routes", model_version=model_version, gpu_type=gpu_type, region=region))

    async def estimate(
        self,
        slug: str,
        *,
        tokens: int | None = None,
        passages: int | None = None,
        model_version: str | None = None,
        gpu_type: str | None = None,
        region: str | None = None,
    ) -> dict[str, Any]:
        """Time and cost of one request before it is sent, warm and cold. Without `tokens` or `passages`, of the catalogue's sample."""
        pin = {"model_version": model_version, "gpu_type": gpu_type, "region": region}
        return await self._run(calls.about(slug, "run-estimate", tokens=tokens, passages=passages, **pin))

    async def reliability(self, slug: str, *, model_version: str | None = None, gpu_type: str | None = None, region: str | None = None) -> dict[str, Any]:
        """What was measured on each target, and which is fastest and cheapest."""
        return await self._run(calls.about(slug, "reliability", model_version=model_version, gpu_type=gpu_type, region=region))

    async def status(self, slug: str, *, version: str | None = None) -> dict[str, Any]:
        """Its phase now, endpoint by endpoint."""
        return await self._run(calls.status(slug, version))

    async def start(
        self,
        slug: str,
        *,
        version: str | None = None,
        gpu_type: str | None = None,
        region: str | None = None,
        run_until_stopped: bool = False,
        wait: bool = True,
    ) -> dict[str, Any]:
        """Make it warm. Returns when it is, or at once with `wait=False`."""
        return await self._run(calls.start(slug, run_until_stopped=run_until_stopped, wait=wait, version=version, gpu_type=gpu_type, region=region))

    async def stop(self, slug: str, *, version: str | None = None, gpu_type: str | None = None, region: str | None = None) -> dict[str, Any]:
        """Let it finish what it does, and free its target."""
        return await self._run(calls.stop(slug, version=version, gpu_type=gpu_type, region=region))

    async def keys(self) -> list[dict[str, Any]]:
        """All keys, without the keys themselves."""
        return await self._run(calls.keys())

    async def create_key(self, name: str, *, scopes: Sequence[str] = ("inference", "read"), **limits: Any) -> dict[str, Any]:
        """A new key. Its `key` is shown this once. `limits` are the API's: models, expires_at_s, requests_per_minute, monthly_usd, …"""
        return await self._run(calls.create_key(name, scopes, limits))

    async def revoke_key(self, key_id: str) -> None:
        """Refuse a key from now on."""
        await self._run(calls.revoke_key(key_id))

    async def close(self) -> None:
        """Close the connections. A call after this one fails."""
        await self._pool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._account.base!r})"

    async def _run(self, call: Call[T]) -> T:
        deadline = time.monotonic() + self._timeout_s
        retries = 0
        while True:
            answer = await self._ask(call, deadline)
            if answer.status < 300:
                return call.read(answer)
            error = error_from(answer.status, answer.headers, answer.body)
            wait_s = retry_wait_s(error, retries, deadline - time.monotonic())
            if wait_s is None:
                raise error
            await self._sleep(wait_s)
            retries += 1

    async def _ask(self, call: Call[Any], deadline: float) -> Answer:
        headers = self._account.headers(call, deadline - time.monotonic())
        try:
            return await self._pool.request(call.method, self._account.url(call.path), headers, call.body, deadline=deadline, resend=call.resend)
        except AnswerTooLarge as cause:
            raise ServerFault("the server's answer is larger than any that it should give") from cause
        except TransportError as cause:
            raise NotReady(f"{self._account.base} cannot be reached: {cause}") from cause
