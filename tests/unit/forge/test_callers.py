"""Who calls, by headers alone: every usual form of a key, the fleet's token, and a rate that fills up again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from emberank.contract.errors import Forbidden, LimitExceeded, NotFound, Unauthorized
from emberank.contract.fleet import Principal
from emberank.forge.callers import ANONYMOUS, OPERATOR, Callers, check_grant, check_model, check_scope
from emberank.forge.keys import Keys
from emberank.forge.rights import Rights
from emberank.forge.store import Store, open_store
from emberank.serving.credentials import key_of

T = TypeVar("T")
TOKEN = "fleet-token"
Pairs = list[tuple[bytes, bytes]]


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([], b""),
        ([(b"authorization", b"Bearer abc")], b"abc"),
        ([(b"authorization", b"bearer   abc ")], b"abc"),
        ([(b"authorization", b"abc")], b"abc"),
        ([(b"authorization", b"Basic abc")], b""),
        ([(b"authorization", b"Bearer")], b""),
        ([(b"authorization", b"")], b""),
        ([(b"x-api-key", b" abc ")], b"abc"),
        ([(b"api-key", b"abc")], b"abc"),
        ([(b"x-api-key", b"abc"), (b"authorization", b"Bearer def")], b"def"),
        ([(b"cookie", b"session=abc")], b""),
    ],
)
def test_a_key_is_read_from_every_usual_header_and_never_from_a_cookie(headers: Pairs, key: bytes) -> None:
    assert key_of(headers) == key


def bearer(key: str) -> Pairs:
    return [(b"authorization", f"Bearer {key}".encode())]


class Door:
    def __init__(self, folder: Path, required: bool = True) -> None:
        store = open_store(folder / "door.db")

        async def ask(call: Callable[[Store], T], /) -> T:
            return call(store)

        self.now = 0.0
        self.keys = Keys(ask, "ab" * 32, lambda: 1_800_000_000.0)
        asyncio.run(self.keys.load())
        self.callers = Callers(self.keys, TOKEN, required=required, clock=lambda: self.now)

    def key(self, **rights: object) -> str:
        values: dict[str, object] = {"name": "one", "scopes": ("read",), **rights}
        return asyncio.run(self.keys.create(Rights(**values)))[0]  # type: ignore[arg-type]


def test_a_caller_is_whom_the_key_stands_for_and_the_token_is_the_operator_s(tmp_path: Path) -> None:
    door = Door(tmp_path)
    assert door.callers.identify(bearer(door.key())).name == "one"
    assert door.callers.identify(bearer(TOKEN)) is OPERATOR
    for wrong in ("", TOKEN + "x", TOKEN[:-1]):
        with pytest.raises(Unauthorized):
            door.callers.identify(bearer(wrong))


def test_where_no_key_is_asked_for_everybody_is_the_same_but_no_gateway(tmp_path: Path) -> None:
    door = Door(tmp_path, required=False)
    assert door.callers.identify([]) is ANONYMOUS
    assert door.callers.identify(bearer("whatever")) is ANONYMOUS
    with pytest.raises(NotFound):
        door.callers.require_fleet(bearer("whatever"), "/internal/wake")
    door.callers.require_fleet(bearer(TOKEN), "/internal/wake")


def test_a_forge_without_a_token_has_no_internal_routes(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door.callers = Callers(door.keys, "", required=True, clock=lambda: 0.0)
    with pytest.raises(NotFound):
        door.callers.require_fleet([], "/internal/wake")


def test_a_rate_fills_up_evenly_to_a_minute_s_worth(tmp_path: Path) -> None:
    door = Door(tmp_path)
    header, other = bearer(door.key(requests_per_minute=6)), bearer(door.key(requests_per_minute=6))

    waits: list[float] = []

    def admitted(pairs: Pairs) -> int:
        for count in range(100):
            try:
                door.callers.identify(pairs)
            except LimitExceeded as error:
                waits.append(error.retry_after_s or 0.0)
                return count
        return 100

    assert admitted(header) == 6
    assert admitted(other) == 6  # each key has its own
    door.now = 10.0
    assert admitted(header) == 1
    door.now = 1000.0
    assert admitted(header) == 6
    assert waits == [10.0] * 4


def test_what_a_key_may_not_do_is_said_with_what_it_may() -> None:
    caller = Principal(key_id="k", name="reader", digest="", scopes=("read",), models=("a", "b"))
    check_scope(caller, "read", "manage")
    check_model(caller, "a")
    with pytest.raises(Forbidden, match="'inference' or 'manage'; the key 'reader' has: read"):
        check_scope(caller, "inference", "manage")
    with pytest.raises(Forbidden, match="it may use: a, b"):
        check_model(caller, "c")


@pytest.mark.parametrize(
    ("rights", "allowed"),
    [
        (Rights(name="x", scopes=("read",), models=("a",)), True),
        (Rights(name="x", scopes=("read",), models=("a", "b")), True),
        (Rights(name="x", scopes=("read",), models=("a", "c")), False),
        (Rights(name="x", scopes=("read",)), False),
        (Rights(name="x", scopes=("read", "inference"), models=("a",)), False),
    ],
)
def test_a_key_gives_no_more_than_it_has(rights: Rights, allowed: bool) -> None:
    caller = Principal(key_id="k", name="some", digest="", scopes=("read", "manage"), models=("a", "b"))
    if allowed:
        check_grant(caller, rights)
    else:
        with pytest.raises(Forbidden):
            check_grant(caller, rights)
