"""Where the forge is, found again when it moves; and its silence told apart from its own refusals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from emberank.client.pool import Pool
from emberank.contract.errors import NotReady
from emberank.contract.fleet import LoadReport, Revisions, Wish
from emberank.gateway.errors import ForgeAway
from emberank.gateway.forge_link import ForgeLink
from emberank.settings import GatewaySettings
from fleets import Asked, FakeEndpoint, Said, fake_endpoint

WISH = Wish(slug="acme-rank")


def linked(
    folder: Path, act: Callable[[ForgeLink, FakeEndpoint], Awaitable[Any]], answer: Callable[[Asked], Said] = lambda asked: Said(200, b"{}"), **settings: Any
) -> Any:
    async def play() -> Any:
        async with fake_endpoint(answer) as fake:
            pool = Pool()
            try:
                return await act(ForgeLink(GatewaySettings(data_dir=str(folder), **settings), pool), fake)
            finally:
                await pool.close()

    return asyncio.run(play())


def write(folder: Path, url: str, token: str = "t1") -> None:
    draft = folder / "fleet.draft"
    draft.write_text(json.dumps({"url": url, "token": token, "pid": 1}))
    draft.rename(folder / "fleet.json")


def test_the_forge_is_where_its_file_says_and_gets_its_token(tmp_path: Path) -> None:
    async def act(link: ForgeLink, fake: FakeEndpoint) -> None:
        write(tmp_path, fake.url)
        await link.wake(WISH)
        assert fake.asked[0].path == "/internal/wake"
        assert fake.asked[0].headers["authorization"] == "Bearer t1"
        assert fake.asked[0].json["slug"] == "acme-rank"

    linked(tmp_path, act)


def test_a_forge_that_moved_is_found_again(tmp_path: Path) -> None:
    async def act(link: ForgeLink, fake: FakeEndpoint) -> None:
        write(tmp_path, "http://127.0.0.1:1")
        with pytest.raises(ForgeAway):
            await link.wake(WISH)
        write(tmp_path, fake.url, "t2")
        await link.report(LoadReport(gateway_id="g", number=1))
        assert fake.asked[0].headers["authorization"] == "Bearer t2"

    linked(tmp_path, act)


def test_settings_go_before_the_file(tmp_path: Path) -> None:
    async def with_both(link: ForgeLink, fake: FakeEndpoint) -> None:
        assert link.address() == ("http://forge:8010", "secret")

    linked(tmp_path, with_both, forge_url="http://forge:8010/", fleet_token="secret")

    async def with_url(link: ForgeLink, fake: FakeEndpoint) -> None:
        with pytest.raises(ForgeAway):
            link.address()
        write(tmp_path, "http://elsewhere:1")
        assert link.address() == ("http://forge:8010", "t1")

    linked(tmp_path, with_url, forge_url="http://forge:8010")


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"url": "x"}', '{"url": "no url", "token": "t"}'])
def test_without_a_readable_file_the_forge_is_away(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "fleet.json").write_text(content)

    async def act(link: ForgeLink, fake: FakeEndpoint) -> None:
        for call in (link.wake(WISH), link.report(LoadReport(gateway_id="g", number=1)), link.snapshot("g", Revisions(), "", 0.0)):
            with pytest.raises(ForgeAway):
                await call

    linked(tmp_path, act)


def test_a_refusal_of_the_forge_is_not_its_silence(tmp_path: Path) -> None:
    refusal = Said(503, b'{"object":"error","message":"it does not fit","type":"service_unavailable"}', {"Retry-After": "9"})

    async def act(link: ForgeLink, fake: FakeEndpoint) -> NotReady:
        write(tmp_path, fake.url)
        with pytest.raises(NotReady) as caught:
            await link.wake(WISH)
        return caught.value

    error = linked(tmp_path, act, lambda asked: refusal)
    assert not isinstance(error, ForgeAway)
    assert (error.message, error.retry_after_s) == ("it does not fit", 9)
    assert isinstance(linked(tmp_path, act, lambda asked: Said(401, b"{}")), ForgeAway)  # another forge's token: as good as none
    assert isinstance(linked(tmp_path, act, lambda asked: Said(status=0)), ForgeAway)
