"""A question in, what was heard out: within a deadline, a number of requests and a number of bytes, all of them of one examination.

Never raises for what a server does, never follows a redirect, and takes the key out of whatever comes back. Knows no route.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Literal, TypeAlias

import orjson

from emberank.client.failures import AnswerTooLarge, BadAnswer, ConnectFailed, ConnectionLost, TransportError
from emberank.client.pool import Pool
from emberank.contract.errors import DeadlineExceeded
from emberank.doctor.heard import Heard, Trouble

With: TypeAlias = Literal["own key", "no key", "wrong key"]
WRONG_KEY = "sk-emberank-doctor-this-key-is-wrong"
_MOST_ANSWER_BYTES = 16 << 20
_HIDDEN = b"[key]"


class Asker:
    """Asks one base URL. `base` has no slash at its end."""

    def __init__(
        self,
        base: str,
        key: str,
        *,
        total_s: float,
        most_requests: int,
        most_bytes: int,
        request_s: float,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.base = base
        self.asked = 0
        self.sent_bytes = 0
        self.request_s = request_s
        self._key = key
        self._clock = clock
        self._until = clock() + total_s
        self._most_requests, self._most_bytes = most_requests, most_bytes
        self._pool = Pool(max_connections_per_host=2, connect_timeout_s=min(5.0, request_s), max_body_bytes=_MOST_ANSWER_BYTES, tls=tls)

    @property
    def left_s(self) -> float:
        """Until the examination's deadline."""
        return max(0.0, self._until - self._clock())

    @property
    def spent(self) -> bool:
        """Whether nothing more may be asked."""
        return self.left_s <= 0.05 or self.asked >= self._most_requests or self.sent_bytes >= self._most_bytes

    async def get(self, path: str, *, using: With = "own key") -> Heard:
        """A GET."""
        return await self._ask("GET", path, b"", using, self.request_s)

    async def post(self, path: str, body: object, *, using: With = "own key", patience_s: float | None = None) -> Heard:
        """A POST of `body` as JSON. `patience_s` is for what may take longer than an ordinary answer."""
        return await self._ask("POST", path, orjson.dumps(body), using, patience_s or self.request_s)

    async def _ask(self, method: str, path: str, body: bytes, using: With, patience_s: float) -> Heard:
        if self.spent or self.sent_bytes + len(body) > self._most_bytes:
            return Heard(method=method, path=path, trouble="spent")
        self.asked += 1
        self.sent_bytes += len(body)
        began = self._clock()
        try:
            answer = await self._pool.request(method, self.base + path, self._headers(using), body, deadline=began + min(patience_s, self.left_s))
        except (TransportError, DeadlineExceeded) as failure:
            return Heard(method=method, path=path, ms=(self._clock() - began) * 1e3, trouble=_trouble(failure))
        headers = tuple((name, self._without_key(value)) for name, value in answer.headers)
        ms = (self._clock() - began) * 1e3
        return Heard(method=method, path=path, status=answer.status, headers=headers, body=self._without_key(answer.body), ms=ms)

    def _headers(self, using: With) -> dict[str, str]:
        key = {"own key": self._key, "no key": "", "wrong key": WRONG_KEY}[using]
        headers = {"user-agent": "emberank-doctor", "accept": "application/json", "content-type": "application/json"}
        return headers | ({"authorization": f"Bearer {key}"} if key else {})

    def _without_key(self, said: bytes) -> bytes:
        """Some servers repeat in their refusals what they were sent."""
        return said.replace(self._key.encode("latin-1"), _HIDDEN) if self._key else said

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()


def _trouble(failure: Exception) -> Trouble:
    if isinstance(failure, ConnectFailed):
        cause = failure.__cause__
        return "certificate" if isinstance(cause, ssl.SSLCertVerificationError) else "not TLS" if isinstance(cause, ssl.SSLError) else "refused"
    if isinstance(failure, ConnectionLost):
        return "broken off"
    if isinstance(failure, AnswerTooLarge):
        return "too large"
    return "not HTTP" if isinstance(failure, BadAnswer) else "no answer"
