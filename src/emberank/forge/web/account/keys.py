"""Keys in, their lines on the account page out: what they may, until when, and how much of their budget is used. Knows no page and no form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from emberank.forge.answers import Row, key_row
from emberank.forge.keys import Keys
from emberank.forge.store.keys import StoredKey

NEAR = 0.8  # of a budget: from here on it is said
_SOON_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit by the month, and what is used of it."""

    unit: Literal["usd", "tokens"]
    spent: float
    most: float

    @property
    def share(self) -> float:
        """Of one; beyond it where the last request went over."""
        return self.spent / self.most

    @property
    def state(self) -> Literal["open", "near", "spent"]:
        """How it stands."""
        return "spent" if self.spent >= self.most else "near" if self.share >= NEAR else "open"


def key_lines(keys: Iterable[StoredKey], known: Keys, now_s: float) -> list[Row]:
    """The API's row of each, its budgets, and what the API has no field for."""
    return [
        key_row(key, known)
        | {
            "last_used_at_s": key.last_used_at_s,
            "created_at_s": key.created_at_s,
            "ends_soon": key.expires_at_s is not None and 0.0 < key.expires_at_s - now_s < _SOON_S,
            "budgets": budgets(key, known),
        }
        for key in keys
    ]


def budgets(key: StoredKey, known: Keys) -> tuple[Budget, ...]:
    """Those that it has."""
    if not key.monthly_usd and not key.monthly_tokens:
        return ()
    usd, tokens = known.spent(key.key_id)
    of_usd = (Budget(unit="usd", spent=usd, most=key.monthly_usd),) if key.monthly_usd else ()
    of_tokens = (Budget(unit="tokens", spent=tokens, most=key.monthly_tokens),) if key.monthly_tokens else ()
    return of_usd + of_tokens


def nearly_spent(keys: Iterable[StoredKey], known: Keys) -> list[tuple[StoredKey, Budget]]:
    """Keys whose budget is nearly or wholly used up, the fullest first."""
    found = [(key, budget) for key in keys for budget in budgets(key, known) if budget.state != "open"]
    return sorted(found, key=lambda pair: -pair[1].share)
