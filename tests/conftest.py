"""What more than one folder of tests needs: the tiny checkpoints, written once, and the default model's real weights."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from checkpoints import write_embedder, write_ranker
from emberank.contract.errors import StartError
from emberank.runtime.presets import presets
from emberank.runtime.process import pull
from emberank.settings import load
from stores import PostgresServer

# The machine's speed says nothing about the code: no deadline, and the same examples in every run.
hypothesis_settings.register_profile("emberank", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("emberank")


@pytest.fixture(scope="session")
def tiny_embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BertModel folder as sentence-transformers writes it. Read only: it is shared."""
    return write_embedder(tmp_path_factory.mktemp("tiny") / "tiny-embed")


@pytest.fixture(scope="session")
def tiny_ranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BertForSequenceClassification folder with one label. Read only: it is shared."""
    return write_ranker(tmp_path_factory.mktemp("tiny") / "tiny-rank")


@pytest.fixture(scope="session")
def minilm() -> Path:
    """all-MiniLM-L6-v2 in the ordinary cache; fetched if it is not there yet."""
    try:
        return pull(presets()[0], load(os.environ, {}))
    except StartError as cause:
        pytest.fail(f"the default model's weights are neither cached nor to be had ({cause}): run `emberank pull` where there is a network")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it wants a XDG_RUNTIME_DIR, and does well without
        pgserver = pytest.importorskip("pgserver", reason=f"pgserver has no PostgreSQL for this Python ({sys.version_info.major}.{sys.version_info.minor})")
    # Not under pytest's own folder, which only its owner may enter: as root, the server runs as another user. And a socket's path has to be short.
    folder = Path(tempfile.mkdtemp(prefix="emberank-pg-"))
    server = pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield PostgresServer(server.get_uri())
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
