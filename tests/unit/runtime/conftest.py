"""Served models made from the tiny checkpoints: a real loader and a real batcher, and whatever engine a test asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emberank.runtime.batcher import Batcher, Limits
from emberank.runtime.engines.base import Engine
from emberank.runtime.engines.fake import FakeEngine
from emberank.runtime.model import Loader, ServedModel
from emberank.runtime.networks.network import Network
from emberank.runtime.presets import ModelSpec


class Unseen:
    """An observer that looks away."""

    def batch_ran(self, *, tokens: int, rows: int, attention_rows: int, sequences: int, engine_s: float) -> None: ...

    def job_started(self, *, waited_s: float) -> None: ...


class Workshop:
    """Loads models, remembers the engines and batchers that were built for them."""

    def __init__(self, cache: Path) -> None:
        self.engines: list[Engine] = []
        self.batchers: list[Batcher] = []
        self.make: Callable[[Network, object], Engine] = lambda network, weights: FakeEngine(network.hidden, network.merged)
        self.loader = Loader(cache, self._engine, self._batcher, lambda file, done, total: None)

    def _engine(self, network: Network, weights: object, prepared: Path) -> Engine:
        self.engines.append(self.make(network, weights))
        return self.engines[-1]

    def _batcher(self, engine: Engine, network: Network) -> Batcher:
        self.batchers.append(Batcher(engine, Limits(), Unseen(), merged=network.merged))
        return self.batchers[-1]

    def load(self, folder: Path, **spec: object) -> ServedModel:
        return self.loader.load(ModelSpec(**{"name": folder.name, "source": f"file:{folder}"} | spec))  # type: ignore[arg-type]


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path / "cache")
    yield made
    for batcher in made.batchers:
        batcher.stop()


@pytest.fixture
def embedder(workshop: Workshop, tiny_embedder: Path) -> ServedModel:
    return workshop.load(tiny_embedder)


@pytest.fixture
def ranker(workshop: Workshop, tiny_ranker: Path) -> ServedModel:
    return workshop.load(tiny_ranker)


@pytest.fixture
def late_ranker(workshop: Workshop, tiny_embedder: Path) -> ServedModel:
    return workshop.load(tiny_embedder, name="tiny-late", task="rank", head="late_interaction")
