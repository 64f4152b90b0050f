"""Keys: made, shown once, known by their hash, ended, and what they have spent."""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from emberank.contract.errors import BadRequest, NotFound, NotReady, SettingError, Unauthorized
from emberank.contract.fleet import SCOPES
from emberank.forge.keys import PLACEHOLDER, Keys, check_given
from emberank.forge.rights import Rights
from emberank.forge.store import Store, open_store
from emberank.forge.store.rollup import Spent
from emberank.forge.stored import Stored
from stores import DAY_S, NOON_S, record

T = TypeVar("T")
SECRET = "ab" * 32
READER = Rights(name="reader", scopes=("read",))


class Desk:
    """Keys on a real store; a clock that stands still; `broken` is raised by every call to the store, `late` after it was made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = open_store(folder / "keys.db")
        self.now_s = NOON_S
        self.broken: Exception | None = None
        self.late: Exception | None = None
        self.calls = 0
        self.changes = 0
        self.keys = self.opened()

    def opened(self) -> Keys:
        """As after a restart."""

        def changed() -> None:
            self.changes += 1

        keys = Keys(self.stored(), SECRET, lambda: self.now_s, changed)
        asyncio.run(keys.load())
        return keys

    def stored(self) -> Stored:
        async def ask(call: Callable[[Store], T], /) -> T:
            self.calls += 1
            if self.broken is not None:
                raise self.broken
            await asyncio.sleep(0)
            found = call(self.store)
            if self.late is not None:
                raise self.late
            return found

        return ask

    def create(self, rights: Rights = READER, **more: Any) -> tuple[str, str]:
        text, key = asyncio.run(self.keys.create(rights, **more))
        return text, key.key_id


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.store.close()


def run(work: Awaitable[T]) -> T:
    async def wait() -> T:
        return await work

    return asyncio.run(wait())


def test_a_key_is_random_carries_its_id_and_is_kept_as_a_keyed_hash_only(desk: Desk) -> None:
    texts = [desk.create()[0] for _ in range(3)]
    assert len(set(texts)) == 3
    text, key_id = desk.create()
    assert re.fullmatch(r"ember_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", text)
    assert text.split("_")[1] == key_id
    kept = desk.store.keys.get(key_id)
    assert kept is not None
    assert kept.digest == hmac.digest(bytes.fromhex(SECRET), text.encode(), "sha256").hex()
    assert text not in repr(kept) + repr(desk.keys.get(key_id)) + repr(desk.keys.verify(text.encode()))
    assert text.encode() not in b"".join(file.read_bytes() for file in desk.folder.iterdir())


def test_a_key_says_who_it_stands_for_without_asking_the_store(desk: Desk) -> None:
    rights = Rights(name="search", scopes=("inference",), models=("a",), requests_per_minute=5, concurrency=2, monthly_usd=1.5, monthly_tokens=9)
    text, key_id = desk.create(rights)
    calls = desk.calls
    principal = desk.keys.verify(text.encode())
    assert desk.calls == calls
    assert (principal.key_id, principal.name, principal.scopes, principal.models) == (key_id, "search", ("inference",), ("a",))
    assert (principal.requests_per_minute, principal.concurrency, principal.monthly_usd, principal.monthly_tokens) == (5, 2, 1.5, 9)


@pytest.mark.parametrize(
    ("key", "says"), [(b"", "needs an API key"), (PLACEHOLDER.encode(), "placeholder"), (b"ember_00000000_x", "not known"), (b"\xff\x00", "not known")]
)
def test_what_is_no_key_is_refused_with_what_to_do(desk: Desk, key: bytes, says: str) -> None:
    with pytest.raises(Unauthorized, match=says) as refused:
        desk.keys.verify(key)
    assert "emberank key" in refused.value.message


def test_a_key_that_differs_in_one_character_is_not_known(desk: Desk) -> None:
    text, _ = desk.create()
    for wrong in (text[:-1], text + "A", text.upper(), text[:-1] + ("A" if text[-1] != "A" else "B")):
        with pytest.raises(Unauthorized):
            desk.keys.verify(wrong.encode())


def test_a_revoked_key_opens_nothing_from_that_moment_on_and_after_a_restart(desk: Desk) -> None:
    text, key_id = desk.create()
    run(desk.keys.revoke(key_id))
    for keys in (desk.keys, desk.opened()):
        with pytest.raises(Unauthorized, match="'reader' was revoked"):
            keys.verify(text.encode())
    assert [principal.revoked for principal in desk.keys.principals()] == [True]
    run(desk.keys.revoke(key_id))  # twice does no harm


def test_a_key_is_void_even_when_the_store_cannot_keep_that(desk: Desk) -> None:
    text, key_id = desk.create()
    desk.broken = NotReady("the disk is full")
    with pytest.raises(NotReady):
        run(desk.keys.revoke(key_id))
    with pytest.raises(Unauthorized):
        desk.keys.verify(text.encode())
    desk.broken = None
    run(desk.keys.revoke(key_id))
    with pytest.raises(Unauthorized):
        desk.opened().verify(text.encode())


def test_a_key_that_the_store_did_not_take_is_no_key(desk: Desk) -> None:
    desk.broken = NotReady("locked")
    with pytest.raises(NotReady):
        desk.create()
    assert desk.keys.all() == ()


def test_a_caller_who_leaves_in_the_middle_leaves_store_and_memory_at_one(desk: Desk) -> None:
    async def leave() -> None:
        task = asyncio.ensure_future(desk.keys.create(READER))
        await asyncio.sleep(0)  # it has begun
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(10):
            await asyncio.sleep(0)

    asyncio.run(leave())
    assert [key.key_id for key in desk.keys.all()] == [key.key_id for key in desk.store.keys.all()]
    assert len(desk.keys.all()) == 1


def test_an_expired_key_is_refused_from_that_second_on(desk: Desk) -> None:
    text, _ = desk.create(Rights(name="short", scopes=("read",), expires_at_s=NOON_S + 10))
    desk.keys.verify(text.encode())
    desk.now_s = NOON_S + 10
    with pytest.raises(Unauthorized, match="has expired"):
        desk.keys.verify(text.encode())


def test_a_rotated_key_has_the_same_rights_and_the_old_one_ends_at_once_or_after_an_overlap(desk: Desk) -> None:
    rights = Rights(name="app", scopes=("inference", "read"), models=("a",), monthly_tokens=7)
    old, old_id = desk.create(rights)
    new, key = run(desk.keys.rotate(old_id))
    assert key.rotated_from == old_id
    principal = desk.keys.verify(new.encode())
    assert (principal.name, principal.scopes, principal.models, principal.monthly_tokens) == ("app", ("inference", "read"), ("a",), 7)
    with pytest.raises(Unauthorized, match="expired"):
        desk.keys.verify(old.encode())

    newer, _ = run(desk.keys.rotate(key.key_id, overlap_s=60))
    for keys in (desk.keys, desk.opened()):
        assert keys.verify(new.encode()).name == keys.verify(newer.encode()).name == "app"
    desk.now_s += 60
    with pytest.raises(Unauthorized):
        desk.keys.verify(new.encode())
    assert desk.keys.verify(newer.encode())


def test_an_overlap_does_not_let_a_key_outlive_its_own_expiry(desk: Desk) -> None:
    _, key_id = desk.create(Rights(name="short", scopes=("read",), expires_at_s=NOON_S + 10))
    run(desk.keys.rotate(key_id, overlap_s=3600))
    assert desk.keys.get(key_id).expires_at_s == NOON_S + 10


def test_a_void_key_is_neither_rotated_nor_changed(desk: Desk) -> None:
    _, key_id = desk.create()
    run(desk.keys.revoke(key_id))
    with pytest.raises(BadRequest, match="make a new one"):
        run(desk.keys.rotate(key_id))
    with pytest.raises(BadRequest, match="make a new one"):
        run(desk.keys.change(key_id, READER))
    with pytest.raises(NotFound, match="GET /v1/keys"):
        run(desk.keys.revoke("nobody"))


def test_rights_can_be_changed_without_another_key(desk: Desk) -> None:
    text, key_id = desk.create()
    run(desk.keys.change(key_id, Rights(name="more", scopes=("read", "manage"), monthly_usd=5.0)))
    for keys in (desk.keys, desk.opened()):
        principal = keys.verify(text.encode())
        assert (principal.name, principal.scopes, principal.monthly_usd) == ("more", ("read", "manage"), 5.0)


def test_the_first_admin_key_is_made_once_and_shown_once(desk: Desk) -> None:
    text = run(desk.keys.first_admin(""))
    assert text is not None
    assert set(desk.keys.verify(text.encode()).scopes) == set(SCOPES)
    assert run(desk.keys.first_admin("")) is None
    assert run(desk.opened().first_admin("")) is None


def test_a_key_without_all_rights_is_no_admin_key(desk: Desk) -> None:
    desk.create(Rights(name="almost", scopes=("read", "manage")))
    desk.create(Rights(name="one model", scopes=SCOPES, models=("a",)))
    assert run(desk.keys.first_admin("")) is not None


def test_the_key_that_the_operator_sets_is_an_admin_key_and_another_one_takes_its_place(desk: Desk) -> None:
    assert run(desk.keys.first_admin("a-secret-of-my-own")) is None
    assert set(desk.keys.verify(b"a-secret-of-my-own").scopes) == set(SCOPES)
    again = desk.opened()
    assert run(again.first_admin("a-secret-of-my-own")) is None
    assert len(again.all()) == 1
    assert run(again.first_admin("another-secret-of-mine")) is None
    assert again.verify(b"another-secret-of-mine")
    with pytest.raises(Unauthorized, match="revoked"):
        again.verify(b"a-secret-of-my-own")


def test_a_made_key_can_be_the_one_that_the_operator_sets(desk: Desk) -> None:
    text, _ = desk.create()
    run(desk.keys.first_admin(text))
    assert desk.keys.verify(text.encode()).scopes == ("read",)


def test_a_revoked_key_does_not_come_back_by_the_setting(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    run(desk.keys.first_admin("a-secret-of-my-own"))
    run(desk.keys.revoke(desk.keys.all()[0].key_id))
    run(desk.opened().first_admin("a-secret-of-my-own"))
    assert "opens nothing" in caplog.text
    assert "a-secret-of-my-own" not in caplog.text
    with pytest.raises(Unauthorized):
        desk.opened().verify(b"a-secret-of-my-own")


@pytest.mark.parametrize("given", [PLACEHOLDER, "short", "fifteen-chars-x", "with a blank in it", "mit-Umlaut-äöü-darin", "tab\tin-the-middle-of-it"])
def test_a_setting_that_anybody_could_guess_is_refused_without_being_said(given: str) -> None:
    with pytest.raises(SettingError, match="EMBERANK_API_KEY") as refused:
        check_given(given)
    assert given == PLACEHOLDER or given not in refused.value.message


def test_spending_is_counted_by_month_in_utc_and_shown_for_limited_keys_only(desk: Desk) -> None:
    _, limited = desk.create(Rights(name="limited", scopes=("inference",), monthly_usd=10.0))
    _, free = desk.create(Rights(name="free", scopes=("inference",)))
    before = desk.changes
    desk.keys.spend([record(key_id=free, cost_usd=1.0)])
    assert desk.changes == before  # no gateway needs to know
    desk.keys.spend([record(key_id=limited, cost_usd=0.5, tokens=10), record(key_id=limited, cost_usd=0.25, tokens=5)])
    assert desk.changes == before + 1
    assert desk.keys.spent(limited) == Spent(0.75, 15)
    assert desk.keys.spent(free) == Spent(1.0, 100)
    seen = {principal.key_id: principal for principal in desk.keys.principals()}
    assert (seen[limited].month, seen[limited].spent_usd, seen[limited].spent_tokens) == ("2026-11", 0.75, 15)
    assert (seen[free].month, seen[free].spent_usd, seen[free].spent_tokens) == ("", 0.0, 0)

    desk.now_s = NOON_S + 10 * DAY_S  # 1 December
    assert desk.keys.spent(limited) == Spent(0.0, 0)
    assert desk.keys.principals()[0].month == "2026-12"
    desk.keys.spend([record(key_id=limited, at_s=desk.now_s, cost_usd=2.0), record(key_id=limited, cost_usd=4.0)])  # one is late
    assert desk.keys.spent(limited).usd == 2.0
    desk.now_s = NOON_S  # the clock was set back
    assert desk.keys.spent(limited).usd == 4.75


def test_what_was_spent_is_known_after_a_restart(desk: Desk) -> None:
    _, key_id = desk.create()
    desk.store.usage.append("g", 1, [record(key_id=key_id, cost_usd=0.5, tokens=3)])
    assert desk.opened().spent(key_id) == Spent(0.5, 3)


def test_the_last_use_is_known_at_once_and_written_once_a_minute(desk: Desk) -> None:
    text, key_id = desk.create()
    desk.now_s += 5
    desk.keys.verify(text.encode())
    assert desk.keys.get(key_id).last_used_at_s == NOON_S + 5
    calls = desk.calls
    run(desk.keys.flush())
    assert desk.calls == calls
    desk.now_s += 60
    desk.keys.used([(key_id, 20.0), ("unknown", 1.0), (key_id, 30.0)])
    run(desk.keys.flush())
    assert desk.opened().get(key_id).last_used_at_s == NOON_S + 45
    desk.keys.used([(key_id, 0.0)])
    desk.broken = NotReady("locked")
    run(desk.keys.flush(now=True))  # tried again later
    desk.broken = None
    run(desk.keys.flush(now=True))
    assert desk.opened().get(key_id).last_used_at_s == NOON_S + 65


def test_gateways_are_told_of_an_ended_key_for_a_month_and_no_longer(desk: Desk) -> None:
    _, key_id = desk.create()
    run(desk.keys.revoke(key_id))
    desk.now_s += 29 * DAY_S
    assert len(desk.keys.principals()) == 1
    desk.now_s += 2 * DAY_S
    assert desk.keys.principals() == ()
    assert len(desk.keys.all()) == 1


def test_what_is_done_to_keys_is_written_down_with_who_did_it(desk: Desk) -> None:
    _, key_id = desk.create(by="k_admin")
    run(desk.keys.rotate(key_id, by="k_admin"))
    run(desk.keys.revoke(key_id, by="k_other"))
    entries = [(entry.key_id, entry.action, entry.subject) for entry in reversed(desk.store.audit.recent(10))]
    assert entries == [("k_admin", "key.create", key_id), ("k_admin", "key.rotate", key_id), ("k_other", "key.revoke", key_id)]
