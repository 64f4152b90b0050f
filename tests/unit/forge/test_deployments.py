"""Phases, the moves between them, and a deployment's row."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, get_args

import pytest

from emberank.contract.fleet import Phase
from emberank.forge.deployments import MOVES, PHASES, Deployment, Key, Progress, SavedDeployment, cold, endpoint_of, move, restored, saved
from emberank.forge.launchers.base import Running

KEY = Key("ranker", "v1", "CPU", "local")
ENDPOINT = Running(
    id="e1",
    launcher="process",
    url="http://127.0.0.1:4000",
    served_name="org/ranker",
    secret="s3cret",
    secret_env="KEY_OF_IT",
    pid=77,
    pid_created_at=12.5,
    log_file="/x/ranker.log",
    status_file="/x/e1.json",
    devices=("0", "2"),
)
EVERY = [(one, to) for one in get_args(Phase) for to in get_args(Phase)]


def one(phase: Phase = "WARM", **values: Any) -> Deployment:
    return Deployment(key=KEY, phase=phase, **{"since": 100.0, "last_used": 90.0, "endpoint": ENDPOINT, **values})


def changes(to: Phase) -> dict[str, Any]:
    return {"reason": "crashed", "retry_at": 5.0} if to == "FAILED" else {}


def test_every_phase_has_a_sentence_and_its_moves() -> None:
    assert set(PHASES) == set(MOVES) == set(get_args(Phase))
    assert all(sentence.endswith(".") for sentence in PHASES.values())


@pytest.mark.parametrize(("phase", "to"), [(phase, to) for phase, to in EVERY if to in MOVES[phase]])
def test_a_legal_move_leads_to_the_phase_and_dates_it(phase: Phase, to: Phase) -> None:
    moved = move(one(phase), to, 200.0, **changes(to))
    assert (moved.phase, moved.since) == (to, 200.0)


@pytest.mark.parametrize(("phase", "to"), [(phase, to) for phase, to in EVERY if to not in MOVES[phase]])
def test_any_other_move_is_refused(phase: Phase, to: Phase) -> None:
    with pytest.raises(ValueError, match=f"a deployment does not go from {phase} to {to}"):
        move(one(phase), to, 200.0, **changes(to))


def test_the_round_of_a_life_is_legal_and_nothing_skips_draining() -> None:
    deployment = cold(KEY, 0.0)
    for to in ("STARTING", "WARM", "DRAINING", "COLD"):
        deployment = move(deployment, to, 1.0)  # type: ignore[arg-type]
    assert "COLD" not in MOVES["WARM"]
    assert "COLD" not in MOVES["STARTING"]


@pytest.mark.parametrize("given", [{}, {"reason": "crashed"}, {"retry_at": 5.0}])
def test_a_failure_without_its_reason_or_its_next_try_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a reason and a time to try again"):
        move(one(), "FAILED", 1.0, **given)


def test_a_new_start_forgets_what_the_last_one_came_to_but_not_how_often_it_failed() -> None:
    failed = one("FAILED", reason="crashed", message="it broke", retry_at=7.0, failures=3, startup_ms=9.0, started_at=1.0, stopping="idle", told=True)
    started = move(failed, "STARTING", 8.0)
    assert (started.reason, started.message, started.retry_at, started.startup_ms, started.started_at) == (None, "", None, None, None)
    assert (started.stopping, started.told) == (None, False)
    assert started.failures == 3


def test_what_is_cold_has_no_endpoint_and_keeps_the_wish_to_be_kept_warm() -> None:
    gone = move(one("DRAINING", keep_warm=True, wanted=True, told=True), "COLD", 8.0)
    assert gone.endpoint is None
    assert not gone.launched
    assert (gone.keep_warm, gone.wanted, gone.told) == (True, True, False)


@pytest.mark.parametrize(
    ("phase", "started_at", "launched"),
    [("STARTING", None, False), ("STARTING", 1.0, True), ("WARM", 1.0, True), ("DRAINING", 1.0, True), ("FAILED", 1.0, False)],
)
def test_something_may_run_from_the_launch_to_the_end_of_draining(phase: Phase, started_at: float | None, launched: bool) -> None:
    assert one(phase, started_at=started_at).launched is launched


# Rows


def full(phase: Phase = "FAILED") -> Deployment:
    return one(
        phase,
        wanted=True,
        keep_warm=True,
        memory_bytes=5,
        stopping="asked",
        told=True,
        failures=2,
        reason="out_of_memory",
        message="it does not fit",
        retry_at=130.0,
        started_at=80.0,
        startup_ms=1500.0,
    )


def test_a_deployment_comes_back_from_its_row_as_it_was_but_for_secrets_and_progress() -> None:
    deployment = replace(full(), progress=Progress(step="loading", moved_at=1.0, counts_from=1.0))
    row = saved(deployment, now=110.0, wall_now=5000.0)
    back = restored(row, now=10.0, wall_now=5000.0, most_wait_s=300.0)  # another boot: another monotonic clock
    expected = replace(full(), since=0.0, last_used=-10.0, retry_at=30.0, started_at=-20.0, endpoint=replace(ENDPOINT, secret=""))
    assert back == expected
    assert row.key == KEY


def test_a_row_holds_plain_values_only_and_no_secret() -> None:
    values = asdict(saved(full(), 110.0, 5000.0))
    assert all(isinstance(value, str | int | float | bool | None) for value in values.values())
    assert "s3cret" not in repr(values)


def test_a_row_of_a_release_that_knew_less_can_be_read() -> None:
    row = SavedDeployment(slug="ranker", version="v1", gpu_type="CPU", region="local")
    assert restored(row, 10.0, 5000.0, 300.0).phase == "COLD"


def test_a_deployment_without_an_endpoint_comes_back_without_one() -> None:
    assert restored(saved(cold(KEY, 5.0), 5.0, 5000.0), 5.0, 5000.0, 300.0).endpoint is None


@pytest.mark.parametrize("jump_s", [-1e9, -3600.0, 0.0, 3600.0, 1e9])
def test_wherever_the_wall_clock_jumped_the_past_stays_past_and_a_retry_near(jump_s: float) -> None:
    row = saved(full(), now=110.0, wall_now=2e9)
    back = restored(row, now=50.0, wall_now=2e9 + jump_s, most_wait_s=300.0)
    assert back.since <= 50.0
    assert back.last_used <= 50.0
    assert back.started_at is not None
    assert back.started_at <= 50.0
    assert back.retry_at is not None
    assert 50.0 <= back.retry_at <= 350.0


# What gateways are told


def shown(deployment: Deployment, now: float = 110.0, usual_start_s: float | None = None) -> Any:
    return endpoint_of(deployment, now, price_usd_per_hour=1.5, usual_start_s=usual_start_s)


@pytest.mark.parametrize(("phase", "has_url"), [("STARTING", False), ("WARM", True), ("DRAINING", True), ("FAILED", False)])
def test_only_what_answers_has_a_url_and_its_key(phase: Phase, has_url: bool) -> None:
    told = shown(one(phase))
    assert told.url == (ENDPOINT.url if has_url else "")
    assert told.secret == (ENDPOINT.secret if has_url else "")
    assert (told.id, told.slug, told.version, told.gpu_type, told.region) == ("e1", *KEY)
    assert (told.phase, told.served_name, told.price_usd_per_hour) == (phase, "org/ranker", 1.5)


def test_a_failure_is_told_with_the_time_to_the_next_try_and_never_a_negative_one() -> None:
    assert (shown(full()).reason, shown(full()).message, shown(full()).retry_in_s) == ("out_of_memory", "it does not fit", 20.0)
    assert shown(full(), now=140.0).retry_in_s == 0.0


@pytest.mark.parametrize(
    ("started_at", "now", "usual", "eta"), [(100.0, 103.0, 10.0, 7.0), (None, 103.0, 10.0, 7.0), (100.0, 120.0, 10.0, 0.0), (100.0, 103.0, None, None)]
)
def test_a_start_is_told_with_what_history_lets_one_expect(started_at: float | None, now: float, usual: float | None, eta: float | None) -> None:
    assert shown(one("STARTING", started_at=started_at), now, usual).eta_s == eta
    assert shown(one("WARM"), now, usual).eta_s is None
