"""What goes wrong while a page is open: its session ends, its key is revoked, the server is started anew; and text that would do harm."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from visitors import Visitor, Visitors
from web_installation import HOSTILE, MARKUP, RERANKER, Installation, begin, launch
from wire import until

# What a browser tells of a server that goes away and comes back.
AWAY = r"ERR_(CONNECTION_|EMPTY_RESPONSE|INCOMPLETE_CHUNKED|NETWORK_)|^answered: 50[234] "


def signed_in_by(key: str, visitors: Visitors, installation: Installation) -> Visitor:
    """A visitor whose session is that key's."""
    visitor: Visitor = visitors(installation)
    visitor.context.add_cookies([{"name": "emberank_session", "value": installation.begin_session(key), "url": installation.home}])
    return visitor


def test_a_session_that_ended_elsewhere_asks_to_sign_in_again(visitors: Visitors, installation: Installation) -> None:
    made = installation.key("inference", "read", "manage")
    visitor = signed_in_by(made["key"], visitors, installation)
    visitor.open("/account")
    cookies = visitor.context.cookies()
    other: Visitor = visitors(installation)
    other.context.add_cookies([{"name": one["name"], "value": one["value"], "url": installation.home} for one in cookies])
    other.open("/account")
    other.press("Sign out")
    visitor.page.get_by_label("Name", exact=True).fill("too late")
    visitor.press("Create key")
    visitor.at("/signin?next=/account")
    visitor.sees("Your session has ended. Sign in again to go on where you were.")
    visitor.sign_in_by_key(made["key"])
    visitor.at("/account")
    # What was typed waits there, is sent by its own button only, and is laid aside once.
    expect(visitor.page.get_by_role("alert")).to_be_visible()
    expect(visitor.page.get_by_label("Name", exact=True)).to_have_value("too late")
    expect(visitor.page.get_by_role("row").filter(has_text="too late")).to_have_count(0)
    visitor.press("Account", role="link")
    expect(visitor.page.get_by_label("Name", exact=True)).to_have_value("")
    installation.revoke(made["key_id"])


def test_a_revoked_key_takes_its_open_pages_along(visitors: Visitors, installation: Installation) -> None:
    made = installation.key("inference", "read")
    visitor = signed_in_by(made["key"], visitors, installation)
    installation.cool(RERANKER)
    visitor.open(f"/models/{RERANKER}")
    installation.revoke(made["key_id"])
    visitor.faults.bear("^answered: (401|403) ")
    visitor.press("Prewarm any available target")
    expect(visitor.page.get_by_role("link", name="Sign in").first).to_be_visible(timeout=20_000)
    assert installation.phase(RERANKER) == "COLD"


def test_hostile_words_of_the_catalogue_are_only_words(admin: Visitor) -> None:
    for address in (f"/models/{HOSTILE}", "/", "/?view=table", "/?q=hostile", f"/models/{HOSTILE}?baseline=%3Cimg%20src%3Dx%3E"):
        admin.faults.bear(r"^answered: 40[04] GET /models/hostile-words\?baseline")
        admin.open(address)
        admin.sees("<script>window.ran=1</script><img src=x")
        assert admin.page.evaluate("window.ran ?? 'nothing ran'") == "nothing ran"
        assert admin.page.locator("img[src=x], script:not([src]), style").count() == 0
    admin.open(f"/models/{HOSTILE}")
    expect(admin.page.locator("h1")).to_have_text(f"Hostile {MARKUP}")
    admin.page.locator("h1").hover()
    admin.page.locator(".model-from").hover()
    assert admin.page.evaluate("window.ran ?? 'nothing ran'") == "nothing ran"


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Installation]]:
    """An installation that may be ended. Whatever takes its place is put into the list, and the last of it is what runs."""
    made = [launch(tmp_path_factory.mktemp("another"))]
    yield made
    for one in made:
        one.up.end()


def test_a_page_outlives_a_restart_of_the_server(visitors: Visitors, another: list[Installation]) -> None:
    first = another[-1]
    first.cool(RERANKER)
    visitor: Visitor = visitors(first, signed_in=True)
    visitor.open(f"/models/{RERANKER}")
    visitor.faults.bear(AWAY)
    first.up.process.send_signal(signal.SIGTERM)
    assert first.up.status() == 0
    another.append(begin(first.folder, "--port", str(first.client.port)))
    # The session outlives it too, and the page goes on by itself.
    another[-1].warm(RERANKER)
    expect(visitor.page.locator("#status .phase").first).to_have_text("warm", timeout=30_000)
    visitor.press("Account", role="link")
    visitor.sees("Signed in as")


def test_while_the_forge_is_away_the_gateway_says_so_and_an_open_page_comes_back_by_itself(visitors: Visitors, another: list[Installation]) -> None:
    here = another[-1]
    here.cool(RERANKER)
    watching: Visitor = visitors(here, signed_in=True)
    watching.open(f"/models/{RERANKER}")
    expect(watching.page.locator("#status .phase").first).to_have_text("cold")
    visitor: Visitor = visitors(here, signed_in=True)
    for one in (watching, visitor):
        one.faults.bear(AWAY)
    answers = []
    for _ in range(3):  # the forge is started again at once: who looks too late finds it there
        forge = here.up.forge()
        forge.kill()
        forge.wait(20)
        answered = visitor.page.goto(f"{here.home}/account")
        answers.append(answered.status if answered else 0)
        if answers[-1] == 503:
            break
    assert answers[-1] == 503, answers
    expect(visitor.page.locator("h1")).to_have_text("Back in a moment")
    barriers = visitor.barriers()
    assert not barriers, "\n".join(barriers)
    until(lambda: here.client.get("/v1/keys").status == 200, "the forge is back", 30)
    visitor.press("Try again", role="link")
    expect(visitor.page.locator("#session-list")).to_be_visible(timeout=30_000)  # the session is still one
    here.warm(RERANKER)
    expect(watching.page.locator("#status .phase").first).to_have_text("warm", timeout=30_000)


def test_a_run_whose_server_dies_keeps_what_was_typed_and_can_be_run_again(visitors: Visitors, another: list[Installation]) -> None:
    first = another[-1]
    first.cool(RERANKER)  # so that the run takes its time
    visitor: Visitor = visitors(first, signed_in=True)
    visitor.open(f"/playground/{RERANKER}")
    visitor.page.locator("#play-item-1").fill("kept through it all")
    visitor.faults.bear(AWAY)
    visitor.press("Run")
    expect(visitor.page.locator("#play-cancel")).to_be_visible()
    first.up.process.kill()
    first.up.status()
    expect(visitor.page.locator("#play-fault strong")).to_be_visible(timeout=20_000)
    expect(visitor.page.locator("#play-item-1")).to_have_value("kept through it all")
    another.append(begin(first.folder, "--port", str(first.client.port)))
    visitor.page.locator("[data-play-again]").click()
    expect(visitor.page.locator("#play-answer")).to_contain_text("kept through it all", timeout=30_000)
