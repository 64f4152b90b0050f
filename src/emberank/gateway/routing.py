"""A wish in, the warm endpoint with the least to do out. Knows no wire; `now` is monotonic.

What an endpoint has to do is counted in tokens, estimated from characters, of the requests that this gateway has there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emberank.contract.fleet import Endpoint, EndpointLoad, ModelRow, TargetRow, Wish
from emberank.gateway.breaker import Breaker

_NO_PLACES: list[Place] = []
_LAST = 1 << 30


@dataclass(slots=True, eq=False)
class Place:
    """An endpoint and what is known of it here."""

    endpoint: Endpoint
    seen_at: float  # when a snapshot last said what `endpoint` is
    preference: int = _LAST  # of its target: the best verified is 0
    in_flight: int = 0
    queued_tokens: int = 0
    used_at: float = field(default=float("-inf"))
    broken_until: float = field(default=float("-inf"))
    breaks: int = 0  # in a row
    breaker: Breaker | None = None  # of somebody else's server
    last_fault: str = ""  # of somebody else's server, for callers

    def __post_init__(self) -> None:
        if self.is_remote:
            self.breaker = Breaker()

    @property
    def is_remote(self) -> bool:
        """Whether it is somebody else's server."""
        return self.endpoint.dialect != "emberank"

    def takes(self, now: float) -> bool:
        """Whether a request may be sent to it now, as far as is known of it here."""
        return self.broken_until <= now and (self.breaker is None or self.breaker.admits(now))

    @property
    def target(self) -> str:
        """For headers and sentences: `CPU/local`."""
        return f"{self.endpoint.gpu_type}/{self.endpoint.region}"

    def retry_in_s(self, now: float) -> float:
        """FAILED: how long until a start may be tried again."""
        retry_in_s = self.endpoint.retry_in_s
        return max(0.0, retry_in_s - (now - self.seen_at)) if retry_in_s is not None else 0.0


class Places:
    """All endpoints of the last snapshot. One keeps its load from snapshot to snapshot."""

    def __init__(self) -> None:
        self._by_id: dict[str, Place] = {}
        self._by_slug: dict[str, list[Place]] = {}
        self._preference: dict[tuple[str, str, str, str], int] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """As the last snapshot listed them."""
        return tuple(place.endpoint for place in self._by_id.values())

    def prefer(self, models: Sequence[ModelRow]) -> None:
        """Take over in which order models prefer their targets; for the next `update`."""
        self._preference = {(m.slug, v.name, row.gpu_type, row.region): i for m in models for v in m.versions for i, row in enumerate(v.targets)}

    def update(self, endpoints: Sequence[Endpoint], now: float) -> None:
        """Take over which endpoints there are."""
        known, self._by_id, self._by_slug = self._by_id, {}, {}
        for endpoint in endpoints:
            place = known.get(endpoint.id) or Place(endpoint, now)
            if place.endpoint != endpoint:
                if (place.endpoint.url, place.endpoint.phase) != (endpoint.url, endpoint.phase):
                    place.broken_until, place.breaks = float("-inf"), 0  # it is another process, or it was looked after
                place.endpoint, place.seen_at = endpoint, now
                place.breaker = Breaker() if place.is_remote else None  # it is spoken to in another way now, perhaps with a better key
            place.preference = self._preference.get((endpoint.slug, endpoint.version, endpoint.gpu_type, endpoint.region), _LAST)
            self._by_id[endpoint.id] = place
            self._by_slug.setdefault(endpoint.slug, []).append(place)
        for places in self._by_slug.values():
            places.sort(key=lambda place: place.preference)

    def choose(self, wish: Wish, now: float) -> Place | None:
        """The warm endpoint with the fewest queued tokens, the better target among equals; None when there is none."""
        best: Place | None = None
        for place in self._by_slug.get(wish.slug, _NO_PLACES):
            endpoint = place.endpoint
            if (
                endpoint.phase == "WARM"
                and (best is None or place.queued_tokens < best.queued_tokens)
                and place.takes(now)
                and (wish.version is None or endpoint.version == wish.version)
                and (wish.gpu_type is None or endpoint.gpu_type == wish.gpu_type)
                and (wish.region is None or endpoint.region == wish.region)
            ):
                best = place
        return best

    def matching(self, wish: Wish) -> list[Place]:
        """Every endpoint, in whatever phase, that the wish allows."""
        return [
            place
            for place in self._by_slug.get(wish.slug, _NO_PLACES)
            if wish.version in (None, place.endpoint.version)
            and wish.gpu_type in (None, place.endpoint.gpu_type)
            and wish.region in (None, place.endpoint.region)
        ]

    def left_alone(self, wish: Wish, now: float) -> Place | None:
        """The remote server that would be asked if its circuit were not open, or its one trial not under way; None where something else may answer."""
        places = self.matching(wish)
        if self.is_coming(wish, now):
            return None
        alone = [(place.breaker.retry_in_s(now), i, place) for i, place in enumerate(places) if place.endpoint.phase == "WARM" and place.breaker is not None]
        return min(alone)[2] if alone else None

    def warm(self, wish: Wish) -> int:
        """How many endpoints would grant the wish now."""
        return sum(place.endpoint.phase == "WARM" for place in self.matching(wish))

    def is_coming(self, wish: Wish, now: float) -> bool:
        """Whether something that would grant the wish is starting or warm."""
        return any(place.endpoint.phase == "STARTING" or (place.endpoint.phase == "WARM" and place.takes(now)) for place in self.matching(wish))

    def failure(self, wish: Wish, targets: Sequence[TargetRow], stale: frozenset[str] | set[str]) -> Place | None:
        """The failure that leaves the wish no target to hope for: the one to be tried again first. Failures in `stale` (endpoint ids) do not count."""
        failed = {(p.endpoint.gpu_type, p.endpoint.region): p for p in self.matching(wish) if p.endpoint.phase == "FAILED" and p.endpoint.id not in stale}
        if not failed or any((row.gpu_type, row.region) not in failed for row in targets):
            return None
        return min(failed.values(), key=lambda place: (place.endpoint.retry_in_s or 0.0) + place.seen_at)

    def loads(self, now: float, held: Mapping[str, int]) -> tuple[EndpointLoad, ...]:
        """What this gateway has at each endpoint that it ever used, and holds for it."""
        return tuple(
            EndpointLoad(endpoint_id=id_, in_flight=busy, idle_s=0.0 if busy else now - place.used_at)
            for id_, place in self._by_id.items()
            if (busy := place.in_flight + held.get(id_, 0)) or place.used_at > float("-inf")
        )
