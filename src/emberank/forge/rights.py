"""A request's fields in, what a key may do and spend out. Says of every field what would be right. Knows no key and no store."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from emberank.contract.errors import BadRequest
from emberank.contract.fleet import SCOPES, Scope
from emberank.dialects.reading import refuse_unknown, shown, text_field, unknown_fields
from emberank.forge.moments import LATEST_S, moment

FIELDS = ("name", "scopes", "models", "expires_at", "expires_in_days", "requests_per_minute", "concurrency", "monthly_usd", "monthly_tokens")
_LONGEST_NAME = 100
_MOST_MODELS = 1000
_MOST_COUNT = 10**15
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What a key may do and spend. A limit that is None is none; no models are all models."""

    name: str
    scopes: tuple[Scope, ...]
    models: tuple[str, ...] = ()  # slugs
    expires_at_s: float | None = None  # Unix time
    requests_per_minute: int | None = None
    concurrency: int | None = None
    monthly_usd: float | None = None
    monthly_tokens: int | None = None


def read_rights(fields: dict[str, Any], now_s: float, slug_of: Callable[[str], str], old: Rights | None = None) -> Rights:
    """The rights that a body asks for; what it leaves out is as in `old`. `slug_of` resolves a model's name. Raises BadRequest."""
    refuse_unknown(unknown_fields(fields, FIELDS), FIELDS)
    before: Mapping[str, Any] = {} if old is None else {name: getattr(old, name) for name in Rights.__slots__}
    given: dict[str, Any] = dict(before)
    if old is None or "name" in fields:
        given["name"] = _name(fields)
    if old is None or "scopes" in fields:
        given["scopes"] = _scopes(fields)
    if "models" in fields:
        given["models"] = _models(fields["models"], slug_of)
    if "expires_at" in fields or "expires_in_days" in fields:
        given["expires_at_s"] = _expiry(fields, now_s)
    for name in ("requests_per_minute", "concurrency", "monthly_tokens"):
        if name in fields:
            given[name] = _count(fields, name)
    if "monthly_usd" in fields:
        given["monthly_usd"] = _money(fields, "monthly_usd")
    return Rights(**given)


def _name(fields: dict[str, Any]) -> str:
    name = text_field(fields, "name").strip()
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise BadRequest(f"name must be a line of at most {_LONGEST_NAME} characters: whose key it is, for people")
    return name


def _scopes(fields: dict[str, Any]) -> tuple[Scope, ...]:
    value = fields.get("scopes")
    listed = ", ".join(f"'{scope}'" for scope in SCOPES)
    if not isinstance(value, list) or not value:
        raise BadRequest(f"scopes must be an array of one or more of {listed}; all three make an admin key")
    for scope in value:
        if scope not in SCOPES:
            raise BadRequest(f"scopes holds {shown(scope)}; the scopes are {listed}")
    return tuple(scope for scope in SCOPES if scope in value)


def _models(value: object, slug_of: Callable[[str], str]) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadRequest("models must be an array of the models' names; an empty one allows all")
    if len(value) > _MOST_MODELS:
        raise BadRequest(f"models holds {len(value)} names; at most {_MOST_MODELS} are allowed, and an empty array allows all")
    return tuple(dict.fromkeys(slug_of(name) for name in value))


def _expiry(fields: dict[str, Any], now_s: float) -> float | None:
    at, days = fields.get("expires_at"), fields.get("expires_in_days")
    if at is not None and days is not None:
        raise BadRequest("expires_at and expires_in_days say the same thing; send one of the two")
    if at is None and days is None:
        return None
    at_s = moment(at, "expires_at") if at is not None else now_s + _number(days, "expires_in_days") * _DAY_S
    if not now_s < at_s < LATEST_S:
        raise BadRequest(f"{'expires_at' if at is not None else 'expires_in_days'} must be in the future, and before the year 3000")
    return at_s


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise BadRequest(f"{name} must be a number above 0; got {shown(value)}")
    return float(value)


def _count(fields: dict[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_COUNT:
        raise BadRequest(f"{name} must be a whole number from 1 on, or null for no limit; got {shown(value)}")
    return value


def _money(fields: dict[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1e12:
        raise BadRequest(f"{name} must be a number of US dollars above 0, or null for no limit; got {shown(value)}")
    return float(value)
