"""The page about the tools: its settings can be used as they stand, and it names the tools that there are, with their bounds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from emberank.cli import _parser
from emberank.contract.errors import SettingError
from emberank.mcp.doors import is_loopback, protection
from emberank.mcp.tools import EMBED, MOST_CHARACTERS, MOST_NUMBERS, MOST_PASSAGES, MOST_TEXTS, START_MODEL, TOOLS

PAGE = (Path(__file__).resolve().parents[3] / "docs/howto/mcp.md").read_text("utf-8")


def test_the_settings_are_json_and_start_what_exists() -> None:
    settings = [json.loads(block)["mcpServers"]["emberank"] for block in re.findall(r"```json\n(.*?)```", PAGE, re.S)]
    process, remote = settings
    assert process["command"] == "emberank"
    assert _parser().parse_args(process["args"]).http is False
    assert set(process["env"]) == {"FORGE_API_BASE", "FORGE_API_KEY"}
    assert remote["url"] == "http://127.0.0.1:8765/mcp"
    assert _parser().parse_args(["mcp", "--http"]).port == 8765


def test_every_flag_on_the_page_is_one() -> None:
    known = set(re.findall(r"--[a-z-]+", help_text()))
    said = set(re.findall(r"`(--[a-z-]+)", PAGE)) | {flag for line in re.findall(r"`emberank mcp ([^`]*)`", PAGE) for flag in re.findall(r"--[a-z-]+", line)}
    assert said
    assert said <= known


def help_text() -> str:
    choices = next(action.choices for action in _parser()._actions if action.choices)
    return str(choices["mcp"].format_help())  # type: ignore[index, call-overload]


def test_the_tools_and_their_bounds_are_on_the_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.M)
    assert rows == [tool.name for tool in TOOLS]
    for number in (MOST_PASSAGES, MOST_CHARACTERS, MOST_TEXTS, MOST_NUMBERS, START_MODEL.takes["properties"]["wait_s"]["maximum"]):
        assert f"{number:,}" in PAGE
    assert EMBED.takes["properties"]["texts"]["maxItems"] == MOST_TEXTS


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("127.0.0.2", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("10.0.0.1", False), ("h", False)]
)
def test_loopback_is_what_only_this_machine_can_reach(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_who_may_be_named_as_host_and_origin() -> None:
    own = protection("10.0.0.1", ["tools.example"])
    assert own.enable_dns_rebinding_protection
    assert {"10.0.0.1:*", "tools.example", "localhost:*", "[::1]"} <= set(own.allowed_hosts)
    assert {"https://tools.example", "http://10.0.0.1:*"} <= set(own.allowed_origins)
    assert not any("*" in host.removesuffix(":*") for host in own.allowed_hosts)
    assert "[fd00::1]:*" in protection("fd00::1", []).allowed_hosts
    with pytest.raises(SettingError, match="--allowed-host"):
        protection("0.0.0.0", [])
    assert "0.0.0.0" not in protection("0.0.0.0", ["tools.example"]).allowed_hosts
