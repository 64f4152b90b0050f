"""A sign-in in, a token for a cookie out; that token in, who is behind it out, from memory. Keeps no token, only its keyed hash. Knows no HTTP.

The hash is HMAC-SHA256 over `session:` and the token, and sessions are looked up in a table of their own: a token is never an API key, nor a key a token.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from emberank.contract.errors import EmberankError, ServerFault
from emberank.contract.fleet import Principal
from emberank.forge.callers import ADMIN
from emberank.forge.keys import Keys, is_person
from emberank.forge.shielded import shielded
from emberank.forge.store import Store
from emberank.forge.store.sessions import StoredSession
from emberank.forge.stored import Stored

log = logging.getLogger(__name__)

TOKEN_BYTES = 32
MOST_EACH = 20  # sessions of one principal: the one that was used longest ago makes room
_FLUSH_EVERY_S = 60.0
_MOST_NOTED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasting:
    """How long a session lasts: without a request, and at most."""

    idle_s: float
    max_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One that is in force: who is behind it, and what its forms must carry."""

    principal: Principal
    csrf: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """One that is in force, for whose it is. Times are Unix times; `here`: it is the one that asks."""

    began_s: float
    seen_s: float
    here: bool


class Sessions:
    """All web sessions of this installation."""

    def __init__(self, stored: Stored, keys: Keys, lasting: Lasting, wall_s: Callable[[], float]) -> None:
        self._stored = stored
        self._keys = keys
        self._hash_key = bytes.fromhex(keys.secret)
        self._lasting = lasting
        self._wall_s = wall_s
        self._sessions: dict[str, StoredSession] = {}  # by digest
        self._seen: dict[str, float] = {}  # not written down yet
        self._gone: set[str] = set()  # not deleted yet
        self._key_gone: OrderedDict[str, str] = OrderedDict()  # of sessions whose key was void, by digest: in words
        self._flushed_s = wall_s()

    async def load(self) -> None:
        """Read what an earlier forge has left. To be called once, before anything else."""
        for session in await self._stored(lambda store: store.sessions.all()):
            self._sessions[session.digest] = session

    async def begin(self, key_id: str) -> str:
        """A new session of a key, or of the local admin; its token, which is nowhere else."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        now_s = self._wall_s()
        session = StoredSession(
            digest=self._digest(token.encode("ascii")),
            key_id=key_id,
            csrf=secrets.token_urlsafe(TOKEN_BYTES),
            created_at_s=now_s,
            seen_at_s=now_s,
            expires_at_s=now_s + self._lasting.max_s,
        )

        async def keep() -> None:
            if not await self._stored(lambda store: store.sessions.add(session)):
                raise ServerFault()  # two equal tokens of 256 random bits
            self._make_room(key_id)
            self._sessions[session.digest] = session

        await shielded(keep())
        return token

    def find(self, token: bytes, *, used: bool = True) -> Session | None:
        """The session of a token; None when there is none, or none any more. It is `used` by this unless a page that is merely open asks."""
        if not token:
            return None
        digest = self._digest(token)
        found = self._sessions.get(digest)
        # Looked up by a keyed hash: the time of that tells nothing of a token that is nearly right.
        if found is None or not hmac.compare_digest(found.digest, digest):
            return None
        principal = self._principal(found)
        if principal is None:
            self._note_key(found)
            self._drop(digest)
            return None
        now_s = self._wall_s()
        if used and now_s > found.seen_at_s:
            self._sessions[digest] = replace(found, seen_at_s=now_s)
            self._seen[digest] = now_s
        return Session(principal=principal, csrf=found.csrf)

    async def end(self, token: bytes) -> None:
        """The token opens nothing from here on, whatever the store says."""
        digest = self._digest(token)
        if digest in self._sessions:
            self._drop(digest)
            await self.flush(now=True)

    def of(self, key_id: str, token: bytes) -> tuple[OpenSession, ...]:
        """All that one's sessions in force, the one that `token` is of first and then the latest used."""
        digest = self._digest(token)
        own = [session for session in self._sessions.values() if session.key_id == key_id and self._principal(session) is not None]
        found = [OpenSession(began_s=one.created_at_s, seen_s=one.seen_at_s, here=one.digest == digest) for one in own]
        return tuple(sorted(found, key=lambda one: (not one.here, -one.seen_s)))

    def key_gone(self, token: bytes) -> str:
        """What has become of the key that this token's session began with, in words, if that has ended it and is remembered; else empty."""
        return self._key_gone.get(self._digest(token), "") if token else ""

    async def end_all(self, key_id: str) -> None:
        """All of that one's sessions open nothing from here on."""
        for digest in [digest for digest, session in self._sessions.items() if session.key_id == key_id]:
            self._drop(digest)
        await self.flush(now=True)

    async def flush(self, *, now: bool = False) -> None:
        """Delete what has ended and write down what was used, once a minute; `now`: at once. What cannot be written now is written at the next time."""
        now_s = self._wall_s()
        if not now and 0 <= now_s - self._flushed_s < _FLUSH_EVERY_S:
            return
        self._flushed_s = now_s
        for digest, session in [(digest, session) for digest, session in self._sessions.items() if self._principal(session) is None]:
            self._note_key(session)
            self._drop(digest)
        if self._gone or self._seen:
            await shielded(self._write())

    async def _write(self) -> None:
        gone, self._gone = self._gone, set()
        seen, self._seen = self._seen, {}

        def write(store: Store) -> None:
            store.sessions.remove(sorted(gone))
            store.sessions.seen(seen)

        try:
            await self._stored(write)
        except EmberankError as error:
            self._gone |= gone
            self._seen = seen | self._seen
            log.warning("web sessions were not written: %s", error.message, extra={"action": "sessions_failed"})

    def _principal(self, session: StoredSession) -> Principal | None:
        """Who is behind it, while it and its key are in force."""
        ends_s = min(session.expires_at_s, session.created_at_s + self._lasting.max_s, session.seen_at_s + self._lasting.idle_s)
        if self._wall_s() >= ends_s:
            return None
        return ADMIN if session.key_id == ADMIN.key_id else self._keys.principal(session.key_id)

    def _make_room(self, key_id: str) -> None:
        own = sorted((session for session in self._sessions.values() if session.key_id == key_id), key=lambda session: session.seen_at_s)
        for session in own[: max(0, len(own) - MOST_EACH + 1)]:
            self._drop(session.digest)

    def _note_key(self, session: StoredSession) -> None:
        """Remember of a session that ends why it does, if that is its key: whoever comes back with it is told."""
        key = self._keys.found(session.key_id)
        if key is not None and not is_person(key) and not self._keys.is_in_force(key):
            self._key_gone[session.digest] = f"the key “{key.name}” {'has expired' if key.revoked_at_s is None else 'was revoked'}"
            while len(self._key_gone) > _MOST_NOTED:
                self._key_gone.popitem(last=False)

    def _drop(self, digest: str) -> None:
        self._sessions.pop(digest, None)
        self._seen.pop(digest, None)
        self._gone.add(digest)

    def _digest(self, token: bytes) -> str:
        return hmac.digest(self._hash_key, b"session:" + token, "sha256").hex()
