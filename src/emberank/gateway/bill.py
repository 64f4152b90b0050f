"""A request that ran in, its usage record and the headers that say what it took out. Knows no forge and no endpoint's wire but its headers."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import time
from collections.abc import Iterator

import orjson

from emberank.client.answer import Answer
from emberank.contract.errors import EmberankError
from emberank.contract.fleet import Endpoint, Principal, UsageRecord
from emberank.dialects import outgoing
from emberank.gateway.ask import ignored_header
from emberank.gateway.limits import Limits
from emberank.gateway.metrics import GatewayMetrics
from emberank.gateway.run import Part, Run
from emberank.gateway.usage import Usage
from emberank.telemetry.traces import PASSAGES, PROMPT_TOKENS, TARGET

_GONE = 499
_MOST_DIGITS = 12
# What a server that is not ours may say in our own headers: it may be another Emberank.
_OF_ANYBODY = (b"emberank-prompt-tokens", b"emberank-truncated")
_PLACES = re.compile(r"[0-9]{1,9}(,[0-9]{1,9}){0,999}(,\.\.\.)?")
_MS_PER_HOUR = 3.6e6
_TOKENS_AT = (("usage", "total_tokens"), ("usage", "prompt_tokens"), ("meta", "tokens", "input_tokens"), ("meta", "billed_units", "total_tokens"))


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
        self._metrics.ran(model=ask.model.slug, seconds=run.upstream_s, tokens=run.tokens, cost_usd=run.cost_usd)
        self._limits.spend(principal.key_id, number=self._usage.number, wall_s=wall_s, usd=run.cost_usd, tokens=run.tokens)
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
                cost_usd=run.cost_usd,
            )
        )

    def read(self, run: Run, answer: Answer) -> None:
        """Take what the endpoint says of the way it answered the last piece, and say it on; what several pieces took is added up."""
        headers = run.exchange.headers
        tokens = timing = charged = truncated = ""
        endpoint = run.parts[-1].endpoint
        ours = endpoint.dialect == "emberank"
        for name, value in answer.headers:
            if name == b"server-timing":
                timing = value.decode("latin-1")
            elif name.startswith(b"emberank-") and (ours or name in _OF_ANYBODY):
                text = value.decode("latin-1")
                if name == b"emberank-prompt-tokens":
                    tokens = text
                elif name == b"emberank-provider-cost-usd":  # a bridge's: what the provider behind it takes
                    charged = text
                elif name == b"emberank-truncated":
                    if _PLACES.fullmatch(text):
                        truncated = text
                elif name != b"emberank-score":  # what the caller is told is in ours: it is asked for logits
                    headers[name.decode("latin-1")] = text
        counted = int(tokens) if tokens.isdecimal() and len(tokens) <= _MOST_DIGITS else _counted(run.parts[-1], answer)
        run.tokens += counted
        if counted:
            headers["emberank-prompt-tokens"] = str(run.tokens)
        took = timings(timing)
        if timing:
            headers["Server-Timing"] = timing if ours and len(run.parts) == 1 else _added(headers.get("Server-Timing", "") if len(run.parts) > 1 else "", took)
        # A server that does not say how long its model took is billed by the time it took to answer.
        model_ms = took.get("engine", run.piece_s * 1e3)
        run.model_ms += model_ms
        run.queue_ms += took.get("queue", 0.0)
        run.cost_usd += max(cost(model_ms, endpoint.price_usd_per_hour), charge(endpoint, counted or run.last_tokens), dollars(charged) if charged else 0.0)
        if truncated:
            _add_truncated(headers, run.last_start, truncated)
        self._say(run, headers)

    def _say(self, run: Run, headers: dict[str, str]) -> None:
        assert run.place is not None
        endpoint = run.place.endpoint
        headers["X-Emberank-Target"] = run.place.target
        headers["X-Emberank-Model"] = f"{endpoint.slug}@{endpoint.version}"
        headers["X-Emberank-Cold-Start-Ms"] = f"{run.cold_start_ms:.0f}"
        headers["X-Emberank-Queue-Ms"] = f"{run.queue_ms:.2f}"
        headers["X-Emberank-Model-Ms"] = f"{run.model_ms:.2f}"
        if run.cost_usd or (endpoint.price_usd_per_hour, endpoint.usd_per_request, endpoint.usd_per_million_tokens) != (None, None, None):
            headers["X-Emberank-Cost-USD"] = f"{run.cost_usd:.12f}".rstrip("0").rstrip(".")
        ignored = run.ask.asked.ignored
        if endpoint.dialect != "emberank":
            ignored = (*ignored, *outgoing.unsaid(run.last_call, endpoint))
        if ignored:
            headers["Emberank-Ignored-Fields"] = ignored_header(ignored)


def _add_truncated(headers: dict[str, str], start: int | None, text: str) -> None:
    """Passages that were cut, by their places in the whole request; of several queries' pairs how many."""
    before, cut = headers.get("emberank-truncated"), text.split(",")
    if start is None:
        many = "over " if cut[-1] == "..." or (before or "").startswith("over ") else ""
        known = int(before.removeprefix("over ").split()[0]) if before else 0
        headers["emberank-truncated"] = f"{many}{known + len(cut) - (cut[-1] == '...')} pairs"
        return
    places = ",".join(str(int(place) + start) if place.isdecimal() else place for place in cut)
    headers["emberank-truncated"] = f"{before},{places}" if before else places


def _added(before: str, took: dict[str, float]) -> str:
    """A Server-Timing of sums."""
    sums = timings(before)
    for name, ms in took.items():
        sums[name] = sums.get(name, 0.0) + ms
    return ", ".join(f"{name};dur={ms:.2f}" for name, ms in sums.items())


def cost(model_ms: float, price_usd_per_hour: float | None) -> float:
    """US dollars of so much of an hour; 0 where no price is known."""
    return model_ms / _MS_PER_HOUR * price_usd_per_hour if price_usd_per_hour else 0.0


def charge(endpoint: Endpoint, tokens: int) -> float:
    """US dollars that the endpoint's owner takes for one answer of so many tokens; 0 where nothing was said of that."""
    return (endpoint.usd_per_request or 0.0) + tokens * (endpoint.usd_per_million_tokens or 0.0) / 1e6


def dollars(header: str) -> float:
    """What a header of ours says in US dollars; 0 for what is no amount."""
    try:
        amount = float(header)
    except ValueError:
        return 0.0
    return amount if 0 <= amount < math.inf else 0.0


def timings(header: str) -> dict[str, float]:
    """Milliseconds by name in a Server-Timing header (https://www.w3.org/TR/server-timing/); what has none is left out."""
    found = {}
    for entry in header.split(","):
        name, has, rest = entry.partition(";dur=")
        if has:
            try:  # not contextlib.suppress, which takes longer than all else here
                ms = float(rest.partition(";")[0])
            except ValueError:
                continue
            if 0 <= ms < math.inf:
                found[name.partition(";")[0].strip()] = ms
    return found


def _counted(part: Part, answer: Answer) -> int:
    """The tokens that an answer says it read, which was read already where it is somebody else's."""
    return part.read.prompt_tokens if part.read is not None and part.read.prompt_tokens else tokens_in(answer.body)


def tokens_in(body: bytes) -> int:
    """The tokens in the `usage` of an answer, or where Cohere has them, for a server that has no header for them; 0 where it does not say."""
    try:
        said = orjson.loads(body)
    except ValueError:
        return 0
    for path in _TOKENS_AT:
        found = said
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, int | float) and not isinstance(found, bool) and 0 < found < 1e12:
            return int(found)
    return 0
