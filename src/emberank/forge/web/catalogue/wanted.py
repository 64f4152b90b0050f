"""The catalogue page's query in, what is wanted out: which models, in which order, drawn how. Pure: what it does not understand it names.

A filter is a value of a closed set, and which values there are depends on the models that the visitor may see.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias, get_args
from urllib.parse import urlencode

from emberank.contract.inference import Task
from emberank.forge.catalog import Quality, plain
from emberank.forge.snapshot import created
from emberank.forge.web.catalogue.shelf import Best, Card

Sort: TypeAlias = Literal["listed", "speed", "price", "quality", "date", "name"]
View: TypeAlias = Literal["cards", "table"]
ANY = "any"  # verified on any target
PER_PAGE = 60
MOST_TAGS = 8
_MOST_Q = 200  # characters
_MOST_IGNORED = 10
_LONGEST_SHOWN = 60
_MOST_TOKENS = 100_000_000
_YES = ("1", "true", "yes", "on")
_NO = ("", "0", "false", "no", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The values that filters may have, those of the models that are seen."""

    tasks: tuple[Task, ...]
    tags: tuple[str, ...]
    licences: tuple[str, ...]
    contexts: tuple[int, ...]
    targets: tuple[str, ...]  # GPU types on which something is verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is wanted. Empty: whatever it is. `ignored` are names and values that say nothing here."""

    q: str = ""
    task: Task | None = None
    tags: tuple[str, ...] = ()
    licence: str = ""
    min_context: int = 0
    verified: str = ""  # a GPU type, or `any`
    warm: bool = False
    sort: Sort = "listed"
    view: View = "cards"
    page: int = 1
    ignored: tuple[tuple[str, str], ...] = ()

    def url(self, **changes: Any) -> str:
        """The address of the page with something else wanted; of its first page, unless a page is said."""
        found = replace(self, **{"page": 1, "ignored": (), **changes})
        pairs: list[tuple[str, object]] = [("q", found.q), ("task", found.task), *(("tag", tag) for tag in found.tags), ("licence", found.licence)]
        pairs += [("min_context", found.min_context), ("verified", found.verified), ("warm", int(found.warm))]
        pairs += [("sort", found.sort if found.sort != "listed" else ""), ("view", found.view if found.view != "cards" else "")]
        pairs += [("page", found.page if found.page > 1 else "")]
        query = urlencode([(name, value) for name, value in pairs if value])
        return f"/?{query}" if query else "/"

    def filters(self) -> list[tuple[str, Wanted]]:
        """Every filter that is set, in words, and what would be wanted without it."""
        found: list[tuple[str, Wanted]] = []
        if self.q:
            found.append((f"“{self.q}”", replace(self, q="")))
        if self.task:
            found.append((f"task {self.task}", replace(self, task=None)))
        found += [(f"tag {tag}", replace(self, tags=tuple(other for other in self.tags if other != tag))) for tag in self.tags]
        if self.licence:
            found.append((f"licence {self.licence}", replace(self, licence="")))
        if self.min_context:
            found.append((f"context of {self.min_context:,} or more", replace(self, min_context=0)))
        if self.verified:
            found.append(("verified" if self.verified == ANY else f"verified on {self.verified}", replace(self, verified="")))
        if self.warm:
            found.append(("warm now", replace(self, warm=False)))
        return found


def choices_of(cards: Sequence[Card]) -> Choices:
    """The values of these models."""
    return Choices(
        tasks=tuple(task for task in get_args(Task) if any(card.model.task == task for card in cards)),
        tags=tuple(sorted({tag for card in cards for tag in card.model.tags})),
        licences=tuple(sorted({name for card in cards for name in card.model.licenses}, key=str.lower)),
        contexts=tuple(sorted({card.model.context_tokens for card in cards if card.model.context_tokens})),
        targets=tuple(sorted({one.target.gpu_type for card in cards for one in card.verified})),
    )


def wanted_of(query: Iterable[tuple[str, str]], choices: Choices) -> Wanted:
    """What a query asks for. Of two of one name the last stands, but for tags, which add up."""
    found = Wanted()
    ignored: list[tuple[str, str]] = []
    for name, value in query:
        value = value.strip()
        if not value:
            continue
        read = _READERS.get(name)
        change = None if read is None else read(found, value, choices)
        if change is None:
            ignored.append((name, value))
        else:
            found = replace(found, **change)
    if len(found.q) > _MOST_Q:
        ignored.append(("q", "… what comes after the first 200 characters"))
        found = replace(found, q=found.q[:_MOST_Q].strip())
    return replace(found, ignored=tuple((_cut(name), _cut(value)) for name, value in ignored[:_MOST_IGNORED]))


class Yardstick(NamedTuple):
    """What quality was measured by. Figures of different ones are not compared."""

    metric: str
    data: str

    def of(self, card: Card) -> Quality | None:
        """The card's figure by it."""
        return next((figure for figure in card.quality if (figure.metric, figure.data) == self), None)


def yardstick_of(cards: Iterable[Card]) -> Yardstick | None:
    """The one that most models have a figure by; None where none has any."""
    found = Counter(Yardstick(metric, data) for card in cards for metric, data in {(figure.metric, figure.data) for figure in card.quality})
    return min(found, key=lambda one: (-found[one], one), default=None)


def select(cards: Sequence[Card], wanted: Wanted) -> list[Card]:
    """The cards that are wanted, in the wanted order. A card whose verified target was asked for stands for that one."""
    words = tuple(dict.fromkeys(plain(word) for word in wanted.q.split()))
    found = []
    for card in cards:
        shown = _on(card, wanted.verified)
        if shown is not None and _is_wanted(shown, wanted, words):
            found.append(shown)
    if wanted.sort == "quality":
        yardstick = yardstick_of(cards)  # of all, so that a filter changes no order
        return sorted(found, key=lambda card: _quality(card, yardstick))
    return sorted(found, key=_ORDERS[wanted.sort]) if wanted.sort != "listed" else found


def _is_wanted(card: Card, wanted: Wanted, words: tuple[str, ...]) -> bool:
    model = card.model
    return (
        wanted.task in (None, model.task)
        and (not wanted.warm or card.phase == "WARM")
        and (not wanted.licence or wanted.licence in model.licenses)
        and (not wanted.min_context or (model.context_tokens or 0) >= wanted.min_context)
        and all(tag in model.tags for tag in wanted.tags)
        and all(word in card.text for word in words)
    )


def _on(card: Card, verified: str) -> Card | None:
    """The card with its verified targets on that GPU type only; None where there is none."""
    if not verified:
        return card
    left = tuple(one for one in card.verified if verified in (ANY, one.target.gpu_type))
    return replace(card, verified=left, target=left[0].target, usd_per_hour=left[0].usd_per_hour) if left else None


def _speed(best: Best | None) -> tuple[int, float]:
    """Probes' times first, for they are of known payloads; then traffic's, which are of anybody's; what was not measured last."""
    if best is None:
        return 2, 0.0
    return (0 if best.measured_by == "probe" else 1), best.model_ms


def _quality(card: Card, yardstick: Yardstick | None) -> tuple[bool, float, str]:
    """The best first; what was not measured by the yardstick last."""
    figure = None if yardstick is None else yardstick.of(card)
    return figure is None, 0.0 if figure is None else -figure.value, card.model.slug


_ORDERS: dict[Sort, Callable[[Card], Any]] = {
    "speed": lambda card: (*_speed(card.best), card.model.slug),
    "price": lambda card: (card.usd_per_hour is None, card.usd_per_hour or 0.0, card.model.slug),
    "date": lambda card: (-created(card.model), card.model.slug),
    "name": lambda card: (card.model.title.casefold(), card.model.slug),
}
_Reader: TypeAlias = Callable[[Wanted, str, Choices], dict[str, Any] | None]


def _one_of(name: str, values: Callable[[Choices], Iterable[str]]) -> _Reader:
    """A reader of a closed set, in any case."""

    def read(_: Wanted, value: str, choices: Choices) -> dict[str, Any] | None:
        known = next((known for known in values(choices) if known.lower() == value.lower()), None)
        return None if known is None else {name: known}

    return read


def _tag(wanted: Wanted, value: str, choices: Choices) -> dict[str, Any] | None:
    tags = tuple(dict.fromkeys((*wanted.tags, value)))
    return {"tags": tags} if value in choices.tags and len(tags) <= MOST_TAGS else None


def _number(name: str, most: int) -> _Reader:
    def read(_: Wanted, value: str, __: Choices) -> dict[str, Any] | None:
        fits = value.isascii() and value.isdigit() and len(value) < 12 and 0 < int(value) <= most
        return {name: int(value)} if fits else None

    return read


def _warm(_: Wanted, value: str, __: Choices) -> dict[str, Any] | None:
    return {"warm": value.lower() in _YES} if value.lower() in (*_YES, *_NO) else None


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


_READERS: dict[str, _Reader] = {
    "q": lambda _, value, __: {"q": value},
    "task": _one_of("task", lambda choices: get_args(Task)),
    "tag": _tag,
    "licence": _one_of("licence", lambda choices: choices.licences),
    "min_context": _number("min_context", _MOST_TOKENS),
    "verified": _one_of("verified", lambda choices: (ANY, *choices.targets)),
    "warm": _warm,
    "sort": _one_of("sort", lambda choices: get_args(Sort)),
    "view": _one_of("view", lambda choices: get_args(View)),
    "page": _number("page", 1_000_000),
}
