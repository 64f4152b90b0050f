"""One suite for every database: what is put into the store is in it, once, whatever happens in between."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Boolean, Connection, Float, Integer, Text, create_engine, inspect, text
from sqlalchemy.types import TypeEngine

from emberank.contract.errors import BadRequest, ServerFault, StartError
from emberank.contract.fleet import UsageRecord
from emberank.forge.deployments import SavedDeployment
from emberank.forge.store import Keep, Store, StoreUnavailable, migrations, open_store, parse_address
from emberank.forge.store.audit import AuditEntry
from emberank.forge.store.database import open_database
from emberank.forge.store.migrations import MIGRATIONS, Migration, migrate
from emberank.forge.store.rollup import Spent
from emberank.forge.store.schedules import Schedule
from emberank.forge.store.tables import metadata
from stores import DAY_S, NOON_S, PostgresServer, before, key, record, sample, session

NewDatabase = Callable[[], str]
WAIT_S = 30.0  # for what happens at once; a bound, never a pause
TESTS = Path(__file__).parents[1]


@pytest.fixture
def url(new_database: NewDatabase) -> str:
    return new_database()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_store(url, busy_timeout_s=0.2) as opened:
        yield opened


@contextmanager
def raw(url: str) -> Iterator[Connection]:
    """The database as a stranger sees it; nothing is committed."""
    engine = create_engine(parse_address(url).url)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def rows(url: str, sql: str) -> list[tuple[object, ...]]:
    with raw(url) as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


class TestKeys:
    def test_a_key_comes_back_as_it_went_in(self, store: Store) -> None:
        full = key(
            models=("minilm", "bge"),
            expires_at_s=NOON_S + 0.5,
            revoked_at_s=NOON_S + 1,
            requests_per_minute=60,
            concurrency=4,
            monthly_usd=12.5,
            monthly_tokens=10**12,
            last_used_at_s=NOON_S,
        )
        assert store.keys.add(full)
        assert store.keys.all() == [full]
        assert store.keys.get("k1") == full
        assert store.keys.get("k2") is None

    def test_keys_are_listed_oldest_first(self, store: Store) -> None:
        for name, at_s in (("b", 2.0), ("a", 3.0), ("c", 1.0)):
            store.keys.add(key(key_id=name, digest=name, created_at_s=at_s))
        assert [one.key_id for one in store.keys.all()] == ["c", "b", "a"]

    @pytest.mark.parametrize("same", [{"digest": "other"}, {"key_id": "other"}], ids=["id", "digest"])
    def test_an_id_or_a_digest_that_is_there_is_not_added_again(self, store: Store, same: dict[str, str]) -> None:
        assert store.keys.add(key())
        assert not store.keys.add(key(name="second", **same))
        assert store.keys.all() == [key()]

    def test_what_may_be_changed_is_changed_and_the_rest_is_not(self, store: Store) -> None:
        store.keys.add(key())
        assert store.keys.change(key(name="new", scopes=("manage",), models=("bge",), monthly_usd=1.0, digest="forged", created_at_s=0.0))
        assert store.keys.get("k1") == key(name="new", scopes=("manage",), models=("bge",), monthly_usd=1.0)
        assert not store.keys.change(key(key_id="unknown"))

    def test_a_key_is_revoked_once(self, store: Store) -> None:
        store.keys.add(key())
        assert store.keys.revoke("k1", NOON_S + 5)
        assert not store.keys.revoke("k1", NOON_S + 9)
        assert not store.keys.revoke("unknown", NOON_S)
        assert store.keys.get("k1") == key(revoked_at_s=NOON_S + 5)

    def test_who_is_allowed_again_is_void_no_more(self, store: Store) -> None:
        store.keys.add(key(expires_at_s=NOON_S + 9))
        store.keys.add(key(key_id="k2", digest="d2"))
        store.keys.revoke("k1", NOON_S + 5)
        store.keys.revoke("k2", NOON_S + 5)
        assert store.keys.allow("k1")
        assert not store.keys.allow("unknown")
        assert store.keys.get("k1") == key()
        assert store.keys.get("k2") == key(key_id="k2", digest="d2", revoked_at_s=NOON_S + 5)

    def test_a_rotated_key_ends_later_and_its_successor_names_it(self, store: Store) -> None:
        store.keys.add(key())
        assert store.keys.rotate("k1", key(key_id="k2", digest="d2"), NOON_S + 60)
        assert store.keys.get("k1") == key(expires_at_s=NOON_S + 60)
        assert store.keys.get("k2") == key(key_id="k2", digest="d2", rotated_from="k1")

    def test_rotating_never_prolongs_a_key(self, store: Store) -> None:
        store.keys.add(key(expires_at_s=NOON_S + 10))
        store.keys.rotate("k1", key(key_id="k2", digest="d2"), NOON_S + 60)
        assert store.keys.get("k1") == key(expires_at_s=NOON_S + 10)

    @pytest.mark.parametrize("case", ["unknown", "revoked", "digest taken"])
    def test_a_rotation_that_cannot_be_changes_nothing(self, store: Store, case: str) -> None:
        store.keys.add(key())
        if case == "revoked":
            store.keys.revoke("k1", NOON_S)
        kept = store.keys.all()
        assert not store.keys.rotate("unknown" if case == "unknown" else "k1", key(key_id="k2", digest="d1" if case == "digest taken" else "d2"), NOON_S)
        assert store.keys.all() == kept

    def test_the_last_use_only_moves_forward(self, store: Store) -> None:
        store.keys.add(key())
        store.keys.add(key(key_id="k2", digest="d2", last_used_at_s=NOON_S + 9))
        store.keys.used({"k1": NOON_S + 1, "k2": NOON_S + 1, "unknown": NOON_S})
        store.keys.used({})
        assert [one.last_used_at_s for one in store.keys.all()] == [NOON_S + 1, NOON_S + 9]


class TestUsage:
    def test_a_report_is_counted_once_however_often_it_is_delivered(self, store: Store) -> None:
        assert store.usage.append("gw", 1, [record(), record(tokens=11)])
        assert not store.usage.append("gw", 1, [record(), record(tokens=11)])
        assert store.usage.month("2026-11") == {"k1": Spent(0.5, 111)}
        assert [hour.requests for hour in store.usage.rollup(0, NOON_S + 1)] == [2]

    def test_each_gateway_numbers_its_own_reports(self, store: Store) -> None:
        assert [store.usage.append(gateway, number, [record()]) for gateway, number in (("a", 1), ("b", 1), ("a", 3), ("a", 2))] == [True] * 4
        assert (store.usage.counted("a"), store.usage.counted("b"), store.usage.counted("c")) == (3, 1, 0)

    def test_a_report_without_usage_leaves_no_trace(self, store: Store, url: str) -> None:
        assert store.usage.append("gw", 1, [])
        assert store.usage.append("gw", 1, [])
        assert rows(url, "SELECT count(*) FROM usage_reports") == [(0,)]

    def test_every_field_of_a_record_is_kept(self, store: Store, url: str) -> None:
        one = record(request_id="é\n", status=503, cold_start_ms=1234.5, tokens=2**40)
        store.usage.append("gw", 7, [one])
        columns = ", ".join(UsageRecord.__slots__)
        assert rows(url, f"SELECT gateway_id, report, {columns} FROM usage") == [("gw", 7, *(getattr(one, name) for name in UsageRecord.__slots__))]

    def test_a_text_that_no_database_can_hold_does_not_lose_its_record(self, store: Store, url: str) -> None:
        assert store.usage.append("gw", 1, [record(request_id="a\0b\ud800c")])
        assert rows(url, "SELECT request_id FROM usage") == [("a?b?c",)]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"cost_usd": float("nan")},
            {"cost_usd": -1.0},
            {"model_ms": float("inf")},
            {"tokens": -1},
            {"tokens": 2**63},
            {"at_s": -1.0},
            {"at_s": NOON_S * 1000},
        ],
        ids=str,
    )
    def test_a_figure_that_cannot_be_summed_is_refused_with_its_whole_report(self, store: Store, wrong: dict[str, float]) -> None:
        with pytest.raises(BadRequest, match="expected finite numbers"):
            store.usage.append("gw", 1, [record(), record(**wrong)])
        assert store.usage.counted("gw") == 0
        assert store.usage.month("2026-11") == {}

    def test_a_month_ends_at_midnight_in_utc(self, store: Store) -> None:
        december = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
        store.usage.append("gw", 1, [record(at_s=december - 0.001, tokens=1), record(at_s=december, tokens=2), record(at_s=december + 31 * DAY_S, tokens=4)])
        assert {month: store.usage.month(month)["k1"].tokens for month in ("2026-11", "2026-12", "2027-01")} == {"2026-11": 1, "2026-12": 2, "2027-01": 4}

    def test_the_rollup_keeps_keys_models_versions_targets_and_hours_apart(self, store: Store) -> None:
        apart = [{}, {"key_id": "k2"}, {"slug": "bge"}, {"version": "v2"}, {"gpu_type": "B200"}, {"region": "eu"}, {"at_s": NOON_S + 3600}]
        store.usage.append("gw", 1, [record(**changed) for changed in apart])
        store.usage.append("gw", 2, [record(status=429, tokens=0, passages=0, model_ms=0.0, cost_usd=0.0)])
        found = store.usage.rollup(0, 2 * NOON_S)
        assert len(found) == len(apart)
        assert sum(hour.requests for hour in found) == len(apart) + 1
        first = next(hour for hour in found if (hour.requests, hour.key_id) == (2, "k1"))
        assert (first.hour_s, first.errors, first.tokens, first.passages, first.model_ms, first.cost_usd) == (int(NOON_S), 1, 100, 3, 8.0, 0.25)

    def test_the_rollup_can_be_narrowed(self, store: Store) -> None:
        store.usage.append("gw", 1, [record(), record(key_id="k2"), record(slug="bge"), record(at_s=NOON_S + 3600)])
        assert {hour.key_id for hour in store.usage.rollup(0, 2 * NOON_S, key_id="k2")} == {"k2"}
        assert {hour.slug for hour in store.usage.rollup(0, 2 * NOON_S, slug="bge")} == {"bge"}
        assert store.usage.rollup(0, 2 * NOON_S, key_id="k2", slug="bge") == []

    @pytest.mark.parametrize(("since_s", "until_s", "hours"), [(0, 3600, 1), (1, 3600, 1), (3599, 3601, 2), (3600, 7200, 1), (0, 7201, 3), (7200, 7200, 0)])
    def test_an_hour_is_in_the_rollup_when_a_part_of_it_is(self, store: Store, since_s: float, until_s: float, hours: int) -> None:
        store.usage.append("gw", 1, [record(at_s=NOON_S + hour * 3600 + 5) for hour in range(3)])
        assert len(store.usage.rollup(NOON_S + since_s, NOON_S + until_s)) == hours

    def test_the_last_requests_of_each_series_become_samples(self, store: Store) -> None:
        store.usage.append("gw", 1, [record(tokens=n) for n in range(5)] + [record(slug="bge", tokens=9, status=504)])
        store.usage.append("gw", 2, [record(tokens=5, at_s=0.0, cold_start_ms=7.0)])  # the order of coming counts, not a clock that jumped
        found = store.usage.recent(3)
        rest, (bge,) = [one for one in found if one.slug != "bge"], [one for one in found if one.slug == "bge"]
        assert [one.tokens for one in rest] == [3, 4, 5]
        assert rest[-1] == sample(at_s=0.0, kind="traffic", cold_start_ms=7.0, request_ms=12.0, model_ms=8.0, tokens=5, passages=3)
        assert (bge.slug, bge.ok, bge.reason, bge.model_ms) == ("bge", False, "request_failed", None)

    def test_requests_that_say_nothing_about_a_target_are_no_samples(self, store: Store) -> None:
        store.usage.append("gw", 1, [record(tokens=1), record(status=400), record(status=429), record(gpu_type="", region="", status=503)])
        assert [one.tokens for one in store.usage.recent(1)] == [1]


exact = st.integers(0, 2**20).map(lambda n: n / 1024)  # sums of these are exact, in whatever order
records = st.builds(
    record,
    at_s=st.sampled_from([NOON_S, datetime(2026, 12, 1, tzinfo=UTC).timestamp(), datetime(2024, 2, 29, 23, tzinfo=UTC).timestamp()]).flatmap(
        lambda at_s: st.integers(-7200, 7200).map(lambda more: at_s + more)
    ),
    key_id=st.sampled_from(["a", "b"]),
    slug=st.sampled_from(["x", "y\0"]),
    region=st.sampled_from(["local", "eu"]),
    status=st.sampled_from([200, 400, 503]),
    tokens=st.integers(0, 1000),
    passages=st.integers(0, 10),
    model_ms=exact,
    cost_usd=exact,
)
reports = st.lists(st.tuples(st.sampled_from(["g1", "g2"]), st.integers(1, 4), st.lists(records, max_size=6)), max_size=8)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(reports)
def test_the_sums_are_a_fold_over_the_raw_rows(new_database: NewDatabase, delivered: list[tuple[str, int, list[UsageRecord]]]) -> None:
    first: dict[tuple[str, int], list[UsageRecord]] = {}
    url = new_database()
    with open_store(url) as store:
        for gateway_id, number, report in delivered:
            assert store.usage.append(gateway_id, number, report) == (not report or (gateway_id, number) not in first)
            if report:
                first.setdefault((gateway_id, number), report)
        hours: dict[tuple[object, ...], list[float]] = {}
        months: dict[tuple[str, str], tuple[float, int]] = {}
        kept = rows(url, "SELECT at_s, key_id, slug, version, gpu_type, region, status, tokens, passages, model_ms, cost_usd FROM usage")
        for at_s, key_id, slug, version, gpu_type, region, status, tokens, passages, model_ms, cost_usd in kept:
            hour = hours.setdefault((at_s - at_s % 3600, key_id, slug, version, gpu_type, region), [0] * 6)  # type: ignore[operator]
            for place, more in enumerate((1, status >= 400, tokens, passages, model_ms, cost_usd)):  # type: ignore[operator]
                hour[place] += more  # type: ignore[operator]
            month = (f"{datetime.fromtimestamp(at_s, UTC):%Y-%m}", str(key_id))  # type: ignore[arg-type]
            usd, count = months.get(month, (0.0, 0))
            months[month] = (usd + cost_usd, count + tokens)  # type: ignore[operator]
        assert len(kept) == sum(map(len, first.values()))
        found = store.usage.rollup(0, 2 * NOON_S)
        assert {
            (h.hour_s, h.key_id, h.slug, h.version, h.gpu_type, h.region): [h.requests, h.errors, h.tokens, h.passages, h.model_ms, h.cost_usd] for h in found
        } == hours
        assert {
            (month, key_id): spent for month in ("2024-02", "2024-03", "2026-11", "2026-12") for key_id, spent in store.usage.month(month).items()
        } == months


class TestSamples:
    def test_a_sample_comes_back_as_it_went_in(self, store: Store) -> None:
        full = sample(
            kind="start",
            ok=False,
            reason="golden_mismatch",
            cold_start_ms=1500.25,
            weights_from="page cache",
            peak_memory_bytes=180 * 2**30,
            request_ms=3.5,
            model_ms=2.5,
            tokens=53,
            passages=3,
            shape="3 passages, 53 tokens",
        )
        store.samples.add([full])
        assert store.samples.recent(1) == [full]

    def test_the_last_of_each_series_come_back_in_the_order_they_were_added(self, store: Store) -> None:
        store.samples.add([sample(kind=kind, tokens=n) for n in range(4) for kind in ("probe", "start")])
        store.samples.add([sample(kind="probe", tokens=4, at_s=0.0), sample(region="eu", tokens=7), sample(slug="a", tokens=8)])
        assert [(one.slug, one.region, one.kind, one.tokens) for one in store.samples.recent(2)] == [
            ("minilm", "local", "start", 2),
            ("minilm", "local", "probe", 3),
            ("minilm", "local", "start", 3),
            ("minilm", "local", "probe", 4),
            ("minilm", "eu", "probe", 7),
            ("a", "local", "probe", 8),
        ]

    def test_nothing_in_is_nothing_out(self, store: Store) -> None:
        store.samples.add([])
        assert store.samples.recent(1000) == []

    def test_samples_are_added_all_or_none(self, store: Store) -> None:
        with pytest.raises(ServerFault):
            store.samples.add([sample(), sample(slug=None)])
        assert store.samples.recent(10) == []


class TestDeployments:
    SAVED = SavedDeployment(
        slug="minilm",
        version="v1",
        gpu_type="CPU",
        region="local",
        phase="WARM",
        keep_warm=True,
        endpoint_id="e1",
        url="http://127.0.0.1:4711",
        pid=4711,
        pid_created_at=1234.25,
        log_file="/d/logs/e1.log",
        status_file="/d/endpoints/e1.json",
        since_at_s=NOON_S,
        failures=2,
        reason="crashed",
        message='it said "no"\n',
    )

    def test_a_deployment_comes_back_as_it_was_saved_last(self, store: Store) -> None:
        store.deployments.save(replace(self.SAVED, phase="STARTING", pid=None))
        store.deployments.save(self.SAVED, replace(self.SAVED, region="eu"))
        store.deployments.save()
        assert store.deployments.all() == [replace(self.SAVED, region="eu"), self.SAVED]

    def test_a_removed_deployment_is_gone(self, store: Store) -> None:
        store.deployments.save(self.SAVED, replace(self.SAVED, version="v2"))
        assert store.deployments.remove("minilm", "v1", "CPU", "local")
        assert not store.deployments.remove("minilm", "v1", "CPU", "local")
        assert [one.version for one in store.deployments.all()] == ["v2"]

    def test_fields_that_another_release_wrote_are_passed_over(self, store: Store, url: str) -> None:
        store.deployments.save(self.SAVED)
        with raw(url) as connection:
            connection.execute(text("UPDATE deployments SET payload = :new"), {"new": '{"phase": "COLD", "colour": "red"}'})
            connection.commit()
        assert store.deployments.all() == [SavedDeployment(slug="minilm", version="v1", gpu_type="CPU", region="local", phase="COLD")]


class TestSessions:
    def test_a_session_comes_back_as_it_went_in_and_the_oldest_first(self, store: Store) -> None:
        late, early = session(digest="s2", created_at_s=NOON_S + 1), session()
        assert [store.sessions.add(late), store.sessions.add(early)] == [True, True]
        assert store.sessions.all() == [early, late]

    def test_a_digest_that_is_there_is_not_added_again(self, store: Store) -> None:
        assert store.sessions.add(session())
        assert not store.sessions.add(session(key_id="another", csrf="other"))
        assert store.sessions.all() == [session()]

    def test_when_one_was_seen_only_moves_forward(self, store: Store) -> None:
        for digest in ("s1", "s2"):
            store.sessions.add(session(digest=digest))
        store.sessions.seen({"s1": NOON_S + 5, "s2": NOON_S - 5, "unknown": NOON_S})
        store.sessions.seen({})
        assert store.sessions.all() == [session(digest="s1", seen_at_s=NOON_S + 5), session(digest="s2")]

    def test_what_is_removed_is_gone_and_the_rest_is_not(self, store: Store) -> None:
        for digest in ("s1", "s2", "s3"):
            store.sessions.add(session(digest=digest))
        assert [store.sessions.remove(["s1", "s3", "unknown"]), store.sessions.remove([]), store.sessions.remove(["s1"])] == [2, 0, 0]
        assert store.sessions.all() == [session(digest="s2")]

    def test_it_is_there_after_a_restart(self, url: str) -> None:
        with open_store(url) as store:
            store.sessions.add(session())
        with open_store(url) as store:
            assert store.sessions.all() == [session()]

    def test_no_repr_shows_what_opens_one(self) -> None:
        shown = repr(session(digest="the-digest", csrf="the-secret"))
        assert "the-" not in shown


class TestSmallThings:
    def test_schedules_come_back_until_they_are_removed(self, store: Store) -> None:
        second = Schedule(id="s2", slug="minilm", kind="prewarm", cron="0 8 * * 1-5", created_at_s=2.0, key_id="k1")
        first = Schedule(id="s1", slug="bge", version="v1", gpu_type="CPU", region="local", kind="probe", cron="@daily", created_at_s=1.0, key_id="k1")
        assert [store.schedules.add(second), store.schedules.add(first), store.schedules.add(first)] == [True, True, False]
        assert store.schedules.all() == [first, second]
        assert [store.schedules.remove("s1"), store.schedules.remove("s1")] == [True, False]
        assert store.schedules.all() == [second]

    def test_the_audit_is_read_newest_first(self, store: Store) -> None:
        lines = [AuditEntry(at_s=NOON_S - n, key_id="k1", action="key.revoke", subject=f"k{n}") for n in range(5)]
        for line in lines:
            store.audit.add(line)
        assert store.audit.recent(3) == lines[:1:-1]

    def test_a_meta_value_is_replaced(self, store: Store) -> None:
        assert store.meta.get("name") is None
        store.meta.set("name", "one")
        store.meta.set("name", "two")
        assert store.meta.get("name") == "two"

    def test_what_was_kept_is_there_after_a_restart(self, url: str) -> None:
        with open_store(url) as store:
            store.keys.add(key())
            store.usage.append("gw", 1, [record()])
        with open_store(url) as store:
            assert store.keys.all() == [key()]
            assert not store.usage.append("gw", 1, [record()])

    def test_a_closed_store_says_so(self, store: Store) -> None:
        store.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            store.keys.all()


class TestPrune:
    def test_raw_usage_goes_with_age_and_its_sums_stay(self, store: Store, url: str) -> None:
        old = NOON_S - 91 * DAY_S
        store.usage.append("gw", 1, [record(at_s=old)])
        store.usage.append("gw", 2, [record(at_s=old), record()])
        assert store.prune(NOON_S) == 3  # two rows, and the number of the first report
        assert store.prune(NOON_S) == 0
        assert rows(url, "SELECT count(*) FROM usage") == [(1,)]
        assert sum(hour.requests for hour in store.usage.rollup(0, 2 * NOON_S)) == 3
        assert not store.usage.append("gw", 2, [record()])

    def test_the_highest_report_of_a_gateway_is_never_forgotten(self, store: Store) -> None:
        for number in (1, 2, 3):
            store.usage.append("gw", number, [record(at_s=0.0)])
        while store.prune(NOON_S):
            pass
        assert store.usage.counted("gw") == 3
        assert not store.usage.append("gw", 3, [record()])

    def test_hourly_sums_go_day_by_day_and_the_months_stay(self, store: Store) -> None:
        store.usage.append("gw", 1, [record(at_s=NOON_S - day * DAY_S) for day in (0, 399, 401, 402, 500)])
        removed = 0
        while once := store.prune(NOON_S, Keep(usage_days=10_000)):
            assert once == 1
            removed += once
        assert removed == 3
        assert len(store.usage.rollup(0, 2 * NOON_S)) == 2
        assert store.usage.month("2025-07")["k1"].tokens == 100

    def test_samples_go_when_they_are_old_and_not_among_the_last_of_their_series(self, store: Store) -> None:
        old = NOON_S - 100 * DAY_S
        store.samples.add([sample(at_s=old, tokens=n) for n in range(6)] + [sample(at_s=old, kind="start", tokens=0)])
        store.samples.add([sample(tokens=n) for n in (6, 7)] + [sample(at_s=old, tokens=8)])
        assert store.prune(NOON_S, Keep(samples_each=5)) == 4
        assert [(one.kind, one.tokens) for one in store.samples.recent(100)] == [
            ("probe", 4),
            ("probe", 5),
            ("start", 0),
            ("probe", 6),
            ("probe", 7),
            ("probe", 8),
        ]

    def test_old_lines_of_the_audit_go(self, store: Store) -> None:
        for at_s in (NOON_S - 401 * DAY_S, NOON_S):
            store.audit.add(AuditEntry(at_s=at_s, key_id="k1", action="a", subject="s"))
        assert store.prune(NOON_S) == 1
        assert [line.at_s for line in store.audit.recent(9)] == [NOON_S]

    def test_one_call_removes_no_more_of_a_kind_than_it_was_allowed(self, store: Store) -> None:
        store.usage.append("gw", 1, [record(at_s=1.0)] * 5)
        store.samples.add([sample(at_s=1.0, kind=kind) for kind in ("probe", "start") for _ in range(3)])
        keep = Keep(samples_each=1, hours_days=10_000_000)
        assert [store.prune(NOON_S, keep, most=3) for _ in range(4)] == [6, 3, 0, 0]


class TestSchema:
    # What a database of each schema may hold, to be found again after every migration since. One entry more with each migration.
    ROWS: ClassVar[dict[int, tuple[str, ...]]] = {
        0: (),
        1: (
            "INSERT INTO keys (key_id, name, digest, scopes, models, created_at_s) VALUES ('k1', 'first', 'd1', '[\"read\"]', '[]', 1.5)",
            "INSERT INTO usage_months (month, key_id, usd, tokens) VALUES ('2026-11', 'k1', 2.5, 7)",
            "INSERT INTO usage_reports (gateway_id, number, last_at_s) VALUES ('gw', 4, 1.0)",
        ),
        2: (
            "INSERT INTO keys (key_id, name, digest, scopes, models, created_at_s) VALUES ('k1', 'first', 'd1', '[\"read\"]', '[]', 1.5)",
            "INSERT INTO usage_months (month, key_id, usd, tokens) VALUES ('2026-11', 'k1', 2.5, 7)",
            "INSERT INTO usage_reports (gateway_id, number, last_at_s) VALUES ('gw', 4, 1.0)",
            "INSERT INTO web_sessions (digest, key_id, csrf, created_at_s, seen_at_s, expires_at_s) VALUES ('s1', 'k1', 'c1', 1.0, 2.0, 3.0)",
        ),
    }

    @pytest.mark.parametrize("schema", range(len(MIGRATIONS) + 1))
    def test_a_database_of_any_schema_is_brought_to_the_newest_with_what_is_in_it(self, url: str, schema: int) -> None:
        database = open_database(parse_address(url), busy_timeout_s=1.0)
        assert migrate(database, up_to=schema) == schema
        with database.write() as connection:
            for statement in self.ROWS[schema]:
                connection.execute(text(statement))
        database.close()
        with open_store(url) as store:
            assert rows(url, "SELECT max(number) FROM schema_version") == [(len(MIGRATIONS),)]
            if schema >= 1:
                assert store.keys.all() == [key(scopes=("read",), created_at_s=1.5)]
                assert store.usage.month("2026-11") == {"k1": Spent(2.5, 7)}
                assert store.usage.counted("gw") == 4
            if schema >= 2:
                assert store.sessions.all() == [session(digest="s1", csrf="c1", created_at_s=1.0, seen_at_s=2.0, expires_at_s=3.0)]
        assert self.shape(url) == self.declared()

    @staticmethod
    def shape(url: str) -> dict[str, object]:
        with raw(url) as connection:
            looked = inspect(connection)
            return {
                table: (
                    {column["name"]: (kind(column["type"]), bool(column["nullable"])) for column in looked.get_columns(table)},
                    looked.get_pk_constraint(table)["constrained_columns"],
                )
                for table in looked.get_table_names()
            }

    @staticmethod
    def declared() -> dict[str, object]:
        return {
            name: ({column.name: (kind(column.type), bool(column.nullable)) for column in table.columns}, [column.name for column in table.primary_key])
            for name, table in metadata.tables.items()
        }

    def test_a_newer_schema_is_refused_with_what_to_do(self, url: str) -> None:
        open_store(url).close()
        with raw(url) as connection:
            connection.execute(text("INSERT INTO schema_version (number, says) VALUES (999, 'from the future')"))
            connection.commit()
        with pytest.raises(StartError, match=r"has schema 999, and this release knows schemas up to \d+: a newer Emberank has used it"):
            open_store(url)

    def test_starting_together_migrates_once(self, url: str) -> None:
        together = threading.Barrier(6)

        def start() -> None:
            together.wait(WAIT_S)
            open_store(url, busy_timeout_s=WAIT_S).close()

        with ThreadPoolExecutor(6) as pool:
            for started in [pool.submit(start) for _ in range(6)]:
                started.result(WAIT_S)
        assert rows(url, "SELECT count(*) FROM schema_version") == [(len(MIGRATIONS),)]

    def test_a_migration_that_fails_leaves_nothing_of_itself(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        open_store(url).close()
        broken = Migration(says="broken", statements=("CREATE TABLE half (n INTEGER)", "CREATE TABLE keys (n INTEGER)"))
        monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, broken))
        with pytest.raises(StartError, match="already exists"):
            open_store(url)
        monkeypatch.undo()
        open_store(url).close()
        with raw(url) as connection:
            assert not inspect(connection).has_table("half")


def kind(of: TypeEngine[object]) -> str:
    for one in (Boolean, Integer, Float, Text):
        if isinstance(of, one) or isinstance(getattr(of, "impl", None), one):
            return one.__name__
    return type(of).__name__


class TestFaults:
    def test_another_writer_is_waited_for_no_longer_than_the_busy_timeout(self, store: Store, url: str) -> None:
        with raw(url) as other:
            other.execute(text("UPDATE meta SET value = value" if store.backend == "sqlite" else "LOCK TABLE usage_reports IN EXCLUSIVE MODE"))
            with pytest.raises(StoreUnavailable, match="busy with another writer") as caught:
                store.usage.append("gw", 1, [record()])
            assert caught.value.http_status == 503
            assert caught.value.retry_after_s == 1.0
            assert caught.value.__cause__ is not None
            assert store.usage.counted("gw") == 0  # reading goes on
        assert store.usage.append("gw", 1, [record()])

    @pytest.mark.parametrize("stage", ["usage", "usage_hours", "usage_months", "COMMIT", "after"])
    def test_a_process_that_is_killed_in_the_middle_of_a_report_leaves_all_of_it_or_nothing(self, url: str, stage: str) -> None:
        script = f"""
            import contextlib, os, signal
            from emberank.forge.store import open_store
            from stores import before, record

            def die(*_):
                os.kill(os.getpid(), signal.SIGKILL)

            store = open_store({url!r})
            store.usage.append("gw", 1, [record(tokens=1)])
            with before({stage!r}, die) if {stage!r} != "after" else contextlib.nullcontext():
                store.usage.append("gw", 2, [record(tokens=10)] * 50)
            die()
        """
        ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=TESTS, timeout=WAIT_S, check=False)
        assert ended.returncode == -9
        there = stage == "after"
        with open_store(url) as store:
            assert store.usage.counted("gw") == (2 if there else 1)
            assert rows(url, "SELECT count(*) FROM usage") == [(51 if there else 1,)]
            assert store.usage.append("gw", 2, [record(tokens=10)] * 50) is not there
            assert store.usage.month("2026-11")["k1"].tokens == 501
            assert sum(hour.requests for hour in store.usage.rollup(0, 2 * NOON_S)) == 51

    def test_an_error_in_the_middle_of_a_report_undoes_all_of_it(self, store: Store) -> None:
        def fail(_: Connection) -> None:
            raise ZeroDivisionError

        with before("usage_months", fail), pytest.raises(ZeroDivisionError):
            store.usage.append("gw", 1, [record()])
        assert store.usage.counted("gw") == 0
        assert store.usage.append("gw", 1, [record()])
        assert store.usage.month("2026-11") == {"k1": Spent(0.25, 100)}

    def test_a_statement_that_is_wrong_is_our_fault_and_its_values_are_not_repeated(self, store: Store) -> None:
        with pytest.raises(ServerFault) as caught:
            store.keys.add(key(name=None, digest="a-digest"))
        assert "a-digest" not in f"{caught.value} {caught.value.__cause__}".partition("DETAIL")[0]
        assert store.keys.all() == []

    def test_a_number_that_no_column_holds_is_our_fault(self, store: Store) -> None:
        with pytest.raises(ServerFault):
            store.samples.add([sample(tokens=2**70)])
        assert store.samples.recent(1) == []


class TestLock:
    def test_a_second_forge_on_the_same_database_is_refused(self, store: Store, url: str) -> None:
        store.lock()
        store.lock()
        with pytest.raises(StartError, match="another forge") as caught:
            open_store(url, exclusive=True, busy_timeout_s=0.1)
        assert "\n" not in caught.value.message
        with open_store(url, busy_timeout_s=0.1) as other:  # only to look
            with pytest.raises(StartError):
                other.lock()
            assert other.keys.all() == []
            store.close()
            other.lock()

    def test_the_lock_is_kept_while_the_store_works(self, store: Store, url: str) -> None:
        store.lock()
        store.usage.append("gw", 1, [record()])
        with pytest.raises(ServerFault):
            store.samples.add([sample(slug=None)])
        with pytest.raises(StartError):
            open_store(url, exclusive=True, busy_timeout_s=0.1)

    def test_nothing_is_migrated_under_a_running_forge(self, url: str) -> None:
        database = open_database(parse_address(url), busy_timeout_s=1.0)
        database.claim()
        with pytest.raises(StartError, match="another forge"):
            open_store(url, exclusive=True, busy_timeout_s=0.1)
        database.close()
        with raw(url) as connection:
            assert inspect(connection).get_table_names() == []

    def test_a_killed_forge_holds_no_lock(self, url: str) -> None:
        script = f"import os; from emberank.forge.store import open_store; s = open_store({url!r}, exclusive=True); os.kill(os.getpid(), 9)"
        assert subprocess.run([sys.executable, "-c", script], timeout=WAIT_S, check=False).returncode == -9
        open_store(url, exclusive=True).close()


class TestPostgreSQL:
    """What only a database behind a connection can do to its users."""

    @pytest.fixture
    def url(self, postgres: PostgresServer) -> str:
        return postgres.new_schema()

    def test_a_connection_that_was_lost_between_two_calls_is_made_again(self, store: Store, postgres: PostgresServer) -> None:
        store.usage.append("gw", 1, [record()])
        assert postgres.cut() == 1
        assert store.usage.append("gw", 2, [record()])
        assert store.usage.month("2026-11") == {"k1": Spent(0.5, 200)}

    @pytest.mark.parametrize("stage", ["usage", "usage_months", "COMMIT"])
    def test_a_connection_that_is_lost_in_a_call_undoes_it_and_the_next_call_works(self, store: Store, postgres: PostgresServer, stage: str) -> None:
        with before(stage, lambda _: postgres.cut()), pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
            store.usage.append("gw", 1, [record()])
        assert caught.value.__cause__ is not None
        assert store.usage.counted("gw") == 0
        assert store.usage.append("gw", 1, [record()])
        assert store.usage.month("2026-11") == {"k1": Spent(0.25, 100)}

    def test_the_lock_is_had_again_with_the_connection(self, store: Store, url: str, postgres: PostgresServer) -> None:
        store.lock()
        assert postgres.cut() == 1
        assert store.keys.all() == []
        with pytest.raises(StartError, match="another forge"):
            open_store(url, exclusive=True, busy_timeout_s=0.1)

    def test_a_forge_that_lost_its_lock_to_another_writes_nothing(self, store: Store, url: str, postgres: PostgresServer) -> None:
        store.lock()
        assert postgres.cut() == 1
        with open_store(url, exclusive=True) as other:
            with pytest.raises(StoreUnavailable, match="held by another forge"):
                store.keys.add(key())
            assert other.keys.all() == []
        assert store.keys.add(key())

    def test_a_standby_is_no_place_to_write(self, store: Store) -> None:
        with before("keys", lambda connection: connection.exec_driver_sql("SET TRANSACTION READ ONLY")), pytest.raises(StoreUnavailable, match="written to"):
            store.keys.add(key())
        assert store.keys.add(key())

    def test_a_statement_that_takes_too_long_is_given_up(self, store: Store) -> None:
        def slow(connection: Connection) -> None:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 20")
            connection.exec_driver_sql("SELECT pg_sleep(60)")

        with before("keys", slow), pytest.raises(StoreUnavailable, match="try again"):
            store.keys.add(key())
        assert store.keys.add(key())

    def test_an_unknown_user_is_told_without_the_password(self, postgres: PostgresServer) -> None:
        url = parse_address(postgres.url).url.set(username="nobody", password="hunter2-hunter2").render_as_string(hide_password=False)
        with pytest.raises(StartError, match=r'"nobody" does not exist') as caught:
            open_store(url.replace("postgresql+psycopg", "postgres"))
        assert "hunter2" not in repr(caught.value) + repr(caught.value.__cause__)
        assert "\n" not in caught.value.message
