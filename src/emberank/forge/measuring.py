"""A warm endpoint in, samples of a few requests out. Knows nothing of how it came to be warm."""

from __future__ import annotations

import time
from collections.abc import Callable

from emberank.client.failures import TransportError
from emberank.client.pool import Pool
from emberank.contract.errors import EmberankError
from emberank.contract.fleet import Endpoint, FailureReason
from emberank.contract.inference import Task
from emberank.dialects import outgoing
from emberank.forge.payloads import Payload, larger_payload, sample_payload
from emberank.forge.samples import Sample

# A request that is expected to take longer is not sent: a probe must not keep a slow machine busy for minutes.
MOST_EXPECTED_MS = 5000.0


class Measuring:
    """Sends probes to endpoints. `now_s` is Unix time, for the samples."""

    def __init__(self, pool: Pool, requests: int, now_s: Callable[[], float], request_timeout_s: float = 60.0) -> None:
        self._pool = pool
        self._requests = requests
        self._now_s = now_s
        self._timeout_s = request_timeout_s

    async def measure(self, endpoint: Endpoint, task: Task) -> list[Sample]:
        """One request that is not counted, the sample payload as often as set, a larger one if it will not take long. Ends at the first failure."""
        sample, larger = sample_payload(task), larger_payload(task)
        warming = await self._one(endpoint, sample)
        if not warming.ok:
            return [warming]
        found: list[Sample] = []
        for _ in range(self._requests):
            found.append(await self._one(endpoint, sample))
            if not found[-1].ok:
                return found
        slowest = max(one.request_ms or 0.0 for one in found)
        if slowest * larger.chars / sample.chars <= MOST_EXPECTED_MS:
            found += [await self._one(endpoint, larger) for _ in range(3)]
        return found

    async def _one(self, endpoint: Endpoint, payload: Payload) -> Sample:
        headers = {"Content-Type": "application/json", "X-Request-Timeout": f"{self._timeout_s:g}"}
        if endpoint.secret:
            headers["Authorization"] = f"Bearer {endpoint.secret}"
        url, body = endpoint.url + payload.route, payload.body(endpoint.served_name)
        if endpoint.dialect != "emberank":
            url, body = endpoint.url + outgoing.path_of(payload.call, endpoint), outgoing.write(payload.call, endpoint, endpoint.served_name)
        began = time.monotonic()
        try:
            answer = await self._pool.request("POST", url, headers, body, deadline=began + self._timeout_s + 1)
        except (TransportError, EmberankError):
            return self._sample(endpoint, payload, reason="unreachable")
        request_ms = (time.monotonic() - began) * 1e3
        if answer.status != 200:
            return self._sample(endpoint, payload, reason="request_failed")
        return self._sample(
            endpoint,
            payload,
            request_ms=request_ms,
            model_ms=engine_ms(answer.header("server-timing") or ""),
            tokens=_whole(answer.header("emberank-prompt-tokens")),
        )

    def _sample(
        self,
        endpoint: Endpoint,
        payload: Payload,
        *,
        reason: FailureReason | None = None,
        request_ms: float | None = None,
        model_ms: float | None = None,
        tokens: int | None = None,
    ) -> Sample:
        counted = f", {tokens} tokens" if tokens is not None else ""
        return Sample(
            at_s=self._now_s(),
            slug=endpoint.slug,
            version=endpoint.version,
            gpu_type=endpoint.gpu_type,
            region=endpoint.region,
            kind="probe",
            ok=reason is None,
            reason=reason,
            request_ms=request_ms,
            model_ms=model_ms,
            tokens=tokens,
            passages=payload.passages,
            shape=f"{payload.passages} {'passages' if payload.route == '/v1/ranking' else 'inputs'}{counted}",
        )


def engine_ms(server_timing: str) -> float | None:
    """The engine's own time out of a Server-Timing header (https://www.w3.org/TR/server-timing/), in milliseconds; None where it is not said."""
    for part in server_timing.split(","):
        name, _, rest = part.strip().partition(";")
        if name == "engine" and rest.startswith("dur="):
            try:
                return float(rest[4:])
            except ValueError:
                return None
    return None


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
