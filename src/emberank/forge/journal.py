"""What the reconciler must not forget in, the store's thread and the windows out. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emberank.forge.deployments import Key, SavedDeployment
from emberank.forge.samples import Sample
from emberank.forge.store_thread import StoreThread
from emberank.forge.windows import Windows


class StoreJournal:
    """Implements `register.Journal`. `started` is told of every start that succeeded."""

    def __init__(self, store: StoreThread, windows: Windows, started: Callable[[Sample], None] = lambda sample: None) -> None:
        self._store = store
        self._windows = windows
        self.started = started

    def save(self, deployment: SavedDeployment) -> None:
        """Keep it in the place of what was kept under its key."""
        self._store.post(lambda store: store.deployments.save(deployment), "deployment")

    def forget(self, key: Key) -> None:
        """There is nothing to remember of it any more."""
        self._store.post(lambda store: store.deployments.remove(*key), "deployment")

    def sample(self, sample: Sample) -> None:
        """A start, for the figures and for the store."""
        self._windows.add(sample)
        self._store.post(lambda store: store.samples.add([sample]), "sample")
        if sample.ok:
            self.started(sample)

    async def record(self, samples: Sequence[Sample]) -> None:
        """What a probe measured."""
        for sample in samples:
            self._windows.add(sample)
        await self._store.ask(lambda store: store.samples.add(samples))
