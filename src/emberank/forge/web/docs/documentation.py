"""The documentation's folder in, its pages in their order out, each read once when it is first asked for. Knows no request and no template.

The texts are the repository's docs/: an installed package has them inside, as emberank/documentation, and one that is installed to be edited reads them where they are.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from emberank.forge.web.docs.markdown import Article, Leads, article_of

HOME = "/docs"
_INDEX = "index"
_ROW = re.compile(r"^\|\s*\[[^\]]*\]\(([^)\s]+)\.md\)\s*\|\s*(.*?)\s*\|\s*$", re.MULTILINE)  # a page and what it is for, in the index's table
_TITLE = re.compile(r"^#\s+(.+?)\s*$", re.MULTILINE)
_NUMBER = re.compile(r"^\d+[.:]?\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A folder of pages; the one at the top has no name."""

    name: str
    title: str
    about: str

    @property
    def anchor(self) -> str:
        """Where it is on the index."""
        return self.name or "start"


SECTIONS = (
    Section(name="", title="Quickstart", about="The first ten minutes, the whole at a glance, and the words."),
    Section(name="howto", title="How-to", about="One page for each thing that you may want to do."),
    Section(name="behaviour", title="Behaviour", about="What happens when, exactly, and why."),
    Section(name="reference", title="Reference", about="Every route, every setting, every metric."),
    Section(name="decisions", title="Decisions", about="What was weighed, and what was chosen."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page, before it is read. `name` is its path below /docs."""

    name: str
    section: Section
    title: str
    about: str

    @property
    def address(self) -> str:
        """Where it is."""
        return f"{HOME}/{self.name}"

    @property
    def label(self) -> str:
        """The title, as short as a list of pages wants it."""
        return _NUMBER.sub("", self.title) if self.section.name == "decisions" else self.title.partition(": ")[0]


class Documentation:
    """All pages of one folder."""

    def __init__(self, folder: Traversable) -> None:
        self._folder = folder
        self._articles: dict[str, Article] = {}

    @cached_property
    def pages(self) -> Mapping[str, Page]:
        """By name, in the order of the sections, and within them of the index; what that leaves out comes last, by name."""
        texts = {name: text for section in SECTIONS for name, text in self._texts(section.name)}
        about = {name: words for name, words in _ROW.findall(texts.pop(_INDEX, "")) if name in texts}
        order = [*about, *sorted(set(texts) - set(about))]
        found = {}
        for section in SECTIONS:
            for name in order:
                if name.rpartition("/")[0] == section.name:
                    title = _TITLE.search(texts[name])
                    found[name] = _page(name, section, title[1] if title else name, about.get(name, ""))
        return found

    def article(self, name: str) -> Article:
        """A page, read. Raises KeyError."""
        if name not in self._articles:
            page = self.pages[name]
            self._articles[name] = article_of(self._folder.joinpath(f"{name}.md").read_text("utf-8"), lambda href: self.lead(page.name, href))
        return self._articles[name]

    def lead(self, name: str, href: str) -> Leads:
        """Where a link on a page leads: to another page, to a part of this one, to somebody else's, or to a file that only the source has."""
        parts = urlsplit(href)
        if parts.scheme or parts.netloc:
            return Leads(href=href, elsewhere=True)
        if not parts.path or href.startswith("/"):
            return Leads(href=href)
        fragment = f"#{parts.fragment}" if parts.fragment else ""
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(name), unquote(parts.path)))
        inside = path.removeprefix("docs/")
        page = inside.removesuffix(".md")
        if inside != path and inside != page and page in self.pages:
            return Leads(href=f"{HOME}/{page}{fragment}")
        if path in ("docs", "docs/index.md"):
            return Leads(href=HOME)
        section = next((section for section in SECTIONS if section.name == inside), None)
        return Leads(href="", shown=path) if section is None else Leads(href=f"{HOME}#{section.anchor}")

    def around(self, name: str) -> tuple[Page | None, Page | None]:
        """The page before and the page after."""
        names = list(self.pages)
        at = names.index(name)
        return (self.pages[names[at - 1]] if at else None), (self.pages[names[at + 1]] if at + 1 < len(names) else None)

    def near(self, name: str) -> list[Page]:
        """Pages whose names are like one that there is not."""
        wanted = name.lower().removesuffix(".md")[:200]
        by_last = {page.rpartition("/")[2]: page for page in self.pages}
        names = difflib.get_close_matches(wanted, list(self.pages), n=3, cutoff=0.6)
        names += [by_last[last] for last in difflib.get_close_matches(wanted.rpartition("/")[2], list(by_last), n=3, cutoff=0.6)]
        return [self.pages[each] for each in dict.fromkeys(names)]

    def _texts(self, section: str) -> Iterator[tuple[str, str]]:
        folder = self._folder.joinpath(section) if section else self._folder
        if not folder.is_dir():
            return
        for each in folder.iterdir():
            if each.name.endswith(".md"):
                yield f"{section}/{each.name[:-3]}".lstrip("/"), each.read_text("utf-8")


def _page(name: str, section: Section, title: str, about: str) -> Page:
    """A page; words about it that only say its title once more are left out."""
    return Page(name=name, section=section, title=title, about="" if about.casefold() in title.casefold() else about)


@cache
def documentation() -> Documentation:
    """This installation's."""
    return Documentation(folder())


def folder() -> Traversable:
    """Where the texts are: inside the package, else beside the source that it is run from. A folder that is not there holds no page."""
    inside = files("emberank").joinpath("documentation")
    root = Path(__file__).resolve().parents[5]
    return root / "docs" if not inside.is_dir() and (root / "pyproject.toml").is_file() else inside
