"""`emberank secret set | list | remove`: keys of other people's servers, kept in the data folder and never shown."""

from __future__ import annotations

import argparse
import getpass
import sys

from emberank.commands.operator import add_data_dir, folder_of
from emberank.forge.secret_store import SecretStore

HELP = "keep keys of remote servers in the data folder"
DESCRIPTION = (
    "Keys that the forge sends to remote servers, under the name that a version's `api_key_env` has. An environment variable of that name goes before."
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One set of flags an action. The secret itself is never an argument: arguments are seen by everybody on the machine."""
    actions = parser.add_subparsers(required=True, metavar="action", dest="action")
    put = actions.add_parser("set", help="read a secret from standard input and keep it")
    put.add_argument("name", help="such as NVIDIA_NIM_API_KEY")
    remove = actions.add_parser("remove", help="forget a secret")
    remove.add_argument("name")
    for one in (put, actions.add_parser("list", help="the names; never the secrets"), remove):
        add_data_dir(one)


def run(arguments: argparse.Namespace) -> int:
    """No forge has to run: one that does sees it within a second."""
    store = SecretStore(folder_of(arguments))
    if arguments.action == "set":
        store.set(arguments.name, getpass.getpass(f"{arguments.name}: ") if sys.stdin.isatty() else sys.stdin.read())
        print(f"emberank: {arguments.name} is kept")
    elif arguments.action == "remove":
        print(f"emberank: {arguments.name} {'is forgotten' if store.remove(arguments.name) else 'was not kept here'}")
    else:
        for name in store.names():
            print(name)
    return 0
