"""Methods of a program in, results out: the client without asyncio, over the standard library's http.client. Knows no gateway and no forge.

Safe for threads: each call takes a kept connection of its own, or opens one, and puts it back when its answer is read.
"""

from __future__ import annotations

import http.client
import random
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from emberank.client import calls, talks
from emberank.client.account import Account
from emberank.client.answer import Answer
from emberank.client.bounded import BoundedResponse, left_s
from emberank.client.calls import Call, Passage
from emberank.client.errors import error_from
from emberank.client.patience import checked_timeout_s, retry_wait_s
from emberank.client.records import Estimate, Key, ModelEntry, ModelInfo, NewKey, Reliability, Routes, Started, Status, Stopped
from emberank.client.results import Ranking
from emberank.client.talks import PASSAGES_PER_CALL, TEXTS_PER_CALL, Pause, Progress, Talk
from emberank.contract.errors import BadRequest, DeadlineExceeded, NotReady, ServerFault
from emberank.contract.inference import InputType, Truncate
from emberank.dialects.scores import Score

T = TypeVar("T")
_MOST_IDLE = 16
_CONNECT_TIMEOUT_S = 10.0
_MOST_BODY_BYTES = 1 << 30
_STALE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ConnectionAbortedError)


class Client:
    """An Emberank server, or any retrieval NIM for `rank`, `embed` and `models`. Close it, or use it as a context.

    `base_url` and `api_key` come from FORGE_API_BASE (or EMBERANK_API_BASE) and FORGE_API_KEY (or EMBERANK_API_KEY) when they are not given. `timeout_s`
    is for a method's call as a whole: the wait for a cold model, retries after 429 and 503, and all requests when it takes several. Every refusal is an
    EmberankError of `contract.errors`. `passages_per_call` and `texts_per_call` are what one request may hold.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 600.0,
        *,
        tls: ssl.SSLContext | None = None,
        passages_per_call: int = PASSAGES_PER_CALL,
        texts_per_call: int = TEXTS_PER_CALL,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._account = Account(base_url, api_key)
        self._timeout_s = checked_timeout_s(timeout_s)
        self._passages_per_call = passages_per_call
        self._texts_per_call = texts_per_call
        self._tls = tls
        self._sleep = sleep
        self._jitter = jitter
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._closed = False

    def rank(
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
        return self._hold(talks.rank(query, passages, self._passages_per_call, options), timeout_s)

    def embed(
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
        return self._hold(talks.embed(texts, self._texts_per_call, options), timeout_s)

    def models(self) -> list[ModelEntry]:
        """What is served."""
        return self._hold(talks.once(calls.models()))

    def model(self, slug: str) -> ModelInfo:
        """One catalogue entry."""
        return self._hold(talks.once(calls.model(slug)))

    def routes(self, slug: str, *, model_version: str | None = None, gpu_type: str | None = None, region: str | None = None) -> Routes:
        """Where a model can run, and whether what is asked for can be had."""
        pin = {"model_version": model_version, "gpu_type": gpu_type, "region": region}
        return self._hold(talks.once(calls.about(slug, "inference-routes", Routes, pin)))

    def estimate(
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
        return self._hold(talks.once(calls.about(slug, "run-estimate", Estimate, filters)))

    def reliability(self, slug: str, *, model_version: str | None = None, gpu_type: str | None = None, region: str | None = None) -> Reliability:
        """What was measured on each target, and which is fastest and cheapest."""
        pin = {"model_version": model_version, "gpu_type": gpu_type, "region": region}
        return self._hold(talks.once(calls.about(slug, "reliability", Reliability, pin)))

    def status(self, slug: str, *, version: str | None = None) -> Status:
        """Its phase now, endpoint by endpoint."""
        return self._hold(talks.once(calls.status(slug, version)))

    def start(
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
            return self._hold(talks.once(call), timeout_s)
        if not wait:
            raise BadRequest("on_progress goes with waiting: leave out wait=False")
        return self._hold(talks.start(slug, target, run_until_stopped=run_until_stopped), timeout_s, on_progress)

    def starting(
        self, slug: str, *, version: str | None = None, gpu_type: str | None = None, region: str | None = None, timeout_s: float | None = None
    ) -> Iterator[Progress]:
        """Make it warm, and iterate over how far that is; ends when it is warm. Leaving earlier leaves it starting."""
        target = {"version": version, "gpu_type": gpu_type, "region": region}
        talk = talks.start(slug, target)
        yield from self._steps(talk, time.monotonic() + self._limit_s(timeout_s))

    def stop(self, slug: str, *, version: str | None = None, gpu_type: str | None = None, region: str | None = None) -> Stopped:
        """Let it finish what it does, and free its target."""
        return self._hold(talks.once(calls.stop(slug, {"version": version, "gpu_type": gpu_type, "region": region})))

    def keys(self) -> list[Key]:
        """All keys, without the keys themselves."""
        return self._hold(talks.once(calls.keys()))

    def create_key(self, name: str, *, scopes: Sequence[str] = ("inference", "read"), **limits: Any) -> NewKey:
        """A new key. Its `key` is shown this once. `limits` are the API's: models, expires_in_days, requests_per_minute, monthly_usd, …"""
        return self._hold(talks.once(calls.create_key(name, scopes, limits)))

    def revoke_key(self, key_id: str) -> None:
        """Refuse a key from now on."""
        self._hold(talks.once(calls.revoke_key(key_id)))

    @property
    def base_url(self) -> str:
        """Where the server is, without /v1."""
        return self._account.base

    def close(self) -> None:
        """Close the kept connections. A call after this one fails."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._account.base!r})"

    def _limit_s(self, timeout_s: float | None) -> float:
        return self._timeout_s if timeout_s is None else checked_timeout_s(timeout_s)

    def _hold(self, talk: Talk[T], timeout_s: float | None = None, on_progress: Callable[[Progress], object] | None = None) -> T:
        """Hold a talk to its end."""
        steps = self._steps(talk, time.monotonic() + self._limit_s(timeout_s))
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            if on_progress is not None:
                on_progress(progress)

    def _steps(self, talk: Talk[T], deadline: float) -> Generator[Progress, None, T]:
        said: Any = None
        while True:
            try:
                step = talk.send(said)
            except StopIteration as end:
                result: T = end.value
                return result
            said = None
            if isinstance(step, Progress):
                yield step
            elif isinstance(step, Pause):
                self._sleep(min(step.seconds, left_s(deadline)))
            else:
                said = self._run(step, deadline)

    def _run(self, call: Call[T], deadline: float) -> T:
        retries = 0
        while True:
            answer = self._ask(call, deadline)
            if answer.status < 300:
                return call.read(answer)
            error = error_from(answer.status, answer.headers, answer.body)
            wait_s = retry_wait_s(error, retries, deadline - time.monotonic(), self._jitter())
            if wait_s is None:
                raise error
            self._sleep(wait_s)
            retries += 1

    def _ask(self, call: Call[Any], deadline: float) -> Answer:
        """One request; a second time, on another connection, when a kept one turns out to have died."""
        url = self._account.url(call.path)
        while True:
            connection = self._kept(call.resend)
            used = connection is not None
            connection = connection or self._opened(left_s(deadline))
            connection.response_class = partial(BoundedResponse, deadline)  # type: ignore[assignment]
            response = None
            try:
                _bound(connection, left_s(deadline))
                connection.request(call.method, url.path, call.body or None, self._account.headers(call, left_s(deadline)))
                response = connection.getresponse()
                answer = _read(response)
            except BaseException as cause:
                connection.close()
                if used and response is None and isinstance(cause, _STALE):
                    continue
                raise _meant(cause, self._account.base) from cause
            self._put_back(connection, response)
            return answer

    def _kept(self, resend: bool) -> http.client.HTTPConnection | None:
        with self._lock:
            if self._closed:
                raise RuntimeError("this client is closed")
            return self._idle.pop() if self._idle and resend else None

    def _opened(self, left_s: float) -> http.client.HTTPConnection:
        scheme, host, port = self._account.origin
        timeout_s = min(left_s, _CONNECT_TIMEOUT_S)
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout_s)
        with self._lock:
            self._tls = self._tls or ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=self._tls)

    def _put_back(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        with self._lock:
            if not response.will_close and not self._closed and len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
                return
        connection.close()


def _bound(connection: http.client.HTTPConnection, left_s: float) -> None:
    """Connect, if that has not been done, and wait no longer than this for anything from now on."""
    if connection.sock is None:
        connection.connect()
    connection.sock.settimeout(left_s)


def _read(response: http.client.HTTPResponse) -> Answer:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.getheaders()]
    body = bytearray()
    while piece := response.read1(1 << 20):
        body += piece
        if len(body) > _MOST_BODY_BYTES:
            raise ServerFault("the server's answer is larger than any that it should give")
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    response.close()  # which read1 leaves to us, and without which the connection takes no other request
    return Answer(response.status, headers, bytes(body))


def _meant(cause: BaseException, base: str) -> BaseException:
    """A lower exception in our words; what is ours, or not about the connection, as it is."""
    if isinstance(cause, TimeoutError):
        return DeadlineExceeded("no answer came within the call's time-out")
    if isinstance(cause, ssl.SSLError):
        return NotReady(f"{base} cannot be reached: TLS: {cause.reason or 'failed'}")
    if isinstance(cause, OSError | http.client.HTTPException):
        return NotReady(f"{base} cannot be reached: {cause.strerror if isinstance(cause, OSError) and cause.strerror else 'the connection broke'}")
    return cause
