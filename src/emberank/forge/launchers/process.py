"""A launch in, a runtime as a child process out: in a session of its own, with a log file, a model file and a status file in the data folder.

It outlives a forge that is killed, and the next forge adopts it. Knows no phase, and nothing of what the runtime serves.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from emberank.contract.fleet import FailureReason
from emberank.forge.bridge_sources import is_bridged
from emberank.forge.catalog import Model, launch_spec
from emberank.forge.launchers import pid as kernel
from emberank.forge.launchers.base import Launch, Observed, Running
from emberank.forge.launchers.environment import environment
from emberank.forge.launchers.log_file import bound_log, open_log
from emberank.forge.launchers.status_file import Status, read_status
from emberank.forge.samples import WeightsFrom
from emberank.forge.secret_store import SecretStore

COMMAND = (sys.executable, "-m", "emberank.cli", "runtime")
BRIDGE = (sys.executable, "-m", "emberank.bridge")  # for a provider of LiteLLM's; it takes the same flags and writes the same files
_STATUS_FLAG = "--status-file"
_NEAR = 0.8  # of the memory limit: who had so much and was killed, was killed for memory


@dataclass(slots=True)
class _Child:
    """What was learned of a process while it lived."""

    process: subprocess.Popen[bytes] | None  # None: it was adopted, and is not our child
    deaths_before: int  # of processes of this machine, for want of memory
    peak_memory_bytes: int | None = None
    fetched: bool = False
    weights_bytes: int = 0
    weights_from: WeightsFrom | None = None


class ProcessLauncher:
    """Runtimes on this machine."""

    def __init__(self, folder: Path, *, command: Sequence[str] = COMMAND, bridge: Sequence[str] = BRIDGE, inherited: Mapping[str, str] | None = None) -> None:
        self._logs, self._files = folder / "logs", folder / "run"
        self._command, self._bridge = tuple(command), tuple(bridge)
        self._secrets = SecretStore(folder)
        self._inherited = os.environ if inherited is None else inherited
        self._children: dict[str, _Child] = {}

    def start(self, launch: Launch) -> Running:
        """Start the runtime; raises OSError when no process could be made, SettingError for a source that is not for processes."""
        entry = launch_spec(launch.model, launch.version)
        self._files.mkdir(parents=True, exist_ok=True, mode=0o700)
        status_file, model = self._status_file(launch.id), self._files / f"{launch.id}.model.json"
        log_file = self._logs / f"{'-'.join((launch.model.slug, launch.version.name, *launch.pool.target))}.log"
        model.write_text(json.dumps({"model": [entry]}), "utf-8")
        command = self._bridge if is_bridged(launch.version.source) else self._command
        words = [*command, "--host", "127.0.0.1", "--port", "0", "--model-file", str(model), _STATUS_FLAG, str(status_file)]
        deaths = kernel.ended_for_memory()
        log = open_log(log_file)
        try:
            # A session of its own: a Ctrl-C at the terminal is for the forge, which then decides what becomes of its runtimes.
            process = subprocess.Popen(  # noqa: S603  the words are ours, and no shell reads them
                words, env=self._environment(launch), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        finally:
            os.close(log)
        self._children[launch.id] = _Child(process, deaths, weights_bytes=weights_bytes(launch.model))
        return Running(
            id=launch.id,
            launcher="process",
            served_name=launch.model.id,
            pid=process.pid,
            pid_created_at=kernel.created_at(process.pid),
            log_file=str(log_file),
            status_file=str(status_file),
            devices=launch.devices,
        )

    def _environment(self, launch: Launch) -> dict[str, str]:
        """What the process gets. A provider's key goes to the bridge by the name that the version says, wherever it is kept."""
        found = environment(launch, self._inherited)
        name = launch.version.settings.get("api_key_env", "") if is_bridged(launch.version.source) else ""
        key = (self._inherited.get(name) or self._secrets.get(name)) if name else ""
        return found | ({name: key} if key else {})

    def look(self, running: Running) -> Observed:
        """What its status file says, if it lives; else what it ended of."""
        child = self._children.get(running.id)
        status = read_status(self._status_file(running.id))
        if self._lives(running, child):
            return self._living(running, child or self._watched(running), status)
        self._children.pop(running.id, None)
        self._forget_files(running)
        if child is None and not status.reason:
            return Observed(state="gone")
        code = child.process.returncode if child and child.process else None
        peak = _peak(running, status, child)
        reason, message = why(code, status, for_memory=child is not None and _for_memory(child))
        return Observed(state="ended", reason=reason, message=message, peak_memory_bytes=peak)

    def stop(self, running: Running) -> None:
        """SIGTERM: the runtime drains and exits with status 0."""
        child = self._children.get(running.id)
        if running.pid is not None and self._lives(running, child):
            with contextlib.suppress(OSError, psutil.Error):
                psutil.Process(running.pid).send_signal(signal.SIGTERM)

    def kill(self, running: Running) -> None:
        """SIGKILL, to whatever it started as well."""
        child = self._children.get(running.id)
        if running.pid is not None and self._lives(running, child):
            kernel.end_group(running.pid)

    def adopt(self, saved: Running) -> Running | None:
        """The process that was started under this id, if it is there. One whose number was not written down any more is looked for."""
        status_file = str(self._status_file(saved.id))
        found = saved if saved.pid is not None else self._found(saved, status_file)
        if found is None or not kernel.is_same(found.pid, found.pid_created_at, status_file):
            self._forget_files(saved)
            return None
        return found

    def _found(self, saved: Running, status_file: str) -> Running | None:
        number = kernel.find(_STATUS_FLAG, status_file)
        made_at = None if number is None else kernel.created_at(number)
        return None if made_at is None else replace(saved, pid=number, pid_created_at=made_at, status_file=status_file)

    def _lives(self, running: Running, child: _Child | None) -> bool:
        if child is not None and child.process is not None:
            return child.process.poll() is None  # and reaped, if not: its number means nothing from here on
        if kernel.is_same(running.pid, running.pid_created_at, str(self._status_file(running.id))):
            return True
        if running.pid is not None:
            kernel.reap(running.pid)
        return False

    def _watched(self, running: Running) -> _Child:
        """What is known of an adopted process."""
        return self._children.setdefault(running.id, _Child(None, kernel.ended_for_memory()))

    def _living(self, running: Running, child: _Child, status: Status) -> Observed:
        pid = running.pid or 0
        child.peak_memory_bytes = kernel.peak_memory_bytes(pid) or child.peak_memory_bytes
        child.fetched = child.fetched or (status.phase == "fetching" and bool(status.done))
        if running.log_file:
            bound_log(Path(running.log_file))
        peak = _peak(running, status, child)
        if status.phase == "ready" and status.url:
            child.weights_from = child.weights_from or weights_from(child.fetched, child.weights_bytes, kernel.read_bytes(pid))
            return Observed(state="ready", url=status.url, peak_memory_bytes=peak, weights_from=child.weights_from)
        if status.phase == "failed":
            # It has said its reason, and has nothing left to save: one that hangs while it ends would hold its memory.
            self.kill(running)
        return Observed(state="starting", step=status.phase, done=status.done, total=status.total, peak_memory_bytes=peak)

    def _status_file(self, endpoint_id: str) -> Path:
        return self._files / f"{endpoint_id}.status.json"

    def _forget_files(self, running: Running) -> None:
        for file in (self._status_file(running.id), self._files / f"{running.id}.model.json"):
            with contextlib.suppress(OSError):
                file.unlink()


def weights_bytes(model: Model) -> int:
    """How large its weights are; 0 when that is not known."""
    return (model.parameters or 0) * (2 if model.dtype in ("BF16", "FP16") else 4)


def why(code: int | None, status: Status, *, for_memory: bool) -> tuple[FailureReason, str]:
    """Why a process ended, from its exit status (negative: the signal that ended it) and what it said itself."""
    if status.reason is not None:
        return status.reason, status.message or "it ended; its log says why"
    if code is None:
        return "crashed", "it ended, and its exit status is not known"
    if code == -signal.SIGKILL and for_memory:
        return "out_of_memory", "the system ended it for want of memory"
    if code < 0:
        return "crashed", f"it was ended by {_signal(-code)}"
    if code == 2:
        return "bad_setting", "it could not be started with its settings; its log says why"
    return "crashed", f"it ended by itself with status {code}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _peak(running: Running, status: Status, child: _Child | None) -> int | None:
    """On a device only the runtime can say what it took; on a CPU the kernel keeps counting after the runtime's last word."""
    said, counted = status.peak_memory_bytes, child.peak_memory_bytes if child else None
    return said or counted if running.devices else max(said or 0, counted or 0) or None


def _for_memory(child: _Child) -> bool:
    near = (child.peak_memory_bytes or 0) >= _NEAR * kernel.memory_limit_bytes()
    return near or kernel.ended_for_memory() > child.deaths_before


def weights_from(fetched: bool, weights_bytes: int, read: tuple[int, int] | None) -> WeightsFrom:
    """Where a process that is ready now has its weights from; `read` is what came from the disk, and what it read in all.

    It reads its weights whole, to check their hashes: where their size is not known, all that it read stands for it.
    """
    if fetched:
        return "network"
    if read is None:
        return "unknown"
    return "disk" if read[0] >= (weights_bytes or read[1]) / 2 else "page cache"


def build(folder: Path) -> ProcessLauncher:
    """The registry's builder."""
    return ProcessLauncher(folder)
