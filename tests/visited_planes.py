"""Samples, models and pools in, a control plane of this process that browsers can visit out: quick to start, and its several targets are measured. Knows no fixture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from browser import Browser
from control_plane import ADMIN, Plane
from emberank.forge.samples import Sample


@dataclass
class VisitedPlane:
    """What visitors visit."""

    plane: Plane
    session: str

    @property
    def home(self) -> str:
        """Where browsers find it."""
        return f"http://127.0.0.1:{self.plane.port}"


@contextmanager
def visited(folder: Path, samples: Sequence[Sample] = (), **options: Any) -> Iterator[VisitedPlane]:
    """One, with a session of its admin; it is stopped."""
    plane = Plane(folder, samples, **options)
    try:
        admin = Browser(plane.port)
        admin.sign_in(ADMIN)
        yield VisitedPlane(plane, admin.cookies["emberank_session"])
    finally:
        plane.stop()
