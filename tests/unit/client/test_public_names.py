"""`from emberank import Client`: there when it is named, and not paid for by whoever does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

import emberank
import emberank.client
import emberank.contract.errors


def test_the_package_s_names_are_the_client_s() -> None:
    assert emberank.Client is emberank.client.Client
    assert emberank.AsyncClient is emberank.client.AsyncClient
    assert emberank.Ranking is emberank.client.Ranking
    assert emberank.Progress is emberank.client.Progress
    assert emberank.EmberankError is emberank.contract.errors.EmberankError
    assert set(emberank.__all__) <= set(dir(emberank))
    assert all(hasattr(emberank.client, name) for name in emberank.client.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Cleint'"):
        emberank.Cleint  # type: ignore[attr-defined]  # noqa: B018


def test_importing_the_package_imports_nothing_of_the_client() -> None:
    code = (
        "import sys, emberank; before = sorted(name for name in sys.modules if name.startswith('emberank.') or name == 'numpy');"
        "from emberank import Client; print(before, Client.__name__, 'emberank.client' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[] Client True\n"
