"""A failure in, a status, a type and a public sentence out. Knows no dialect and no transport.

EmberankError
├── RequestError                  the caller can mend it
│   ├── BadRequest           400  the body, a field or a header is wrong
│   ├── InputTooLong         400  over the model's token limit with truncate=NONE (422 as a setting)
│   ├── Unauthorized         401  no key, or one that is unknown, revoked or expired
│   ├── Forbidden            403  the key is good, and may not do this
│   ├── NotFound             404  no such route
│   ├── ModelNotFound        404  no such model here; the message lists what is served
│   ├── MethodNotAllowed     405  the route exists, the method does not
│   ├── TargetUnavailable    409  the model exists, and cannot run on the target that was asked for (503: on none)
│   ├── RequestTimeout       408  the client did not finish sending in time
│   └── PayloadTooLarge      413  the body is over the limit
├── ServerBusy                    trying again later is right
│   ├── QueueFull            429  the queue is at its bound (503 as a setting), with Retry-After
│   ├── LimitExceeded        429  a limit of the key is used up; says which, and when there is room again
│   ├── NotReady             503  loading, draining or unhealthy
│   └── DeadlineExceeded     504  the request's own deadline passed before its answer was there
├── ServerFault              500  our mistake; the cause goes to the log only
└── StartError                    the process cannot start; one clear line on the terminal, exit status 2
    ├── SettingError              a setting has a value that cannot be
    ├── WeightsError              files missing or not to be had
    │   └── WeightsCorrupt        files truncated, corrupt or with another hash
    ├── UnknownArchitecture       a checkpoint of a network that is not known here
    └── GoldenMismatch            the model loaded, and its golden example came out wrong

The public sentence (`message`) is for the caller: never a stack trace, a secret or a path of the server. The private cause is
the exception's `__cause__` and goes to the log.
"""

from __future__ import annotations

from typing import ClassVar


class EmberankError(Exception):
    """The root. `message` is public; `status` is an HTTP status; `retry_after_s` is in seconds or None."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "internal_server_error"

    def __init__(self, message: str, *, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self.http_status = self.status if status is None else status


class RequestError(EmberankError):
    """The caller sent something that cannot be answered, and the message says what would be right."""

    status = 400
    type = "invalid_request_error"


class BadRequest(RequestError):
    """400: the body, a field or a header is wrong."""


class InputTooLong(RequestError):
    """400 (or 422): an input is longer than the model takes and truncate is NONE.

    The wording is NVIDIA's, to the letter: Elasticsearch and other clients search for it.
    """

    def __init__(self, length: int, limit: int, *, status: int | None = None) -> None:
        super().__init__(f"Input length {length} exceeds maximum allowed token size {limit}", status=status)


class Unauthorized(RequestError):
    """401: no key, or one that is unknown, revoked or expired."""

    status = 401
    type = "authentication_error"


class Forbidden(RequestError):
    """403: the key is good, and may not do this."""

    status = 403
    type = "permission_error"


class NotFound(RequestError):
    """404: no such route."""

    status = 404
    type = "not_found_error"


class ModelNotFound(RequestError):
    """404: the model is not served here. The wording is the retrieval NIM's; every served name is listed."""

    status = 404
    type = "not_found_error"

    def __init__(self, name: str, available: tuple[str, ...]) -> None:
        # A name is the caller's text: cut it, so that an error cannot be made to carry megabytes back.
        shown = name if len(name) <= 200 else name[:200] + "…"
        listed = ", ".join(f"'{model}'" for model in available) or "none for this route"
        super().__init__(f"model '{shown}' not found; available: {listed}")


class MethodNotAllowed(RequestError):
    """405: the route exists, the method does not."""

    status = 405
    type = "method_not_allowed"


class TargetUnavailable(RequestError):
    """409 (503 when nothing was pinned): the model is known, and nothing here can run it so."""

    status = 409
    type = "target_unavailable"


class RequestTimeout(RequestError):
    """408: the client did not finish sending its request in time."""

    status = 408
    type = "request_timeout"


class PayloadTooLarge(RequestError):
    """413: the body is over the limit."""

    status = 413
    type = "payload_too_large"


class ServerBusy(EmberankError):
    """Trying again later is right; `retry_after_s` says when."""

    status = 503
    type = "service_unavailable"


class QueueFull(ServerBusy):
    """429 (or 503): the queue is at its bound."""

    status = 429
    type = "rate_limit_exceeded"


class LimitExceeded(ServerBusy):
    """429: the key has used up what it may."""

    status = 429
    type = "limit_exceeded"


class NotReady(ServerBusy):
    """503: loading, draining or unhealthy."""


class DeadlineExceeded(ServerBusy):
    """504: the request's deadline passed before its answer was there; its remaining work was dropped."""

    status = 504
    type = "deadline_exceeded"


class ServerFault(EmberankError):
    """500: our mistake. The message is a fixed sentence; the cause is logged with the request id."""

    def __init__(self, message: str = "internal error; the cause is in the server's log under this request id") -> None:
        super().__init__(message)


class StartError(EmberankError):
    """The process cannot start. Its message is one line for the person at the terminal, so it may name local paths."""

    reason: ClassVar[str] = "crashed"  # in fleet.FailureReason's words


class SettingError(StartError):
    """A setting has a value that cannot be."""

    reason = "bad_setting"


class WeightsError(StartError):
    """Weights are missing or cannot be had."""

    reason = "weights_unavailable"


class WeightsCorrupt(WeightsError):
    """Weights are truncated, corrupt, or not the ones whose hash was asked for."""

    reason = "weights_corrupt"


class UnknownArchitecture(StartError):
    """The checkpoint's network is not known here. Code that ships with a checkpoint is never run."""

    reason = "unsupported_architecture"


class GoldenMismatch(StartError):
    """The model loaded and ran, and its golden example came out wrong."""

    reason = "golden_mismatch"
