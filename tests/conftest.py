"""What more than one folder of tests needs: the tiny checkpoints, written once, and the default model's real weights."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from checkpoints import write_embedder, write_ranker
from emberank.contract.errors import StartError
from emberank.runtime.presets import presets
from emberank.runtime.process import pull
from emberank.settings import load

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
