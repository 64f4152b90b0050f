"""A version's targets and what was measured there in, the same in order of preference out. Asked for every model of a snapshot, so it measures little.

What is verified stands first, the fastest of what compares at its head; then what can run, in the order of the pools; then what failed; then what cannot.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from emberank.contract.fleet import TargetRow
from emberank.forge.catalog import Model, Version
from emberank.forge.costs import shown
from emberank.forge.reliability import ordered
from emberank.forge.standing import Measured, Standing, measured_at, standing
from emberank.forge.targets import Offer, Target
from emberank.forge.windows import Windows


def preferred(model: Model, version: Version, offers: Sequence[Offer], windows: Windows, pending: Collection[tuple[str, str]] = ()) -> tuple[TargetRow, ...]:
    """The targets, best first."""
    judged = []
    for offer in offers:
        measured = measured_at(windows, model.slug, version.name, offer.target)
        judged.append((offer, standing(offer, measured, probe_pending=offer.target in pending), measured))
    verified = _by_speed([(offer, measured) for offer, found, measured in judged if found.status == "works"])

    def place(one: tuple[Offer, Standing, Measured]) -> tuple[int, int]:
        offer, found, _ = one
        if found.status == "works":
            return 0, verified.index(offer.target)
        return (3 if not offer.runnable else 2 if found.status == "unavailable" else 1), 0

    return tuple(_row(offer, found) for offer, found, _ in sorted(judged, key=place))


def _by_speed(verified: Sequence[tuple[Offer, Measured]]) -> list[Target]:
    if len(verified) < 2:  # nothing to compare
        return [offer.target for offer, _ in verified]
    rows = ordered([_compared(offer, measured) for offer, measured in verified])
    return [Target(row["gpu_type"], row["region"]) for row in rows]


def _compared(offer: Offer, measured: Measured) -> dict[str, Any]:
    """As much of a row of the target table as its order depends on: a whole one takes ten times as long."""
    headline = measured.headline
    return {
        "gpu_type": offer.target.gpu_type,
        "region": offer.target.region,
        "status": "works",
        "measured_by": measured.measured_by,
        "payload_shape": headline.shape,
        "model_ms_p50": shown(headline.model_ms.p50.value),
        "tokens_per_s": shown(headline.tokens_per_s.value),
        "observed_success_rate_interval": headline.success.interval,
    }


def _row(offer: Offer, found: Standing) -> TargetRow:
    return TargetRow(
        gpu_type=offer.target.gpu_type,
        region=offer.target.region,
        status=found.status,
        runnable=offer.runnable,
        price_usd_per_hour=None if offer.price is None else offer.price.usd_per_hour,
        reason=found.message if found.status == "unavailable" else "",
    )
