"""A request's headers in, who calls out, and what they may do. From memory; knows no route.

The fleet token is the operator's: who can read the data folder may do everything, and only they reach the internal routes.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from emberank.contract.errors import Forbidden, LimitExceeded, NotFound
from emberank.contract.fleet import SCOPES, Principal, Scope
from emberank.forge.keys import Keys, rights_of
from emberank.forge.rights import Rights
from emberank.serving.amounts import counted, written_out
from emberank.serving.credentials import key_of

ANONYMOUS = Principal(key_id="anonymous", name="anonymous", digest="", scopes=SCOPES)
OPERATOR = Principal(key_id="operator", name="operator", digest="", scopes=SCOPES)
ADMIN = Principal(key_id="admin", name="admin", digest="", scopes=SCOPES)  # whoever opened a sign-in link of the terminal, in the pages only
_MOST_BUCKETS = 100_000


@dataclass(slots=True)
class _Bucket:
    """Requests of one key that may come at once; it fills up evenly, to a minute's worth at most."""

    room: float
    filled_at: float


class Callers:
    """Says who sends a request. `required` False lets everybody in, as the setting auth=none says."""

    def __init__(self, keys: Keys, fleet_token: str, *, required: bool, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._fleet_token = fleet_token.encode("latin-1", "replace")
        self._required = required
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def identify(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal:
        """Who sends this. Raises Unauthorized, and LimitExceeded for a key that asks too often."""
        key = key_of(headers)
        if self.is_fleet(key):
            return OPERATOR
        if not self._required:
            return ANONYMOUS
        principal = self._keys.verify(key)
        self.count(principal)
        return principal

    @property
    def required(self) -> bool:
        """Whether keys are asked for at all."""
        return self._required

    def count(self, principal: Principal) -> None:
        """One call more of a principal. Raises LimitExceeded for one that asks too often."""
        if principal.requests_per_minute is not None:
            self._take(principal, principal.requests_per_minute)

    def is_fleet(self, key: bytes) -> bool:
        """Whether that is the fleet's token."""
        return bool(self._fleet_token) and hmac.compare_digest(key, self._fleet_token)

    def require_fleet(self, headers: Iterable[tuple[bytes, bytes]], path: str) -> None:
        """Raises NotFound for everybody but a gateway of this fleet: to others these routes do not exist."""
        if not self.is_fleet(key_of(headers)):
            raise NotFound(missing(path))

    def _take(self, principal: Principal, per_minute: int) -> None:
        """The gateways count inference, each for itself; this counts calls of the control plane."""
        now, rate = self._clock(), per_minute / 60
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets.clear()
        bucket = self._buckets.setdefault(principal.key_id, _Bucket(per_minute, now))
        bucket.room = min(per_minute, bucket.room + (now - bucket.filled_at) * rate)
        bucket.filled_at = now
        if bucket.room < 1:
            raise LimitExceeded(f"the key '{principal.name}' may send {counted(per_minute, 'request')} a minute", retry_after_s=(1 - bucket.room) / rate)
        bucket.room -= 1


def missing(path: str) -> str:
    """The sentence about a path that leads nowhere."""
    return f"no route {path[:200]!r}; GET /openapi.json lists the routes"


def check_scope(caller: Principal, *scopes: Scope) -> None:
    """Raises Forbidden when the key has none of these scopes."""
    if not set(scopes) & set(caller.scopes):
        needed = " or ".join(f"'{scope}'" for scope in scopes)
        raise Forbidden(f"this call needs a key with the scope {needed}; the key '{caller.name}' has: {', '.join(caller.scopes)}")


def check_model(caller: Principal, slug: str) -> None:
    """Raises Forbidden when the key is for other models."""
    if caller.models and slug not in caller.models:
        raise Forbidden(f"the key '{caller.name}' may not use the model '{slug}'; it may use: {', '.join(caller.models[:30])}")


def check_grant(caller: Principal, rights: Rights) -> None:
    """Raises Forbidden when a key would get rights that its maker has not."""
    beyond = [scope for scope in rights.scopes if scope not in caller.scopes]
    if beyond:
        raise Forbidden(f"the key '{caller.name}' has not the scope '{beyond[0]}' itself, so it cannot give it; it has: {', '.join(caller.scopes)}")
    if caller.models and (not rights.models or not set(rights.models) <= set(caller.models)):
        raise Forbidden(f"the key '{caller.name}' can give no other models than its own: {', '.join(caller.models[:30])}")


def check_budget(caller: Principal, keys: Keys) -> None:
    """Raises LimitExceeded when a key's month is used up: a start costs money too."""
    if caller in (ANONYMOUS, OPERATOR, ADMIN):
        return
    rights, (usd, tokens) = rights_of(keys.get(caller.key_id)), keys.spent(caller.key_id)
    spent: Mapping[str, tuple[float | None, float]] = {"USD": (rights.monthly_usd, usd), "tokens": (rights.monthly_tokens, tokens)}
    for unit, (most, used) in spent.items():
        if most is not None and used >= most:
            sentence = f"the key '{caller.name}' has used up its monthly budget of {written_out(most)} {unit} ({written_out(used)} spent); have it raised, or wait for the next month (UTC)"
            raise LimitExceeded(sentence, retry_after_s=3600)
