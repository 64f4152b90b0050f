"""A data folder in, calls to the forge that runs on it out: who can read the folder is the operator, and needs no key."""

from __future__ import annotations

import argparse
import http.client
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from emberank.client.errors import error_from
from emberank.contract.errors import NotReady
from emberank.forge.data_folder import DataFolder
from emberank.settings import ForgeSettings, load
from emberank.settings.folders import data_dir

TIMEOUT_S = 60.0


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """The flag that all these commands share."""
    parser.add_argument("--data-dir", default=None, help="the data folder of the running installation; default as for `emberank up`")


def folder_of(arguments: argparse.Namespace) -> Path:
    """The data folder that flags and environment mean."""
    return data_dir(load(os.environ, {"data_dir": arguments.data_dir}, ForgeSettings).data_dir)


def ask(arguments: argparse.Namespace, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """The JSON that the running forge answers; None for an empty body. Raises the error it answers, and NotReady when none runs there."""
    folder = folder_of(arguments)
    found = DataFolder(folder).read_fleet_file() if folder.is_dir() else None
    if found is None:
        raise NotReady(f"no forge runs on {str(folder)!r}: start one with `emberank up`, or name its folder with --data-dir")
    address = urlsplit(found.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT_S)
    try:
        headers = {"Authorization": f"Bearer {found.token}", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        content = response.read()
    except OSError as cause:
        raise NotReady(f"the forge of {str(folder)!r} does not answer; is it running? `emberank up` starts it") from cause
    finally:
        connection.close()
    if response.status >= 400:
        pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.getheaders()]
        raise error_from(response.status, pairs, content)
    return json.loads(content) if content else None
