"""What LiteLLM raised in, the error that our callers get out. Pure: LiteLLM's exceptions carry an HTTP status, and that is all that is read of them.

A caller's own mistake keeps its status and the provider's sentence. What is wrong between us and the provider (its key, its model, its health) is no caller's
mistake, and no reason to believe that this process fails: 502, with a sentence of ours; the provider's goes to the log.
"""

from __future__ import annotations

import re

from emberank.contract.errors import BadRequest, DeadlineExceeded, EmberankError, QueueFull, ServerFault

_MOST_SHOWN = 300
_THEIRS = (400, 413, 422)


class ProviderFault(ServerFault, status=502, type="bad_gateway"):
    """502: the provider did not answer as it should."""


def fault_of(cause: Exception, provider: str, secret: str) -> EmberankError:
    """For any exception of a LiteLLM call; `secret` is taken out of what is said."""
    name, status = type(cause).__name__, _status(cause)
    if name in ("Timeout", "TimeoutError") or status in (408, 504):
        return DeadlineExceeded(f"{provider} did not answer in time")
    if status == 429:
        return QueueFull(f"{provider} takes no more requests for the moment", retry_after_s=_retry_after_s(cause))
    if status in (401, 403):
        return ProviderFault(f"{provider} refuses the key that this server has for it")
    if status == 402:
        return ProviderFault(f"{provider} wants to be paid")
    if status == 404:
        return ProviderFault(f"{provider} knows no such model, or stands elsewhere")
    if status in _THEIRS or name in ("UnsupportedParamsError", "BadRequestError"):
        return BadRequest(f"{provider} refuses this: {said(cause, secret)}")
    return ProviderFault(f"{provider} cannot be asked for the moment")


def said(cause: Exception, secret: str) -> str:
    """The provider's own words in one line, without the key and without LiteLLM's names before them."""
    text = getattr(cause, "message", None) or str(cause)
    text = text.replace(secret, "[key]") if secret else text
    line = " ".join(re.sub(r"(litellm\.)?\w+(Error|Exception)\s*[:-]\s*", "", text).split())
    return line if len(line) <= _MOST_SHOWN else line[: _MOST_SHOWN - 1] + "…"


def _status(cause: Exception) -> int | None:
    status = getattr(cause, "status_code", None)
    return status if isinstance(status, int) else None


def _retry_after_s(cause: Exception) -> float:
    """As the provider asks, else a second: a 429 without an end would not be tried again."""
    headers = getattr(getattr(cause, "response", None), "headers", None) or {}
    try:
        seconds = float(headers.get("retry-after", "1"))
    except (AttributeError, TypeError, ValueError):
        return 1.0
    return min(max(seconds, 0.0), 3600.0)
