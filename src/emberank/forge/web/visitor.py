"""A page's request in, who looks at it out: by session cookie only, never by an API key. Knows no page."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import Request

from emberank.contract.fleet import Principal
from emberank.forge.callers import ANONYMOUS
from emberank.forge.web.sessions import Sessions

COOKIE = "emberank_session"
_MOST_COOKIE = 128  # characters; a token has 43


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who looks at a page. `principal` is None for whoever is not signed in; `csrf` is what their forms must carry, empty without a session."""

    principal: Principal | None = None
    csrf: str = field(default="", repr=False)

    @property
    def signed_in(self) -> bool:
        """Whether there is a session, which can be ended."""
        return bool(self.csrf)


NOBODY = Visitor()
EVERYBODY = Visitor(principal=ANONYMOUS)


class Visitors:
    """Says who a request for a page comes from."""

    def __init__(self, sessions: Sessions, *, required: bool = True) -> None:
        self._sessions = sessions
        self._required = required  # False: the setting auth=none lets everybody do everything, and there are no sessions

    def of(self, request: Request, *, used: bool = True) -> Visitor:
        """Whoever is signed in by the request's cookie. Never raises: an ended session is nobody's. `used`: see Sessions.find."""
        if not self._required:
            return EVERYBODY
        found = self._sessions.find(token_of(request), used=used)
        return NOBODY if found is None else Visitor(principal=found.principal, csrf=found.csrf)


def token_of(request: Request) -> bytes:
    """The session token in the request's cookie; empty when there is none that could be one."""
    given = request.cookies.get(COOKIE, "")
    return given.encode("latin-1", "replace") if len(given) <= _MOST_COOKIE else b""
