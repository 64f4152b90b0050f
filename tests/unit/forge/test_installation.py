"""What a forge tells the runtimes that it starts."""

from __future__ import annotations

import pytest

from emberank.forge.installation import _runtime_settings
from emberank.forge.targets import GB, Pool, Target
from emberank.settings import ForgeSettings

CPU = Pool(target=Target("CPU", "local"), memory_bytes=8 * GB, slots=4)
H100 = Pool(target=Target("H100", "local"), memory_bytes=80 * GB, slots=1, devices=("GPU-1",))


@pytest.mark.parametrize(("pool", "engine"), [(CPU, "openvino"), (H100, "torch")])
def test_left_to_itself_a_pool_has_the_engine_of_its_kind_so_that_a_cpu_endpoint_takes_no_gpu(pool: Pool, engine: str) -> None:
    assert _runtime_settings(ForgeSettings(), pool)["engine"] == engine


@pytest.mark.parametrize("pool", [CPU, H100])
def test_an_engine_that_was_named_is_the_engine_of_every_pool(pool: Pool) -> None:
    assert _runtime_settings(ForgeSettings(engine="fake"), pool)["engine"] == "fake"
