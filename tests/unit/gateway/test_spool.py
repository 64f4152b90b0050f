"""Reports on disk: complete or not there, for their owner alone, in order, and one bad file holds up nobody."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from emberank.contract.fleet import LoadReport, UsageRecord
from emberank.gateway.spool import Spool

RECORD = UsageRecord(
    at_s=1.0, request_id="r", key_id="k", slug="s", version="v1", gpu_type="CPU", region="local", route="/v1/ranking", status=200, tokens=1, passages=1, chars=1,
    request_ms=1.0, model_ms=1.0, queue_ms=0.0, cold_start_ms=0.0, cost_usd=0.5,
)  # fmt: skip


def report(number: int, gateway: str = "g1") -> LoadReport:
    return LoadReport(gateway_id=gateway, number=number, usage=(RECORD,))


def test_a_report_comes_back_as_it_was_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "data" / "usage-spool")
    path = spool.keep(report(7))
    assert path.name == "g1-7.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert Spool(path.parent).read(path) == report(7)
    spool.forget(path)
    assert spool.left() == []
    assert spool.read(path) is None


def test_reports_of_one_gateway_are_in_their_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in (10, 9, 100):
        spool.keep(report(number, "b"))
    spool.keep(report(3, "a"))
    assert [path.name for path in spool.left()] == ["a-3.json", "b-9.json", "b-10.json", "b-100.json"]


def test_a_folder_that_is_not_there_is_an_empty_one(tmp_path: Path) -> None:
    assert Spool(tmp_path / "none").left() == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"gateway_id": 3}', b"\xff\xfe"])
def test_a_file_that_holds_no_report_is_set_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "g1-1.json").write_bytes(content)
    spool = Spool(tmp_path)
    (path,) = spool.left()
    assert spool.read(path) is None
    assert [each.name for each in tmp_path.iterdir()] == ["g1-1.refused"]


def test_half_a_file_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        Spool(tmp_path).keep(report(1))
    assert list(tmp_path.iterdir()) == []


def test_a_spool_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emberank.gateway.spool._MOST_FILES", 2)
    spool = Spool(tmp_path)
    spool.keep(report(1))
    path = spool.keep(report(2))
    with pytest.raises(OSError, match="full"):
        spool.keep(report(3))
    spool.forget(path)
    spool.keep(report(3))
