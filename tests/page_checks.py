"""A page's HTML in, what is wrong with it out: tags that are not closed, an id twice, a field without a label, anything that a strict policy would stop."""

from __future__ import annotations

from html.parser import HTMLParser

from wire import Reply

_VOID = frozenset(["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"])
_FIELDS = ("input", "select", "textarea")
_UNLABELLED = ("hidden", "submit", "button", "image", "reset")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.named: set[str] = set()  # what labels are for
        self.fields: list[tuple[str, dict[str, str]]] = []
        self.links: list[str] = []
        self.referred: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if len(given) != len(attrs):
            self.faults.append(f"<{tag}> has an attribute twice")
        self.faults += [f"<{tag}> has {name}, which the policy stops" for name in given if name.startswith("on") or name == "style"]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.faults.append(f"<{tag}> stands in the page")
        if tag == "img" and "alt" not in given:
            self.faults.append("<img> has no alt")
        self._note(tag, given)
        if tag not in _VOID:
            self.open.append(tag)

    def _note(self, tag: str, given: dict[str, str]) -> None:
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[name] for name in ("href", "src", "action") if name in given]
        for name in ("aria-labelledby", "aria-describedby", "aria-controls", "form"):
            self.referred += given.get(name, "").split()
        if tag == "label" and "for" in given:
            self.named.add(given["for"])
        if (
            tag in _FIELDS
            and given.get("type") not in _UNLABELLED
            and "aria-label" not in given
            and "aria-labelledby" not in given
            and "label" not in self.open
        ):
            self.fields.append((tag, given))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes what is not open")

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read_page(html: str) -> _Reader:
    """The page, read to its end."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader


def faults(html: str) -> list[str]:
    """Everything that is wrong."""
    reader = read_page(html)
    found = list(reader.faults)
    found += [f"<{tag}> is never closed" for tag in reader.open]
    found += [f"the id {one!r} is there twice" for one in sorted({one for one in reader.ids if reader.ids.count(one) > 1})]
    found += [f"<{tag} name={given.get('name', '')!r}> has no label" for tag, given in reader.fields if given.get("id") not in reader.named]
    found += [f"nothing has the id {one!r}" for one in sorted({*reader.named, *reader.referred} - set(reader.ids))]
    found += [f"{one!r} leads elsewhere than its own place" for one in reader.links if one.startswith("#") and one[1:] not in reader.ids]
    return found


def text_of(html: str) -> str:
    """The words that a reader sees, with single blanks."""
    return " ".join(" ".join(read_page(html).words).split())


def check_page(reply: Reply, status: int = 200) -> str:
    """A page that is well-formed and stands under the policy; its HTML."""
    assert reply.status == status, reply.body[:500]
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert reply.headers["x-content-type-options"] == "nosniff"
    html = reply.body.decode("utf-8")
    assert html.startswith("<!doctype html>")
    assert faults(html) == []
    return html
