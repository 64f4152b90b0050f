from __future__ import annotations

import subprocess
import sys

import pytest

from emberank.contract.errors import StartError
from emberank.evaluate.extra import require_extra


@pytest.mark.parametrize("missing", ["bm25s", "ir_measures"])
def test_a_missing_extra_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # makes its import fail
    with pytest.raises(StartError) as raised:
        require_extra()
    assert raised.value.message == "`emberank eval` needs the eval extra: pip install 'emberank[eval]'"


def test_the_line_names_the_command_that_was_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(StartError, match="`emberank calibrate` needs the eval extra"):
        require_extra("calibrate")


def test_the_package_can_be_imported_without_the_extra() -> None:
    code = "import sys; sys.modules['bm25s'] = sys.modules['ir_measures'] = None; import emberank.evaluate"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
