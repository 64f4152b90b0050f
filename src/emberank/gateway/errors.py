"""What only a gateway refuses in, the errors of the one hierarchy out. Knows no transport.

EmberankError
├── RequestError
│   └── ModelNotFound
│       └── UnknownModel       404  no such model; as many known names as a person reads
└── ServerBusy
    └── NotReady
        ├── ForgeAway          503  the forge cannot be reached
        └── RemoteFault        502  somebody else's server does not answer, or not so that it could be used (503: it may, later)
"""

from __future__ import annotations

from collections.abc import Sequence

from emberank.contract.errors import ModelNotFound, NotReady

_SHOWN = 30


class UnknownModel(ModelNotFound):
    """404: no such model. A catalogue may hold thousands: some are named, the list is pointed to."""

    def __init__(self, name: str, known: Sequence[str], task: str = "") -> None:
        super().__init__(name, tuple(known[:_SHOWN]), task)
        if len(known) > _SHOWN:
            self.message += f" and {len(known) - _SHOWN} more; GET /v1/models lists them all"


class ForgeAway(NotReady):
    """503: the forge cannot be reached, so nothing can be started or looked up there."""


class RemoteFault(NotReady):
    """502 or 503: somebody else's server."""
