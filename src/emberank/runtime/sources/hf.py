"""A repository on the hub in, its configuration, tokenizer and safetensors files out. Never fetches pickles or code, and does not know the cache."""

from __future__ import annotations

import glob
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from emberank.contract.errors import WeightsError
from emberank.runtime.sources.base import PARTIAL, Progress, Source, inside, without_credentials

ALLOWED = ("config*.json", "*.json", "*.safetensors", "tokenizer*", "vocab.txt", "merges.txt", "*.model", "README*", "LICENSE*")
# `tokenizer*` also matches tokenizer.py, and `*` also matches a slash: what must never be fetched is said once more.
REFUSED = ("*.bin", "*.py", "*.onnx", "*.pt", "*.pth", "*.pkl", "onnx/*", "openvino/*", ".*")

KEPT = "files that are complete are kept"


class HubFetcher:
    """Downloads a snapshot with huggingface_hub, which keeps the files that are complete and resumes a broken connection."""

    def __init__(self, *, endpoint: str | None = None) -> None:
        # None: the hub's own rules (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE) hold.
        self._endpoint = endpoint

    def fetch(self, source: Source, target: Path, progress: Progress) -> None:
        """Download into a hidden folder, see that every file is whole, and only then move them into place."""
        partial = target / PARTIAL
        with _failures(source):
            names = self._download(source, partial)
        try:
            for name in names:
                path = inside(target, name.removeprefix(_prefix(source)))
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(inside(partial, name), path)
                progress(path.name, path.stat().st_size, path.stat().st_size)
            shutil.rmtree(partial)
        except OSError as error:
            raise WeightsError(f"{source}: cannot write to {str(target)!r}: {error.strerror or error}") from error

    def _download(self, source: Source, partial: Path) -> list[str]:
        """The names of everything wanted, all of it now in `partial`."""
        from huggingface_hub import HfApi, snapshot_download  # heavy, and only this source needs it
        from huggingface_hub.utils.tqdm import disable_progress_bars

        if not sys.stderr.isatty():
            disable_progress_bars()  # in a log a bar is a heap of lines; `progress` says what is there
        info = HfApi(endpoint=self._endpoint).model_info(source.location, revision=source.revision or None, files_metadata=True)
        sizes = wanted({file.rfilename: file.size for file in info.siblings or ()}, source)
        snapshot_download(
            source.location,
            revision=info.sha,  # a branch may move between the two calls
            local_dir=partial,
            allow_patterns=[glob.escape(name) for name in sizes],
            endpoint=self._endpoint,
        )
        # When the hub goes away in between, snapshot_download calls whatever is in the folder a success. It is one when all of it is there.
        torn = [name for name, size in sizes.items() if not _whole(inside(partial, name), size)]
        if torn:
            raise WeightsError(f"{source}: the download stopped before {', '.join(torn[:3])} was complete: call again; {KEPT}")
        return sorted(sizes)


def wanted(sizes: Mapping[str, int | None], source: Source) -> dict[str, int | None]:
    """Of a repository's files, those to fetch. Refuses a repository that has no weights that can be read safely."""
    prefix = _prefix(source)
    chosen = {name: size for name, size in sizes.items() if name.startswith(prefix) and _allowed(name.removeprefix(prefix))}
    if f"{prefix}config.json" not in chosen:
        folders = sorted(name.rpartition("/")[0] for name in sizes if name.endswith("/config.json"))
        raise WeightsError(f"{source}: there is no {prefix}config.json; folders with one: {', '.join(f'#{folder}' for folder in folders) or 'none'}")
    if not any(name.endswith(".safetensors") for name in chosen):
        raise WeightsError(f"{source}: it has no *.safetensors, and other formats are never read: convert it, or take a revision that has them")
    return chosen


@contextmanager
def _failures(source: Source) -> Iterator[None]:
    """Every way the hub can fail, as one line that says what to do."""
    from huggingface_hub import errors

    try:
        yield
    except WeightsError:
        raise
    except errors.GatedRepoError as error:  # before RepositoryNotFoundError, which it also is
        raise WeightsError(f"{source}: the repository is gated: accept its terms on the model's page, and set HF_TOKEN to a token of that account") from error
    except errors.RepositoryNotFoundError as error:
        raise WeightsError(f"{source}: there is no such repository, or it is private: check the name; for a private one set HF_TOKEN") from error
    except errors.RevisionNotFoundError as error:
        raise WeightsError(f"{source}: the repository has no revision {source.revision or 'main'!r}") from error
    except errors.OfflineModeIsEnabled as error:
        raise WeightsError(f"{source}: HF_HUB_OFFLINE is set, so nothing can be fetched: unset it, or give the weights as `file:/folder`") from error
    except errors.LocalEntryNotFoundError as error:
        raise WeightsError(f"{source}: the hub cannot be reached: check the network and HF_ENDPOINT, or give the weights as `file:/folder`") from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "an error")
        raise WeightsError(f"{source}: the hub answered {status}: try again later; {KEPT}") from error
    except Exception as error:  # the hub's HTTP client, and so its exceptions, differ from version to version
        said = without_credentials((str(error).splitlines() or [""])[0])[:200]
        raise WeightsError(f"{source}: the download failed ({type(error).__name__}: {said}): check the network and the disk; {KEPT}") from error


def _prefix(source: Source) -> str:
    return f"{source.subfolder}/" if source.subfolder else ""


def _allowed(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in ALLOWED) and not any(fnmatchcase(name, pattern) for pattern in REFUSED)


def _whole(path: Path, size: int | None) -> bool:
    return path.is_file() and size in (None, path.stat().st_size)
