"""A session lasts as long as it is used, its key is in force, and no longer than it may; its token is nowhere."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from emberank.contract.errors import NotReady, Unauthorized
from emberank.contract.fleet import SCOPES
from emberank.forge.callers import ADMIN
from emberank.forge.keys import Keys
from emberank.forge.rights import Rights
from emberank.forge.store import Store, open_store
from emberank.forge.web.sessions import MOST_EACH, Lasting, Sessions
from emberank.forge.web.signin.links import LASTS_S, MOST, Links, link_at
from emberank.forge.web.signin.tries import MOST as MOST_TRIES
from emberank.forge.web.signin.tries import MOST_ADDRESSES, WINDOW_S, Tries

T = TypeVar("T")
SECRET = "5e" * 32
IDLE_S, MAX_S = 100.0, 1000.0


class Desk:
    """Sessions over a real store, a clock that is moved by hand, and a store that can be made to refuse."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now_s = 1_800_000_000.0
        self.away = False
        self.keys = Keys(self.stored, SECRET, lambda: self.now_s)
        self.sessions = self.again()

    async def stored(self, call: Callable[[Store], T]) -> T:
        if self.away:
            raise NotReady("the database is too slow at the moment")
        return call(self.store)

    def again(self, idle_s: float = IDLE_S) -> Sessions:
        """As after a restart, before `load`."""
        return Sessions(self.stored, self.keys, Lasting(idle_s=idle_s, max_s=MAX_S), lambda: self.now_s)

    def found(self, token: str) -> Any:
        session = self.sessions.find(token.encode())
        return None if session is None else session.principal.name


def played(folder: Path, act: Callable[[Desk], Awaitable[None]]) -> None:
    async def play() -> None:
        with open_store(folder / "forge.db") as store:
            await act(Desk(store))

    asyncio.run(play())


def test_a_session_says_who_began_it_and_has_a_secret_of_its_own(tmp_path: Path) -> None:
    async def act(desk: Desk) -> None:
        _, key = await desk.keys.create(Rights(name="ann", scopes=("read",), models=("minilm",)))
        one, other = await desk.sessions.begin(key.key_id), await desk.sessions.begin(ADMIN.key_id)
        first, second = desk.sessions.find(one.encode()), desk.sessions.find(other.encode())
        assert first is not None
        assert second is not None
        assert (first.principal.name, first.principal.scopes, first.principal.models) == ("ann", ("read",), ("minilm",))
        assert (second.principal.name, second.principal.scopes) == ("admin", SCOPES)
        assert len({one, other, first.csrf, second.csrf}) == 4
        assert min(map(len, (one, other, first.csrf, second.csrf))) >= 43  # 32 bytes

    played(tmp_path, act)


def test_neither_a_token_nor_what_a_key_is_kept_by_opens_a_session_of_somebody_else(tmp_path: Path) -> None:
    async def act(desk: Desk) -> None:
        text, key = await desk.keys.create(Rights(name="ann", scopes=SCOPES))
        token = await desk.sessions.begin(key.key_id)
        for wrong in ("", text, key.key_id, key.digest, token[:-1], token + "x", desk.store.sessions.all()[0].digest, "session:" + token, "é" * 43):
            assert desk.found(wrong) is None, wrong

    played(tmp_path, act)


def test_a_sessions_token_is_no_key_and_a_key_is_no_sessions_token(tmp_path: Path) -> None:
    async def act(desk: Desk) -> None:
        text, key = await desk.keys.create(Rights(name="ann", scopes=SCOPES))
        token = await desk.sessions.begin(key.key_id)
        for wrong in (token, f"session:{token}"):
            with pytest.raises(Unauthorized):
                desk.keys.verify(wrong.encode())
        assert desk.found(text) is None
        assert desk.store.sessions.all()[0].digest == hmac.digest(bytes.fromhex(SECRET), b"session:" + token.encode(), "sha256").hex()

    played(tmp_path, act)


def test_the_token_is_kept_nowhere_and_shown_by_no_repr(tmp_path: Path) -> None:
    async def act(desk: Desk) -> None:
        token = await desk.sessions.begin(ADMIN.key_id)
        (kept,) = desk.store.sessions.all()
        found = desk.sessions.find(token.encode())
        assert found is not None
        for secret in (token, kept.digest, kept.csrf):
            assert secret not in f"{kept!r} {found!r}"
        assert token not in "".join(str(getattr(kept, name)) for name in kept.__slots__)

    played(tmp_path, act)


def test_it_ends_when_it_is_not_used_and_each_use_prolongs_it(tmp_path: Path) -> None:
    async def act(desk: Desk) -> None:
        token = await desk.sessions.begin(ADMIN.key_id)
        for _ in range(3):
            desk.now_s += IDLE_S - 1
            assert desk.found(token) == "admin"
        desk.now_s += IDLE_S
        assert desk.found(token) is None

    played(tmp_path, act)


def test_it_ends_after_its_longest_time_however_much_it_is_used(tmp_path: Path) -> None:
    async def act(desk: Desk) -> None:
        token = await desk.sessions.begin(ADMIN.key_id)
        for _ in range(19):
            desk.now_s += 50.0
            assert desk.found(token) == "admin"
        desk.now_s += 50.0
        assert desk.found(token) is None

    played(tmp_path, act)


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_it_dies_with_the_key_behind_it(tmp_path: Path, how: str) -> None:
    async def act(desk: Desk) -> None:
        _, key = await desk.keys.create(Rights(name="ann", scopes=SCOPES, expires_at_s=desk.now_s + 50))
        token = await desk.sessions.begin(key.key_id)
        assert desk.found(token) == "ann"
        if how == "revoked":
            await desk.keys.revoke(key.key_id)
        else:
            desk.now_s += 50.0
        assert desk.found(token) is None
        await desk.sessions.flush(now=True)
        assert desk.store.sessions.all() == []

    played(tmp_path, act)


def test_a_key_whose_rights_are_changed_has_the_new_ones_in_its_sessions(tmp_path: Path) -> None:
    async def act(desk: Desk) -> None:
        _, key = await desk.keys.create(Rights(name="ann", scopes=SCOPES))
        token = await desk.sessions.begin(key.key_id)
        await desk.keys.change(key.key_id, Rights(name="ann", scopes=("read",)))
        found = desk.sessions.find(token.encode())
        assert found is not None
        assert found.principal.scopes == ("read",)

    played(tmp_path, act)


def test_it_outlives_the_forge_with_its_use_and_is_bound_by_a_setting_that_got_stricter(tmp_path: Path) -> None:
    async def act(desk: Desk) -> None:
        token = await desk.sessions.begin(ADMIN.key_id)
        desk.now_s += 90.0
        assert desk.found(token) == "admin"
        await desk.sessions.flush(now=True)
        desk.sessions = desk.again()
        assert desk.found(token) is None
        await desk.sessions.load()
        desk.now_s += 90.0
        assert desk.found(token) == "admin"
        desk.sessions = desk.again(idle_s=10.0)
        await desk.sessions.load()
        assert desk.found(token) is None

    played(tmp_path, act)


def test_one_that_was_ended_opens_nothing_and_is_deleted_others_go_on(tmp_path: Path) -> None:
    async def act(desk: Desk) -> None:
        one, other = await desk.sessions.begin(ADMIN.key_id), await desk.sessions.begin(ADMIN.key_id)
        await desk.sessions.end(one.encode())
        await desk.sessions.end(b"unknown")
        assert (desk.found(one), desk.found(other)) == (None, "admin")
        assert len(desk.store.sessions.all()) == 1

    played(tmp_path, act)


def test_one_that_was_ended_while_the_store_was_away_is_deleted_later(tmp_path: Path) -> None:
    async def act(desk: Desk) -> None:
        token = await desk.sessions.begin(ADMIN.key_id)
        desk.away = True
        await desk.sessions.end(token.encode())
        assert desk.found(token) is None
        desk.away = False
        assert len(desk.store.sessions.all()) == 1
        await desk.sessions.flush(now=True)
        assert desk.store.sessions.all() == []

    played(tmp_path, act)


def test_one_that_cannot_be_kept_is_not_begun(tmp_path: Path) -> None:
    async def act(desk: Desk) -> None:
        desk.away = True
        with pytest.raises(NotReady):
            await desk.sessions.begin(ADMIN.key_id)
        desk.away = False
        desk.sessions = desk.again()
        await desk.sessions.load()
        assert desk.store.sessions.all() == []

    played(tmp_path, act)


def test_expired_ones_are_deleted_once_a_minute_though_nobody_asks_for_them(tmp_path: Path) -> None:
    async def act(desk: Desk) -> None:
        await desk.sessions.begin(ADMIN.key_id)
        desk.now_s += 59.0
        token = await desk.sessions.begin(ADMIN.key_id)
        desk.now_s += IDLE_S - 59.0
        await desk.sessions.flush()
        assert [one.created_at_s for one in desk.store.sessions.all()] == [desk.now_s - IDLE_S + 59.0]
        desk.now_s += 59.0
        await desk.sessions.flush()  # less than a minute after the last time
        assert len(desk.store.sessions.all()) == 1
        desk.now_s += 1.0
        await desk.sessions.flush()
        assert desk.store.sessions.all() == []
        assert desk.found(token) is None

    played(tmp_path, act)


def test_one_principal_has_so_many_and_the_one_that_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    async def act(desk: Desk) -> None:
        _, key = await desk.keys.create(Rights(name="ann", scopes=SCOPES))
        apart = await desk.sessions.begin(key.key_id)
        tokens = []
        for _ in range(MOST_EACH):
            desk.now_s += 1.0
            tokens.append(await desk.sessions.begin(ADMIN.key_id))
        desk.now_s += 1.0
        assert desk.found(tokens[0]) == "admin"
        await desk.sessions.begin(ADMIN.key_id)
        assert [desk.found(token) for token in tokens] == ["admin", None, *["admin"] * (MOST_EACH - 2)]
        assert desk.found(apart) == "ann"

    played(tmp_path, act)


def test_a_link_opens_once_within_its_time() -> None:
    now = 0.0
    links = Links(lambda: now)
    one, late = links.new(), links.new()
    assert [links.is_open(one), links.is_open(one)] == [True, True]
    assert [take(links, one), take(links, one)] == [True, False]
    assert not links.is_open(one)
    now = LASTS_S
    assert [links.is_open(late), take(links, late)] == [False, False]
    assert [take(links, ""), take(links, "\ud800")] == [False, False]


def test_a_link_whose_sign_in_fails_opens_again_and_one_that_never_opened_does_not() -> None:
    links = Links(lambda: 0.0)
    token = links.new()
    for given in (token, "no link"):
        with pytest.raises(NotReady):
            fail_with(links, given)
    assert [links.is_open(token), links.is_open("no link")] == [True, False]
    assert take(links, token)


def fail_with(links: Links, token: str) -> None:
    with links.taken(token):
        assert not links.is_open(token)
        raise NotReady("the database is too slow at the moment")


def take(links: Links, token: str) -> bool:
    with links.taken(token) as opens:
        return opens


def test_so_many_links_are_open_and_the_oldest_makes_room() -> None:
    links = Links(lambda: 0.0)
    tokens = [links.new() for _ in range(MOST + 1)]
    assert [links.is_open(token) for token in tokens] == [False, *[True] * MOST]
    assert link_at("http://h:1/", tokens[1]) == f"http://h:1/signin?token={tokens[1]}"


def test_an_address_tries_so_often_a_minute() -> None:
    now = 0.0
    tries = Tries(lambda: now)
    assert [tries.count("192.0.2.1") for _ in range(MOST_TRIES)] == [0.0] * MOST_TRIES
    now = 20.0
    assert tries.count("192.0.2.1") == WINDOW_S - 20.0
    assert tries.count("192.0.2.2") == 0.0
    now = WINDOW_S
    assert tries.count("192.0.2.1") == 0.0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("no address", "", True),
    ],
)
def test_addresses_that_one_machine_may_have_are_counted_together(one: str, other: str, same: bool) -> None:
    tries = Tries(lambda: 0.0)
    for _ in range(MOST_TRIES):
        tries.count(one)
    assert (tries.count(other) > 0) is same


def test_the_table_of_addresses_is_bounded() -> None:
    tries = Tries(lambda: 0.0)
    for number in range(MOST_ADDRESSES + 5):
        tries.count(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(tries._windows) == MOST_ADDRESSES
