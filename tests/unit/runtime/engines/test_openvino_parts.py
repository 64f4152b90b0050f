from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from checkpoints import write_embedder
from emberank.runtime.checkpoint import Checkpoint
from emberank.runtime.engines import prepared
from emberank.runtime.engines.base import Batch, EngineOptions, Features
from emberank.runtime.engines.openvino import batch_tokens, build
from emberank.runtime.engines.openvino_inputs import Angles, looked_up, scattered
from emberank.runtime.engines.openvino_weights import COARSE_GROUP, FINE_GROUP, int8_group, quantise
from emberank.runtime.named_weights import NamedWeights
from emberank.runtime.networks.bert import Bert
from emberank.runtime.recognise import recognise


@pytest.mark.parametrize(("inputs", "groups"), [(128, 2), (64, 1), (48, 1), (96, 2)])
def test_an_int8_weight_is_within_half_a_step_of_its_number(inputs: int, groups: int) -> None:
    weight = np.random.default_rng(0).normal(size=(7, inputs)).astype(np.float32)
    weight[3] = 0
    integers, scale = quantise(weight, 64)
    assert (integers.shape, scale.shape) == ((7, groups, min(inputs, 64)), (7, groups, 1))
    back = (integers * scale).reshape(7, -1)
    assert np.abs(back[:, :inputs] - weight).max() <= scale.max() / 2 * (1 + 1e-6)
    assert not back[:, inputs:].any()  # what fills up the last group
    assert np.abs(integers[[0, 1, 2, 4, 5, 6]]).max(axis=2).min() == 127  # the whole range is used
    assert not integers[3].any()


def test_quantising_leaves_the_weight_as_it_was() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    before = weight.copy()
    quantise(weight, 64)
    assert np.array_equal(weight, before)


def test_wide_networks_have_coarser_groups() -> None:
    assert [int8_group(hidden) for hidden in (384, 768, 1024, 1152, 2048)] == [FINE_GROUP, FINE_GROUP, COARSE_GROUP, COARSE_GROUP, COARSE_GROUP]


def test_wide_networks_run_in_smaller_batches_on_few_cores() -> None:
    assert [batch_tokens(384, 2), batch_tokens(2048, 2), batch_tokens(2048, 4), batch_tokens(2048, 64)] == [1024, 256, 512, 1024]


def test_rows_of_a_table_come_out_in_float32_however_they_are_stored() -> None:
    table = np.array([[1.0, -2.5], [0.15625, 3.0]], np.float32)  # exact in 8 bits of fraction
    bits = (table.view(np.uint32) >> 16).astype(np.uint16)
    ids = np.array([1, 0, 1], np.int32)
    for kind, values in (("F32", table), ("F16", table.astype(np.float16)), ("BF16", bits)):
        rows = looked_up((kind, values), ids)
        assert rows.dtype == np.float32
        assert np.array_equal(rows, table[ids]), kind


def test_a_looked_up_row_is_a_copy() -> None:
    table = np.ones((2, 2), np.float32)
    looked_up(("F32", table), np.array([0], np.int32))[0] = 9
    assert table.max() == 1


def test_angles_are_exact_far_out_in_a_text() -> None:
    frequencies = np.array([1.0, 0.66, 1e-6])
    angles = Angles(frequencies)
    positions = np.array([0, 3, 8191], np.int32)
    angles.at(positions[:2])  # and grow from there
    cosines, sines = angles.at(positions)
    true = positions[:, None] * frequencies
    assert np.abs(cosines - np.cos(true)).max() < 1e-7
    assert np.abs(sines - np.sin(true)).max() < 1e-7


def test_features_go_to_their_tokens() -> None:
    values = np.arange(4, dtype=np.float32).reshape(2, 2)
    assert scattered(Features(np.array([2, 0], np.int32), values), 3).tolist() == [[2, 3], [0, 0], [0, 1]]
    assert scattered(Features(np.array([0, 1], np.int32), values), 2).tolist() == values.tolist()


def test_int8_from_prepared_weights_is_int8_from_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "LEAST_BYTES", 1)
    folder = write_embedder(tmp_path / "tiny")
    network = recognise(folder).network
    assert isinstance(network, Bert)
    weights = NamedWeights(Checkpoint.open(folder))
    batch = Batch.of([np.arange(5, 30, dtype=np.int32), np.arange(7, 12, dtype=np.int32)])
    states = []
    for kept in (None, tmp_path / "prepared", tmp_path / "prepared"):
        engine = build(network, weights, EngineOptions(precision="int8", threads=1, prepared=kept))
        states.append(engine.run(batch).copy())
        engine.close()
    assert len(list((tmp_path / "prepared").iterdir())) == 6 * network.layers
    assert np.array_equal(states[0], states[1])
    assert np.array_equal(states[0], states[2])
