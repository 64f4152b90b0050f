"""More and more very short passages in, how many one request may hold out. Refusals are cheap, so the last step is found among them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from emberank.doctor.asker import Asker
from emberank.doctor.heard import Heard
from emberank.doctor.readings import Scores, WrongShape
from emberank.doctor.routes import Question
from emberank.doctor.texts import short
from emberank.doctor.verdict import Verdict

_STEPS = (64, 256, 1_000)
_DEEP_STEPS = (*_STEPS, 4_000, 10_000)
_SLOW_S = 12.0
_PATIENCE_S = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Passages:
    """`most` passages were answered in one request; `refused` were not, with these words. Without a refusal there may be room for more."""

    path: str
    family: str
    most: int = 0
    refused: int | None = None
    said: str = ""
    dropped: bool = False  # a 200 that left passages out
    slow: bool = False  # larger requests were not tried, for these took long

    @property
    def exact(self) -> bool:
        """Whether one more is refused."""
        return self.refused == self.most + 1


async def passages(asker: Asker, verdict: Verdict[Scores], model: str | None, *, deep: bool = False) -> Passages:
    """Step up, then in halves between what was taken and what was not."""
    found = Passages(path=verdict.path, family=verdict.route.family)
    steps = _DEEP_STEPS if deep else _STEPS
    for count in steps:
        found, heard = await _try(asker, verdict, model, count, found)
        if found.refused is not None or found.dropped or heard.trouble is not None:
            break
        if heard.ms > 1e3 * _SLOW_S / 4 and count < steps[-1]:  # the next step is about four times as large
            return replace(found, slow=True)
    for _ in range(14 if deep else 8):
        if found.refused is None or found.dropped or found.exact or asker.spent:
            break
        found, heard = await _try(asker, verdict, model, _next(found), found)
        if heard.trouble is not None:
            break
    return found


def _next(found: Passages) -> int:
    """The number that the refusal names, if it can be; the one above it once that was taken; else the middle."""
    assert found.refused is not None
    for number in sorted({int(digits.replace(",", "")) for digits in re.findall(r"\d[\d,]*", found.said)[:8]}):
        if number == found.most:
            return number + 1
        if found.most < number < found.refused:
            return number
    return (found.most + found.refused) // 2


async def _try(asker: Asker, verdict: Verdict[Scores], model: str | None, count: int, found: Passages) -> tuple[Passages, Heard]:
    asked = Question(model=model, texts=tuple(short(count)))
    heard = await asker.post(verdict.path, verdict.route.write(asked), patience_s=_PATIENCE_S)
    if heard.trouble is not None:
        return (found if heard.trouble == "spent" else replace(found, slow=True)), heard
    if not heard.ok:
        return replace(found, refused=count, said=f"{heard.status}: {heard.sentence}"), heard
    try:
        answered = len({index for index, _ in verdict.route.read(heard.json).entries})
    except WrongShape:
        answered = 0
    if answered < count:
        return replace(found, refused=count, dropped=True, said=f"200 with {answered} of {count} passages"), heard
    return replace(found, most=max(found.most, count)), heard
