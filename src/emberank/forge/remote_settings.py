"""The settings of a remote version in, checked values out. Nothing of ours is started there, so none of a runtime's settings is among them. Pure."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from emberank.contract.errors import SettingError
from emberank.contract.inference import Task
from emberank.forge.catalog import Version
from emberank.forge.remote_names import API_BASE, Kind, base_of, host_of, kind_of

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_OF_ALL = ("api_key_env", "served_name", "max_passages", "timeout_s", "usd_per_request", "usd_per_million_tokens")
KNOWN: Mapping[Kind, tuple[str, ...]] = {"nim": _OF_ALL, "nvidia_nim": ("api_base", *_OF_ALL), "cohere": ("score", *_OF_ALL)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSettings:
    """What there is to say of somebody else's server. Empty and None: not said."""

    api_base: str = ""
    api_key_env: str = ""
    served_name: str = ""
    score: Literal["logit", "sigmoid"] = "logit"  # what its scores are
    max_passages: int | None = None  # in one call
    timeout_s: float | None = None  # of one try
    usd_per_request: float | None = None
    usd_per_million_tokens: float | None = None


def read_remote_settings(source: str, settings: Mapping[str, str]) -> RemoteSettings:
    """Raises SettingError with a sentence about the key that is wrong."""
    kind = kind_of(source)
    assert kind is not None, source
    known = KNOWN[kind]
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f"; is {near[0]!r} meant?" if near else ""
            listed = ", ".join(f"`{one}`" for one in known[:-1])
            raise SettingError(f"of a {kind}{'/' if kind == 'nvidia_nim' else ':'} source can be {listed} and `{known[-1]}`, not {name!r}{meant}")
    key = settings.get("api_key_env", "")
    if "api_key_env" in settings and not _VARIABLE.fullmatch(key):
        raise SettingError("`api_key_env` has to be the name of an environment variable, never the key itself")
    return RemoteSettings(
        api_base=settings.get("api_base", ""),
        api_key_env=key,
        served_name=settings.get("served_name", ""),
        score=_score(settings, "sigmoid" if kind == "cohere" else "logit"),
        max_passages=_whole(settings, "max_passages"),
        timeout_s=_number(settings, "timeout_s", 0.1, 3600.0),
        usd_per_request=_number(settings, "usd_per_request", 0.0, 1e6),
        usd_per_million_tokens=_number(settings, "usd_per_million_tokens", 0.0, 1e6),
    )


def remote_host(version: Version, task: Task, environment: Mapping[str, str]) -> str | None:
    """Where a version runs when that is not here: a host to be shown, without path and key; None for one that is started here."""
    if kind_of(version.source) is None:
        return None
    return host_of(version.source, base_of(version.source, task, version.settings.get("api_base", ""), environment.get(API_BASE, "")))


def _score(settings: Mapping[str, str], default: Literal["logit", "sigmoid"]) -> Literal["logit", "sigmoid"]:
    value = settings.get("score", default)
    if value not in ("logit", "sigmoid"):
        raise SettingError(f"`score` has to be 'sigmoid', for scores between 0 and 1, or 'logit', for the model's own numbers; not {value!r}")
    return cast(Literal["logit", "sigmoid"], value)


def _whole(settings: Mapping[str, str], name: str) -> int | None:
    text = settings.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:12]) <= 1_000_000):
        raise SettingError(f"`{name}` has to be a whole number from 1 to 1000000, not {text[:40]!r}")
    return int(text)


def _number(settings: Mapping[str, str], name: str, least: float, most: float) -> float | None:
    text = settings.get(name)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise SettingError(f"`{name}` has to be a number from {least:g} to {most:g}, not {text[:40]!r}")
    return number
