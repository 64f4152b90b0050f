"""A deployment, its load and the time in, what to do with it out: every decision of the life cycle, as pure functions. Does nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from emberank.contract.fleet import FailureReason
from emberank.forge.deployments import Deployment, Progress, StopReason, move
from emberank.forge.launchers.base import Observed
from emberank.forge.loads import Load

# start: begin a start · stop: begin to drain (of a failed one: forget it) · terminate: ask the endpoint to end · kill: end it
# give_up: the start has taken too long · wait: nothing to do
Action: TypeAlias = Literal["start", "stop", "terminate", "kill", "give_up", "wait"]
FETCHING = "fetching"  # the step of a start whose length is the network's, not the model's
# A further start would end in the same way: it is made when somebody asks for it, not by itself.
LASTING: frozenset[FailureReason] = frozenset({"weights_corrupt", "unsupported_architecture", "golden_mismatch", "bad_setting"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the life cycle goes by. Seconds."""

    idle_after_s: float = 900.0  # after its last request an endpoint stays warm so long; a version may have its own
    start_timeout_s: float = 600.0  # a start that is not ready by then is given up; fetching does not count
    stall_s: float = 120.0  # fetching may go on as long as bytes move: this long without is too long
    notice_s: float = 1.0  # between the news that an endpoint drains and its being asked to end: gateways route away
    stop_timeout_s: float = 35.0  # how long an endpoint may drain before it is killed
    backoff_first_s: float = 1.0
    backoff_most_s: float = 300.0
    stable_after_s: float = 60.0  # warm for so long, earlier failures are forgotten
    evict_idle: bool = True  # a start that does not fit may stop the longest-idle endpoints
    evict_after_s: float = 2.0  # but none that was used or became warm so recently: a request for it may be on its way
    silent_after_s: float = 60.0  # a gateway that did not report for so long no longer counts
    health_every_s: float = 5.0
    health_timeout_s: float = 2.0
    health_failures: int = 3  # in a row: it is unreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do, and why."""

    action: Action
    why: StopReason = "idle"  # of a stop
    message: str = ""  # of a start that is given up


WAIT = Decision(action="wait")
START = Decision(action="start")
IDLE = Decision(action="stop", why="idle")
TERMINATE = Decision(action="terminate")
KILL = Decision(action="kill")


def decide(deployment: Deployment, load: Load, now: float, policy: Policy) -> Decision:
    """What is to be done with a deployment now."""
    if deployment.phase == "DRAINING":
        return _draining(deployment, now, policy)
    if deployment.phase == "COLD":
        return START if deployment.wanted or deployment.keep_warm else WAIT
    if deployment.stopping:
        return Decision(action="stop", why=deployment.stopping)
    if deployment.phase == "STARTING":
        return _starting(deployment, now, policy)
    if deployment.phase == "FAILED":
        return _failed(deployment, load, now, policy)
    is_idle = idle_s(deployment, load, now) >= policy.idle_after_s and not deployment.keep_warm
    return IDLE if is_idle else WAIT


def idle_s(deployment: Deployment, load: Load, now: float) -> float:
    """How long nobody has needed it; 0 while something is in flight or held. A fresh endpoint's idle time begins when it becomes warm."""
    return 0.0 if load.in_flight else now - max(deployment.last_used, deployment.since)


def _draining(deployment: Deployment, now: float, policy: Policy) -> Decision:
    # Nobody was told of an endpoint without a URL: there is nobody to give notice to.
    notice_s = policy.notice_s if deployment.endpoint and deployment.endpoint.url else 0.0
    drained_s = now - deployment.since - notice_s
    if drained_s < 0:
        return WAIT
    if drained_s >= policy.stop_timeout_s:
        return KILL
    return WAIT if deployment.told else TERMINATE


def _starting(deployment: Deployment, now: float, policy: Policy) -> Decision:
    progress = deployment.progress
    if progress and progress.step == FETCHING and progress.done is not None:
        if now - progress.moved_at < policy.stall_s:
            return WAIT
        return Decision(action="give_up", message=f"fetching its weights brought nothing for {policy.stall_s:.0f} s")
    began = progress.counts_from if progress else deployment.since if deployment.started_at is None else deployment.started_at
    if now - began < policy.start_timeout_s:
        return WAIT
    where = f"; its last step was {progress.step!r}" if progress and progress.step else ""
    return Decision(action="give_up", message=f"it was not ready within {policy.start_timeout_s:.0f} s{where}")


def _failed(deployment: Deployment, load: Load, now: float, policy: Policy) -> Decision:
    needed = deployment.keep_warm or load.in_flight > 0 or (deployment.wanted and now - deployment.last_used < policy.idle_after_s)
    if deployment.retry_at is not None and now < deployment.retry_at:
        return WAIT
    if needed and deployment.reason not in LASTING:
        return START
    forgotten = now - max(deployment.since, deployment.last_used) >= policy.idle_after_s and not deployment.keep_warm
    return IDLE if forgotten else WAIT


def backoff_s(failures: int, jitter: float, policy: Policy) -> float:
    """How long to wait after so many failures in a row: doubling, and up to a quarter longer by `jitter` (0..1), so that not all come back at once."""
    doubled = policy.backoff_first_s * 2.0 ** min(max(failures, 1) - 1, 60)
    return min(doubled * (1.0 + jitter / 4.0), policy.backoff_most_s)


def failed(deployment: Deployment, reason: FailureReason, message: str, now: float, jitter: float, policy: Policy) -> Deployment:
    """The deployment after a failure, with the time of the next try.

    One that was warm and had not failed before may be started at once: the requests that were in flight there wait for it.
    """
    failures = deployment.failures + 1
    wait_s = 0.0 if deployment.phase == "WARM" and not deployment.failures else backoff_s(failures, jitter, policy)
    return move(deployment, "FAILED", now, reason=reason, message=message, failures=failures, retry_at=now + wait_s, memory_bytes=0)


def progressed(deployment: Deployment, observed: Observed, now: float) -> Deployment:
    """The deployment with the progress that was observed. Its deadline counts anew from the end of fetching."""
    old = deployment.progress
    began = deployment.since if deployment.started_at is None else deployment.started_at
    counts_from = old.counts_from if old else began
    if old and old.step == FETCHING and observed.step != FETCHING:
        counts_from = now
    if old and (old.step, old.done, old.total) == (observed.step, observed.done, observed.total):
        return deployment
    # Bytes are counted file by file: fewer than before is the next file. A new total alone is not progress.
    moved_at = now if old is None or (old.step, old.done) != (observed.step, observed.done) else old.moved_at
    progress = Progress(step=observed.step, done=observed.done, total=observed.total, moved_at=moved_at, counts_from=counts_from)
    return replace(deployment, progress=progress)


def steadied(deployment: Deployment, now: float, policy: Policy) -> Deployment:
    """The deployment without its earlier failures, once it has been warm for long enough."""
    if deployment.phase == "WARM" and deployment.failures and now - deployment.since >= policy.stable_after_s:
        return replace(deployment, failures=0)
    return deployment
