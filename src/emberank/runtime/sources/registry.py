"""A scheme in, its fetcher out. Knows the fetchers by import string only, so one is imported when it is used."""

from __future__ import annotations

import importlib
from typing import cast

from emberank.contract.errors import WeightsError
from emberank.runtime.sources.base import FORMS, Fetcher

FETCHERS = {
    "pypi": "emberank.runtime.sources.pypi:PypiFetcher",
    "hf": "emberank.runtime.sources.hf:HubFetcher",
    "file": "emberank.runtime.sources.file:FolderFetcher",
}


def fetcher(scheme: str) -> Fetcher:
    """A new fetcher for `scheme`."""
    if scheme not in FETCHERS:
        raise WeightsError(f"no fetcher for {scheme!r}: a source has to be one of {FORMS}")
    module, _, name = FETCHERS[scheme].partition(":")
    return cast(Fetcher, getattr(importlib.import_module(module), name)())
