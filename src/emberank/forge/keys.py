"""Rights in, a key shown once and its record out; a key in, its principal out, from memory. Keeps no key, only its keyed hash. Knows no HTTP."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace

from emberank.contract.errors import BadRequest, EmberankError, Forbidden, NotFound, ServerFault, SettingError, Unauthorized
from emberank.contract.fleet import SCOPES, Principal, UsageRecord
from emberank.forge.rights import Rights
from emberank.forge.shielded import shielded
from emberank.forge.store import Store
from emberank.forge.store.audit import AuditEntry
from emberank.forge.store.keys import StoredKey
from emberank.forge.store.rollup import Spent, by_month, month_of
from emberank.forge.stored import Stored

log = logging.getLogger(__name__)

PLACEHOLDER = "replace-with-your-forge-api-key"
LEAST_CHARACTERS = 16  # of a key that the operator sets; a made one has 32 random bytes
MOST_KEYS = 10_000  # in force
_TOLD_AFTER_END_S = 30 * 86_400.0  # for so long a gateway can say "was revoked" instead of "is not known"
_FLUSH_EVERY_S = 60.0
_GIVEN = "given-"  # the ids of keys that a setting gave
PERSON = "person-"  # the ids of people, who sign in and have no key
_MONTHS_HELD = 3
_HOW = "send `Authorization: Bearer $FORGE_API_KEY`; `emberank key create` makes keys"
NOTHING = Spent(0.0, 0)


class Keys:
    """All keys of this installation. `changed` is called whenever what a gateway must know of them did."""

    def __init__(self, stored: Stored, key_secret: str, wall_s: Callable[[], float], changed: Callable[[], None] = lambda: None) -> None:
        self.secret = key_secret  # hex: gateways hash with it
        self._hash_key = bytes.fromhex(key_secret)
        self._stored = stored
        self._wall_s = wall_s
        self.changed = changed
        self._keys: dict[str, StoredKey] = {}
        self._by_digest: dict[str, str] = {}
        self._spent: dict[str, dict[str, Spent]] = defaultdict(dict)  # month → key id → sums
        self._used: dict[str, float] = {}  # not written down yet
        self._flushed_s = wall_s()
        self._greeting = asyncio.Lock()

    async def load(self) -> None:
        """Read everything. To be called once, before anything else."""
        month = month_of(self._wall_s())
        for key in await self._stored(lambda store: store.keys.all()):
            self._put(key)
        self._spent[month] = await self._stored(lambda store: store.usage.month(month))

    # Whose a key is.

    def verify(self, key: bytes) -> Principal:
        """Who a key stands for. Raises Unauthorized, which says what to do."""
        if not key:
            raise Unauthorized(f"this call needs an API key: {_HOW}")
        if key == PLACEHOLDER.encode():
            raise Unauthorized(f"the API key is the placeholder '{PLACEHOLDER}': put a real key in its place; {_HOW}")
        digest = self._digest(key)
        found = self._keys.get(self._by_digest.get(digest, ""))
        # Looked up by a keyed hash: the time of that tells nothing of a key that is nearly right.
        if found is None or not hmac.compare_digest(found.digest, digest):
            raise Unauthorized(
                "the API key is not known here: check that it was copied whole and belongs to this server; `emberank key create` makes a new one"
            )
        if found.revoked_at_s is not None:
            raise Unauthorized(f"the API key '{found.name}' was revoked: use the one that took its place, or have a new one made")
        now_s = self._wall_s()
        if found.expires_at_s is not None and found.expires_at_s <= now_s:
            raise Unauthorized(f"the API key '{found.name}' has expired: have a new one made")
        self.used([(found.key_id, 0.0)])
        return self._principal(found, month_of(now_s))

    def principal(self, key_id: str) -> Principal | None:
        """Who the key of that id stands for, while it is in force."""
        found = self._keys.get(key_id)
        return self._principal(found, month_of(self._wall_s())) if found is not None and self.is_in_force(found) else None

    def principals(self) -> tuple[Principal, ...]:
        """Every key a gateway should know, in order of age. What a key without a monthly limit has spent is left out: no gateway needs it."""
        now_s = self._wall_s()
        month = month_of(now_s)
        return tuple(self._principal(key, month) for key in self._keys.values() if _ended_s(key, now_s) < _TOLD_AFTER_END_S)

    def all(self) -> tuple[StoredKey, ...]:
        """Every key, ended ones too, oldest first."""
        return tuple(self._keys.values())

    def found(self, key_id: str) -> StoredKey | None:
        """One by its id, if there is one."""
        return self._keys.get(key_id)

    def get(self, key_id: str) -> StoredKey:
        """One by its id. Raises NotFound."""
        found = self.found(key_id)
        if found is None:
            raise NotFound(f"there is no key {key_id[:80]!r}; GET /v1/keys lists them")
        return found

    def is_in_force(self, key: StoredKey) -> bool:
        """Whether it opens anything now."""
        return key.revoked_at_s is None and (key.expires_at_s is None or key.expires_at_s > self._wall_s())

    def spent(self, key_id: str) -> Spent:
        """What it has used in this month (UTC)."""
        return self._spent.get(month_of(self._wall_s()), {}).get(key_id, NOTHING)

    # What may happen to one.

    async def create(self, rights: Rights, *, by: str = "", rotated_from: str | None = None) -> tuple[str, StoredKey]:
        """A new key, and its record. The key is nowhere else, and cannot be shown again. `by` is who asked, for the audit."""
        text, key = self._make(rights, rotated_from)
        await shielded(self._add(key, by))
        return text, key

    async def change(self, key_id: str, rights: Rights, *, by: str = "") -> StoredKey:
        """Other rights for the same key. Raises NotFound, and BadRequest for one that is void."""
        if not self.is_in_force(self.get(key_id)):
            raise BadRequest(f"the key {key_id!r} is void; make a new one")

        async def keep() -> StoredKey:
            new = replace(self.get(key_id), **asdict(rights))
            await self._stored(lambda store: self._audited(store, store.keys.change(new), by, "key.change", key_id))
            return self._put(new)

        return await shielded(keep())

    async def revoke(self, key_id: str, *, by: str = "") -> StoredKey:
        """Void it for ever; doing so twice does no harm. Raises NotFound."""
        at_s = self._wall_s()
        found = self.get(key_id)
        # In memory first: whatever the store says, the key opens nothing from here on.
        gone = self._put(found if found.revoked_at_s is not None else replace(found, revoked_at_s=at_s))
        await shielded(self._stored(lambda store: self._audited(store, store.keys.revoke(key_id, at_s), by, "key.revoke", key_id)))
        return gone

    async def rotate(self, key_id: str, overlap_s: float = 0.0, *, by: str = "") -> tuple[str, StoredKey]:
        """A new key with the same rights; the old one works on for `overlap_s`. Raises NotFound, and BadRequest for one that is void."""
        old = self.get(key_id)
        if is_person(old):
            raise BadRequest(f"{key_id!r} is a person, who has no key: make one instead")
        if not self.is_in_force(old):
            raise BadRequest(f"the key {key_id!r} is void: make a new one instead")
        text, key = self._make(rights_of(old), key_id)

        async def keep() -> None:
            ends_s = self._wall_s() + overlap_s
            done = await self._stored(lambda store: self._audited(store, store.keys.rotate(key_id, key, ends_s), by, "key.rotate", key_id))
            if not done:
                raise BadRequest(f"the key {key_id!r} is void: make a new one instead")
            now = self.get(key_id)
            self._put(replace(now, expires_at_s=ends_s if now.expires_at_s is None else min(now.expires_at_s, ends_s)))
            self._put(key)

        await shielded(keep())
        return text, key

    async def first_admin(self, given: str) -> str | None:
        """See to it that there is an admin key. `given` is the one that the operator sets; without it one is made if there is none, and returned: once.

        Raises SettingError for a given key that anybody could guess.
        """
        if given:
            await self._take_given(check_given(given))
            return None
        if any(set(key.scopes) == set(SCOPES) and not key.models and self.is_in_force(key) and not is_person(key) for key in self._keys.values()):
            return None
        text, _ = await self.create(Rights(name="first admin key", scopes=SCOPES), by="setting")
        return text

    # People, who sign in with a provider. Their rows are as keys' are, so that rights, budgets and usage are, and no key is behind one.

    def known(self, identity: Sequence[str]) -> StoredKey | None:
        """The person with that identity: whatever tells one from all others, their provider first."""
        return self._keys.get(self._by_digest.get(self._person_digest(identity), ""))

    async def greet(self, identity: Sequence[str], rights: Rights) -> StoredKey:
        """A person who has signed in, with the rights that the provider's word gives from now on. Raises Forbidden for one who was barred."""
        async with self._greeting:  # of two first times at once one makes the row
            found = self.known(identity)
            if found is None:
                digest = self._person_digest(identity)
                found = StoredKey(key_id=self._free_id(PERSON), digest=digest, created_at_s=self._wall_s(), **asdict(rights))
                self._check_room()
                await shielded(self._add(found, found.key_id, "person.create"))
            elif not self.is_in_force(found):
                raise Forbidden(f"{found.name!r} was barred from this installation. Whoever runs it can let you in again, on the account page")
            else:
                # What somebody here has limited beside that stays.
                now = replace(rights_of(found), name=rights.name, scopes=rights.scopes, monthly_usd=rights.monthly_usd)
                found = found if now == rights_of(found) else await self.change(found.key_id, now, by=found.key_id)
        self.used([(found.key_id, 0.0)])
        return self.get(found.key_id)

    async def allow(self, key_id: str, *, by: str = "") -> StoredKey:
        """Let a barred person in again. Raises NotFound, and BadRequest for a key: what is revoked stays so."""
        if not is_person(self.get(key_id)):
            raise BadRequest(f"the key {key_id!r} is void for ever; make a new one")

        async def keep() -> StoredKey:
            await self._stored(lambda store: self._audited(store, store.keys.allow(key_id), by, "person.allow", key_id))
            return self._put(replace(self.get(key_id), revoked_at_s=None, expires_at_s=None))

        return await shielded(keep())

    # What comes from the gateways.

    def spend(self, records: Sequence[UsageRecord]) -> None:
        """Count usage that is kept by now."""
        limited = False
        for (month, key_id), more in by_month(records).items():
            usd, tokens = self._spent[month].get(key_id, NOTHING)
            self._spent[month][key_id] = Spent(usd + more.usd, tokens + more.tokens)
            key = self._keys.get(key_id)
            limited = limited or (key is not None and _is_limited(key))
        for month in sorted(self._spent)[:-_MONTHS_HELD]:
            del self._spent[month]
        if limited:
            self.changed()

    def used(self, ages_s: Iterable[tuple[str, float]]) -> None:
        """Which keys were used how long ago."""
        now_s = self._wall_s()
        for key_id, age_s in ages_s:
            key = self._keys.get(key_id)
            at_s = now_s - max(0.0, age_s)
            if key is not None and (key.last_used_at_s is None or key.last_used_at_s < at_s):
                self._keys[key_id] = replace(key, last_used_at_s=at_s)
                self._used[key_id] = at_s

    async def flush(self, *, now: bool = False) -> None:
        """Write down when keys were last used, once a minute; `now`: at once. What cannot be written now is written at the next time."""
        now_s = self._wall_s()
        if not self._used or (not now and 0 <= now_s - self._flushed_s < _FLUSH_EVERY_S):
            return
        used, self._used, self._flushed_s = self._used, {}, now_s
        try:
            await self._stored(lambda store: store.keys.used(used))
        except EmberankError as error:
            self._used = used | self._used
            log.warning("when keys were last used was not written: %s", error.message, extra={"action": "last_used_failed"})

    def _make(self, rights: Rights, rotated_from: str | None) -> tuple[str, StoredKey]:
        self._check_room()
        key_id = self._free_id("")
        random = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode("ascii")
        text = f"ember_{key_id}_{random}"
        return text, StoredKey(key_id=key_id, digest=self._digest(text.encode()), created_at_s=self._wall_s(), rotated_from=rotated_from, **asdict(rights))

    def _check_room(self) -> None:
        if sum(map(self.is_in_force, self._keys.values())) >= MOST_KEYS:
            raise BadRequest(f"there are {MOST_KEYS} keys in force, which is the most: revoke those that nobody uses")

    def _free_id(self, prefix: str) -> str:
        while (key_id := prefix + secrets.token_hex(4)) in self._keys:
            pass
        return key_id

    async def _add(self, key: StoredKey, by: str, action: str = "key.create") -> None:
        if not await self._stored(lambda store: self._audited(store, store.keys.add(key), by, action, key.key_id)):
            raise ServerFault()  # two equal ids of 32 random bits, or equal hashes: not seen in a lifetime
        self._put(key)

    async def _take_given(self, given: str) -> None:
        digest = self._digest(given.encode())
        for key in self.all():
            if key.key_id.startswith(_GIVEN) and key.digest != digest and key.revoked_at_s is None:
                await self.revoke(key.key_id, by="setting")  # the setting names another one now
        known = self._keys.get(self._by_digest.get(digest, ""))
        if known is None:
            rights = Rights(name="EMBERANK_API_KEY", scopes=SCOPES)
            await self._add(StoredKey(key_id=_GIVEN + digest[:8], digest=digest, created_at_s=self._wall_s(), **asdict(rights)), "setting")
        elif not self.is_in_force(known):
            log.warning("EMBERANK_API_KEY is a key that was revoked or has expired: it opens nothing", extra={"action": "given_key_void", "key": known.key_id})

    def _put(self, key: StoredKey) -> StoredKey:
        self._keys[key.key_id] = key
        self._by_digest[key.digest] = key.key_id
        self.changed()
        return key

    def _digest(self, key: bytes) -> str:
        return hmac.digest(self._hash_key, key, "sha256").hex()

    def _person_digest(self, identity: Sequence[str]) -> str:
        """Never that of a key, which is hex all through."""
        return PERSON + self._digest(json.dumps(["person", *identity]).encode())

    def _principal(self, key: StoredKey, month: str) -> Principal:
        usd, tokens = self._spent.get(month, {}).get(key.key_id, NOTHING) if _is_limited(key) else NOTHING
        return Principal(
            key_id=key.key_id,
            digest=key.digest,
            revoked=key.revoked_at_s is not None,
            month=month if _is_limited(key) else "",
            spent_usd=usd,
            spent_tokens=tokens,
            **asdict(rights_of(key)),
        )

    def _audited(self, store: Store, done: bool, by: str, action: str, key_id: str) -> bool:
        """Write down what was done. It is done all the same when that fails."""
        if done:
            try:
                store.audit.add(AuditEntry(at_s=self._wall_s(), key_id=by, action=action, subject=key_id))
            except EmberankError as error:
                log.warning("the audit was not written: %s", error.message, extra={"action": "audit_failed", "did": action, "subject": key_id})
        return done


def rights_of(key: StoredKey) -> Rights:
    """What a key may do and spend."""
    return Rights(**{name: getattr(key, name) for name in Rights.__slots__})


def is_person(key: StoredKey) -> bool:
    """Whether it is somebody who signs in, and no key."""
    return key.key_id.startswith(PERSON)


def check_given(given: str) -> str:
    """A key that the operator sets, if it will do. Raises SettingError."""
    if given == PLACEHOLDER:
        raise SettingError(f"EMBERANK_API_KEY is the placeholder {PLACEHOLDER!r}: set a secret of your own, or leave it out and one is made")
    if len(given) < LEAST_CHARACTERS or not given.isascii() or not given.isprintable() or " " in given:
        raise SettingError(f"EMBERANK_API_KEY must have at least {LEAST_CHARACTERS} characters, without blanks; `openssl rand -hex 32` makes a good one")
    return given


def _is_limited(key: StoredKey) -> bool:
    return key.monthly_usd is not None or key.monthly_tokens is not None


def _ended_s(key: StoredKey, now_s: float) -> float:
    """For how long it has opened nothing; below 0 while it does."""
    ends = [at_s for at_s in (key.revoked_at_s, key.expires_at_s) if at_s is not None]
    return now_s - min(ends) if ends else float("-inf")
