"""`emberank probe MODEL`: measure it here and now, and show the table of its targets."""

from __future__ import annotations

import argparse
import time
from typing import Any
from urllib.parse import quote, urlencode

from emberank.commands.operator import add_data_dir, ask
from emberank.contract.errors import DeadlineExceeded

HELP = "measure a model on a target: cold start, memory, model time, tokens/s"
DESCRIPTION = "Start a model if it is cold, send it a few known requests, and show the table of its targets. The figures are kept."
POLL_S = 0.2


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What, where, how long."""
    parser.add_argument("model", help="a slug or another name of the catalogue")
    parser.add_argument("--version", dest="model_version", default=None, help="default: the model's default version")
    parser.add_argument("--gpu-type", default=None, help="default: as the scheduler chooses")
    parser.add_argument("--region", default=None)
    parser.add_argument("--cold", action="store_true", help="stop it first, so that the cold start is measured too")
    parser.add_argument("--wait-s", type=float, default=900.0, help="how long to wait for the result; default: 900")
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask for it, wait, print; status 1 when the probe failed."""
    pin = {"model_version": arguments.model_version, "gpu_type": arguments.gpu_type, "region": arguments.region}
    asked = ask(arguments, "POST", "/v1/probes", {"slug": arguments.model, "cold": arguments.cold, **{name: value for name, value in pin.items() if value}})
    ended = _ended(arguments, asked["id"])
    _print_table(arguments, {"model_version": ended.get("version")})
    if ended["state"] == "failed":
        print(f"\nemberank: the probe failed: {ended.get('message') or ended.get('reason')}")
        return 1
    return 0


def _ended(arguments: argparse.Namespace, probe_id: str) -> dict[str, Any]:
    until = time.monotonic() + arguments.wait_s
    while time.monotonic() < until:
        for probe in ask(arguments, "GET", "/v1/probes")["data"]:
            if probe["id"] == probe_id and probe["state"] in ("done", "failed"):
                return dict(probe)
        time.sleep(POLL_S)
    raise DeadlineExceeded(f"the probe {probe_id} has not ended within {arguments.wait_s:g} s; it goes on, and GET /v1/probes tells how it ends")


def _print_table(arguments: argparse.Namespace, filters: dict[str, str | None]) -> None:
    from emberank.forge.run_table import as_table

    query = urlencode({name: value for name, value in filters.items() if value})
    print(as_table(ask(arguments, "GET", f"/v1/models/{quote(arguments.model, safe='')}/reliability?{query}")))
