"""What was found out about files by reading all of them, kept; the same files' facts out at the next start, without reading. Knows no format.

A stamp belongs to a file's identity: device, inode, size, and the times of its last change of content and of inode, in nanoseconds. Whatever differs
means reading again, and so does anything odd about the stamps themselves. A file that was changed just before it was read gets no stamp: a second
change could fall on the same tick of the file system's clock and leave the identity as it is (git calls such entries racy).

A stamp is no defence against whoever can write the cache folder: they could replace the weights in it as well. It does not notice bits that rot on a
disk either; deleting the folder of stamps makes the next start read everything anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from emberank.runtime.scan import Scanned

log = logging.getLogger(__name__)

VERSION = 1  # of the file, and of what a scan looks for: another number means reading again
RACY_NS = 2_000_000_000  # the coarsest clock of a file system in use is FAT's, two seconds
WORTH_WAITING_BYTES = 256 << 20  # reading so much again at the next start takes longer than waiting now


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """How a file was found: equal identities mean that it was not changed in between."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, stat: os.stat_result) -> Identity:
        """From what the system says of an open file or of a path."""
        return cls(device=stat.st_dev, inode=stat.st_ino, size=stat.st_size, mtime_ns=stat.st_mtime_ns, ctime_ns=stat.st_ctime_ns)

    def settled(self, now_ns: int) -> bool:
        """Whether a change made from `now_ns` on is sure to show in the times. `now_ns` is Unix time, when reading begins."""
        return max(self.mtime_ns, self.ctime_ns) <= now_ns - RACY_NS


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What is known about one file as long as it has this identity."""

    identity: Identity
    scanned: Scanned


def stamp_file(cache_dir: Path, folder: Path) -> Path:
    """Where the stamps of a folder's files are kept. The folder itself may be read-only, or somebody else's."""
    return cache_dir / "stamps" / f"{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]}.json"


def read(path: Path) -> dict[str, Stamp]:
    """File name → stamp; empty when there are none, or when anything about them is not as `write` left it."""
    try:
        kept = json.loads(path.read_bytes())
        if kept["version"] != VERSION or kept["digest"] != _digest(kept["files"]):
            raise ValueError("another version, or damaged")
        return {name: _stamp(entry) for name, entry in kept["files"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as cause:
        log.info("stamps cannot be used; reading all files again", extra={"action": "stamps.unreadable", "file": str(path), "cause": str(cause)[:200]})
        return {}


def write(path: Path, stamps: Mapping[str, Stamp]) -> None:
    """Put these stamps in the place of all that were there, whole or not at all. A cache that cannot be written to only means reading again."""
    files = {name: asdict(stamp) for name, stamp in sorted(stamps.items())}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=".", delete=False) as file:
            try:
                json.dump({"version": VERSION, "digest": _digest(files), "files": files}, file)
                file.close()
                os.replace(file.name, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(file.name)
                raise
    except OSError as cause:
        log.info("stamps cannot be kept; the next start reads all files again", extra={"action": "stamps.unwritable", "file": str(path), "cause": str(cause)})


def wait_s(identities: Iterable[Identity], now_ns: int) -> float:
    """How long to wait before reading so that every file gets its stamp; 0 when so little is too young that reading it again costs less."""
    # A time in the future is another machine's clock, and waiting for it settles nothing.
    young = [one for one in identities if not one.settled(now_ns) and one.settled(now_ns + RACY_NS)]
    if sum(one.size for one in young) < WORTH_WAITING_BYTES:
        return 0.0
    return (max(max(one.mtime_ns, one.ctime_ns) for one in young) + RACY_NS - now_ns) / 1e9


def _stamp(entry: Mapping[str, Mapping[str, object]]) -> Stamp:
    identity, scanned = entry["identity"], entry["scanned"]
    sha256, not_finite = scanned["sha256"], scanned["not_finite"]
    if not isinstance(sha256, str) or not isinstance(not_finite, list):
        raise ValueError("not a stamp")
    numbers = {name: value for name, value in identity.items() if isinstance(value, int)}
    return Stamp(identity=Identity(**numbers), scanned=Scanned(sha256=sha256, not_finite=tuple(str(name) for name in not_finite)))


def _digest(files: object) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
