"""Gateways' load reports in, what is in flight at an endpoint out. Knows no deployment and no clock.

A gateway that has not reported for a while no longer counts: it was killed, and what it had in flight went with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from emberank.contract.fleet import LoadReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What all gateways together have at one endpoint: being answered there, or held for it."""

    in_flight: int = 0


@dataclass(slots=True)
class _Gateway:
    at: float
    in_flight: dict[str, int] = field(default_factory=dict)


class Loads:
    """The last report of each gateway."""

    def __init__(self, silent_after_s: float) -> None:
        self._silent_after_s = silent_after_s
        self._gateways: dict[str, _Gateway] = {}

    def take(self, report: LoadReport, now: float) -> dict[str, float]:
        """Remember a report; returns, for each endpoint in it, when it was last used (monotonic seconds)."""
        self._gateways[report.gateway_id] = _Gateway(now, {load.endpoint_id: load.in_flight for load in report.loads if load.in_flight > 0})
        self._gateways = {name: gateway for name, gateway in self._gateways.items() if self._counts(gateway, now)}
        return {load.endpoint_id: now if load.in_flight > 0 else now - max(0.0, load.idle_s) for load in report.loads}

    def of(self, endpoint_id: str, now: float) -> Load:
        """What is in flight at an endpoint."""
        return Load(in_flight=sum(gateway.in_flight.get(endpoint_id, 0) for gateway in self._gateways.values() if self._counts(gateway, now)))

    def _counts(self, gateway: _Gateway, now: float) -> bool:
        return now - gateway.at < self._silent_after_s
