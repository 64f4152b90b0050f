"""The playground where something comes between: its script is late, the address and the last visit differ, a limit is reached, a run is cancelled. Nothing typed is lost, and no press."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Route, expect

from visitors import WAIT_MS, Visitor, Visitors
from web_installation import RERANKER, Installation

SCRIPT = "**/assets/playground.js*"
# The names of the scripts of ours that the page has asked for.
_ASKED = "performance.getEntriesByType('resource').map((one) => one.name.split('/').pop().split('?')[0]).filter((one) => /^(playground|answer)/.test(one))"


def opened(visitor: Visitor, query: str = "") -> Locator:
    visitor.open(f"/playground/{RERANKER}{query}")
    play = visitor.page.locator("#playground[data-ready]")
    expect(play).to_be_visible()
    return play


def hold(route: Route) -> None:
    """It is not answered."""


def items(play: Locator) -> list[str]:
    return [one.input_value() for one in play.locator("[data-play-text]").all()]


def run(play: Locator) -> None:
    play.get_by_role("button", name="Run", exact=True).click()


def test_what_is_typed_and_pressed_before_the_script_is_there_counts(admin: Visitor) -> None:
    admin.page.route(SCRIPT, hold)
    admin.open(f"/playground/{RERANKER}")
    admin.page.locator("#play-item-1").fill("typed early")
    run(admin.page.locator("#playground"))
    assert admin.page.locator("#playground[data-ready]").count() == 0
    admin.page.unroute(SCRIPT)  # what was held goes on
    expect(admin.page.locator("#play-answer")).to_contain_text("typed early", timeout=WAIT_MS)


def test_a_script_that_could_not_be_had_is_asked_for_again(admin: Visitor) -> None:
    admin.faults.bear("ERR_FAILED")
    admin.page.route(SCRIPT, lambda route: route.abort())
    admin.open(f"/playground/{RERANKER}")
    admin.page.locator("#play-item-1").fill("typed early")
    run(admin.page.locator("#playground"))
    expect(admin.page.locator("#play-said")).to_contain_text("The server is away for a moment. It goes on when it is back.")
    admin.page.unroute(SCRIPT)
    expect(admin.page.locator("#play-answer")).to_contain_text("typed early", timeout=WAIT_MS)


def test_what_was_typed_early_does_not_push_out_what_was_there_last_time(admin: Visitor) -> None:
    play = opened(admin)
    play.locator("#play-query").fill("of last time")
    admin.open("/status")
    admin.page.route(SCRIPT, hold)
    admin.open(f"/playground/{RERANKER}")
    admin.page.locator("#play-query").fill("typed early")
    admin.page.unroute(SCRIPT)  # what was held goes on
    play.locator("#play-undo").click()
    expect(play.locator("#play-query")).to_have_value("of last time")
    play.locator("#play-redo").click()
    expect(play.locator("#play-query")).to_have_value("typed early")


def test_taking_something_back_does_not_lose_what_was_typed_since(admin: Visitor) -> None:
    play = opened(admin)
    had = items(play)
    play.get_by_role("button", name="Remove passage 1").click()
    play.locator("#play-item-1").fill("typed since")
    play.locator("#play-undo").click()
    expect(play.locator("[data-play-item]")).to_have_count(len(had))
    assert items(play) == had
    play.locator("#play-redo").click()
    expect(play.locator("#play-item-1")).to_have_value("typed since")


def test_a_models_page_fetches_its_playground_when_that_comes_near(admin: Visitor) -> None:
    admin.open(f"/models/{RERANKER}")
    admin.page.wait_for_load_state("load")
    assert sorted(admin.page.evaluate(_ASKED)) == ["playground_near.js", "playground_parts.js"]
    admin.page.locator("#playground").scroll_into_view_if_needed()
    expect(admin.page.locator("#playground[data-ready]")).to_be_visible()


def test_the_target_is_the_addresss_and_what_was_chosen_at_that_address(admin: Visitor) -> None:
    target = admin.page.locator("#play-target")
    ready = admin.page.locator("#playground[data-ready]")
    admin.open(f"/models/{RERANKER}?gpu_type=CPU&region=local#playground")
    expect(ready).to_be_visible()
    expect(target).to_have_value("CPU/local")
    admin.page.locator("#play-query").fill("typed there")
    admin.open(f"/models/{RERANKER}#playground")
    expect(ready).to_be_visible()
    expect(admin.page.locator("#play-query")).to_have_value("typed there")
    expect(target).to_have_value("")
    target.select_option("CPU/local")
    admin.page.reload()
    expect(ready).to_be_visible()
    expect(target).to_have_value("CPU/local")


def test_a_comparison_of_two_targets_is_in_the_address(visitors: Visitors, installation: Installation, admin: Visitor) -> None:
    play = opened(admin)
    play.get_by_text("Compare with another model or target").click()
    play.get_by_label("Compare with", exact=True).select_option("The same model, elsewhere")
    play.get_by_label("Its target").select_option("CPU/local")
    admin.at(re.compile(rf"with={RERANKER}&.*with_gpu_type=CPU&with_region=local"))
    other: Visitor = visitors(installation, signed_in=True)
    other.open(admin.page.url)
    expect(other.page.locator("#play-with")).to_have_value(RERANKER)
    expect(other.page.locator("#play-with-target")).to_have_value("CPU/local")


def test_numbers_in_the_answer_are_those_of_the_form(admin: Visitor) -> None:
    play = opened(admin)
    play.locator("#play-item-2").fill("   ")
    run(play)
    expect(play.locator(".answer-list > li")).to_have_count(2, timeout=WAIT_MS)
    assert len(items(play)) == 2
    third = play.locator(".answer-list > li", has_text="Embeddings map text")
    expect(third).to_contain_text("passage 2 of 2")


def test_a_run_leaves_the_focus_where_it_was_and_cancel_gives_it_back(admin: Visitor, installation: Installation) -> None:
    installation.cool(RERANKER)
    play = opened(admin)
    run(play)
    expect(play.locator("#play-run")).to_be_focused()
    play.locator("#play-cancel").focus()
    admin.page.keyboard.press("Enter")
    expect(play.locator("#play-now")).to_have_text("Cancelled.")
    expect(play.locator("#play-run")).to_be_focused()


def test_a_rate_that_is_used_up_says_for_how_long_and_keeps_the_answer_before(visitors: Visitors, installation: Installation) -> None:
    made = installation.client.post("/v1/keys", {"name": "slow", "scopes": ["inference", "read"], "requests_per_minute": 1}).json
    visitor: Visitor = visitors(installation)
    visitor.context.add_cookies([{"name": "emberank_session", "value": installation.begin_session(made["key"]), "url": installation.home}])
    play = opened(visitor)
    run(play)
    expect(play.locator("#play-answer [data-answer]")).to_be_visible(timeout=WAIT_MS)
    visitor.faults.bear("^answered: 429 ")
    run(play)
    fault = play.locator("#play-fault")
    expect(fault).to_contain_text("Too much at one time")
    wait = fault.get_by_role("timer")
    expect(wait).to_have_text(re.compile(r"^Try again in \d+ seconds?\.$"))
    first = wait.inner_text()
    expect(wait).not_to_have_text(first)
    expect(fault).to_contain_text("Below is the answer of the run before.")
    expect(play.locator("#play-answer [data-answer]")).to_be_visible()
    installation.revoke(made["key_id"])


def test_a_file_that_is_dropped_before_the_script_is_there_is_taken_when_it_comes(admin: Visitor) -> None:
    admin.page.route(SCRIPT, hold)
    admin.open(f"/playground/{RERANKER}")
    taken = admin.page.locator("#play-form").evaluate("""(form) => {
      const data = new DataTransfer();
      data.items.add(new File(["first line\\nsecond line"], "list.txt", { type: "text/plain" }));
      return !form.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    }""")
    assert taken  # or the browser would have left the page for the file
    admin.page.unroute(SCRIPT)  # what was held goes on
    expect(admin.page.get_by_role("dialog").get_by_role("status")).to_contain_text("2 passages, read as one per line")
