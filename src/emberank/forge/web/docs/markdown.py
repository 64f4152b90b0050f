"""Markdown text in, an article out: HTML that a strict policy lets stand, its headings, and its parts as plain text for the search.

HTML inside the text stays text. Knows no file: where a link leads is what the caller says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token
from markupsafe import Markup

_TAKEN = ("main", "theme")  # ids of the frame; those of the pages around an article begin with docs-
_SENTENCE = 50  # characters of a cell that is read rather than looked up
_LONG_NAME = 24  # characters of code in a cell that may be broken, behind a mark inside it
_CONTENTS = (2, 3)  # levels of the headings that "On this page" has


@dataclass(frozen=True, slots=True, kw_only=True)
class Leads:
    """Where a link leads. `href` is empty for what the pages do not have; then `shown` names it, to be read."""

    href: str
    shown: str = ""
    elsewhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A heading inside an article."""

    level: int
    id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What stands under one heading, without any mark-up. The words before the first one stand under the title, whose part has no id."""

    id: str
    heading: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """One text, read. `ids` are all that a link may end in."""

    title: str
    body: Markup
    contents: tuple[Heading, ...]
    parts: tuple[Part, ...]
    ids: frozenset[str]
    hrefs: tuple[str, ...]  # as they were written


def article_of(text: str, lead: Callable[[str], Leads]) -> Article:
    """Read a text whose title is its first heading."""
    parser = _parser()
    tokens = _without_comments(parser.parse(text))
    headings = _name_headings(tokens)
    hrefs: list[str] = []
    _mark_tables(tokens)
    for token in tokens:
        if token.children is not None:
            token.children = list(_led(token.children, lead, hrefs))
    title = next((heading for heading in headings if heading.level == 1), None)
    return Article(
        title=title.text if title else "",
        body=Markup(parser.renderer.render(tokens, parser.options, {})),  # noqa: S704  (html is off: what is not mark-up of Markdown's has been escaped)
        contents=tuple(heading for heading in headings if heading.level in _CONTENTS),
        parts=tuple(_parts(tokens, title)),
        ids=frozenset(heading.id for heading in headings),
        hrefs=tuple(hrefs),
    )


def slug_of(text: str) -> str:
    """A heading's id, by the rule that GitHub and most editors have: `What it costs (in $)` is `what-it-costs-in-`."""
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def plain(children: Iterable[Token]) -> str:
    """The words of a line, without its mark-up."""
    return "".join(" " if token.type in ("softbreak", "hardbreak") else token.content for token in children if token.type != "image")


@cache
def _parser() -> MarkdownIt:
    """CommonMark and tables. One for all: it keeps nothing of a text."""
    made = MarkdownIt("commonmark", {"html": False}).enable("table")
    for kind, rule in (
        ("fence", _code),
        ("code_inline", _name),
        ("code_block", _code),
        ("table_open", _table),
        ("table_close", _table_end),
        ("heading_close", _heading_end),
    ):
        made.add_render_rule(kind, rule)
    return made


def _without_comments(tokens: Sequence[Token]) -> list[Token]:
    """What is said to those who edit the text only: a paragraph that is a comment of HTML."""
    kept = list(tokens)
    for at in range(len(tokens) - 2, 0, -1):
        if tokens[at].type == "inline" and tokens[at].content.startswith("<!--") and tokens[at].content.endswith("-->"):
            del kept[at - 1 : at + 2]
    return kept


def _name_headings(tokens: Sequence[Token]) -> list[Heading]:
    """Gives every heading an id that nothing else on the page has."""
    taken, found = set(_TAKEN), []
    for opening, inline, closing in zip(tokens, tokens[1:], tokens[2:]):
        if opening.type != "heading_open":
            continue
        text = plain(inline.children or ())
        own = slug_of(text) or "part"
        unused = next(name for name in (own, *(f"{own}-{n}" for n in range(1, len(tokens)))) if name not in taken)
        taken.add(unused)
        opening.attrSet("id", unused)
        found.append(Heading(level=int(opening.tag[1]), id=unused, text=text))
        closing.meta["heading"] = found[-1]
    return found


def _mark_tables(tokens: Sequence[Token]) -> None:
    """Numbers the tables, so that each box has a name of its own; says in a class what is said in a style, and which cells need room for a sentence."""
    number, under = 0, ""
    for token, following in pairwise(tokens):
        if token.type == "heading_close":
            under = token.meta["heading"].text
        elif token.type == "table_open":
            number += 1
            token.meta["name"] = f"Table {number}: {under}" if under else f"Table {number}"
        elif token.type in ("th_open", "td_open"):
            for each in following.children or ():
                if each.type == "code_inline" and len(each.content) > _LONG_NAME:
                    each.meta["breaks"] = True
            style = str(token.attrs.pop("style", ""))
            if style.endswith("right"):
                token.attrSet("class", "num")
            elif sum(len(each.content) for each in following.children or () if each.type == "text") > _SENTENCE:
                token.attrSet("class", "docs-long")


def _led(children: Iterable[Token], lead: Callable[[str], Leads], hrefs: list[str]) -> Iterator[Token]:
    """A line whose links lead where they should; what leads nowhere here is named instead, and a picture is its description."""
    outside: list[str] = []
    for token in children:
        if token.type == "link_open":
            hrefs.append(str(token.attrGet("href") or ""))
            leads = lead(hrefs[-1])
            outside.append("" if leads.href else leads.shown)
            if leads.href:
                token.attrSet("href", leads.href)
                if leads.elsewhere:
                    token.attrSet("rel", "noopener")
                yield token
        elif token.type == "link_close":
            shown = outside.pop()
            if shown:
                yield Token("text", "", 0, content=" (")
                yield Token("code_inline", "code", 0, content=shown)
                yield Token("text", "", 0, content=" in the source)")
            else:
                yield token
        elif token.type == "image":
            yield Token("text", "", 0, content=f"[picture: {token.content}]")
        else:
            yield token


def _parts(tokens: Sequence[Token], title: Heading | None) -> Iterator[Part]:
    heading, text = Heading(level=1, id="", text=title.text if title else ""), list[str]()
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            following: Heading = tokens[at + 2].meta["heading"]
            if text or heading.id:
                yield Part(id=heading.id, heading=heading.text, text=" ".join(text))
            heading, text = following if following != title else heading, []
        elif token.type == "inline" and tokens[at - 1].type != "heading_open":
            text.append(plain(token.children or ()))
        elif token.type in ("fence", "code_block"):
            text.append(" ".join(token.content.split()))
    yield Part(id=heading.id, heading=heading.text, text=" ".join(text))


# The rules of drawing, as markdown-it calls them: itself, all tokens, which one, the options, and what the text as a whole has.


def _code(renderer: object, tokens: Sequence[Token], at: int, options: object, env: Mapping[str, object]) -> str:
    """A block of code with its button; it can be reached by keyboard, because it may be wider than the page."""
    own = f"docs-code-{at}"
    return (
        f'<div class="docs-code"><button class="button docs-copy" type="button" data-copy="{own}" hidden>Copy</button>'
        f'<pre tabindex="0"><code id="{own}">{escapeHtml(tokens[at].content)}</code></pre></div>\n'
    )


def _name(renderer: object, tokens: Sequence[Token], at: int, options: object, env: Mapping[str, object]) -> str:
    token = tokens[at]
    pieces = re.split(r"(?<=[_/:.=,-])(?=\w)", token.content) if token.meta.get("breaks") else [token.content]
    return f"<code>{'<wbr>'.join(map(escapeHtml, pieces))}</code>"


def _table(renderer: object, tokens: Sequence[Token], at: int, options: object, env: Mapping[str, object]) -> str:
    name = escapeHtml(str(tokens[at].meta["name"]))
    return f'<div class="wide" tabindex="0" role="region" aria-label="{name}"><table class="data docs-table">\n'


def _table_end(renderer: object, tokens: Sequence[Token], at: int, options: object, env: Mapping[str, object]) -> str:
    return "</table></div>\n"


def _heading_end(renderer: object, tokens: Sequence[Token], at: int, options: object, env: Mapping[str, object]) -> str:
    heading: Heading = tokens[at].meta["heading"]
    if heading.level == 1:
        return "</h1>\n"
    name = escapeHtml(f"Link to “{heading.text}”")
    return f' <a class="docs-anchor" href="#{escapeHtml(heading.id)}" aria-label="{name}">#</a></{tokens[at].tag}>\n'
