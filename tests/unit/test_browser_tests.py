"""Where there is no browser: what the browser tests say, and that they cannot be passed over where one is required."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chromium import absence, find

ROOT = Path(__file__).parents[2]


def run_tests(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The browser tests, as on a machine whose PATH leads to no browser."""
    words = [sys.executable, "-m", "pytest", "tests/web/test_account.py", "tests/unit/forge/web/test_charts.py", "-p", "no:cacheprovider"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EMBERANK_")}
    return subprocess.run(words, cwd=ROOT, env=kept | {"PATH": str(folder)} | variables, capture_output=True, text=True, timeout=120, check=False)


def test_without_a_browser_the_end_of_the_run_says_what_was_left_out_and_how_to_get_it(tmp_path: Path) -> None:
    done = run_tests(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    said = r"(\d+) browser tests \(tests/web\) were left out: there is no Chromium here: install one \(Debian: apt-get install chromium\)"
    left_out = re.search(said, done.stdout)
    assert left_out, done.stdout
    assert f" passed, {left_out[1]} skipped" in done.stdout  # what needs none has run


def test_where_a_browser_is_required_its_absence_fails_the_run(tmp_path: Path) -> None:
    done = run_tests(tmp_path, EMBERANK_REQUIRE_BROWSER="1")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert re.search(r"EMBERANK_REQUIRE_BROWSER=1, but the \d+ browser tests cannot run: there is no Chromium here", done.stderr)


def test_a_browser_is_found_by_its_name_or_its_setting(tmp_path: Path) -> None:
    for name in ("google-chrome", "mine"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    here = {"PATH": str(tmp_path)}
    assert find(here) == str(tmp_path / "google-chrome")
    assert find(here | {"EMBERANK_CHROMIUM": str(tmp_path / "mine")}) == str(tmp_path / "mine")
    assert absence(here) == ""
    assert absence(here | {"EMBERANK_CHROMIUM": "/nowhere/chromium"}) == "EMBERANK_CHROMIUM='/nowhere/chromium' is no program"
