"""The contract of every launcher: a launch in, a running endpoint out, and later what is to be seen of it. Knows no phase, no policy and no clock.

`start` runs on a thread of its own and may take its time. The other four are called on the event loop, often: none may take longer than reading
a small file. A process that is not the one that was started is never signalled, whatever its number is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from emberank.contract.fleet import EndpointDialect, FailureReason
from emberank.forge.catalog import Model, Version
from emberank.forge.samples import WeightsFrom
from emberank.forge.targets import Pool

# starting: not yet · ready: it answers · ended: it is over, and it is known why · gone: nothing is there, and nobody knows more
State: TypeAlias = Literal["starting", "ready", "ended", "gone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What shall be started, and where. `devices` is what of the pool it may use."""

    id: str  # of the endpoint: letters, digits and hyphens
    model: Model
    version: Version
    pool: Pool
    devices: tuple[str, ...] = ()

    @property
    def settings(self) -> Mapping[str, str]:
        """Runtime settings: the pool's, with the version's on top."""
        return {**self.pool.settings, **self.version.settings}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """How an endpoint is spoken to and what it charges; the fields are contract/fleet.py's Endpoint's. As it stands: a runtime of ours."""

    dialect: EndpointDialect = "emberank"
    path: str = ""
    score: Literal["logit", "sigmoid"] = "logit"
    max_passages: int | None = None
    timeout_s: float | None = None
    usd_per_request: float | None = None
    usd_per_million_tokens: float | None = None


OURS = Wire()


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An endpoint as its launcher knows it. All of it but `secret`, `wire` and `has_health` is written down, and given to `adopt` by another process later."""

    id: str
    launcher: str
    url: str = ""  # http://host:port; empty until it is ready
    served_name: str = ""
    secret: str = field(default="", repr=False)
    secret_env: str = ""  # the variable that `secret` was read from
    pid: int | None = None  # None also while the process is being made
    pid_created_at: float | None = None  # seconds after boot: with the pid it names one process, whatever the wall clock does
    log_file: str = ""
    status_file: str = ""
    devices: tuple[str, ...] = ()
    wire: Wire = OURS
    has_health: bool = True  # whether it may be asked on /v1/health/ready: a server that charges for every request is not asked for its health


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What can be seen of an endpoint now. `step`, `done` and `total` (bytes) are of a start; `reason` and `message` of an end."""

    state: State
    step: str = ""
    done: int | None = None
    total: int | None = None
    url: str = ""
    reason: FailureReason | None = None
    message: str = ""  # for callers: no path
    peak_memory_bytes: int | None = None
    weights_from: WeightsFrom = "unknown"

    @property
    def over(self) -> bool:
        """Whether nothing is there any more."""
        return self.state in ("ended", "gone")


class Launcher(Protocol):
    """Starts endpoints of one kind. Of one endpoint, calls come one at a time."""

    def start(self, launch: Launch) -> Running:
        """Start it, without waiting for it to be ready. Raises OSError or StartError when nothing was started."""
        ...

    def look(self, running: Running) -> Observed:
        """What is to be seen of it. After it said `ended` once it may say `gone`."""
        ...

    def stop(self, running: Running) -> None:
        """Ask it to finish what it has and end. Nothing happens to one that has ended."""
        ...

    def kill(self, running: Running) -> None:
        """End it now. Nothing happens to one that has ended."""
        ...

    def adopt(self, saved: Running) -> Running | None:
        """Take over what an earlier process started; None when it is no longer there."""
        ...


class LauncherBuilder(Protocol):
    """What the registry holds."""

    def __call__(self, folder: Path) -> Launcher:
        """A launcher that keeps its files in the data folder."""
        ...
