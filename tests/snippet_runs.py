"""A block that a reader copies in, run as the reader would run it, what it printed out. Knows no installation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from emberank.forge.snippets import Snippet

PLACEHOLDER = "replace-with-your-forge-api-key"
REFUSAL = "Set FORGE_API_KEY to a real Forge API key before running this snippet; browser SSO sessions are not sent to copied curl or SDK clients."
RUN_S = 60
# Programs that need packages which are not ours: run by `make test-clients`, where those are.
CLIENT_PACKAGES = {"python-requests", "python-httpx", "python-openai", "python-litellm", "litellm-proxy", "langchain", "llama-index"}

Done = subprocess.CompletedProcess[str]


def run(snippet: Snippet, folder: Path, variables: Mapping[str, str]) -> Done:
    """Run a block of a language that runs, with these variables and none of the caller's own."""
    if snippet.language == "sh":
        return command(["bash", "-c", snippet.text], variables)
    if snippet.language == "python":
        return command([sys.executable, "-c", snippet.text], variables)
    name, words = {"javascript": ("main.mjs", ["node"]), "go": ("main.go", ["go", "run"])}[snippet.language]
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed here")
    (folder / name).write_text(snippet.text + "\n", "utf-8")
    return command([*words, str(folder / name)], variables)


def command(words: list[str], variables: Mapping[str, str]) -> Done:
    """A command to its end. A Go toolchain keeps what it compiled where it always does."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "GOCACHE", "GOFLAGS") if name in os.environ}
    return subprocess.run(words, env=kept | dict(variables), capture_output=True, text=True, timeout=RUN_S, check=False)
