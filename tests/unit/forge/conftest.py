"""Control planes for the tests of its routes: one that a file's tests share and change nothing lasting in, and one of a test's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane import LOCAL, Plane, probed, started

Launch = Callable[..., Plane]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """NVIDIA's model is verified on B200 (186 ms) and on this machine's CPU (400 ms), and nothing runs."""
    plane = Plane(tmp_path_factory.mktemp("plane"), samples=[*probed([186.0] * 10), *probed([400.0] * 8, LOCAL), *started([93_000.0] * 3)])
    yield plane
    plane.stop()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start a control plane of one's own."""
    with contextlib.ExitStack() as stack:

        def start(**how: Any) -> Plane:
            plane = Plane(tmp_path, **how)
            stack.callback(plane.stop)
            return plane

        yield start


@pytest.fixture
def plane(launch: Launch) -> Plane:
    """One with nothing measured."""
    return launch()
