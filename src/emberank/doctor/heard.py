"""One question's outcome, whatever came of it: the value that everything else here judges. Knows no route and no network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import orjson

from emberank.client.errors import error_from

# What came instead of an answer. spent: it was not asked, for what one examination may take was used up.
Trouble: TypeAlias = Literal["refused", "certificate", "not TLS", "no answer", "broken off", "not HTTP", "too large", "spent"]
_MOST_SHOWN = 240
_WORDS: dict[Trouble, str] = {
    "refused": "no connection could be made",
    "certificate": "its certificate is not trusted here",
    "not TLS": "no TLS could be agreed on",
    "no answer": "no answer came in time",
    "broken off": "the connection ended before the answer did",
    "not HTTP": "what came is not HTTP",
    "too large": "the answer is larger than is read here",
    "spent": "not asked: the time, or what one examination may ask, was used up",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came back for one request. `status` 0 goes with a `trouble`; header names are in lower case."""

    method: str
    path: str
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    ms: float = 0.0
    trouble: Trouble | None = None

    @property
    def ok(self) -> bool:
        """A 200: the only status that answers a question here."""
        return self.status == 200

    @property
    def json(self) -> Any:
        """The body as JSON, None when it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    @property
    def fields(self) -> dict[str, Any]:
        """The body where it is a JSON object, else nothing."""
        found = self.json
        return found if isinstance(found, dict) else {}

    def header(self, name: str) -> str:
        """The first header of this name (lower case); empty when there is none."""
        wanted = name.encode("latin-1")
        return next((value.decode("latin-1") for key, value in self.headers if key == wanted), "")

    @property
    def html(self) -> bool:
        """Whether it is a page for people."""
        return "html" in self.header("content-type") or self.body.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html"))

    @property
    def redirects(self) -> bool:
        """Whether it sends its caller elsewhere."""
        return self.status in (301, 302, 303, 307, 308)

    @property
    def sentence(self) -> str:
        """What it says for itself, in one line: of a refusal its message, of a failure what happened."""
        if self.trouble is not None:
            return _WORDS[self.trouble]
        if self.redirects:
            return f"redirects to {shown(self.header('location')) or 'nowhere'}"
        if self.html:
            return "a page in HTML"
        if self.status < 400:
            return shown(self.body.decode("utf-8", "replace"))
        return shown(error_from(self.status, list(self.headers), self.body).message)

    def said(self) -> str:
        """Its evidence: `POST /v1/rerank → 400: …`."""
        status = f"{self.status}: " if self.status else ""
        return f"{self.method} {self.path} → {status}{self.sentence}"

    @property
    def absent(self) -> bool:
        """Whether there is no such route: 404 and 405, unless it is the model that was not found."""
        of_a_model = self.status == 404 and re.search(r"\bmodel\b", self.sentence, re.IGNORECASE) and not self.sentence.startswith("no route")
        return self.status in (404, 405, 501) and not of_a_model


def shown(text: str) -> str:
    """Somebody else's text in one line, without what would move a terminal's cursor, and not all of it."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: 4 * _MOST_SHOWN]).split())
    return line if len(line) <= _MOST_SHOWN else line[: _MOST_SHOWN - 1] + "…"
