"""`python -m emberank.bridge`: the command that the forge starts; it takes the flags that a runtime is started with."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from emberank import settings
from emberank.bridge.process import run
from emberank.bridge.settings import BridgeSettings
from emberank.contract.errors import EmberankError
from emberank.telemetry import set_up_logging


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m emberank.bridge", description="One model of one provider, through LiteLLM's SDK, behind NIM's routes.")
    settings.add_flags(parser, BridgeSettings)
    try:
        found = settings.load(os.environ, vars(parser.parse_args(argv)), BridgeSettings)
        set_up_logging(found.log_level, found.log_format)
        return run(found)
    except EmberankError as error:
        print(f"emberank: {error.message}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
