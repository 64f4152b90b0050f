"""Runtimes as child processes: real ones, of a few milliseconds each."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from child_runtime import __file__ as child_file
from emberank.contract.errors import SettingError
from emberank.forge.catalog import Golden, Model, Version
from emberank.forge.launchers import pid as kernel
from emberank.forge.launchers.base import Launch, Observed, Running
from emberank.forge.launchers.environment import environment
from emberank.forge.launchers.log_file import bound_log, open_log
from emberank.forge.launchers.process import COMMAND, ProcessLauncher, weights_bytes, weights_from, why
from emberank.forge.launchers.status_file import NOTHING, Status, read_status, without_paths
from emberank.forge.targets import Pool, Target
from wire import until

COMMAND_OF_A_CHILD = (sys.executable, "-S", "-E", str(child_file))
GOLDEN = Golden(query="q", passages=("a", "b"), scores=(1.0, 0.5), tolerance=0.1)


def a_launch(behaviour: str = "ready", id: str = "e1", devices: tuple[str, ...] = (), settings: Mapping[str, str] | None = None, **model: Any) -> Launch:
    version = Version(name="v1", source="hf:org/weights", settings={"behaviour": behaviour, **(settings or {})})
    entry = Model(**{"slug": "ranker", "id": "org/ranker", "title": "", "description": "", "task": "rank", "golden": GOLDEN, "versions": (version,), **model})
    pool = Pool(target=Target("CPU", "local"), memory_bytes=10**9, slots=4, settings={"threads": "2", "precision": "fp32"})
    return Launch(id=id, model=entry, version=version, pool=pool, devices=devices)


Make = Callable[..., ProcessLauncher]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make a launcher over one folder; whatever was started is ended with the test."""
    made: list[ProcessLauncher] = []

    def one(inherited: Mapping[str, str] | None = None) -> ProcessLauncher:
        made.append(ProcessLauncher(tmp_path, command=COMMAND_OF_A_CHILD, inherited=inherited))
        return made[-1]

    yield one
    for launcher in made:
        for child in list(launcher._children.values()):
            if child.process is not None:
                child.process.kill()
                child.process.wait(20)


def seen(launcher: ProcessLauncher, running: Running, true: Callable[[Observed], bool], what: str) -> Observed:
    last: list[Observed] = []

    def is_so() -> bool:
        last[:] = [launcher.look(running)]
        return true(last[0])

    until(is_so, what)
    return last[0]


def ended(launcher: ProcessLauncher, running: Running) -> Observed:
    return seen(launcher, running, lambda observed: observed.over, "it has ended")


def ready(launcher: ProcessLauncher, running: Running) -> Observed:
    return seen(launcher, running, lambda observed: observed.state == "ready", "it is ready")


def pid_of(running: Running) -> int:
    assert running.pid is not None
    return running.pid


# What a child gets


def test_a_child_gets_its_model_file_its_settings_and_a_session_of_its_own(make: Make, tmp_path: Path) -> None:
    launcher = make({"PATH": "/bin", "HOME": "/h", "HF_TOKEN": "t", "EMBERANK_API_KEY": "secret", "NIM_HTTP_API_PORT": "1", "EMBERANK_CACHE_DIR": "/c"})
    running = launcher.start(a_launch(settings={"precision": "int8"}, devices=("3", "5"), aliases=("other",)))
    ready(launcher, running)
    assert os.getsid(pid_of(running)) == pid_of(running)
    (entry,) = json.loads((tmp_path / "run" / "e1.model.json").read_text())["model"]
    assert (entry["name"], entry["aliases"], entry["source"], entry["task"]) == ("org/ranker", ["ranker", "other"], "hf:org/weights", "rank")
    assert entry["golden"] == {"query": "q", "passages": ["a", "b"], "scores": [1.0, 0.5], "tolerance": 0.1}
    said, variables = Path(running.log_file).read_text().splitlines()
    assert said == "started with org/ranker"
    own = json.loads(variables)
    assert {name: own.get(name) for name in ("PATH", "HOME", "HF_TOKEN", "EMBERANK_CACHE_DIR")} == {
        "PATH": "/bin",
        "HOME": "/h",
        "HF_TOKEN": "t",
        "EMBERANK_CACHE_DIR": "/c",
    }
    assert (own["EMBERANK_PRECISION"], own["EMBERANK_THREADS"], own["CUDA_VISIBLE_DEVICES"]) == ("int8", "2", "3,5")
    assert not {"EMBERANK_API_KEY", "NIM_HTTP_API_PORT"} & set(own)


def test_a_child_is_the_runtime_command_unless_it_is_said_otherwise() -> None:
    assert (sys.executable, "-m", "emberank.cli", "runtime") == COMMAND


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("PATH", True),
        ("https_proxy", True),
        ("HF_HOME", True),
        ("XDG_CACHE_HOME", True),
        ("LD_LIBRARY_PATH", True),
        ("PIP_INDEX_URL", True),
        ("EMBERANK_CACHE_DIR", True),
        ("EMBERANK_PORT", False),
        ("EMBERANK_CACHE_DIR_X", False),
        ("NIM_MODEL_PATH", False),
        ("FORGE_API_KEY", False),
        ("LOG_FORMAT", False),
        ("SHOW_CONFIG", False),
        ("DATABASE_URL", False),
    ],
)
def test_settings_and_secrets_of_the_forge_are_not_handed_on(name: str, kept: bool) -> None:
    assert (name in environment(a_launch(), {name: "1"})) is kept


def test_a_cpu_endpoint_sees_the_devices_that_its_forge_sees() -> None:
    assert environment(a_launch(), {"CUDA_VISIBLE_DEVICES": "7"})["CUDA_VISIBLE_DEVICES"] == "7"


def test_a_version_that_is_somebody_elses_server_starts_no_process(make: Make) -> None:
    launch = a_launch()
    with pytest.raises(SettingError, match="somebody else's server"):
        make().start(replace(launch, version=replace(launch.version, source="nim:http://x:1")))


def test_a_command_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ProcessLauncher(tmp_path, command=("/nowhere/runtime",)).start(a_launch())


# What is seen of it


def test_a_start_is_seen_step_by_step_and_a_ready_one_with_what_it_took(make: Make, tmp_path: Path) -> None:
    launcher = make()
    running = launcher.start(a_launch("fetches"))
    step = seen(launcher, running, lambda observed: observed.step == "fetching", "it fetches")
    assert (step.state, step.done, step.total) == ("starting", 10, 100)
    (tmp_path / "run" / "fetched").touch()
    observed = ready(launcher, running)
    assert observed.url.startswith("http://127.0.0.1:")
    assert observed.weights_from == "network"
    assert observed.peak_memory_bytes is not None
    assert 1_000_000 < observed.peak_memory_bytes < 1_000_000_000


def test_the_runtimes_own_word_on_its_memory_goes_before_ours(make: Make) -> None:
    launcher = make()
    assert ready(launcher, launcher.start(a_launch("measures"))).peak_memory_bytes == 123_456_789


@pytest.mark.parametrize(
    ("fetched", "weights", "read", "expected"),
    [
        (True, 100, (100, 100), "network"),
        (False, 100, (50, 500), "disk"),
        (False, 100, (49, 500), "page cache"),
        (False, 0, (250, 500), "disk"),  # how large they are is not known: what it read in all stands for it
        (False, 0, (10, 500), "page cache"),
        (False, 100, None, "unknown"),
    ],
)
def test_where_the_weights_came_from(fetched: bool, weights: int, read: tuple[int, int] | None, expected: str) -> None:
    assert weights_from(fetched, weights, read) == expected


@pytest.mark.parametrize(("parameters", "dtype", "expected"), [(None, "", 0), (10, "BF16", 20), (10, "FP16", 20), (10, "FP32", 40), (10, "", 40)])
def test_how_large_the_weights_are(parameters: int | None, dtype: str, expected: int) -> None:
    assert weights_bytes(a_launch(parameters=parameters, dtype=dtype).model) == expected


# How it ends


@pytest.mark.parametrize(
    ("behaviour", "reason", "message"),
    [
        ("fails", "weights_unavailable", "…/e1.model.json is not to be had from https://hub.invalid/x"),
        ("refuses", "bad_setting", "it could not be started with its settings; its log says why"),
        ("crashes", "crashed", "it was ended by SIGSEGV"),
        ("killed", "crashed", "it was ended by SIGKILL"),
    ],
)
def test_a_child_that_ends_by_itself_says_why_or_its_exit_status_does(make: Make, behaviour: str, reason: str, message: str) -> None:
    launcher = make()
    observed = ended(launcher, launcher.start(a_launch(behaviour)))
    assert (observed.state, observed.reason, observed.message) == ("ended", reason, message)


@pytest.mark.parametrize(
    ("code", "status", "for_memory", "expected"),
    [
        (-9, NOTHING, True, ("out_of_memory", "the system ended it for want of memory")),
        (-9, NOTHING, False, ("crashed", "it was ended by SIGKILL")),
        (-11, NOTHING, True, ("crashed", "it was ended by SIGSEGV")),
        (-99, NOTHING, False, ("crashed", "it was ended by signal 99")),
        (0, NOTHING, False, ("crashed", "it ended by itself with status 0")),
        (1, NOTHING, False, ("crashed", "it ended by itself with status 1")),
        (None, NOTHING, False, ("crashed", "it ended, and its exit status is not known")),
        (2, Status(reason="golden_mismatch", message="wrong order"), False, ("golden_mismatch", "wrong order")),
        (-9, Status(reason="out_of_memory"), False, ("out_of_memory", "it ended; its log says why")),
    ],
)
def test_why_a_process_ended(code: int | None, status: Status, for_memory: bool, expected: tuple[str, str]) -> None:
    assert why(code, status, for_memory=for_memory) == expected


def test_a_killed_child_of_a_machine_that_ends_processes_for_memory_ran_out_of_memory(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = make()
    running = launcher.start(a_launch())
    ready(launcher, running)
    before = kernel.ended_for_memory()
    monkeypatch.setattr(kernel, "ended_for_memory", lambda: before + 1)
    os.kill(pid_of(running), signal.SIGKILL)
    assert ended(launcher, running).reason == "out_of_memory"


def test_a_killed_child_that_had_nearly_all_memory_ran_out_of_memory(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = make()
    running = launcher.start(a_launch())
    peak = ready(launcher, running).peak_memory_bytes
    assert peak is not None
    monkeypatch.setattr(kernel, "memory_limit_bytes", lambda: int(peak * 1.1))
    os.kill(pid_of(running), signal.SIGKILL)
    observed = ended(launcher, running)
    assert observed.reason == "out_of_memory"
    assert observed.peak_memory_bytes == pytest.approx(peak, rel=0.2)


def test_a_child_that_says_it_failed_and_does_not_end_is_ended(make: Make) -> None:
    launcher = make()
    running = launcher.start(a_launch("fails and hangs"))
    assert ended(launcher, running).reason == "weights_unavailable"


def test_a_stopped_child_is_gone_from_the_machine_with_its_files_and_leaves_no_zombie(make: Make, tmp_path: Path) -> None:
    launcher = make()
    running = launcher.start(a_launch())
    ready(launcher, running)
    assert psutil.Process(pid_of(running)).memory_info().rss > 0
    launcher.stop(running)
    ended(launcher, running)
    assert not psutil.pid_exists(pid_of(running))
    assert list((tmp_path / "run").iterdir()) == []


def test_a_child_that_does_not_listen_is_killed(make: Make) -> None:
    launcher = make()
    running = launcher.start(a_launch("stubborn"))
    ready(launcher, running)
    launcher.stop(running)
    assert launcher.look(running).state == "ready"
    launcher.kill(running)
    ended(launcher, running)
    assert not psutil.pid_exists(pid_of(running))


def test_killing_a_child_ends_what_it_started_itself(tmp_path: Path) -> None:
    # A shell in the place of the runtime, with a sleep in the place of a download.
    launcher = ProcessLauncher(tmp_path, command=("/bin/sh", "-c", 'sleep 60 & echo $! > "$0"; wait', str(tmp_path / "grandchild")))
    running = launcher.start(a_launch())
    until(lambda: (tmp_path / "grandchild").exists() and (tmp_path / "grandchild").read_text().strip() != "", "the grandchild runs")
    grandchild = int((tmp_path / "grandchild").read_text())
    launcher.kill(running)
    ended(launcher, running)
    until(lambda: kernel.created_at(grandchild) is None, "the grandchild has ended")


# Adoption


def test_a_process_outlives_its_launcher_and_is_known_to_the_next(make: Make) -> None:
    first = make()
    running = first.start(a_launch())
    ready(first, running)
    second = make()
    adopted = second.adopt(replace(running, url=""))
    assert adopted is not None
    assert ready(second, adopted).url.startswith("http://127.0.0.1:")
    os.kill(pid_of(running), signal.SIGKILL)
    observed = ended(second, adopted)
    assert (observed.reason, observed.message) == ("crashed", "it ended, and its exit status is not known")


def test_a_process_whose_number_was_not_written_down_any_more_is_found(make: Make) -> None:
    first = make()
    running = first.start(a_launch())
    ready(first, running)
    found = make().adopt(replace(running, pid=None, pid_created_at=None))
    assert found is not None
    assert (found.pid, found.pid_created_at) == (running.pid, running.pid_created_at)


def test_a_start_that_came_to_no_process_is_not_found(make: Make) -> None:
    assert make().adopt(Running(id="e404", launcher="process")) is None


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is none of ours."""
    process = subprocess.Popen(["/bin/sleep", "60"], stdin=subprocess.DEVNULL)
    yield process
    process.kill()
    process.wait(20)


def test_a_process_that_has_the_number_of_one_that_ended_is_never_signalled(make: Make, stranger: subprocess.Popen[bytes]) -> None:
    launcher = make()
    made_at = kernel.created_at(stranger.pid)
    assert made_at is not None
    for saved in (
        Running(id="e1", launcher="process", pid=stranger.pid, pid_created_at=made_at - 100.0),
        Running(id="e1", launcher="process", pid=stranger.pid, pid_created_at=made_at),  # after a reboot even the time may be the same
    ):
        assert launcher.adopt(saved) is None
        launcher.stop(saved)
        launcher.kill(saved)
        assert launcher.look(saved).state == "gone"
    assert stranger.poll() is None


def test_a_process_is_known_by_the_kernels_time_which_no_clock_moves(stranger: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    made_at = kernel.created_at(stranger.pid)
    monkeypatch.setattr(psutil, "boot_time", lambda: 0.0)
    assert kernel.created_at(stranger.pid) == made_at
    assert kernel.is_same(stranger.pid, made_at, "60")
    assert not kernel.is_same(stranger.pid, made_at, "61")
    assert not kernel.is_same(None, made_at, "60")
    assert kernel.created_at(2**22 + 1) is None


def test_a_process_that_is_just_being_made_is_known_by_its_command_line_a_moment_later(
    stranger: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[list[str]] = [[], [], ["/bin/sleep", "60"]]
    monkeypatch.setattr(kernel, "_command", lambda pid: shown.pop(0))
    assert kernel.is_same(stranger.pid, kernel.created_at(stranger.pid), "60")
    assert shown == []


# Files


def test_a_log_is_only_the_owners_to_read_and_goes_on_after_a_restart(make: Make) -> None:
    launcher = make({})
    for i in range(2):
        running = launcher.start(a_launch(id=f"e{i}"))
        ready(launcher, running)
        launcher.stop(running)
        ended(launcher, running)
    log = Path(running.log_file)
    assert log.name == "ranker-v1-CPU-local.log"
    assert log.read_text().count("started with") == 2
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_log_that_grows_while_it_is_written_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "x.log"
    descriptor = open_log(file, most_bytes=100)
    try:
        for i in range(50):
            os.write(descriptor, b"line %02d of ten\n" % i)
            bound_log(file, most_bytes=100)
    finally:
        os.close(descriptor)
    assert file.stat().st_size < 120
    assert file.with_name("x.log.1").stat().st_size < 120
    kept = file.with_name("x.log.1").read_text() + file.read_text()
    assert kept.endswith("line 49 of ten\n")
    assert "\0" not in kept


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", NOTHING),
        ("{", NOTHING),
        ("[1]", NOTHING),
        ('{"phase": 3, "done": "x", "total": -1, "url": null, "reason": "boredom", "peak_memory_bytes": true}', NOTHING),
        ('{"phase": "ready", "url": "http://h:1", "pid": 4}', Status(phase="ready", url="http://h:1", pid=4)),
        ('{"phase": "failed", "reason": "crashed", "message": "no"}', Status(phase="failed", reason="crashed", message="no")),
        ('{"phase": "fetching", "done": 0, "total": 9}', Status(phase="fetching", done=0, total=9)),
    ],
)
def test_a_status_file_is_read_field_by_field(tmp_path: Path, text: str, expected: Status) -> None:
    (tmp_path / "s").write_text(text)
    assert read_status(tmp_path / "s") == expected
    assert read_status(tmp_path / "nowhere") == NOTHING


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("'/root/.cache/emberank/x/model.safetensors' is truncated", "'…/model.safetensors' is truncated"),
        ("file:/data/models/mine has no config.json", "file:…/mine has no config.json"),
        ("~/models/mine and ../a/b", "…/mine and …/b"),
        ("hf:org/name: 404 from https://huggingface.co/org/name/resolve/main", "hf:org/name: 404 from https://huggingface.co/org/name/resolve/main"),
        ("application/json and either/or stay", "application/json and either/or stay"),
    ],
)
def test_callers_are_shown_no_path_of_the_server(message: str, shown: str) -> None:
    assert without_paths(message) == shown
