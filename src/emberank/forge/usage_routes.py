"""`/v1/usage`: what was asked for and what it cost, in sums by day or hour. A key sees its own; one that may manage sees all."""

from __future__ import annotations

from emberank.contract.errors import BadRequest, Forbidden
from emberank.contract.fleet import Principal
from emberank.dialects.reading import shown
from emberank.forge.answers import listed, usage_rows, usage_total
from emberank.forge.asked import query_of
from emberank.forge.callers import check_model
from emberank.forge.moments import iso, moment
from emberank.forge.parts import Parts
from emberank.forge.rules import Rule
from emberank.serving.exchange import Exchange

_HOUR_S, _DAY_S = 3600, 86_400
_STEPS = {"hour": _HOUR_S, "day": _DAY_S}
_USUAL_S = {"hour": 2 * _DAY_S, "day": 30 * _DAY_S}
_MOST_S = {"hour": 31 * _DAY_S, "day": 400 * _DAY_S}


class UsageRoutes:
    """Usage."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def rules(self) -> list[Rule]:
        """One route."""
        return [Rule("GET", "/v1/usage", ("read", "inference", "manage"), self.usage)]

    async def usage(self, exchange: Exchange, caller: Principal) -> bytes:
        """Sums between `from` and `to`, the last 30 days (or 48 hours) by default."""
        query = query_of(exchange.request, "by", "from", "to", "key_id", "model")
        by = query.get("by", "day")
        if by not in _STEPS:
            raise BadRequest(f"by must be one of {', '.join(map(repr, _STEPS))}; got {shown(by)}")
        since_s, until_s = self._period(query, by)
        slug = self._parts.catalog().resolve(query["model"]).slug if "model" in query else None
        if slug is not None:
            check_model(caller, slug)
        key_id = self._key_id(query.get("key_id"), caller)
        hours = await self._parts.stored(lambda store: store.usage.rollup(since_s, until_s, key_id, slug))
        rows = usage_rows((hour for hour in hours if not caller.models or hour.slug in caller.models), _STEPS[by])
        return listed(rows, by=by, **{"from": iso(since_s), "to": iso(until_s)}, total=usage_total(rows))

    def _period(self, query: dict[str, str], by: str) -> tuple[float, float]:
        now_s = self._parts.wall_s()
        until_s = moment(query["to"], "to") if "to" in query else now_s + _HOUR_S  # another machine's clock may be ahead
        since_s = moment(query["from"], "from") if "from" in query else max(0.0, until_s - _USUAL_S[by])
        if since_s >= until_s:
            raise BadRequest("from must be before to")
        if until_s - since_s > _MOST_S[by]:
            raise BadRequest(f"at most {_MOST_S[by] // _DAY_S} days can be summed by {by}; ask for a shorter time")
        # A sum is of whole hours, and a day's of a whole day.
        return since_s // _STEPS[by] * _STEPS[by], until_s

    def _key_id(self, wanted: str | None, caller: Principal) -> str | None:
        if "manage" in caller.scopes:
            return wanted
        if wanted not in (None, caller.key_id):
            raise Forbidden(f"the key '{caller.name}' may see its own usage only; other keys' needs the scope 'manage'")
        return caller.key_id
