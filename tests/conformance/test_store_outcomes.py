"""How requests ended, counted by the store: on both databases, of two windows at once, and never more than the latest few."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from emberank.forge.store import Store, open_store
from emberank.forge.store.usage import Outcomes
from stores import DAY_S, NOON_S, record


@pytest.fixture
def store(new_database: Callable[[], str]) -> Iterator[Store]:
    with open_store(new_database()) as opened:
        yield opened


def test_what_was_refused_and_what_failed_are_counted_apart_in_the_day_and_in_its_last_hour(store: Store) -> None:
    early = [record(at_s=NOON_S - 7200, status=status) for status in (200, 404, 500)]
    late = [record(at_s=NOON_S - 10, status=status) for status in (200, 200, 429, 499, 503, 504, 302)]
    store.usage.append("gw", 1, [*early, *late, record(at_s=NOON_S - DAY_S - 1, status=500)])
    assert store.usage.outcomes(NOON_S - DAY_S, NOON_S - 3600, 100) == [
        Outcomes(
            slug="minilm",
            version="v1",
            gpu_type="CPU",
            region="local",
            first_at_s=NOON_S - 7200,
            requests=10,
            refused=3,
            failed=3,
            late_requests=7,
            late_refused=2,
            late_failed=2,
        )
    ]


def test_models_versions_and_targets_are_counted_apart_and_keys_are_not(store: Store) -> None:
    apart = [{}, {"slug": "bge"}, {"version": "v2"}, {"gpu_type": "B200"}, {"region": "eu"}, {"gpu_type": "", "region": "", "status": 503}]
    store.usage.append("gw", 1, [record(**changed) for changed in apart] + [record(key_id="k2")])
    found = store.usage.outcomes(0.0, NOON_S, 100)
    assert len(found) == len(apart)
    assert sum(one.requests for one in found) == len(apart) + 1
    assert [one.failed for one in found if not one.gpu_type] == [1]


def test_only_the_latest_are_counted_where_there_are_too_many(store: Store) -> None:
    store.usage.append("gw", 1, [record(at_s=NOON_S + place, status=500 if place < 5 else 200) for place in range(8)])
    (found,) = store.usage.outcomes(0.0, 0.0, 4)
    assert (found.requests, found.failed, found.first_at_s) == (4, 1, NOON_S + 4)


def test_where_nothing_was_asked_for_nothing_is_counted(store: Store) -> None:
    assert store.usage.outcomes(0.0, 0.0, 100) == []
