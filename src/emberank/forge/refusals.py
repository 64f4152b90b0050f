"""What only a forge refuses in, the errors of the one hierarchy out. Knows no route.

EmberankError
├── RequestError
│   └── TargetUnavailable   409  the model exists, and cannot run where it was asked for (503: nowhere here)
└── ServerBusy
    └── LimitExceeded       429  a limit of the key is used up; says which, and when there is room again
"""

from __future__ import annotations

from emberank.contract.errors import RequestError, ServerBusy


class TargetUnavailable(RequestError):
    """409 (503 when nothing was pinned): the model is known, and nothing here can run it so."""

    status = 409
    type = "target_unavailable"


class LimitExceeded(ServerBusy):
    """429: the key has used up what it may."""

    status = 429
    type = "limit_exceeded"
