"""A page's query in, what is selected on it and the links that keep it out. Knows no page's content and does not say whether a target exists."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from emberank.dialects.forge import Pin

_LONGEST = 200  # characters of one value: nothing that is known is longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A model, and what of it is looked at. Empty: not chosen. `baseline` is `GPU/region`: the row that others are compared with."""

    slug: str
    version: str = ""
    gpu_type: str = ""
    region: str = ""
    baseline: str = ""

    @property
    def pinned(self) -> bool:
        """Whether a target was chosen."""
        return bool(self.gpu_type or self.region)

    @property
    def pin(self) -> Pin:
        """The same as the API's filters."""
        return Pin(self.version or None, self.gpu_type or None, self.region or None)

    @property
    def filters(self) -> dict[str, str]:
        """What the API's routes are asked with."""
        named = {"model_version": self.version, "gpu_type": self.gpu_type, "region": self.region}
        return {name: value for name, value in named.items() if value}

    @property
    def page(self) -> str:
        """The page that shows it."""
        query = self.filters | ({"baseline": self.baseline} if self.baseline else {})
        return f"/models/{quote(self.slug, safe='')}" + (f"?{urlencode(query)}" if query else "")

    def asked(self, path: str) -> str:
        """An API path with the filters behind it."""
        return path + (f"?{urlencode(self.filters)}" if self.filters else "")

    def at(self, version: str, gpu_type: str = "", region: str = "") -> Selection:
        """The same model at another version or target."""
        return replace(self, version=version, gpu_type=gpu_type, region=region)

    def against(self, gpu_type: str, region: str) -> Selection:
        """The same, compared with that target."""
        return replace(self, baseline=f"{gpu_type}/{region}")


def selection_of(slug: str, query: Iterable[tuple[str, str]]) -> Selection:
    """What a page's query selects. What is no field of ours is nobody's: links from elsewhere carry more. Of two of one name the last stands."""
    found = {name: value.strip()[:_LONGEST] for name, value in query}
    return Selection(
        slug=slug,
        version=found.get("model_version") or found.get("version", ""),
        gpu_type=found.get("gpu_type", ""),
        region=found.get("region", ""),
        baseline=found.get("baseline", ""),
    )
