"""What this machine has: its memory inside control groups, and its GPUs as a management library tells of them."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from emberank.forge.catalog_file import load_catalog
from emberank.forge.discovery import (
    NO_GPU_ENGINE,
    Gpu,
    NoGpus,
    Nvml,
    cpu_pool,
    discover,
    free_bytes,
    gpu_engine,
    gpu_pools,
    local_gpus,
    usable_cores,
)
from emberank.forge.target_files import gpu_types
from emberank.forge.targets import GB, Pool, Price, Target, targets_of
from emberank.serving.machine import Memory, cgroup_memory, machine_memory

TYPES = gpu_types()
MEMORY = Memory(total_bytes=20 * GB, free_bytes=15 * GB)
H100 = "NVIDIA H100 80GB HBM3"


class FakeNvml:
    """As much of `pynvml` as is used: (name, uuid, total, free) a device, or the error that it answers with."""

    class NVMLError(Exception):
        pass

    def __init__(self, *devices: Any, driver: bool = True) -> None:
        self.devices, self.driver = devices, driver

    def nvmlInit(self) -> None:
        if not self.driver:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, place: int) -> Any:
        if isinstance(self.devices[place], Exception):
            raise self.devices[place]
        return self.devices[place]

    def nvmlDeviceGetName(self, handle: Any) -> Any:
        return handle[0]

    def nvmlDeviceGetUUID(self, handle: Any) -> Any:
        return handle[1]

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:
        return SimpleNamespace(total=handle[2], free=handle[3], used=handle[2] - handle[3])


class Seen:
    """GPUs that are simply there."""

    def __init__(self, *gpus: Gpu) -> None:
        self.gpus = gpus

    def look(self) -> tuple[Gpu, ...]:
        return self.gpus


def gpu(number: int, name: str = H100, total: int = 85 * GB, free: int = 80 * GB) -> Gpu:
    return Gpu(uuid=f"GPU-{number}", name=name, total_bytes=total, free_bytes=free)


# GPUs


def test_gpus_are_seen_through_the_library_whether_it_speaks_text_or_bytes() -> None:
    found = Nvml(FakeNvml((H100, "GPU-1", 85 * GB, 80 * GB), (b"NVIDIA L4", b"GPU-2", 24 * GB, 1 * GB))).look()
    assert found == (gpu(1), Gpu(uuid="GPU-2", name="NVIDIA L4", total_bytes=24 * GB, free_bytes=1 * GB))


def test_a_gpu_that_does_not_answer_is_left_out_and_the_others_stay() -> None:
    found = Nvml(FakeNvml(FakeNvml.NVMLError("GPU is lost"), (H100, "GPU-1", 85 * GB, 80 * GB))).look()
    assert [one.uuid for one in found] == ["GPU-1"]


def test_a_driver_that_goes_away_leaves_no_gpus() -> None:
    library = FakeNvml((H100, "GPU-1", 1, 1))
    seen = Nvml(library)

    def gone() -> int:
        raise library.NVMLError("Driver Not Loaded")

    library.nvmlDeviceGetCount = gone  # type: ignore[method-assign]
    assert seen.look() == ()


def test_without_the_library_there_are_no_gpus_and_a_line_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with caplog.at_level(logging.INFO):
        assert local_gpus().look() == ()
    assert [(record.levelname, record.__dict__["action"]) for record in caplog.records] == [("INFO", "gpus_not_looked_for")]


def test_without_a_driver_there_are_no_gpus_and_a_line_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(driver=False))
    with caplog.at_level(logging.INFO):
        assert isinstance(local_gpus(), NoGpus)
    assert [(record.levelname, record.message) for record in caplog.records] == [("INFO", "no GPU was found: NVMLError")]


def test_with_a_driver_the_librarys_gpus_are_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml((H100, "GPU-1", 85 * GB, 80 * GB)))
    assert local_gpus().look() == (gpu(1),)


def test_gpus_of_one_type_are_one_pool_with_as_much_on_each_as_the_smallest_has() -> None:
    first, second = gpu_pools(TYPES, (gpu(1), gpu(2, "NVIDIA L4", 24 * GB), gpu(3, "NVIDIA H100 PCIe", 80 * GB)))
    assert first == Pool(target=Target("H100", "local"), memory_bytes=160 * GB, slots=2, devices=("GPU-1", "GPU-3"))
    assert first.most_bytes == 80 * GB
    assert (second.target, second.devices) == (("L4", "local"), ("GPU-2",))


# pools


def test_this_machine_is_a_cpu_pool_and_a_pool_for_each_type_of_gpu() -> None:
    cpu, h100 = discover(TYPES, MEMORY, Seen(gpu(1)), cores=2, gpu_engine=True)
    assert cpu == Pool(target=Target("CPU", "local"), memory_bytes=18 * GB, slots=4)
    assert (h100.target, h100.closed) == (("H100", "local"), "")


def test_what_an_hour_here_costs_is_the_price_of_every_local_pool() -> None:
    pools = discover(TYPES, MEMORY, Seen(gpu(1)), cores=2, usd_per_hour=0.4, day="2026-11-21")
    assert {pool.price for pool in pools} == {Price(usd_per_hour=0.4, source="local_usd_per_hour", date="2026-11-21")}


def test_a_gpu_that_no_engine_can_use_is_listed_and_not_run_on() -> None:
    pools = discover(TYPES, MEMORY, Seen(gpu(1)), cores=2)
    model = load_catalog().resolve("all-minilm-l6-v2")
    cpu, h100 = targets_of(model, model.versions[0], pools, {})
    assert cpu.runnable
    assert (h100.runnable, h100.reason) == (False, NO_GPU_ENGINE)


@pytest.mark.parametrize(
    ("version", "usable"),
    [
        ("__version__ = '2.13.0'\ncuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n", True),
        ("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip: Optional[str] = None\n", False),
        ("__version__ = '2.5.1+cu124'\ncuda = '12.4'\n", True),
        ("__version__ = '2.13.0'\nxcuda = '13.0'\n", False),
        (None, False),
    ],
)
def test_a_gpu_can_be_used_when_pytorch_with_cuda_is_installed_and_pytorch_is_not_imported_to_see_it(
    version: str | None, usable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise AssertionError('imported')")
    if version is not None:
        (tmp_path / "torch" / "version.py").write_text(version)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert gpu_engine() is usable


def test_without_pytorch_no_gpu_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not gpu_engine()


@pytest.mark.parametrize(("cores", "slots"), [(1, 4), (2, 4), (16, 32)])
def test_endpoints_share_cores_so_memory_is_what_bounds_them(cores: int, slots: int) -> None:
    assert cpu_pool(MEMORY, cores).slots == slots


def test_what_is_free_is_never_more_than_the_pool() -> None:
    small = Pool(target=Target("B200", "us-central1"), memory_bytes=4 * GB, slots=2)
    assert free_bytes(small, MEMORY, ()) == {"": 4 * GB}
    assert free_bytes(cpu_pool(MEMORY, 2), MEMORY, ()) == {"": 15 * GB}


def test_what_is_free_of_a_gpu_pool_is_said_by_device_and_a_lost_one_has_nothing() -> None:
    (pool,) = gpu_pools(TYPES, (gpu(1), gpu(2), gpu(3)))
    assert free_bytes(pool, MEMORY, (gpu(1), gpu(2, free=3 * GB))) == {"GPU-1": 80 * GB, "GPU-2": 3 * GB, "GPU-3": 0}


# memory


def groups(root: Path, lines: str) -> None:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(lines)


def write(root: Path, folder: str, **files: str) -> None:
    path = root / "sys/fs/cgroup" / folder
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name.replace("__", ".")).write_text(content)


def test_a_containers_limit_is_the_machines_memory(tmp_path: Path) -> None:
    groups(tmp_path, "0::/\n")
    write(tmp_path, ".", memory__max="3000000000\n", memory__current="2000000000\n", memory__stat="anon 1\ninactive_file 500000000\n")
    assert cgroup_memory(tmp_path) == (Memory(total_bytes=3_000_000_000, free_bytes=1_500_000_000),)
    assert machine_memory(tmp_path).total_bytes == 3_000_000_000
    assert machine_memory(tmp_path).free_bytes <= 1_500_000_000


def test_the_limits_of_all_groups_around_a_process_count(tmp_path: Path) -> None:
    groups(tmp_path, "0::/user/session\n")
    write(tmp_path, "user/session", memory__max="max\n", memory__current="7\n")
    write(tmp_path, "user", memory__max="2000\n", memory__current="500\n")
    write(tmp_path, ".", memory__max="max\n")
    assert cgroup_memory(tmp_path) == (Memory(total_bytes=2000, free_bytes=1500),)


def test_the_first_generation_of_control_groups_has_other_names(tmp_path: Path) -> None:
    groups(tmp_path, "9:name=systemd:/\n4:cpu,memory:/docker/abc\n0::/\n")
    write(tmp_path, "memory", memory__limit_in_bytes="5000\n", memory__usage_in_bytes="6000\n", memory__stat="total_inactive_file 500\n")
    assert cgroup_memory(tmp_path) == (Memory(total_bytes=5000, free_bytes=0),)


@pytest.mark.parametrize("lines", ["", "nonsense", "0::/../../etc\n", "1:cpu:/\n"])
def test_a_machine_without_limits_has_what_the_system_says(tmp_path: Path, lines: str) -> None:
    groups(tmp_path, lines)
    assert cgroup_memory(tmp_path) == ()
    assert machine_memory(tmp_path).total_bytes == psutil.virtual_memory().total


def test_a_system_without_control_groups_has_what_the_system_says(tmp_path: Path) -> None:
    found = machine_memory(tmp_path)
    assert 0 < found.free_bytes <= found.total_bytes == psutil.virtual_memory().total


def test_this_very_machine_has_memory_and_cores() -> None:
    found = machine_memory()
    assert 0 < found.free_bytes <= found.total_bytes <= psutil.virtual_memory().total
    assert 1 <= usable_cores() <= (psutil.cpu_count() or 1)
