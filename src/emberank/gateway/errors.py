"""What only a gateway refuses in, the errors of the one hierarchy out. Knows no transport.

EmberankError
├── RequestError
│   ├── ModelNotFound
│   │   └── UnknownModel       404  no such model; as many known names as a person reads
│   └── TargetUnavailable      409  the model exists, and cannot run on the target that was asked for (503: on none)
└── ServerBusy
    ├── NotReady
    │   └── ForgeAway          503  the forge cannot be reached
    └── LimitExceeded          429  a limit of the key is used up; says which, and when there is room again
"""

from __future__ import annotations

from collections.abc import Sequence

from emberank.contract.errors import ModelNotFound, NotReady, RequestError, ServerBusy

_SHOWN = 30


class UnknownModel(ModelNotFound):
    """404: no such model. A catalogue may hold thousands: some are named, the list is pointed to."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, tuple(known[:_SHOWN]))
        if len(known) > _SHOWN:
            self.message += f" and {len(known) - _SHOWN} more; GET /v1/models lists them all"


class TargetUnavailable(RequestError):
    """409 (503 when nothing was pinned): the model is known, and nothing here can run it so."""

    status = 409
    type = "target_unavailable"


class LimitExceeded(ServerBusy):
    """429: the key has used up what it may."""

    status = 429
    type = "limit_exceeded"


class ForgeAway(NotReady):
    """503: the forge cannot be reached, so nothing can be started or looked up there."""
