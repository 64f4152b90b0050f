"""A posted form in, its fields out; and the checks that it came from a page of ours. Knows no form and no session."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from emberank.contract.errors import BadRequest, Forbidden, PayloadTooLarge
from emberank.serving.neighbours import is_from_here

FORM = "application/x-www-form-urlencoded"
CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"
MOST_BYTES = 64 * 1024
_MOST_FIELDS = 1000
# A path of this server: a browser takes `//host`, `/\host` and, having dropped a tab or a line break between the two, `/<tab>/host` for another one's.
_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]{0,500}")
_NO_PAGES = ("/signin/", "/signout/", "/web/", "/v1/", "/internal/")


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of one form; a name may come several times."""

    fields: Mapping[str, tuple[str, ...]]

    def get(self, name: str) -> str:
        """The last field of that name without the blanks around it; empty when there is none."""
        return self.fields.get(name, ("",))[-1].strip()

    def all(self, name: str) -> tuple[str, ...]:
        """All of that name."""
        return self.fields.get(name, ())


def read_form(request: Request, body: bytes) -> Form:
    """The fields of a posted form. Raises BadRequest, PayloadTooLarge."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise BadRequest(f"a form must be sent as {FORM}")
    if len(body) > MOST_BYTES:
        raise PayloadTooLarge(f"the form is {len(body)} bytes; at most {MOST_BYTES} are allowed")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="replace")
    except ValueError as cause:
        raise BadRequest("the form cannot be read") from cause
    fields: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        fields[name] = (*fields.get(name, ()), value)
    return Form(fields)


def check_origin(request: Request, public_url: str, *, proven: bool) -> None:
    """Raises Forbidden for what another site's page had the browser send. `proven`: where nothing is said the request passes; else it must be said."""
    said = is_from_here(request, public_url)
    if not (proven if said is None else said):
        raise Forbidden("this was not sent by a page of this server: open the page here, and send it again")


def check_csrf(given: str, wanted: str) -> None:
    """Raises Forbidden for a form or a call without its session's token."""
    if not wanted or not hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode("utf-8", "replace")):
        raise Forbidden("the page that this was sent from is out of date: load it anew, and send it again")


def local_address(given: str | None) -> str:
    """Where to go next: a path of this server's pages, or `/` for anything else."""
    if given is None or not _LOCAL.fullmatch(given) or f"{urlsplit(given).path}/".startswith(_NO_PAGES):
        return "/"
    return given
