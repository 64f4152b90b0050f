"""The command line: find the command, parse its flags, call it. Each command is a file of `commands/`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from types import ModuleType

# Before anything imports NumPy: its own threads would fight the engine's for the same cores, and each costs memory.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from emberank import __version__
from emberank.commands import (
    add,
    calibrate,
    doctor,
    eval,
    forge,
    gateway,
    key,
    make_checkpoint,
    mcp,
    probe,
    pull,
    runtime,
    secret,
    settings,
    signin,
    targets,
    up,
)
from emberank.contract.errors import EmberankError

_COMMANDS: dict[str, ModuleType] = {
    "up": up,
    "runtime": runtime,
    "gateway": gateway,
    "forge": forge,
    "pull": pull,
    "make-checkpoint": make_checkpoint,
    "add": add,
    "key": key,
    "secret": secret,
    "signin": signin,
    "probe": probe,
    "targets": targets,
    "eval": eval,
    "calibrate": calibrate,
    "doctor": doctor,
    "mcp": mcp,
    "settings": settings,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 2 could not start (one line on standard error says why)."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.command(arguments)
    except EmberankError as error:
        print(f"emberank: {error.message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="emberank", description="The open, self-hosted home for rerankers and embedders.")
    parser.add_argument("--version", action="version", version=f"emberank {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, command in _COMMANDS.items():
        one = commands.add_parser(name, help=command.HELP, description=command.DESCRIPTION)
        command.add_flags(one)
        one.set_defaults(command=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
