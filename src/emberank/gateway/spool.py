"""Reports that could not be delivered in, files that outlive the process out, and back. Knows no fleet.

`usage-spool/<gateway>-<number>.json`, for its owner alone, complete or not there at all. Whoever opens the folder next delivers what is in it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from emberank.contract.fleet import LoadReport
from emberank.dialects import fleet

_MOST_FILES = 100_000  # more than a day of a second each


class Spool:
    """One folder of reports."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = 0

    def left(self) -> list[Path]:
        """What is there, oldest first; reports of one gateway in their order."""
        try:
            found = [path for path in self._folder.iterdir() if path.suffix == ".json"]
        except OSError:
            return []
        self._files = len(found)
        return sorted(found, key=_order)

    def keep(self, report: LoadReport) -> Path:
        """Write it down. Raises OSError when that cannot be."""
        if self._files >= _MOST_FILES:
            raise OSError("the spool is full")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{report.gateway_id}-{report.number}.json"
        draft = path.with_suffix(f".{os.getpid()}.part")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(fleet.encode(report))
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        self._files += 1
        return path

    def read(self, path: Path) -> LoadReport | None:
        """The report in that file; None when another gateway has delivered it, or when it holds none, and then it is set aside."""
        try:
            return fleet.decode_report(path.read_bytes())
        except FileNotFoundError:
            return None
        except Exception:  # noqa: BLE001  whatever is in the file, the others are to be delivered
            self.set_aside(path)
            return None

    def forget(self, path: Path) -> None:
        """It is delivered."""
        self._files -= 1
        with contextlib.suppress(OSError):
            path.unlink()

    def set_aside(self, path: Path) -> None:
        """It cannot be delivered, ever: keep it for a person to look at."""
        self._files -= 1
        with contextlib.suppress(OSError):
            path.rename(path.with_suffix(".refused"))


def _order(path: Path) -> tuple[str, int]:
    gateway, _, number = path.stem.rpartition("-")
    return gateway, int(number) if number.isdecimal() else 0
