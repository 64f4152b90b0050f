"""A version's targets and what was measured there in, the same in order of preference out. Asked for every model of a snapshot, so it measures little.

What is verified stands first, the fastest of what compares at its head; then what can run, in the order of the pools; then what failed; then what cannot.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from emberank.contract.fleet import TargetRow
from emberank.forge.catalog import Model, Version
from emberank.forge.reliability import ordered, row_of
from emberank.forge.standing import Standing, measured_at, standing
from emberank.forge.targets import Offer, Target
from emberank.forge.windows import Windows


def preferred(model: Model, version: Version, offers: Sequence[Offer], windows: Windows, pending: Collection[tuple[str, str]] = ()) -> tuple[TargetRow, ...]:
    """The targets, best first."""
    judged = [(offer, _standing(model, version, offer, windows, pending)) for offer in offers]
    verified = _by_speed(model, version, [offer for offer, found in judged if found.status == "works"], windows)

    def place(one: tuple[Offer, Standing]) -> tuple[int, int]:
        offer, found = one
        if found.status == "works":
            return 0, verified.index(offer.target)
        return (3 if not offer.runnable else 2 if found.status == "unavailable" else 1), 0

    return tuple(_row(offer, found) for offer, found in sorted(judged, key=place))


def _standing(model: Model, version: Version, offer: Offer, windows: Windows, pending: Collection[tuple[str, str]]) -> Standing:
    measured = measured_at(windows, model.slug, version.name, offer.target)
    return standing(offer, measured, probe_pending=offer.target in pending)


def _by_speed(model: Model, version: Version, offers: Sequence[Offer], windows: Windows) -> list[Target]:
    if len(offers) < 2:  # nothing to compare, and nothing to compute
        return [offer.target for offer in offers]
    rows = ordered([row_of(model, version, offer, windows, now_s=0.0) for offer in offers])
    return [Target(row["gpu_type"], row["region"]) for row in rows]


def _row(offer: Offer, found: Standing) -> TargetRow:
    return TargetRow(
        gpu_type=offer.target.gpu_type,
        region=offer.target.region,
        status=found.status,
        runnable=offer.runnable,
        price_usd_per_hour=None if offer.price is None else offer.price.usd_per_hour,
        reason=found.message if found.status == "unavailable" else "",
    )
