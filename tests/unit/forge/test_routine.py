"""The forge's clockwork: what is due is done, once, and what cannot be done ends nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from emberank.contract.errors import NotReady
from emberank.contract.fleet import Wish
from emberank.forge.installation import Installation
from emberank.forge.routine import Routine
from emberank.forge.schedule import due
from emberank.forge.store.schedules import Schedule

NOW_S = 4_102_444_800.0  # midnight, 1 January 2100: after any clock this runs under
MODEL = '[[model]]\nslug = "mine"\nid = "me/mine"\ntitle = "Mine"\ntask = "rank"\n[[model.version]]\nname = "v1"\nsource = "file:/x"\n'


def schedule(kind: Any, cron: str = "0 0 * * *") -> Schedule:
    return Schedule(id=kind, slug="m", kind=kind, cron=cron, created_at_s=0.0, key_id="k")


@dataclass
class Double:
    """In an installation's place: notes what it is asked."""

    path: Path
    plans: tuple[Schedule, ...] = ()
    refuses: bool = False
    log: list[object] = field(default_factory=list)
    sessions_flushed: int = 0

    def wake(self, wish: Wish) -> None:
        self.log.append(("wake", wish.slug))
        if self.refuses:
            raise NotReady("no room")

    @property
    def installation(self) -> Installation:
        async def flush() -> None:
            self.log.append("flush")

        async def flush_sessions() -> None:
            self.sessions_flushed += 1

        return cast(
            Installation,
            SimpleNamespace(
                folder=SimpleNamespace(path=self.path),
                schedules=SimpleNamespace(due=lambda last, now: due(self.plans, last, now)),
                keys=SimpleNamespace(flush=flush),
                sessions=SimpleNamespace(flush=flush_sessions),
                probes=SimpleNamespace(request=lambda slug, *pin: self.log.append(("probe", slug))),
                reconciler=SimpleNamespace(wake=self.wake),
                take_catalog=lambda catalog: self.log.append(("catalog", "mine" in {model.slug for model in catalog})),
                catalog=(),
            ),
        )


def test_what_is_due_is_done_once(tmp_path: Path) -> None:
    double = Double(
        tmp_path, (schedule("prewarm"), schedule("probe"), Schedule(id="x", slug="z", kind="probe", cron="0 0 29 2 1", created_at_s=0.0, key_id="k"))
    )
    routine = Routine(double.installation)
    routine._last_tick_s = NOW_S - 30
    asyncio.run(routine.beat(NOW_S + 1))
    asyncio.run(routine.beat(NOW_S + 2))
    assert double.log == [("wake", "m"), ("probe", "m"), "flush", "flush"]
    assert double.sessions_flushed == 2


def test_a_schedule_that_cannot_be_kept_is_said_and_the_beat_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    double = Double(tmp_path, (schedule("prewarm"), schedule("probe")), refuses=True)
    routine = Routine(double.installation)
    routine._last_tick_s = NOW_S - 30
    asyncio.run(routine.beat(NOW_S + 1))
    assert double.log == [("wake", "m"), ("probe", "m"), "flush"]
    assert [getattr(record, "action", "") for record in caplog.records if record.levelname == "WARNING"] == ["schedule_failed"]


def test_a_changed_catalogue_is_taken_over_and_a_broken_one_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    double = Double(tmp_path)
    routine = Routine(double.installation)
    (tmp_path / "models.toml").write_text(MODEL)
    asyncio.run(routine.beat(NOW_S))
    asyncio.run(routine.beat(NOW_S + 1))
    assert double.log == [("catalog", True), "flush", "flush"]
    (tmp_path / "models.toml").write_text("[[model]]\nslug = 3")
    asyncio.run(routine.beat(NOW_S + 2))
    assert double.log[3:] == ["flush"]
    assert [getattr(record, "action", "") for record in caplog.records if record.levelname == "WARNING"] == ["catalog_refused"]
