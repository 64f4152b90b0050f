"""The Python client's page against a whole installation: every block runs as it stands, and a cold start is told as it goes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from acceptance_environment import environment
from emberank import Client, Progress
from emberank.contract.errors import Forbidden, TargetUnavailable, Unauthorized
from small_installation import EMBEDDER, PINNED, RERANKER, launch
from up_process import END_S, KEY, Up

PAGE = (Path(__file__).resolve().parents[2] / "docs/howto/python-client.md").read_text("utf-8")
BLOCKS = {heading.strip(): code for heading, code in re.findall(r"^#+ ([^\n]+)\n(?:(?!^#+ ).)*?```python\n(.*?)```", PAGE, re.S | re.M)}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = launch(tmp_path_factory.mktemp("client"))
    running.ready()
    yield running
    running.end()


@pytest.fixture(scope="module")
def url(up: Up) -> str:
    return f"http://127.0.0.1:{up.ready().port}"


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, KEY, END_S) as found:
        yield found


def test_a_cold_start_is_told_as_it_goes(client: Client) -> None:
    told: list[Progress] = []
    started = client.start(RERANKER, on_progress=told.append)
    assert (started.phase, started.was_cold_start) == ("WARM", True)
    assert started.startup_ms is not None
    assert (told[-1].phase, told[-1].slug, told[-1].region) == ("WARM", RERANKER, started.region)
    assert {one.phase for one in told[:-1]} <= {"STARTING"}
    assert [one.phase for one in client.starting(RERANKER)] == ["WARM"]
    assert client.status(RERANKER).phase == "WARM"


def test_there_is_a_block_under_every_heading() -> None:
    assert len(BLOCKS) == PAGE.count("```python") == 7


@pytest.mark.parametrize("heading", sorted(BLOCKS))
def test_the_page_s_blocks_run_as_they_stand(url: str, heading: str) -> None:
    code = BLOCKS[heading].replace('"http://127.0.0.1:8000", api_key="fk-…"', f'"{url}", api_key="{KEY}"')
    words = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(words, env=environment(FORGE_API_BASE=url, FORGE_API_KEY=KEY), capture_output=True, text=True, timeout=END_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    assert KEY not in done.stdout


def test_the_models_of_a_gateway_are_read_from_its_list_and_its_catalogue(client: Client) -> None:
    listed = {one.id for one in client.models()}
    assert {"emberank/all-MiniLM-L6-v2-rerank", "sentence-transformers/all-MiniLM-L6-v2"} <= listed
    model = client.model("emberank/all-MiniLM-L6-v2-rerank")
    assert (model.slug, model.task, model.title) == (RERANKER, "text→ranking", "Tiny reranker")


def test_a_key_s_rights_hold(client: Client, url: str) -> None:
    made = client.create_key("embeds only", scopes=["inference"], models=[EMBEDDER])
    with Client(url, made.key, END_S) as narrow:
        assert narrow.embed(["the road"], model=EMBEDDER).shape == (1, 16)
        with pytest.raises(Forbidden):
            narrow.rank("which way", ["the road"], model=RERANKER)
        with pytest.raises(Forbidden):
            narrow.stop(EMBEDDER)
    with Client(url, "not-a-key", END_S) as nobody, pytest.raises(Unauthorized):
        nobody.models()


def test_a_target_that_cannot_be_had_says_what_can(client: Client) -> None:
    routes = client.routes(PINNED, gpu_type="H200")
    assert not routes.routes
    assert {one.gpu_type for one in routes.alternatives} <= {"B200", "CPU"}
    with pytest.raises(TargetUnavailable, match="it can run on"):
        client.start(PINNED, gpu_type="H200")
