"""A route that answers in, what it does with keys out: none, a wrong one, ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emberank.doctor.asker import Asker
from emberank.doctor.heard import Heard
from emberank.doctor.routes import Question
from emberank.doctor.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """`given` says whether a key was sent at all; the two answers are those to no key and to one that cannot be right."""

    given: bool
    refused: Heard | None = None  # what our own key, or no key, was refused with everywhere
    without: Heard | None = None
    wrong: Heard | None = None

    @property
    def open(self) -> bool:
        """Whether nobody needs a key."""
        return self.without is not None and self.without.ok


async def keys(asker: Asker, verdict: Verdict[Any], model: str | None, given: bool) -> Access:
    """Ask the same thing again, without a key and with a wrong one."""
    body = verdict.route.write(Question(model=model))
    without = await asker.post(verdict.path, body, using="no key") if given else verdict.heard
    return Access(given=given, without=without, wrong=await asker.post(verdict.path, body, using="wrong key"))


def refused_everywhere(verdicts: Sequence[Verdict[Any]], given: bool) -> Access | None:
    """When keys are why nothing answered."""
    found = next((one.heard for one in verdicts if one.heard is not None and one.heard.status in (401, 403)), None)
    return None if found is None else Access(given=given, refused=found)
