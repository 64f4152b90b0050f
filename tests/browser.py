"""A server in, a browser's manners out: one cookie jar, forms as pages send them, and no redirect followed. Knows no fixture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import unescape
from http.cookies import SimpleCookie
from urllib.parse import urlencode

from wire import Client, Reply

FORM = "application/x-www-form-urlencoded"


class Browser(Client):
    """One browser, on the server's own address."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.cookies: dict[str, str] = {}
        self.csrf = ""
        self.home = f"http://127.0.0.1:{port}"

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Reply:
        """With the cookies that the server has set before."""
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        reply = super().ask(method, path, body, sent | dict(headers or {}))
        for name, morsel in SimpleCookie(reply.headers.get("set-cookie", "")).items():
            if morsel["max-age"] == "0" or not morsel.value:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value
        found = re.search(r'name="csrf" value="([^"]+)"', reply.body.decode("utf-8", "replace"))
        self.csrf = unescape(found[1]) if found else self.csrf
        return reply

    def send(self, path: str, fields: Mapping[str, str | Sequence[str]], headers: Mapping[str, str] | None = None, *, csrf: str | None = None) -> Reply:
        """A form of one of the server's pages; the session's token goes with it unless another one is given."""
        token = self.csrf if csrf is None else csrf
        content = urlencode({**fields, **({"csrf": token} if token else {})}, doseq=True)
        return self.ask("POST", path, content.encode("ascii"), {"Content-Type": FORM, "Origin": self.home} | dict(headers or {}))

    def sign_in(self, key: str) -> None:
        """By an API key; the session's token is read off the account page."""
        reply = self.send("/signin", {"key": key})
        assert reply.status == 303, reply.body
        assert self.get("/account").status == 200
        assert self.csrf
