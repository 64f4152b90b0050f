"""Methods of a program in, results out: the client for asyncio, over a pool of connections. Knows no gateway and no forge."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from emberank.client import calls, talks
from emberank.client.account import Account
from emberank.client.answer import Answer
from emberank.client.bounded import left_s
from emberank.client.calls import Call, Passage
from emberank.client.errors import error_from
from emberank.client.failures import AnswerTooLarge, TransportError
from emberank.client.patience import checked_timeout_s, retry_wait_s
from emberank.client.pool import Pool
from emberank.client.records import Estimate, Key, ModelEntry, ModelInfo, NewKey, Reliability, Routes, Started, Status, Stopped
from emberank.client.results import Ranking
from emberank.client.talks import PASSAGES_PER_CALL, TEXTS_PER_CALL, Pause, Progress, Talk
from emberank.contract.errors import BadRequest, NotReady, ServerFault
from emberank.contract.inference import InputType, Truncate
from emberank.dialects.scores import Score

T = TypeVar("T")
_MOST_BODY_BYTES = 1 << 30


class _End(NamedTuple):
    """What an async generator cannot return."""

    result: Any


class AsyncClient:
    """As `Client`, with methods to await, for one event loop. Cancelling a call closes its connection, and the server drops its work.

    With a `pool`, its connections are shared with whoever else has it, and closing this client leaves them open.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 600.0,
        *,
        tls: ssl.SSLContext | None = None,
        max_connections: int = 64,
        passages_per_call: int = PASSAGES_PER_CALL,
        texts_per_call: int = TEXTS_PER_CALL,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        pool: Pool | None = None,
    ) -> None:
        self._account = Account(base_url, api_key)
        self._timeout_s = checked_timeout_s(timeout_s)
        self._passages_per_call = passages_per_call
        self._texts_per_call = texts_per_call
        self._sleep = sleep
        self._jitter = jitter
        self._owns_pool = pool is None
        self._pool = pool or Pool(max_connections_per_host=max_connections, connect_timeout_s=10.0, max_body_bytes=_MOST_BODY_BYTES, tls=tls)

    async def rank(
        self,
        query: str,
        passages: Sequence[Passage],
        *,
        model: str | None = None,
        top_n: int | None = None,
        truncate: Truncate | None = None,
        score_mode: Score | None = None,
        max_tokens_per_doc: int | None = None,
        max_chunks_per_doc: int | None = None,
        model_version: str | None = None,
        gpu_type: str | None = None,
        region: str | None = None,
        timeout_s: float | None = None,
    ) -> Ranking:
        """The passages in order of relevance. Without a model, the server's first reranker; without a target, the scheduler's choice.

        `score_mode` puts a score between 0 and 1 (or the logit) beside each logit. `max_tokens_per_doc` cuts passages; `max_chunks_per_doc` reads long ones in up
        to so many pieces, of which the best counts. More passages than one request takes are sent in several. `timeout_s` is for this call.
        """
        options = {
            "model": model,
            "top_n": top_n,
            "truncate": truncate,
            "score_mode": score_mode,
            "max_tokens_per_doc": max_tokens_per_doc,
            "max_chunks_per_doc": max_chunks_per_doc,
            "model_version": model_version,
            "gpu_type": gpu_type,
            "region": region,
        }
        return await self._hold(talks.rank(query, passages, self._passages_per_call, options), timeout_s)

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
        timeout_s: float | None = None,
    ) -> NDArray[np.float32]:
        """One vector a text: an array (texts, dimensions). Say `input_type="query"` for what is searched with."""
        options = {
            "model": model,
            "input_type": input_type,
            "dimensions": dimensions,
            "truncate": truncate,
            "model_version": model_version,
            "gpu_type": gpu_type,
            "region": region,
        }
        return await self._hold(talks.embed(texts, self._texts_per_call, options), timeout_s)

    async def models(self) -> list[ModelEntry]:
        """What is served."""
        return await self._hold(talks.once(calls.models()))

    async def model(self, slug: str) -> ModelInfo:
        """One catalogue entry."""
        return await self._hold(talks.once(calls.model(slug)))

    async def routes(self, slug: str, *, model_version: str | None = None, gpu_type: str | None = None, region: str | None = None) -> Routes:
        """Where a model can run, and whether what is asked for can be had."""
        pin = {"model_version": model_version, "gpu_type": gpu_type, "region": region}
        return await self._hold(talks.once(calls.about(slug, "inference-routes", Routes, pin)))

    async def estimate(
        self,
        slug: str,
        *,
        tokens: int | None = None,
        passages: int | None = None,
        model_version: str | None = None,
        gpu_type: str | None = None,
        region: str | None = None,
    ) -> Estimate:
        """Time and cost of one request before it is sent, warm and cold. Without `tokens` or `passages`, of the catalogue's sample."""
        filters = {"tokens": tokens, "passages": passages, "model_version": model_version, "gpu_type": gpu_type, "region": region}
        return await self._hold(talks.once(calls.about(slug, "run-estimate", Estimate, filters)))

    async def reliability(self, slug: str, *, model_version: str | None = None, gpu_type: str | None = None, region: str | None = None) -> Reliability:
        """What was measured on each target, and which is fastest and cheapest."""
        pin = {"model_version": model_version, "gpu_type": gpu_type, "region": region}
        return await self._hold(talks.once(calls.about(slug, "reliability", Reliability, pin)))

    async def status(self, slug: str, *, version: str | None = None) -> Status:
        """Its phase now, endpoint by endpoint."""
        return await self._hold(talks.once(calls.status(slug, version)))

    async def start(
        self,
        slug: str,
        *,
        version: str | None = None,
        gpu_type: str | None = None,
        region: str | None = None,
        run_until_stopped: bool = False,
        wait: bool = True,
        on_progress: Callable[[Progress], object] | None = None,
        timeout_s: float | None = None,
    ) -> Started:
        """Make it warm. Returns when it is, or at once with `wait=False`. `on_progress` is called every few seconds until then, and once when it is warm."""
        target = {"version": version, "gpu_type": gpu_type, "region": region}
        if on_progress is None:
            call = calls.start(slug, target, run_until_stopped=run_until_stopped, wait_s=None if wait else 0)
            return await self._hold(talks.once(call), timeout_s)
        if not wait:
            raise BadRequest("on_progress goes with waiting: leave out wait=False")
        return await self._hold(talks.start(slug, target, run_until_stopped=run_until_stopped), timeout_s, on_progress)

    async def starting(
        self, slug: str, *, version: str | None = None, gpu_type: str | None = None, region: str | None = None, timeout_s: float | None = None
    ) -> AsyncIterator[Progress]:
        """Make it warm, and iterate over how far that is; ends when it is warm. Leaving earlier leaves it starting."""
        target = {"version": version, "gpu_type": gpu_type, "region": region}
        talk = talks.start(slug, target)
        async with aclosing(self._steps(talk, time.monotonic() + self._limit_s(timeout_s))) as steps:
            async for step in steps:
                if isinstance(step, Progress):
                    yield step

    async def stop(self, slug: str, *, version: str | None = None, gpu_type: str | None = None, region: str | None = None) -> Stopped:
        """Let it finish what it does, and free its target."""
        return await self._hold(talks.once(calls.stop(slug, {"version": version, "gpu_type": gpu_type, "region": region})))

    async def keys(self) -> list[Key]:
        """All keys, without the keys themselves."""
        return await self._hold(talks.once(calls.keys()))

    async def create_key(self, name: str, *, scopes: Sequence[str] = ("inference", "read"), **limits: Any) -> NewKey:
        """A new key. Its `key` is shown this once. `limits` are the API's: models, expires_in_days, requests_per_minute, monthly_usd, …"""
        return await self._hold(talks.once(calls.create_key(name, scopes, limits)))

    async def revoke_key(self, key_id: str) -> None:
        """Refuse a key from now on."""
        await self._hold(talks.once(calls.revoke_key(key_id)))

    @property
    def base_url(self) -> str:
        """Where the server is, without /v1."""
        return self._account.base

    async def close(self) -> None:
        """Close the connections. A call after this one fails."""
        if self._owns_pool:
            await self._pool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._account.base!r})"

    def _limit_s(self, timeout_s: float | None) -> float:
        return self._timeout_s if timeout_s is None else checked_timeout_s(timeout_s)

    async def _hold(self, talk: Talk[T], timeout_s: float | None = None, on_progress: Callable[[Progress], object] | None = None) -> T:
        """Hold a talk to its end."""
        async with aclosing(self._steps(talk, time.monotonic() + self._limit_s(timeout_s))) as steps:
            async for step in steps:
                if isinstance(step, _End):
                    return cast(T, step.result)
                if on_progress is not None:
                    on_progress(step)
        raise RuntimeError("a talk has an end")

    async def _steps(self, talk: Talk[Any], deadline: float) -> AsyncGenerator[Progress | _End, None]:
        """What there is to say as it comes, and at last the result."""
        said: Any = None
        while True:
            try:
                step = talk.send(said)
            except StopIteration as end:
                yield _End(end.value)
                return
            said = None
            if isinstance(step, Progress):
                yield step
            elif isinstance(step, Pause):
                await self._sleep(min(step.seconds, left_s(deadline)))
            else:
                said = await self._run(step, deadline)

    async def _run(self, call: Call[T], deadline: float) -> T:
        retries = 0
        while True:
            answer = await self._ask(call, deadline)
            if answer.status < 300:
                return call.read(answer)
            error = error_from(answer.status, answer.headers, answer.body)
            wait_s = retry_wait_s(error, retries, deadline - time.monotonic(), self._jitter())
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
