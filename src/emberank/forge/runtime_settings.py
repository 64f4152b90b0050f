"""A `settings` table in, runtime settings out whose names and values the runtime will take. Does not know what they do."""

from __future__ import annotations

import difflib

from emberank.contract.errors import SettingError
from emberank.forge.tables import Table
from emberank.settings import RuntimeSettings, load, rows

# What whoever starts a runtime says itself.
_OURS = {"host", "port", "models", "model_file", "model_path", "served_model_name", "status_file", "tls_cert_path", "tls_key_path"}


def runtime_settings(table: Table, key: str = "settings") -> dict[str, str]:
    """The table's settings as text. Raises SettingError for a setting that does not exist, is not free, or cannot have that value."""
    found = table.mapping(key)
    known = {row.name for row in rows(RuntimeSettings) if not row.secret} - _OURS
    for name in found:
        if name in _OURS:
            raise table.wrong(key, f"cannot set {name!r}: it is set for every start")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise table.wrong(key, f"has no setting {name!r}{f'; is {near[0]!r} meant?' if near else ''} Known: {', '.join(sorted(known))}")
    try:
        load({}, dict(found))
    except SettingError as cause:
        raise table.wrong(key, f"cannot be: {cause.message}") from cause
    return found
