"""A catalogue entry as the API answers it in, the facts a reader looks for first out, in words. Knows no HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from urllib.parse import urlsplit

from emberank.forge.answers import Row
from emberank.forge.web.filters import bytes_, count, short

_MODALITIES = {"text": "text", "image": "images", "text_image": "text with an image"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact. `note` says where it is from; `code` is true for what is typed into a program."""

    name: str
    value: str
    note: str = ""
    code: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link of the catalogue entry; `url` is empty where it is not one that a browser may follow."""

    title: str
    url: str


def facts_of(entry: Row, version: Row) -> tuple[Fact, ...]:
    """What fits beneath the title, the most asked-for first."""
    found = [Fact(name="Context window", value=f"{count(entry['context_window'])} tokens" if entry["context_window"] else "not known")]
    found.append(_memory(entry, version))
    found.append(Fact(name="API route", value=f"{entry['method']} {entry['route']}", code=True))
    found.append(Fact(name="Weights dtype", value=entry["weights_dtype"] or "not known"))
    found.append(Fact(name="Parameters", value=short(entry["parameters"]) if entry["parameters"] else "not known", note=_exact(entry["parameters"])))
    for figure in version["quality"]:
        note = f"{count(figure['queries'])} queries: {figure['how']}. {figure['source'][:1].upper()}{figure['source'][1:]}, {figure['date']}."
        found.append(Fact(name=f"{figure['metric']} on {figure['data']}", value=f"{figure['value']:.4g}", note=note))
    if entry["dimensions"]:
        shorter = ", ".join(map(str, entry["shorter_dimensions"]))
        found.append(Fact(name="Dimensions", value=count(entry["dimensions"]), note=f"May be cut to {shorter}." if shorter else ""))
    if list(entry["modalities"]) != ["text"]:
        found.append(Fact(name="Takes", value=", ".join(_MODALITIES.get(each, each) for each in entry["modalities"])))
    if entry["minimum_memory_gb"] is not None:
        found.append(Fact(name="GPU memory floor", value=f"{entry['minimum_memory_gb']:g} GB", note="Configured minimum of a GPU's memory."))
    return tuple(found)


def links_of(links: Mapping[str, str]) -> tuple[Link, ...]:
    """The entry's links; an address that is no web address stays text."""
    return tuple(Link(title=title, url=url if _is_web(url) else "") for title, url in links.items())


def day(text: str | None) -> str:
    """`2026-04-28` as `Apr 28, 2026`; what is no day stays as it is."""
    try:
        found = date.fromisoformat(text or "")
    except ValueError:
        return text or ""
    return f"{found:%b} {found.day}, {found.year}"


def _memory(entry: Row, version: Row) -> Fact:
    """Seen where it works, else reckoned from its size, else as configured; and what others have seen."""
    memory = version["memory"]
    published = _published_range(version["targets"])
    if memory["observed_bytes"] is not None:
        on = memory["observed_on"]
        note = f"Observed: the most seen on {on['gpu_type']} in {on['region']}, n = {memory['observed_n']}."
        return Fact(name="Memory (VRAM) needed", value=bytes_(memory["observed_bytes"]), note=note + published)
    if memory["expected_gb"] is not None:
        return Fact(
            name="Memory (VRAM) needed",
            value=f"{memory['expected_gb']:.1f} GB",
            note="Configured, or reckoned from its size: not observed here yet." + published,
        )
    if entry["minimum_memory_gb"] is not None:
        return Fact(name="Memory (VRAM) needed", value=f"{entry['minimum_memory_gb']:g} GB", note="Configured minimum: not observed here yet." + published)
    return Fact(name="Memory (VRAM) needed", value="not known", note="The first start measures it." + published)


def _published_range(rows: Sequence[Row]) -> str:
    seen = [row["published"]["memory_gb"] for row in rows if row["published"] and row["published"]["status"] == "works" and row["published"]["memory_gb"]]
    if not seen:
        return ""
    least, most = min(seen), max(seen)
    return f" Others published {least:g} GB." if least == most else f" Others published {least:g} to {most:g} GB."


def _exact(parameters: int | None) -> str:
    return f"{count(parameters)} in all." if parameters else ""


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)
