"""A folder's path in, its lock, secrets and paths out: what the forge keeps on this machine. Does not know what is in the database or the logs.

emberank.db        the store, unless it is PostgreSQL          forge.lock    held by the forge that uses the folder
fleet.json         where the gateway finds the forge           NAME.secret   32 random bytes in hex
logs/              a file for each runtime                     endpoints/    model and status files of the runtimes
usage-spool/       usage that a gateway could not deliver       secrets/      keys of remote servers (secret_store.py)
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from emberank.contract.errors import StartError
from emberank.forge.file_lock import FileLock

log = logging.getLogger(__name__)

FOLDERS = ("logs", "endpoints", "usage-spool")
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFile:
    """Where a running forge listens, what opens its internal routes, and which process it is."""

    url: str
    token: str = field(repr=False)
    pid: int


class DataFolder:
    """One installation's files. Made for its owner alone when it is not there; a folder that is there keeps its mode."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser().absolute()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in FOLDERS:
                (self.path / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise self._refused(error) from error
        self._lock = FileLock(self.path / "forge.lock")

    @property
    def db(self) -> Path:
        """The SQLite file."""
        return self.path / "emberank.db"

    @property
    def logs(self) -> Path:
        """A log file for each runtime."""
        return self.path / "logs"

    @property
    def endpoints(self) -> Path:
        """Model and status files of the runtimes."""
        return self.path / "endpoints"

    @property
    def usage_spool(self) -> Path:
        """Usage that a gateway could not deliver yet."""
        return self.path / "usage-spool"

    def lock(self) -> None:
        """Be the only forge on this folder until the process ends, or raise StartError with the process id of the one that is."""
        try:
            taken = self._lock.take()
        except OSError as error:
            raise self._refused(error) from error
        if not taken:
            holder = self._lock.holder()
            who = f"the forge of process {holder}" if holder else "another forge"
            raise StartError(f"{who} uses the data folder {str(self.path)!r}: stop it, or choose another folder with --data-dir")

    def unlock(self) -> None:
        """Let another forge have the folder before this process ends."""
        self._lock.release()

    def secret(self, name: str) -> str:
        """64 hex digits, made at the first call and the same ever after; a file that only its owner may read."""
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise ValueError(f"{name!r} is no name for a secret")
        path = self.path / f"{name}.secret"
        try:
            with contextlib.suppress(FileNotFoundError):
                return self._kept_secret(path)
            self._write_new(path, f"{secrets.token_hex(SECRET_BYTES)}\n")
            return self._kept_secret(path)  # which may be another process's, if that was faster
        except OSError as error:
            raise self._refused(error) from error

    def write_fleet_file(self, fleet: FleetFile) -> None:
        """Say where the forge is, in the place of what was said before."""
        try:
            beside = self._beside(self.path / "fleet.json", json.dumps(asdict(fleet)))
            beside.replace(self.path / "fleet.json")
        except OSError as error:
            raise self._refused(error) from error

    def read_fleet_file(self) -> FleetFile | None:
        """What a forge said last; None when none did, or when it cannot be read."""
        try:
            said = json.loads((self.path / "fleet.json").read_text("utf-8"))
            return FleetFile(url=str(said["url"]), token=str(said["token"]), pid=int(said["pid"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remove_fleet_file(self) -> None:
        """The forge has ended."""
        with contextlib.suppress(OSError):
            (self.path / "fleet.json").unlink()

    def _kept_secret(self, path: Path) -> str:
        with path.open("r", encoding="ascii", errors="replace") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                log.warning("a secret could be read by others: now it cannot", extra={"action": "secret", "secret": path.stem})
                os.chmod(path, 0o600)
            kept = file.read(1024).strip()
        if not re.fullmatch(r"[0-9a-f]{64}", kept):
            raise StartError(f"the secret {str(path)!r} is damaged: restore it from a backup, or delete it and replace everything that was made with it")
        return kept

    def _write_new(self, path: Path, content: str) -> None:
        """All of it or nothing, and never over a file that is there."""
        beside = self._beside(path, content)
        try:
            os.link(beside, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def _beside(self, path: Path, content: str) -> Path:
        """A file next to `path` that is wholly on the disk, to be put in its place."""
        beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
        try:
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        return beside

    def _refused(self, error: OSError) -> StartError:
        return StartError(f"the data folder {str(self.path)!r} cannot be used: {error.strerror or error}; choose another with --data-dir")
