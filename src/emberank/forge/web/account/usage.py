"""A request for the account page in, a month's usage as pictures, tables and a file out: everybody's for who may manage, else the caller's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from emberank.contract.fleet import Principal
from emberank.forge.answers import usage_total
from emberank.forge.parts import Parts
from emberank.forge.store.usage import UsageHour
from emberank.forge.web.account.month_chart import Layer, month_chart
from emberank.forge.web.account.month_usage import By, Group, Month, as_csv, by_day, by_key_and_model, groups, month_named, month_of
from emberank.forge.web.filters import plural, short, usd

MOST_ROWS = 200
_HOUR_S = 3600.0
_COLOURS = ("a", "b", "c", "d", "e", "rest")


class AccountUsage:
    """What was asked for, and what it cost."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def values(self, request: Request, caller: Principal, names: Mapping[str, str]) -> dict[str, Any]:
        """What the page's section needs."""
        month, unknown = self._month(request)
        by: By = "key" if request.query_params.get("by") == "key" else "model"
        hours = await self._hours(month, caller)
        rows, called = by_key_and_model(hours), distinct(names)
        drawn = groups(hours, month, by, called)
        this = month_of(self._parts.wall_s())
        return {
            "month": month,
            "month_unknown": unknown,
            "by": by,
            "is_this_month": month == this,
            "month_before": month.before if month_named(month.before.name, self._parts.wall_s()) else None,
            "month_after": month.after if month != this else None,
            "usage": rows[:MOST_ROWS],
            "usage_left": len(rows[MOST_ROWS:]),
            "total": usage_total(rows),
            "days": by_day(hours, month),
            "charts": _charts(month, drawn),
            "legend": [(colour, group.name) for colour, group in zip(_COLOURS, drawn, strict=False)],
            "names": called,
        }

    async def file(self, request: Request, caller: Principal, names: Mapping[str, str]) -> Response:
        """The month by day, as CSV."""
        month, _ = self._month(request)
        headers = {
            "Content-Disposition": f'attachment; filename="emberank-usage-{month.name}.csv"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        return Response(as_csv(await self._hours(month, caller), names), media_type="text/csv", headers=headers)

    def _month(self, request: Request) -> tuple[Month, str]:
        """The month that is asked for, or this one and what was asked for in vain."""
        now_s, text = self._parts.wall_s(), request.query_params.get("month", "").strip()
        found = month_named(text, now_s)
        return (found, "") if found is not None else (month_of(now_s), text[:40])

    async def _hours(self, month: Month, caller: Principal) -> list[UsageHour]:
        """Its sums by hour, of what the caller may see. Of the month that runs another machine's clock may be ahead."""
        start_s, key_id = month.start_s, None if "manage" in caller.scopes else caller.key_id
        end_s = min(month.after.start_s, self._parts.wall_s() + _HOUR_S)
        hours = await self._parts.stored(lambda store: store.usage.rollup(start_s, end_s, key_id))
        return [hour for hour in hours if hour.hour_s >= start_s and (not caller.models or hour.slug in caller.models)]


def distinct(names: Mapping[str, str]) -> dict[str, str]:
    """What keys are called, by id; with the id where two have one name."""
    often = Counter(names.values())
    return {key_id: f"{name} ({key_id})" if often[name] > 1 else name for key_id, name in names.items()}


def _charts(month: Month, drawn: tuple[Group, ...]) -> list[tuple[str, str, str]]:
    """Each picture with its title; where there is nothing to draw the picture is empty, and the last says why."""

    def day(index: int) -> str:
        found = month.first + timedelta(days=index)
        return f"{found.day} {found:%B}"

    def picture(
        name: str, title: str, values: Sequence[Sequence[float]], said: Callable[[float], str], tick: Callable[[float], str], whole: bool = False
    ) -> str:
        layers = [Layer(colour=colour, values=each) for colour, each in zip(_COLOURS, values, strict=False)]
        return month_chart(name, f"{title}, {month.title}", layers, said, tick, day, whole=whole)

    cost, asked = "Cost by day", "Requests by day"
    return [
        (cost, picture("usage-cost", cost, [group.cost_usd for group in drawn], usd, usd), "It cost nothing: no price is known of the targets that were used."),
        (asked, picture("usage-requests", asked, [group.requests for group in drawn], lambda value: plural(value, "request"), short, whole=True), ""),
    ]
