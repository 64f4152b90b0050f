"""A request that ran in, its usage record and the headers that say what it took out. Knows no forge and no endpoint's wire but its headers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator

import orjson

from emberank.client.answer import Answer
from emberank.contract.errors import EmberankError
from emberank.contract.fleet import Principal, UsageRecord
from emberank.gateway.ask import ignored_header
from emberank.gateway.limits import Limits
from emberank.gateway.metrics import GatewayMetrics
from emberank.gateway.upstream import Run
from emberank.gateway.usage import Usage
from emberank.telemetry.traces import PASSAGES, PROMPT_TOKENS, TARGET

_GONE = 499
_MS_PER_HOUR = 3.6e6


class Bills:
    """Writes down what every request took."""

    def __init__(self, usage: Usage, limits: Limits, metrics: GatewayMetrics) -> None:
        self._usage = usage
        self._limits = limits
        self._metrics = metrics

    @contextlib.contextmanager
    def billed(self, run: Run, principal: Principal, route: str, began: float, wall_s: float) -> Iterator[None]:
        """Records the request when what runs inside ends, however it ends, if it came as far as an endpoint."""
        status = 200
        try:
            yield
        except EmberankError as error:
            status = error.http_status
            raise
        except asyncio.CancelledError:
            status = _GONE
            raise
        except Exception:
            status = 500
            raise
        finally:
            if run.place is not None:
                self._record(run, principal, route, status, began, wall_s)

    def _record(self, run: Run, principal: Principal, route: str, status: int, began: float, wall_s: float) -> None:
        ask, place = run.ask, run.place
        assert place is not None
        endpoint = place.endpoint
        cost_usd = cost(run.model_ms, endpoint.price_usd_per_hour)
        self._metrics.ran(model=ask.model.slug, seconds=run.upstream_s, tokens=run.tokens, cost_usd=cost_usd)
        self._limits.spend(principal.key_id, number=self._usage.number, wall_s=wall_s, usd=cost_usd, tokens=run.tokens)
        run.exchange.extra["target"] = place.target
        if run.exchange.trace is not None:
            run.exchange.trace.note({TARGET: place.target, PASSAGES: ask.passages, PROMPT_TOKENS: run.tokens})
        self._usage.add(
            UsageRecord(
                at_s=wall_s,
                request_id=run.exchange.request_id,
                key_id=principal.key_id,
                slug=ask.model.slug,
                version=endpoint.version,
                gpu_type=endpoint.gpu_type,
                region=endpoint.region,
                route=route,
                status=status,
                tokens=run.tokens,
                passages=ask.passages,
                chars=ask.chars,
                request_ms=(time.monotonic() - began) * 1e3,
                model_ms=run.model_ms,
                queue_ms=run.queue_ms,
                cold_start_ms=run.cold_start_ms,
                cost_usd=cost_usd,
            )
        )

    def read(self, run: Run, answer: Answer) -> None:
        """Take what the endpoint says of the way it answered, and say it on."""
        headers = run.exchange.headers
        tokens = timing = ""
        for name, value in answer.headers:
            if name == b"server-timing":
                headers["Server-Timing"] = timing = value.decode("latin-1")
            elif name.startswith(b"emberank-"):
                headers[name.decode("latin-1")] = text = value.decode("latin-1")
                if name == b"emberank-prompt-tokens":
                    tokens = text
        run.tokens = int(tokens) if tokens.isdecimal() else tokens_in(answer.body)
        took = timings(timing)
        # A server that does not say how long its model took is billed by the time it took to answer.
        run.model_ms = took.get("engine", run.upstream_s * 1e3)
        run.queue_ms = took.get("queue", 0.0)
        self._say(run, headers)

    def _say(self, run: Run, headers: dict[str, str]) -> None:
        assert run.place is not None
        endpoint = run.place.endpoint
        headers["X-Emberank-Target"] = run.place.target
        headers["X-Emberank-Model"] = f"{endpoint.slug}@{endpoint.version}"
        headers["X-Emberank-Cold-Start-Ms"] = f"{run.cold_start_ms:.0f}"
        headers["X-Emberank-Queue-Ms"] = f"{run.queue_ms:.2f}"
        headers["X-Emberank-Model-Ms"] = f"{run.model_ms:.2f}"
        if endpoint.price_usd_per_hour is not None:
            headers["X-Emberank-Cost-USD"] = f"{cost(run.model_ms, endpoint.price_usd_per_hour):.12f}".rstrip("0").rstrip(".")
        if run.ask.ignored:
            headers["Emberank-Ignored-Fields"] = ignored_header(run.ask.ignored)


def cost(model_ms: float, price_usd_per_hour: float | None) -> float:
    """US dollars of so much of an hour; 0 where no price is known."""
    return model_ms / _MS_PER_HOUR * price_usd_per_hour if price_usd_per_hour else 0.0


def timings(header: str) -> dict[str, float]:
    """Milliseconds by name in a Server-Timing header (https://www.w3.org/TR/server-timing/); what has none is left out."""
    found = {}
    for entry in header.split(","):
        name, has, rest = entry.partition(";dur=")
        if has:
            with contextlib.suppress(ValueError):
                found[name.partition(";")[0].strip()] = float(rest.partition(";")[0])
    return found


def tokens_in(body: bytes) -> int:
    """The tokens in the `usage` of an answer, for a server that has no header for them; 0 where it does not say."""
    try:
        tokens = orjson.loads(body)["usage"]["total_tokens"]
    except (ValueError, KeyError, TypeError):
        return 0
    return tokens if isinstance(tokens, int) and tokens > 0 else 0
