"""`emberank key create | list | revoke | rotate`: API keys, at the terminal of whoever runs the installation."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from emberank.commands.operator import add_data_dir, ask

HELP = "make, list, revoke and rotate API keys"
DESCRIPTION = "API keys of the installation that runs on the data folder. A key is shown once, when it is made."
_LIMITS = ("requests_per_minute", "concurrency", "monthly_usd", "monthly_tokens")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One set of flags an action."""
    actions = parser.add_subparsers(required=True, metavar="action", dest="action")
    create = actions.add_parser("create", help="make a key")
    create.add_argument("--name", required=True, help="whose it is, for people")
    create.add_argument("--scopes", default="inference,read", help="of inference, read, manage; default: inference,read")
    create.add_argument("--models", default="", help="slugs it may use; default: all")
    create.add_argument("--expires-in-days", type=float, default=None)
    create.add_argument("--requests-per-minute", type=int, default=None)
    create.add_argument("--concurrency", type=int, default=None, help="requests at one time")
    create.add_argument("--monthly-usd", type=float, default=None, help="budget a calendar month (UTC)")
    create.add_argument("--monthly-tokens", type=int, default=None, help="budget a calendar month (UTC)")
    revoke = actions.add_parser("revoke", help="end a key's rights now")
    revoke.add_argument("key_id")
    rotate = actions.add_parser("rotate", help="make a new key with the same rights")
    rotate.add_argument("key_id")
    rotate.add_argument("--overlap-s", type=float, default=0.0, help="how long the old one still works; default: not at all")
    for one in (create, actions.add_parser("list", help="list keys; never the keys themselves"), revoke, rotate):
        add_data_dir(one)


def run(arguments: argparse.Namespace) -> int:
    """Have the running forge do it."""
    return {"create": _create, "list": _list, "revoke": _revoke, "rotate": _rotate}[arguments.action](arguments)


def _create(arguments: argparse.Namespace) -> int:
    body: dict[str, Any] = {"name": arguments.name, "scopes": _words(arguments.scopes), "models": _words(arguments.models)}
    body |= {name: getattr(arguments, name) for name in _LIMITS if getattr(arguments, name) is not None}
    if arguments.expires_in_days is not None:
        body["expires_at"] = (datetime.now(UTC) + timedelta(days=arguments.expires_in_days)).isoformat(timespec="seconds")
    _show(ask(arguments, "POST", "/v1/keys", body))
    return 0


def _rotate(arguments: argparse.Namespace) -> int:
    _show(ask(arguments, "POST", f"/v1/keys/{quote(arguments.key_id, safe='')}/rotate", {"overlap_s": arguments.overlap_s}))
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    ask(arguments, "DELETE", f"/v1/keys/{quote(arguments.key_id, safe='')}")
    print(f"emberank: {arguments.key_id} is revoked")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    for key in ask(arguments, "GET", "/v1/keys")["data"]:
        limits = " ".join(f"{name}={key[name]}" for name in _LIMITS if key.get(name) is not None)
        print(
            f"{key['key_id']}  {key['name']}  {','.join(key['scopes'])}  {','.join(key.get('models') or ()) or 'all models'}  {key.get('state', '')}  {limits}".rstrip()
        )
    return 0


def _show(made: dict[str, Any]) -> None:
    print(f"emberank: key {made['key_id']}, shown this once:\n")
    print(f"export FORGE_API_KEY={made['key']}")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
