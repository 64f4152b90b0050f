"""A real Chromium at a real `emberank up` with the default models. A visit that leaves an error in the console, or asks anybody else, fails its test."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from chromium import absence, chromium
from visitors import Visitor, Visitors
from web_installation import Installation, launch

HERE = Path(__file__).parent
LEFT_OUT = pytest.StashKey[tuple[int, str]]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests of this folder last, and leave them out where there is no browser, unless one is required."""
    ours = [item for item in items if HERE in item.path.parents]
    # While the browser is open its event loop runs in this thread, and a test that runs one of its own would be refused.
    items.sort(key=lambda item: HERE in item.path.parents)
    why = absence(os.environ) if ours else ""
    if not why:
        return
    if os.environ.get("EMBERANK_REQUIRE_BROWSER", "") == "1":
        raise pytest.UsageError(f"EMBERANK_REQUIRE_BROWSER=1, but the {len(ours)} browser tests cannot run: {why}")
    for item in ours:
        item.add_marker(pytest.mark.skip(reason=why))
    config.stash[LEFT_OUT] = (len(ours), why)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out, where whoever looks at the last line sees it."""
    if LEFT_OUT in config.stash:
        count, why = config.stash[LEFT_OUT]
        terminalreporter.section("browser tests", yellow=True)
        terminalreporter.line(f"{count} browser tests (tests/web) were left out: {why}.", yellow=True)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium(os.environ) as one:
        yield one


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One for all tests of this folder: they start and stop models and make keys, and none of them relies on what another one did."""
    one = launch(tmp_path_factory.mktemp("web"))
    try:
        yield one
    finally:
        one.up.end()


@pytest.fixture
def visitors(browser: Browser) -> Iterator[Visitors]:
    """Make a visitor to an installation: `visitors(installation, color_scheme="dark")`. Whatever went wrong unseen in a visit fails the test."""
    made: list[Visitor] = []

    def visit(installation: Installation, *, signed_in: bool = False, **options: Any) -> Visitor:
        settings: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", "color_scheme": "light", "accept_downloads": False} | options
        context = browser.new_context(**settings)
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=installation.home)
        if signed_in:
            context.add_cookies([{"name": "emberank_session", "value": installation.session, "url": installation.home}])
        made.append(Visitor(context, installation.home))
        return made[-1]

    yield visit
    left = [fault for one in made for fault in one.leave()]
    if left:
        pytest.fail("unseen errors of the visit:\n" + "\n".join(left), pytrace=False)


@pytest.fixture
def visitor(visitors: Visitors, installation: Installation) -> Visitor:
    """Somebody who is not signed in."""
    return visitors(installation)


@pytest.fixture
def admin(visitors: Visitors, installation: Installation) -> Visitor:
    """The installation's admin, signed in before."""
    return visitors(installation, signed_in=True)


@pytest.fixture
def link(installation: Installation) -> str:
    """A fresh sign-in link, as the terminal prints it."""
    found = re.search(r"http://\S+/signin\?token=[\w-]{43}", installation.command("signin"))
    assert found
    return found[0]
