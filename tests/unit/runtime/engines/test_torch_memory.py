"""What happens when the device's memory is full: halves, smaller ones, and a cap that is remembered. The allocator is a fake one."""

from __future__ import annotations

import numpy as np
import pytest

from emberank.contract.errors import ServerFault
from emberank.runtime.engines.base import Batch, Features
from emberank.runtime.engines.torch_memory import Careful, halves
from emberank.runtime.heads import Floats, Pooling


class Full(Exception):
    pass


class Device:
    """Runs batches of at most `room` tokens; answers each token's id, or each sequence's first id when it pools, in an array that it reuses."""

    def __init__(self, room: int) -> None:
        self.room, self.ran, self.freed = room, list[int](), 0
        self._kept = np.zeros((10_000, 1), np.float32)

    def run(self, batch: Batch, pooling: Pooling | None) -> Floats:
        if len(batch.ids) > self.room:
            raise Full
        self.ran.append(len(batch.ids))
        firsts = np.cumsum(batch.lengths) - batch.lengths
        found = batch.ids if pooling is None else batch.ids[firsts]
        self._kept[: len(found), 0] = found
        return self._kept[: len(found)]

    def free(self) -> None:
        self.freed += 1


def batch(*lengths: int) -> Batch:
    ids = np.arange(sum(lengths), dtype=np.int32)
    return Batch(ids=ids, types=ids, lengths=np.array(lengths, np.int32))


def careful(device: Device) -> Careful:
    return Careful(device.run, device.free, Full)


def test_a_batch_that_fits_runs_whole() -> None:
    device = Device(10)
    assert careful(device)(batch(4, 6), None)[:, 0].tolist() == list(range(10))
    assert (device.ran, device.freed) == ([10], 0)


@pytest.mark.parametrize("pooling", [None, "cls"])
def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_its_rows_keep_their_order(pooling: Pooling | None) -> None:
    device, one = Device(7), batch(2, 3, 5, 1, 4, 2, 6)
    whole = Device(100).run(one, pooling)[:, 0].tolist()
    assert careful(device)(one, pooling)[:, 0].tolist() == whole
    assert sum(device.ran) == 23
    assert max(device.ran) <= 7
    assert device.freed >= 1


def test_what_was_too_much_once_is_not_tried_again() -> None:
    device = Device(12)
    runs = careful(device)
    runs(batch(*[1] * 20), None)
    freed = device.freed
    assert runs.most_tokens == 10
    runs(batch(*[1] * 20), None)
    assert device.freed == freed, "the second time nothing had to fail first"


def test_one_sequence_that_does_not_fit_is_a_fault_that_says_so_and_the_next_batch_runs() -> None:
    device = Device(7)
    runs = careful(device)
    with pytest.raises(ServerFault, match="does not hold one sequence of 8 tokens") as failed:
        runs(batch(8), None)
    assert isinstance(failed.value.__cause__, Full)
    assert runs(batch(7), None)[:, 0].tolist() == list(range(7))


def test_a_long_sequence_among_short_ones_does_not_take_them_down_with_a_cap() -> None:
    device = Device(8)
    runs = careful(device)
    runs(batch(1, 1, 1, 1, 1, 8), None)
    assert runs(batch(8), None)[:, 0].tolist() == list(range(8)), "the cap is for several sequences; a single one is always tried"


def test_halves_have_their_own_features() -> None:
    one = batch(3, 3, 3, 3)
    features = Features(np.array([1, 2, 7, 11], np.int32), np.arange(4, dtype=np.float32)[:, None])
    first, second = halves(Batch(ids=one.ids, types=one.types, lengths=one.lengths, features=features))
    assert first.lengths.tolist() == second.lengths.tolist() == [3, 3]
    assert first.features is not None
    assert (first.features.at.tolist(), first.features.values[:, 0].tolist()) == ([1, 2], [0, 1])
    assert second.features is not None
    assert (second.features.at.tolist(), second.features.values[:, 0].tolist()) == ([1, 5], [2, 3])


@pytest.mark.parametrize("lengths", [(1, 1), (1, 100), (100, 1), (5, 5, 5), (1, 1, 1, 97)])
def test_halves_are_never_empty(lengths: tuple[int, ...]) -> None:
    first, second = halves(batch(*lengths))
    assert len(first.lengths) >= 1
    assert len(second.lengths) >= 1
    assert [*first.lengths, *second.lengths] == list(lengths)
    assert np.array_equal(np.concatenate([first.ids, second.ids]), batch(*lengths).ids)
