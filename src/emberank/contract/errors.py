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

_OTHERWISE = {"rank": "; it is a reranker: ask it on /v1/ranking, /rerank or /score", "embed": "; it is an embedder: ask it on /v1/embeddings or /embed"}


class EmberankError(Exception):
    """The root. `message` is public; `status` is an HTTP status; `retry_after_s` is in seconds or None."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "internal_server_error"

    def __init_subclass__(cls, *, status: int | None = None, type: str = "") -> None:
        """A kind of error is its parent's status and type, unless it says its own."""
        cls.status = cls.status if status is None else status
        cls.type = type or cls.type

    def __init__(self, message: str, *, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self.http_status = self.status if status is None else status


class RequestError(EmberankError, status=400, type="invalid_request_error"):
    """The caller sent something that cannot be answered, and the message says what would be right."""


class BadRequest(RequestError):
    """400: the body, a field or a header is wrong."""


class InputTooLong(RequestError):
    """400 (or 422): an input is longer than the model takes and truncate is NONE.

    The wording is NVIDIA's, to the letter: Elasticsearch and other clients search for it. `more` stands behind it.
    """

    def __init__(self, length: int, limit: int, *, status: int | None = None, more: str = "") -> None:
        super().__init__(f"Input length {length} exceeds maximum allowed token size {limit}{more}", status=status)


class Unauthorized(RequestError, status=401, type="authentication_error"):
    """401: no key, or one that is unknown, revoked or expired."""


class Forbidden(RequestError, status=403, type="permission_error"):
    """403: the key is good, and may not do this."""


class NotFound(RequestError, status=404, type="not_found_error"):
    """404: no such route."""


class ModelNotFound(RequestError, status=404, type="not_found_error"):
    """404: the model is not served here, or not for this (`task` is then what it does). The wording is the retrieval NIM's; every served name is listed."""

    def __init__(self, name: str, available: tuple[str, ...], task: str = "") -> None:
        # A name is the caller's text: cut it, so that an error cannot be made to carry megabytes back.
        shown = name if len(name) <= 200 else name[:200] + "…"
        listed = ", ".join(f"'{model}'" for model in available) or "none for this route"
        super().__init__(f"model '{shown}' not found; available: {listed}" + _OTHERWISE.get(task, ""))


class MethodNotAllowed(RequestError, status=405, type="method_not_allowed"):
    """405: the route exists, the method does not."""


class TargetUnavailable(RequestError, status=409, type="target_unavailable"):
    """409 (503 when nothing was pinned): the model is known, and nothing here can run it so."""


class RequestTimeout(RequestError, status=408, type="request_timeout"):
    """408: the client did not finish sending its request in time."""


class PayloadTooLarge(RequestError, status=413, type="payload_too_large"):
    """413: the body is over the limit."""


class ServerBusy(EmberankError, status=503, type="service_unavailable"):
    """Trying again later is right; `retry_after_s` says when."""


class QueueFull(ServerBusy, status=429, type="rate_limit_exceeded"):
    """429 (or 503): the queue is at its bound."""


class LimitExceeded(ServerBusy, status=429, type="limit_exceeded"):
    """429: the key has used up what it may."""


class NotReady(ServerBusy):
    """503: loading, draining or unhealthy."""


class DeadlineExceeded(ServerBusy, status=504, type="deadline_exceeded"):
    """504: the request's deadline passed before its answer was there; its remaining work was dropped."""


class ServerFault(EmberankError):
    """500: our mistake. The message is a fixed sentence; the cause is logged with the request id."""

    def __init__(self, message: str = "internal error; the cause is in the server's log under this request id") -> None:
        super().__init__(message)


class StartError(EmberankError):
    """The process cannot start. Its message is one line for the person at the terminal, so it may name local paths."""

    reason: ClassVar[str] = "crashed"  # in fleet.FailureReason's words

    def __init_subclass__(cls, *, reason: str = "") -> None:
        """Its parent's reason, unless it says its own."""
        super().__init_subclass__()
        cls.reason = reason or cls.reason


class SettingError(StartError, reason="bad_setting"):
    """A setting has a value that cannot be."""


class WeightsError(StartError, reason="weights_unavailable"):
    """Weights are missing or cannot be had."""


class WeightsCorrupt(WeightsError, reason="weights_corrupt"):
    """Weights are truncated, corrupt, or not the ones whose hash was asked for."""


class UnknownArchitecture(StartError, reason="unsupported_architecture"):
    """The checkpoint's network is not known here. Code that ships with a checkpoint is never run."""


class GoldenMismatch(StartError, reason="golden_mismatch"):
    """The model loaded and ran, and its golden example came out wrong."""
