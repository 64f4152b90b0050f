"""The fields of a form whose session had ended in, a cookie that keeps them out; and that cookie in, the fields out. Holds nothing secret and proves nothing.

The form comes back filled after the sign-in, whichever way that is, and is sent by its own button: nothing is done without one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

COOKIE = "emberank_draft"
PATH = "/account"
LASTS_S = 900
_MOST_BYTES = 3800  # of the cookie: browsers take 4096 with its name
_NAMES = ("name", "models", "monthly_usd", "monthly_tokens", "requests_per_minute", "expires_in_days")
_LONGEST = 1500  # characters of one field


def keep_draft(response: Response, typed: Mapping[str, Any], *, secure: bool) -> None:
    """Lay the fields aside in the browser; without the list of models, where that is too long for a cookie."""
    for left_out in ((), ("models",)):
        content = orjson.dumps({name: value for name, value in typed.items() if name not in left_out})
        text = base64.urlsafe_b64encode(content).decode("ascii")
        if len(text) <= _MOST_BYTES:
            response.set_cookie(COOKIE, text, LASTS_S, path=PATH, secure=secure, httponly=True, samesite="lax")
            return


def draft_of(request: Request) -> dict[str, Any] | None:
    """The fields that were laid aside, as a form may show them; None when there are none, or none that make sense."""
    given = request.cookies.get(COOKIE, "")
    if not given or len(given) > _MOST_BYTES:
        return None
    try:
        found = orjson.loads(base64.urlsafe_b64decode(given.encode("ascii", "replace")))
    except (ValueError, binascii.Error):
        return None
    if not isinstance(found, dict):
        return None
    scopes = found.get("scopes")
    typed: dict[str, Any] = {name: found[name][:_LONGEST] for name in _NAMES if isinstance(found.get(name), str)}
    return typed | {"scopes": tuple(one for one in scopes if isinstance(one, str)) if isinstance(scopes, list) else ()}


def drop_draft(response: Response, *, secure: bool) -> None:
    """It was shown: the form has it now."""
    response.delete_cookie(COOKIE, path=PATH, secure=secure, httponly=True, samesite="lax")
