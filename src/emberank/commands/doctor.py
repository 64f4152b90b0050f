"""`emberank doctor URL`: ask an endpoint what it speaks, say what is off, print settings for clients."""

from __future__ import annotations

import argparse
import asyncio
import json
import os

from emberank.contract.errors import BadRequest

HELP = "examine any rerank or embeddings endpoint"
DESCRIPTION = (
    "Find out which dialects a server speaks, how it scores, cuts and limits, say what is off, and print settings for its clients. "
    "Sends at most 200 small requests and 2 MB of text (400 and 20 MB with --deep). Exit status: 0 fine, 1 something is off, 2 it cannot be reached."
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Where, as whom, how thoroughly."""
    parser.add_argument("url", help="its address, such as http://127.0.0.1:8000; a whole route is taken too")
    key = parser.add_mutually_exclusive_group()
    key.add_argument("--key", default=None, help="its key; other users of this machine can see it here: rather use --key-env")
    key.add_argument(
        "--key-env", metavar="NAME", default=None, help="the environment variable that holds its key; default: FORGE_API_KEY or EMBERANK_API_KEY for loopback"
    )
    parser.add_argument("--model", default=None, help="the model to ask for; default: one that the server lists or chooses")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.add_argument("--timeout", metavar="S", type=float, default=120.0, help="seconds for everything together; default: 120")
    parser.add_argument("--deep", action="store_true", help="look for limits beyond 1,000 passages, and take more requests for it")


def run(arguments: argparse.Namespace) -> int:
    """Examine and print; returns the exit status."""
    from emberank.doctor import Patient, examine
    from emberank.doctor.report import as_json, as_text

    if not 0 < arguments.timeout <= 3600:
        raise BadRequest("--timeout must be a number of seconds from 1 to 3600")
    key, name = _key(arguments)
    patient = Patient(url=arguments.url, key=key, key_name=name, model=arguments.model, timeout_s=arguments.timeout, deep=arguments.deep)
    report = asyncio.run(examine(patient))
    text = json.dumps(as_json(report), indent=2, ensure_ascii=False) if arguments.json else as_text(report)
    print(text.replace(key, "[key]") if key else text)
    return report.status


def _key(arguments: argparse.Namespace) -> tuple[str, str]:
    """The key and the variable that the settings name for it. Raises BadRequest for a variable that is not set, and for what cannot be a key."""
    from emberank.doctor.address import base_of, is_local

    name, key = arguments.key_env or "", arguments.key or ""
    if name and not os.environ.get(name):
        raise BadRequest(f"the environment variable {name!r}, which shall hold the key, is not set")
    if not name and not key and is_local(base_of(arguments.url)):
        # Ours goes nowhere that it was not given for: another host is asked with a key only when one is named.
        name = next((one for one in ("FORGE_API_KEY", "EMBERANK_API_KEY") if os.environ.get(one)), "")
    key = key or (os.environ[name] if name else "")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise BadRequest("the key holds characters that no key has; was it cut or pasted with something else?")
    return key, name
