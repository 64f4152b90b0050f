"""The figures of one version on one target in, whether it works there out. Knows no other target, so it can be asked for every row of a snapshot.

The rule, first match wins:
1. no pool here can run it                                         → unavailable, with the offer's reason
2. the latest start failed, and nothing has succeeded since        → unavailable, with its reason
3. the latest three requests failed, and nothing succeeded since   → unavailable, with the latest reason
4. at least MIN_SAMPLES warm model times, of probes or of traffic  → works
5. something was measured, or a probe waits or runs                → awaiting probe
6. otherwise                                                       → not probed
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from emberank.contract.fleet import FailureReason, TargetStatus
from emberank.forge.figures import FAILED_IN_A_ROW, MIN_SAMPLES, RequestFigures, StartFigures, request_figures, start_figures
from emberank.forge.targets import Offer
from emberank.forge.windows import Windows

MeasuredBy: TypeAlias = Literal["probe", "traffic"]

SENTENCES: dict[FailureReason, str] = {
    "weights_unavailable": "its weights cannot be fetched",
    "weights_corrupt": "its weights are not the ones whose hash is known",
    "unsupported_architecture": "the runtime does not know its network",
    "golden_mismatch": "it runs, and its golden example came out wrong",
    "bad_setting": "the runtime refused its settings",
    "out_of_memory": "it does not fit into the memory there",
    "start_timeout": "it was not ready within the deadline of a start",
    "crashed": "it ended by itself",
    "unreachable": "it runs, as far as is known, and does not answer",
    "no_capacity": "no pool of that target has a free slot",
    "request_failed": "it answers requests with errors",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All figures of one version on one target. Probes and traffic are never put into one figure."""

    starts: StartFigures
    probe: RequestFigures
    traffic: RequestFigures

    @property
    def measured_by(self) -> MeasuredBy | None:
        """What the headline figures are of: probes if there are enough, else traffic if there is enough, else what there is."""
        if self.probe.enough:
            return "probe"
        if self.traffic.enough:
            return "traffic"
        both: tuple[tuple[MeasuredBy, RequestFigures], ...] = (("probe", self.probe), ("traffic", self.traffic))
        return next((by for by, figures in both if figures.model_ms.n), None) or next((by for by, figures in both if figures.runs), None)

    @property
    def headline(self) -> RequestFigures:
        """The figures `measured_by` names."""
        return self.traffic if self.measured_by == "traffic" else self.probe

    @property
    def runs(self) -> int:
        """Everything measured, starts included."""
        return self.starts.runs + self.probe.runs + self.traffic.runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A status, and for callers why it is not better."""

    status: TargetStatus
    reason: FailureReason | None = None
    message: str = ""


def measured_at(windows: Windows, slug: str, version: str, target: tuple[str, str]) -> Measured:
    """The figures of a version on a target; computed again only for series that have grown."""
    return Measured(
        starts=windows.of(slug, version, target, "start").derive(start_figures),
        probe=windows.of(slug, version, target, "probe").derive(request_figures),
        traffic=windows.of(slug, version, target, "traffic").derive(request_figures),
    )


def standing(offer: Offer, measured: Measured, *, probe_pending: bool) -> Standing:
    """Whether the version works there, by the rule above."""
    if not offer.runnable:
        return Standing(status="unavailable", message=offer.reason or f"no pool here provides {offer.target}")
    newest_ok = max(measured.starts.newest_ok, measured.probe.newest_ok, measured.traffic.newest_ok)
    start = measured.starts.failed_last
    if start is not None and start.number > newest_ok:
        return _failing("the latest start failed", start.reason)
    failed = sorted((*measured.probe.failed_since, *measured.traffic.failed_since), key=lambda failure: failure.number)
    failed = [failure for failure in failed if failure.number > newest_ok]
    if len(failed) >= FAILED_IN_A_ROW:
        return _failing(f"the latest {FAILED_IN_A_ROW} requests failed", failed[-1].reason)
    if measured.headline.enough:
        return Standing(status="works")
    if measured.runs or probe_pending:
        return Standing(status="awaiting probe", message=f"{measured.headline.model_ms.n} of {MIN_SAMPLES} runs measured")
    return Standing(status="not probed", message="nothing was measured here yet")


def _failing(what: str, reason: FailureReason | None) -> Standing:
    why = f": {SENTENCES[reason]}" if reason else ""
    return Standing(status="unavailable", reason=reason, message=what + why)
