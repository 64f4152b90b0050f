"""A version whose source is `litellm:<provider/model>`: a provider that LiteLLM's SDK knows, asked by a small process of ours. Names and settings, checked. Pure.

The names are LiteLLM's (https://docs.litellm.ai/docs/rerank, https://docs.litellm.ai/docs/embedding/supported_embedding): litellm:voyage/rerank-2.5, litellm:jina_ai/…
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from emberank.contract.errors import SettingError

SCHEME = "litellm:"
# For the process itself (bridge/settings.py has the same rows) and its door.
KNOWN = ("api_base", "api_key_env", "score", "timeout_s", "max_passages", "max_inputs", "request_timeout_s", "log_level", "log_format")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_SCORES = ("auto", "logit", "sigmoid")


def is_bridged(source: str) -> bool:
    """Whether a source names a provider of LiteLLM's."""
    return source.startswith(SCHEME)


def check_settings(settings: Mapping[str, str]) -> None:
    """Raises SettingError with a sentence about the key that is wrong."""
    for name in settings:
        if name not in KNOWN:
            near = difflib.get_close_matches(name, KNOWN, 1)
            meant = f"; is {near[0]!r} meant?" if near else ""
            raise SettingError(f"of a litellm: source can be {', '.join(f'`{one}`' for one in KNOWN)}, not {name!r}{meant}")
    if "api_key_env" in settings and not _VARIABLE.fullmatch(settings["api_key_env"]):
        raise SettingError("`api_key_env` has to be the name of an environment variable, never the key itself")
    if settings.get("score", "auto") not in _SCORES:
        raise SettingError(f"`score` has to be one of {', '.join(map(repr, _SCORES))}, not {settings['score']!r}")
    base = settings.get("api_base")
    if base is not None and not _is_url(base):
        raise SettingError(f"`api_base` is {base!r}; it has to be a URL such as https://api.example.com, without a user name, a query or a fragment")
    for name, least in (("timeout_s", 0.1), ("request_timeout_s", 0.001), ("max_passages", 1), ("max_inputs", 1)):
        if name in settings and not _is_number(settings[name], least, whole=name.startswith("max_")):
            raise SettingError(f"`{name}` has to be a {'whole ' if name.startswith('max_') else ''}number of at least {least:g}, not {settings[name][:40]!r}")


def _is_number(text: str, least: float, *, whole: bool) -> bool:
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        return False
    return least <= number <= (100_000 if whole else 3600)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return named and text.isprintable() and " " not in text and not parts.query and not parts.fragment and "@" not in parts.netloc
