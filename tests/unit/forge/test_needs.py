"""How much memory a version is expected to need, by its size, its precision and where it would run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from emberank.forge.catalog import Catalog, Model, Version
from emberank.forge.catalog_file import shipped
from emberank.forge.needs import cpu_widens, needs_gb
from emberank.forge.targets import GB, Pool, Target, needs_in, why_not

CATALOG = Catalog(shipped())
V1 = Version(name="v1", source="file:/m")


def billion(dtype: str = "BF16", version: Version = V1) -> Model:
    return Model(slug="a", id="acme/a", title="A", description="", task="rank", parameters=10**9, dtype=dtype, versions=(version,))


def test_an_entrys_own_word_goes_before_every_reckoning() -> None:
    assert needs_gb(billion(), replace(V1, memory_gb=2.5), {"precision": "fp32"}, on_device=True, widens=True) == 2.5


def test_a_model_of_unknown_size_needs_nobody_knows_what() -> None:
    assert needs_gb(replace(billion(), parameters=None), V1) is None


@pytest.mark.parametrize(
    ("dtype", "precision", "needs"),
    [
        ("FP32", "auto", 5.1),
        ("", "auto", 5.1),
        ("BF16", "auto", 2.7),
        ("BF16", "fp32", 5.1),
        ("FP32", "bf16", 2.7),
        ("BF16", "int8", 1.62),
    ],
)
def test_what_a_number_takes_depends_on_the_precision_and_is_as_stored_where_none_is_said(dtype: str, precision: str, needs: float) -> None:
    assert needs_gb(billion(dtype), V1, {"precision": precision}) == pytest.approx(needs)
    assert needs_gb(billion(dtype), replace(V1, settings={"precision": precision}), {"precision": "fp32"}) == pytest.approx(needs), "a version's own goes first"


def test_a_cpu_that_does_not_compute_in_16_bits_needs_twice_the_memory() -> None:
    assert needs_gb(billion(), V1, widens=True) == pytest.approx(5.1)
    assert needs_gb(billion(), V1, {"precision": "int8"}, widens=True) == pytest.approx(1.62)


def test_a_gpu_computes_in_16_bits_and_needs_some_for_itself() -> None:
    assert needs_gb(billion("FP32"), V1, on_device=True) == pytest.approx(3.4)
    assert needs_gb(billion(), V1, {"precision": "fp8"}, on_device=True) == pytest.approx(2.5)


def test_a_cpu_is_asked_of_the_kernel(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nflags\t\t: fpu avx512f amx_bf16 amx_tile\n")
    assert not cpu_widens(file)
    (old := tmp_path / "old").write_text("flags\t\t: fpu avx2\n")
    assert cpu_widens(old)
    assert cpu_widens(tmp_path / "none")


def test_a_pools_settings_decide_what_fits_into_it() -> None:
    pool = Pool(target=Target("CPU", "local"), memory_bytes=4 * GB, slots=1, settings={"precision": "fp32"})
    assert "needs 5.1 GB, and CPU in local has 4.0 GB" in why_not(billion(), V1, pool, pool.target)
    assert why_not(billion(), V1, replace(pool, settings={"precision": "bf16"}), pool.target) == ""
    assert needs_in(billion(), V1, replace(pool, devices=("GPU-1",))) == pytest.approx(5.8)


def test_the_estimate_covers_what_the_default_models_were_measured_to_need() -> None:
    model = CATALOG.resolve("all-minilm-l6-v2")
    assert 0.35 <= (needs_gb(model, model.versions[0]) or 0) < 0.5
