"""A wish in, the warm endpoint with the least to do out."""

from __future__ import annotations

from typing import Any

from emberank.contract.fleet import Endpoint, TargetRow, Wish
from emberank.gateway.routing import Places
from fleets import CPU, endpoint, model

GPU = TargetRow(gpu_type="L40S", region="eu-north1", status="works", runnable=True)
MODEL = model(targets=(GPU, CPU), versions=("v1", "v2"))
ANY = Wish(slug="acme-rank", version="v1")


def places(*endpoints: Endpoint) -> Places:
    made = Places()
    made.prefer([MODEL])
    made.update(endpoints, 0.0)
    return made


def gpu(**fields: Any) -> Endpoint:
    return endpoint(**{"id": "gpu", "gpu_type": "L40S", "region": "eu-north1"} | fields)


def chosen(made: Places, wish: Wish = ANY, now: float = 0.0) -> str | None:
    place = made.choose(wish, now)
    return place.endpoint.id if place else None


def test_only_what_is_warm_is_chosen() -> None:
    for phase in ("STARTING", "DRAINING", "FAILED", "COLD"):
        assert chosen(places(endpoint(phase=phase))) is None
    assert chosen(places(endpoint(phase="STARTING"), gpu())) == "gpu"
    assert chosen(places()) is None


def test_the_fewest_queued_tokens_win_and_the_better_target_among_equals() -> None:
    made = places(endpoint(), gpu())
    assert chosen(made) == "gpu"
    place = made.choose(ANY, 0.0)
    assert place is not None
    place.queued_tokens = 10
    assert chosen(made) == "e1"
    other = made.choose(ANY, 0.0)
    assert other is not None
    other.queued_tokens = 11
    assert chosen(made) == "gpu"


def test_version_and_pin_are_honoured() -> None:
    made = places(endpoint(), gpu(version="v2"))
    assert chosen(made) == "e1"
    assert chosen(made, Wish(slug="acme-rank", version="v2")) == "gpu"
    assert chosen(made, Wish(slug="acme-rank", version="v1", gpu_type="L40S")) is None
    assert chosen(made, Wish(slug="acme-rank", version="v1", region="local")) == "e1"
    assert chosen(made, Wish(slug="acme-rank")) in ("e1", "gpu")
    assert chosen(made, Wish(slug="other", version="v1")) is None


def test_a_broken_endpoint_is_passed_over_for_a_moment() -> None:
    made = places(endpoint())
    place = made.choose(ANY, 0.0)
    assert place is not None
    place.broken_until = 5.0
    assert chosen(made, now=4.9) is None
    assert not made.is_coming(ANY, 4.9)
    assert chosen(made, now=5.0) == "e1"


def test_load_stays_with_an_endpoint_from_snapshot_to_snapshot() -> None:
    made = places(endpoint())
    place = made.choose(ANY, 0.0)
    assert place is not None
    place.in_flight, place.queued_tokens = 2, 70
    made.update([endpoint(price_usd_per_hour=9.0), endpoint(id="e2")], 1.0)
    assert chosen(made) == "e2"
    assert place.endpoint.price_usd_per_hour == 9.0
    made.update([], 2.0)
    assert (len(made), chosen(made)) == (0, None)


def test_loads_tell_of_endpoints_that_were_used() -> None:
    made = places(endpoint(), gpu())
    assert made.loads(10.0, {}) == ()
    place = made.choose(ANY, 0.0)
    assert place is not None
    place.used_at, place.in_flight = 3.0, 1
    assert [(load.endpoint_id, load.in_flight, load.idle_s) for load in made.loads(10.0, {"e1": 4, "gpu": 1})] == [("e1", 4, 0.0), ("gpu", 2, 0.0)]
    place.in_flight = 0
    assert [load.idle_s for load in made.loads(10.0, {})] == [7.0]


def test_a_failure_counts_when_no_target_is_left_to_hope_for() -> None:
    failed = {"phase": "FAILED", "reason": "out_of_memory"}
    made = places(endpoint(**failed, retry_in_s=30.0), gpu())
    assert made.failure(ANY, [GPU, CPU], set()) is None
    made = places(endpoint(**failed, retry_in_s=30.0), gpu(**failed, retry_in_s=10.0))
    place = made.failure(ANY, [GPU, CPU], set())
    assert place is not None
    assert (place.endpoint.id, place.retry_in_s(4.0), place.retry_in_s(40.0)) == ("gpu", 6.0, 0.0)
    assert made.failure(ANY, [GPU, CPU], {"gpu"}) is None
    assert made.failure(Wish(slug="acme-rank", version="v1", gpu_type="CPU"), [CPU], {"gpu"}) is not None


def test_starting_and_warm_are_coming() -> None:
    assert places(endpoint(phase="STARTING")).is_coming(ANY, 0.0)
    assert places(endpoint()).is_coming(ANY, 0.0)
    assert not places(endpoint(phase="DRAINING"), gpu(phase="FAILED")).is_coming(ANY, 0.0)
