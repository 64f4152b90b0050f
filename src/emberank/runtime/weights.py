"""A source in, a local folder out: found in the cache or fetched once, its links checked, and its files hashed and searched for numbers that are none.

Does not know how a source is fetched, or what a network reads. Files that did not change since they were read are not read again (stamps.py).
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO

from emberank.contract.errors import WeightsCorrupt, WeightsError
from emberank.runtime import stamps
from emberank.runtime.scan import scan
from emberank.runtime.sources import registry
from emberank.runtime.sources.base import Fetcher, Progress, Source, check_links, require_config
from emberank.runtime.stamps import Identity, Stamp

log = logging.getLogger(__name__)

# As long as a fetch itself may take: whoever waits for another process waits for one download, not for ever.
WAIT_S = 3600.0
POLL_S = 0.2
REDRAW_S = 0.1
BAR_CELLS = 24
LISTED_BYTES = 1_000_000  # smaller files are there and not worth a line each in a log


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """One file: its name relative to the folder with `/` in between, its bytes, its sha256 in hex, and its tensors with a NaN or an infinity."""

    name: str
    size: int
    sha256: str
    not_finite: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Every file of a folder in the order of names. `content_hash` is the sha256 of what `sha256sum` prints for them in that order."""

    files: tuple[ManifestFile, ...]
    content_hash: str


def locate(source: Source, cache_dir: Path, *, progress: Progress, fetcher: Fetcher | None = None, wait_s: float = WAIT_S) -> Path:
    """The folder with the source's files: where it lies, or cached, or fetched now; no link in it leads out of it.

    Hashes are checked when fetching; later, `verify` does it.
    """
    one = fetcher or registry.fetcher(source.scheme)
    if (folder := source.in_place) is not None:
        one.fetch(source, folder, progress)
        check_links(folder, str(source))
        return folder
    folder = cached(source, cache_dir)
    # Before any lock: a cache that is baked into an image cannot be written to, and need not be.
    if folder.is_dir():
        check_links(folder, str(source))
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(_beside(folder, ".lock"), wait_s):
            if not folder.is_dir():
                _fetch(one, source, folder, progress, stamps.stamp_file(cache_dir, folder))
    except OSError as error:
        raise WeightsError(f"{source}: the cache {str(cache_dir)!r} cannot be used ({error.strerror or error}): set EMBERANK_CACHE_DIR to another") from error
    return folder


def cached(source: Source, cache_dir: Path) -> Path:
    """Where the source's files are kept, fetched or not."""
    name = str(source).partition(":")[2]
    # Readable for people; the hash keeps two sources apart that look alike once the odd characters are gone.
    readable = re.sub(r"[^A-Za-z0-9._-]+", "--", name)[:100]
    return cache_dir / source.scheme / f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def default_cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """$XDG_CACHE_HOME/emberank, or ~/.cache/emberank."""
    base = environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):  # the XDG specification says to ignore a relative one
        return Path(base) / "emberank"
    try:
        return Path.home() / ".cache" / "emberank"
    except RuntimeError as error:
        raise WeightsError("there is no home folder to keep weights in: set EMBERANK_CACHE_DIR") from error


def manifest(folder: Path, cache_dir: Path | None = None, *, now_ns: Callable[[], int] = time.time_ns) -> Manifest:
    """What is in `folder`, a few files at a time. Hidden files and folders (.git, .partial) are not part of a model.

    With the `cache_dir`, files that were read before and did not change are not read again, and what is read now is remembered there.
    """
    return _manifest(folder, cache_dir and stamps.stamp_file(cache_dir, folder), now_ns)


def verify(manifest: Manifest, expected: Mapping[str, str]) -> None:
    """Refuse a manifest whose files are not the `expected` ones (file name → sha256 in hex); further files may be there."""
    if said := difference(manifest, expected):
        raise WeightsCorrupt(f"{said}: delete the folder and run `emberank pull` again")


def difference(manifest: Manifest, expected: Mapping[str, str]) -> str:
    """The first file that is missing or another than expected, in words; empty when there is none."""
    found = {file.name: file.sha256 for file in manifest.files}
    for name, wanted in sorted(expected.items()):
        if name not in found:
            return f"{name}: the file is missing, expected one with sha256 {wanted}"
        if found[name] != wanted.lower():
            return f"{name}: sha256 is {found[name]}, expected {wanted}"
    return ""


class TerminalProgress:
    """Draws how far a file is: a bar on a terminal, and one line for each finished file anywhere else."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._bar = self._stream.isatty()
        self._clock = clock
        self._file = ""
        self._began_s = self._drawn_s = 0.0
        self._began_at = 0  # bytes that were there before the first call: a resumed file must not look fast

    def __call__(self, file: str, done: int, total: int | None, /) -> None:
        """Draw, at most ten times a second."""
        now, finished = self._clock(), done == total
        if file != self._file:
            self._file, self._began_s, self._drawn_s, self._began_at = file, now, float("-inf"), 0 if finished else done
        if finished:
            # A file of the same name may follow (two folders have a config.json).
            self._file = ""
        if not self._bar and finished:
            if done >= LISTED_BYTES:
                print(f"{_printable(file)}  {done / 1e6:.1f} MB", file=self._stream, flush=True)
        elif self._bar and (finished or now - self._drawn_s >= REDRAW_S):
            self._drawn_s = now
            took_s = now - self._began_s
            line = bar_line(_printable(file), done, total, (done - self._began_at) / took_s if took_s > 0 else None)
            print(f"\r{line}\x1b[K", end="\n" if finished else "", file=self._stream, flush=True)


def bar_line(file: str, done: int, total: int | None, bytes_per_s: float | None) -> str:
    """`model.safetensors [#####    ]  50%  45.4/90.9 MB  12.0 MB/s`; with no total there is no bar, and no speed with None."""
    speed = "" if bytes_per_s is None else f"  {bytes_per_s / 1e6:.1f} MB/s"
    if total is None:
        return f"{file:<28} {done / 1e6:.1f} MB{speed}"
    share = min(done / total, 1.0) if total else 1.0
    filled = int(share * BAR_CELLS)
    return f"{file:<28} [{'#' * filled}{' ' * (BAR_CELLS - filled)}] {share:4.0%}  {done / 1e6:.1f}/{total / 1e6:.1f} MB{speed}"


def _fetch(fetcher: Fetcher, source: Source, folder: Path, progress: Progress, stamp_file: Path) -> None:
    """Fetch beside the folder, check, and only then give it its name: whoever sees the folder sees all of it."""
    target = _beside(folder, ".part")  # the same name each time, so that what an interrupted fetch left is found
    target.mkdir(exist_ok=True)
    log.info("fetching %s", source, extra={"action": "weights.fetch"})
    fetcher.fetch(source, target, progress)
    try:
        require_config(target, str(source))
        check_links(target, str(source))
        settle(target)
        # Renaming a folder leaves its files what they are, so the stamps made here hold under the folder's own name.
        if said := difference(_manifest(target, stamp_file, time.time_ns), source.sha256):
            raise WeightsError(f"{source}: {said}: what was fetched is not what was asked for, and was deleted")
    except WeightsError:
        # What came is whole and wrong: keeping it would only be wrong again.
        shutil.rmtree(target, ignore_errors=True)
        raise
    os.replace(target, folder)
    log.info("fetched %s", source, extra={"action": "weights.fetched"})


def settle(folder: Path, now_ns: Callable[[], int] = time.time_ns, sleep: Callable[[float], None] = time.sleep) -> None:
    """After a long download, two seconds more, so that its files need not be read a second time at the next start (stamps.py)."""
    identities = [Identity.of(path.stat()) for path in _visible(folder)]
    if (wait_s := stamps.wait_s(identities, now_ns())) > 0:
        sleep(wait_s)


def _manifest(folder: Path, stamp_file: Path | None, now_ns: Callable[[], int]) -> Manifest:
    kept = stamps.read(stamp_file) if stamp_file else {}
    try:
        paths = sorted((path.relative_to(folder).as_posix(), path) for path in _visible(folder))
        with ThreadPoolExecutor(max_workers=4) as pool:  # hashing lets go of the interpreter lock
            read = list(pool.map(lambda pair: _known(pair[0], pair[1], kept.get(pair[0]), now_ns), paths))
    except OSError as error:
        raise WeightsError(f"{str(error.filename or folder)!r} cannot be read: {error.strerror or error}") from error
    made = {file.name: stamp for file, stamp in read if stamp}
    if stamp_file and made != kept:
        stamps.write(stamp_file, made)
    files = tuple(file for file, _ in read)
    lines = "".join(f"{file.sha256}  {file.name}\n" for file in files)
    return Manifest(files=files, content_hash=hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest())


def _known(name: str, path: Path, stamp: Stamp | None, now_ns: Callable[[], int]) -> tuple[ManifestFile, Stamp | None]:
    """A file's facts, from its stamp where that is this very file's, else from reading it; and the stamp it has from now on, if it may have one."""
    found = Identity.of(path.stat())
    if stamp is None or stamp.identity != found:
        began_ns = now_ns()
        scanned = scan(path)
        after = Identity.of(path.stat())
        if (after.inode, after.size, after.mtime_ns) != (found.inode, found.size, found.mtime_ns):
            raise WeightsCorrupt(f"{path}: the file was changed while it was being read; start again when whatever writes it has finished")
        stamp = Stamp(identity=found, scanned=scanned)
        keep = after == found and found.settled(began_ns)
    else:
        keep = True
    facts = ManifestFile(name=name, size=found.size, sha256=stamp.scanned.sha256, not_finite=stamp.scanned.not_finite)
    return facts, stamp if keep else None


def _beside(folder: Path, ending: str) -> Path:
    # Not with_suffix: the names hold versions, and 0.1.0 would lose its end.
    return folder.with_name(folder.name + ending)


def _visible(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def _raise(error: OSError) -> None:
    # os.walk passes over a folder that it cannot read unless it is told not to.
    raise error


def _printable(name: str) -> str:
    shown = "".join(character if character.isprintable() else "?" for character in name)
    return shown if len(shown) <= 28 else shown[:27] + "…"


@contextmanager
def _only_one(path: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock file. The system lets go of it when a process dies, so a lock is never left over; the empty file stays."""
    with path.open("ab") as file:
        deadline_s = time.monotonic() + wait_s
        waiting = False
        while not _try_lock(file):
            if not waiting:
                log.info("another process is fetching the same; waiting for it", extra={"action": "weights.wait"})
            waiting = True
            if time.monotonic() >= deadline_s:
                raise WeightsError(f"another process has held {str(path)!r} for more than {wait_s:.0f} s: see what it does, and try again")
            time.sleep(POLL_S)
        try:
            yield
        finally:
            _unlock(file)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        # flock, not lockf: it also keeps two threads of one process apart, since each opens the file itself.
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
