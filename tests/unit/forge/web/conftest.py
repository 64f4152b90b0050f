"""A browser on a control plane of the test's own."""

from __future__ import annotations

import pytest

from browser import Browser
from control_plane import Plane


@pytest.fixture
def browser(plane: Plane) -> Browser:
    """Nobody is signed in."""
    return Browser(plane.port)
