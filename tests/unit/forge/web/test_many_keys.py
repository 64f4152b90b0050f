"""An account page over thousands of keys, of which it shows some."""

from __future__ import annotations

from typing import Any

import pytest

from browser import Browser
from control_plane import ADMIN, Plane
from emberank.forge.store.keys import StoredKey
from emberank.forge.web.account import keys as lines
from emberank.forge.web.account.page import MOST_ENDED, MOST_SHOWN

MANY = 3000


def test_only_what_is_shown_of_many_keys_is_written_out(plane: Plane, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    row = lines.key_row

    def counted(key: StoredKey, *more: Any) -> Any:
        written.append(key.key_id)
        return row(key, *more)

    def add() -> None:
        for number in range(MANY):
            plane.keys._put(
                StoredKey(
                    key_id=f"k{number:04}",
                    digest=f"{number:064x}",
                    name=f"key {number}",
                    scopes=("read",),
                    models=(),
                    created_at_s=1.0,
                    monthly_usd=5.0,
                    revoked_at_s=2.0 if number % 2 else None,
                )
            )

    plane.do(add)
    browser.sign_in(ADMIN)
    monkeypatch.setattr(lines, "key_row", counted)
    page = browser.get("/account")
    assert page.status == 200
    assert len(written) == MOST_SHOWN + MOST_ENDED
