"""HTTPS: certificates are checked, and connections kept."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from emberank.client.failures import ConnectFailed, ConnectionLost
from emberank.client.pool import Pool
from emberank.contract.errors import DeadlineExceeded
from loopback import Talk, answer, certificate, echo_ok, playing
from wire import WAIT_S

Run = Callable[[Coroutine[Any, Any, Any]], Any]
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate of these tests")


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return certificate(tmp_path_factory.mktemp("tls"))


def due(seconds: float = WAIT_S) -> float:
    return time.monotonic() + seconds


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_trusted_server_is_talked_to_over_one_kept_connection(run: Run, contexts: Any, host: str) -> None:
    async def go() -> None:
        async with playing(echo_ok, contexts[0]) as server:
            pool = Pool(tls=contexts[1])
            for _ in range(3):
                got = await pool.request("POST", f"https://{host}:{server.port}/", {}, b"x" * 100_000, deadline=due())
                assert got.body == b"ok"
            assert server.opened == 1
            await pool.close()
            await server.all_left()

    run(go())


def test_an_untrusted_server_gets_nothing(run: Run, contexts: Any) -> None:
    async def go() -> None:
        async with playing(echo_ok, contexts[0]) as server:
            pool = Pool(max_connections_per_host=1)
            for _ in range(2):
                with pytest.raises(ConnectFailed) as failed:
                    await pool.request("GET", f"https://127.0.0.1:{server.port}/", deadline=due())
                assert isinstance(failed.value.__cause__, ssl.SSLCertVerificationError)
            assert server.asked == []
            await pool.close()

    run(go())


def test_a_server_that_speaks_no_tls_is_a_failed_connection(run: Run) -> None:
    async def go() -> None:
        async def plain(talk: Talk) -> None:
            await talk.send(answer())
            await talk.left()

        async with playing(plain) as server:
            pool = Pool()
            with pytest.raises(ConnectFailed):
                await pool.request("GET", f"https://127.0.0.1:{server.port}/", deadline=due())
            await pool.close()

    run(go())


def test_a_handshake_that_never_ends_is_bounded(run: Run, contexts: Any) -> None:
    async def silent(talk: Talk) -> None:
        await talk.left()

    async def go() -> None:
        async with playing(silent) as server:
            pool = Pool(connect_timeout_s=0.05, max_connections_per_host=1, tls=contexts[1])
            with pytest.raises(ConnectFailed, match="within"):
                await pool.request("GET", f"https://127.0.0.1:{server.port}/", deadline=due())
            with pytest.raises(DeadlineExceeded):
                await pool.request("GET", f"https://127.0.0.1:{server.port}/", deadline=due(0.02))
            task = asyncio.create_task(pool.request("GET", f"https://127.0.0.1:{server.port}/", deadline=due()))
            await server.until(lambda: server.opened == 3)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await server.all_left()
            await pool.close()

    run(go())


def test_a_connection_that_ends_in_the_middle_is_lost(run: Run, contexts: Any) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.send(answer(b"hello")[:-1])

    async def go() -> None:
        async with playing(script, contexts[0]) as server:
            pool = Pool(tls=contexts[1])
            with pytest.raises(ConnectionLost) as lost:
                await pool.request("GET", f"https://127.0.0.1:{server.port}/", deadline=due())
            assert lost.value.response_started
            await pool.close()

    run(go())
