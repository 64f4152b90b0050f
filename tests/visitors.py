"""A browser's context in, a person at the pages out: what they open, press and copy, and everything that went wrong unseen. Knows no fixture."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Request, Response, WebError, expect

WAIT_MS = 20_000.0
WIDTHS = (390, 1280, 1920)
_AXE = Axe()
# Added up before any script of the page runs: what moved although nobody had touched anything.
_WATCH_LAYOUT = """
window.__moved = 0;
new PerformanceObserver((seen) => {
  for (const entry of seen.getEntries()) if (!entry.hadRecentInput) window.__moved += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
# Every text that a live region of the page comes to have.
_WATCH_WORDS = r"""() => {
  const said = (window.__said = []);
  const regions = '[role="status"], [role="alert"], [aria-live="polite"], [aria-live="assertive"]';
  new MutationObserver((changes) => {
    for (const region of new Set(changes.map(({ target }) => (target.closest ? target : target.parentElement)?.closest(regions)))) {
      const words = region?.innerText.trim().replace(/\s+/g, " ");
      if (words) said.push(words);
    }
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


@dataclass
class Faults:
    """What a visit has of errors that nobody sees: the console's, the scripts', refused and foreign requests."""

    home: str
    found: list[str] = field(default_factory=list)
    borne: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        """From here on."""
        context.on("console", self._console)
        context.on("weberror", self._script)
        context.on("request", self._asked)
        context.on("requestfailed", self._failed)
        context.on("response", self._answered)

    def bear(self, pattern: str) -> None:
        """This test brings about errors that look like this."""
        self.borne.append(pattern)

    def left(self) -> list[str]:
        """Those that no test has announced."""
        return [one for one in self.found if not any(re.search(pattern, one) for pattern in self.borne)]

    def _console(self, message: ConsoleMessage) -> None:
        # A resource that was answered with an error is told of twice; the answer itself is the better witness.
        if message.type == "error" and not message.text.startswith("Failed to load resource: the server responded"):
            self.found.append(f"console: {message.text} ({message.location['url']})")

    def _script(self, error: WebError) -> None:
        self.found.append(f"script: {error.error.message}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.home + "/", "data:", "blob:", "about:")):
            self.found.append(f"asked elsewhere: {request.url[:200]}")

    def _failed(self, request: Request) -> None:
        # A page that is left, and a run that is cancelled, drop what they are waiting for: that is no fault.
        if request.failure != "net::ERR_ABORTED":
            self.found.append(f"failed: {request.method} {request.url[:200]}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.found.append(f"answered: {response.status} {response.request.method} {response.url[len(self.home) :][:200]}")


class Visitor:
    """One person with a browser of their own: nothing of it is shared with another one."""

    def __init__(self, context: BrowserContext, home: str) -> None:
        self.context, self.home = context, home
        self.faults = Faults(home)
        self.faults.watch(context)
        context.set_default_timeout(WAIT_MS / 2)
        context.add_init_script(_WATCH_LAYOUT)
        self.page: Page = context.new_page()

    def open(self, address: str) -> int:
        """Type an address; its status. Waits for what the page needs, not for streams that never end."""
        response = self.page.goto(address if address.startswith("http") else self.home + address, wait_until="load")
        assert response is not None
        assert response.status < 500, response.text()
        return response.status

    def press(self, name: str | re.Pattern[str], *, role: Any = "button", within: Locator | None = None) -> None:
        """Click what a reader calls by this name, with the mouse."""
        (within or self.page).get_by_role(role, name=name).first.click()

    def sign_in_by_link(self, link: str) -> None:
        """As the terminal says: open the link, press the button."""
        self.open(link)
        self.press("Sign in as admin")
        expect(self.page.get_by_role("link", name="Account")).to_be_visible()

    def sign_in_by_key(self, key: str) -> None:
        """By the form."""
        self.page.get_by_label("API key").fill(key)
        self.press("Sign in")

    def at(self, path: str | re.Pattern[str]) -> None:
        """Wait until the address is this one."""
        expect(self.page).to_have_url(self.home + path if isinstance(path, str) else path, timeout=WAIT_MS)

    def sees(self, text: str | re.Pattern[str], within: Locator | None = None) -> None:
        """Wait until the words stand there."""
        expect(within or self.page.locator("main")).to_contain_text(text, timeout=WAIT_MS)

    def copied(self, button: Locator) -> str:
        """Press a copy button; what is on the clipboard then."""
        self.page.evaluate("navigator.clipboard.writeText('nothing was copied')")
        button.click()
        expect(button).to_have_text("Copied")
        text: str = self.page.evaluate("navigator.clipboard.readText()")
        return text

    def moved(self) -> float:
        """The layout shift of this page so far; 0.1 is where people notice."""
        shift: float = self.page.evaluate("window.__moved")
        return shift

    def listen(self) -> None:
        """From here on, to what a screen reader says of this page by itself."""
        self.page.evaluate(_WATCH_WORDS)

    def heard(self) -> list[str]:
        """What it said."""
        said: list[str] = self.page.evaluate("window.__said")
        return said

    def overflow(self) -> list[str]:
        """What reaches beyond the window's right edge, so that the whole page scrolls sideways."""
        beyond: list[str] = self.page.evaluate("""() => {
          const wide = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= wide) return [];
          const all = [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > wide + 0.5);
          return all.map((one) => `<${one.tagName.toLowerCase()} class="${one.getAttribute("class") ?? ""}" id="${one.id}">`).slice(0, 8);
        }""")
        return beyond

    def barriers(self, part: str | None = None) -> list[str]:
        """What axe finds serious or critical, on the page or a part of it: who uses a screen reader, a keyboard or weak eyes does not get past it."""
        found = _AXE.run(self.page, context=part).response["violations"]
        return [
            f"{one['id']} ({one['impact']}): {node['target']} {node['html'][:160]} {node['any'][0]['message'] if node['any'] else ''}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]

    def settle(self) -> None:
        """Let the browser tell what it has not told yet."""
        if not self.page.is_closed():
            self.page.evaluate("0")

    def leave(self) -> list[str]:
        """Close everything; the faults that no test has announced."""
        self.settle()
        left = self.faults.left()
        self.context.close()
        return left


Visitors = Callable[..., Visitor]
