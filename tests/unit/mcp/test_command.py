"""The command's own flags."""

from __future__ import annotations

import argparse

import pytest

from emberank.commands import mcp
from emberank.contract.errors import SettingError


@pytest.mark.parametrize("port", ["-1", "65536", "99999"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    parser = argparse.ArgumentParser()
    mcp.add_flags(parser)
    with pytest.raises(SettingError, match="--port has to be between 0 and 65535"):
        mcp.run(parser.parse_args(["--http", "--port", port]))
