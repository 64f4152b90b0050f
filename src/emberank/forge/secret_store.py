"""A name in, the secret kept under it out: keys of other people's servers, in files that only their owner may read. Shows a secret to nobody.

They are put there by `emberank secret set NAME` and read when an endpoint is made; a variable of the environment with the same name goes before.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path

from emberank.contract.errors import SettingError, StartError

FOLDER = "secrets"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_MOST_BYTES = 8192


class SecretStore:
    """One file a secret, below the data folder. The folder is made with the first one."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER

    def get(self, name: str) -> str:
        """The secret; empty when there is none, or it cannot be read. Cheap: it is asked for again and again."""
        if not NAME.fullmatch(name):
            return ""
        try:
            with self._path(name).open("rb") as file:
                kept = file.read(_MOST_BYTES + 1)
            return kept.decode("ascii").strip() if len(kept) <= _MOST_BYTES else ""
        except (OSError, UnicodeDecodeError):
            return ""

    def set(self, name: str, secret: str) -> None:
        """Keep it, in the place of what was there. Raises SettingError for what cannot be a name or a key, StartError for a folder that cannot be written."""
        _check_name(name)
        secret = secret.strip()
        if not secret:
            raise SettingError(f"there is nothing to keep as {name}: the secret is read from standard input, and it was empty")
        if not (secret.isascii() and secret.isprintable()) or " " in secret or len(secret) > _MOST_BYTES:
            raise SettingError(f"what was given as {name} cannot be a key: a key is one line of at most {_MOST_BYTES} visible ASCII characters")
        beside = self._folder / f".{name}.{os.getpid()}-{secrets.token_hex(4)}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w", encoding="ascii") as file:
                file.write(f"{secret}\n")
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path(name))
        except OSError as cause:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise StartError(f"the secret {name} cannot be kept in {str(self._folder)!r}: {cause.strerror or cause}") from cause

    def remove(self, name: str) -> bool:
        """Forget it; whether there was one."""
        _check_name(name)
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            return False
        except OSError as cause:
            raise StartError(f"the secret {name} cannot be removed from {str(self._folder)!r}: {cause.strerror or cause}") from cause
        return True

    def names(self) -> list[str]:
        """What there is, by name."""
        try:
            return sorted(path.name for path in self._folder.iterdir() if NAME.fullmatch(path.name))
        except OSError:
            return []

    def _path(self, name: str) -> Path:
        return self._folder / name


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise SettingError(f"{name[:100]!r} is no name for a secret: it has to be that of an environment variable, such as COHERE_API_KEY")
